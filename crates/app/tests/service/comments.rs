//! Comments on articles.

use std::sync::Arc;

use larder::models::Comment;
use larder::{ManualClock, Result, Timestamp};
use larder_tests::hot::HotEngine;
use serde_json::{Value, json};

use crate::app::{Setup, TestApp};

async fn comments_are_shown_newest_first(engine: Arc<dyn HotEngine>) -> Result<()> {
    let start: Timestamp = "2020-01-02T03:04:05.006Z".parse()?;
    let clock = Arc::new(ManualClock::at(start));
    let app = Setup::default().clock(clock).on(&engine).await?;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    ada.publish("On", &[]).await;
    assert!(ada.comments("on").await.is_empty());
    let first = bob.comment("on", "First.").await;
    assert_eq!(
        (
            first.body.as_str(),
            first.created_at.as_str(),
            first.updated_at.as_str()
        ),
        (
            "First.",
            "2020-01-02T03:04:05.006Z",
            "2020-01-02T03:04:05.006Z"
        )
    );
    assert_eq!(first.author.username, "bob");
    let second = ada.comment("on", "Second.").await;
    assert!(second.id > first.id);
    let seen = app.visitor().comments("on").await;
    assert_eq!(seen, [second, first]);
    ada.post_nothing("/profiles/bob/follow").await.ends(200);
    let seen = ada.comments("on").await;
    assert!(seen[1].author.following && !seen[0].author.following);
    Ok(())
}

async fn only_who_wrote_it_deletes_a_comment(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    ada.publish("On", &[]).await;
    ada.publish("Off", &[]).await;
    let comment = bob.comment("on", "Mine.").await;
    let path = format!("/articles/on/comments/{}", comment.id);
    ada.delete(&path).await.refuses(403, "comment", "forbidden");
    let elsewhere = format!("/articles/off/comments/{}", comment.id);
    bob.delete(&elsewhere)
        .await
        .refuses(404, "comment", "not found");
    let nowhere = format!("/articles/none/comments/{}", comment.id);
    bob.delete(&nowhere)
        .await
        .refuses(404, "article", "not found");
    assert_eq!(ada.comments("on").await.len(), 1);
    let answer = bob.delete(&path).await.ends(204);
    assert_eq!(answer.body, Value::Null);
    bob.delete(&path).await.refuses(404, "comment", "not found");
    for id in ["0", "-1", "x", "1.5", "99999999999999999999", "%00"] {
        bob.delete(&format!("/articles/on/comments/{id}"))
            .await
            .ends(404);
    }
    assert!(ada.comments("on").await.is_empty());
    Ok(())
}

async fn a_comment_must_say_something(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let ada = app.user("ada").await;
    ada.publish("On", &[]).await;
    for comment in [
        json!({}),
        json!({"body": null}),
        json!({"body": ""}),
        json!({"body": " \n"}),
    ] {
        let answer = ada
            .post("/articles/on/comments", json!({"comment": comment}))
            .await;
        answer.refuses(422, "body", "can't be blank");
    }
    let answer = ada.post("/articles/on/comments", json!({})).await;
    answer.refuses(422, "comment", "can't be blank");
    let comment = || json!({"comment": {"body": "x"}});
    let answer = ada.post("/articles/none/comments", comment()).await;
    answer.refuses(404, "article", "not found");
    app.visitor()
        .get("/articles/none/comments")
        .await
        .refuses(404, "article", "not found");
    assert_eq!(app.db.query::<Comment>().count().await?, 0);
    Ok(())
}

crate::tests![
    comments_are_shown_newest_first,
    only_who_wrote_it_deletes_a_comment,
    a_comment_must_say_something,
];
