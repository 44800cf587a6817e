//! The live feed of new articles and comments.

use std::sync::Arc;

use http::Method;
use larder::Result;
use larder::service::ServiceOptions;
use larder_tests::hot::HotEngine;

use crate::app::{Setup, TestApp};
use crate::client::{Article, Comment};

async fn what_is_new_is_shown_as_it_comes(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let ada = app.user("ada").await;
    ada.publish("Before", &[]).await;
    let mut events = app.visitor().live(None).await;
    ada.publish("On", &["x"]).await;
    let event = events.next().await.expect("an article");
    assert_eq!(event.name, "article");
    let article: Article = serde_json::from_value(event.data["article"].clone()).expect("one");
    assert_eq!((article.title.as_str(), article.body), ("On", None));
    assert_eq!(
        (article.tag_list, article.author.username.as_str()),
        (vec!["x".to_owned()], "ada")
    );
    // changes of what is there are not new
    ada.post_nothing("/articles/on/favorite").await.ends(200);
    ada.put(
        "/articles/on",
        serde_json::json!({"article": {"body": "x"}}),
    )
    .await
    .ends(200);
    let written = ada.comment("on", "Well said.").await;
    let event = events.next().await.expect("a comment");
    assert_eq!(
        (event.name.as_str(), event.data["slug"].as_str()),
        ("comment", Some("on"))
    );
    let comment: Comment = serde_json::from_value(event.data["comment"].clone()).expect("one");
    assert_eq!(comment, written);
    Ok(())
}

async fn a_reader_goes_on_where_it_left_off(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let ada = app.user("ada").await;
    let mut events = ada.live(None).await;
    ada.publish("One", &[]).await;
    let first = events.next().await.expect("an article");
    drop(events);
    ada.publish("Two", &[]).await;
    ada.publish("Gone", &[]).await;
    ada.delete("/articles/gone").await.ends(204);
    ada.comment("two", "Late.").await;
    // in another process, too
    for app in [&app, &app.another().await?] {
        let mut events = app.visitor().live(Some(&first.id)).await;
        let second = events.next().await.expect("an article");
        assert_eq!(second.data["article"]["title"], "Two");
        let third = events.next().await.expect("a comment");
        assert_eq!(third.data["comment"]["body"], "Late.");
        let mut again = app.visitor().live(Some(&second.id)).await;
        assert_eq!(again.next().await, Some(third));
    }
    Ok(())
}

async fn what_another_process_writes_is_shown_too(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let ada = app.user("ada").await;
    let other = app.another().await?;
    let mut events = other.visitor().live(None).await;
    for number in 0..3 {
        ada.publish(&format!("n{number}"), &[]).await;
        let event = events.next().await.expect("an article");
        assert_eq!(event.data["article"]["title"], format!("n{number}"));
    }
    Ok(())
}

async fn readers_are_bounded_and_must_make_sense(engine: Arc<dyn HotEngine>) -> Result<()> {
    let options = ServiceOptions::default().live_readers_max(1);
    let app = Setup::default().options(options).on(&engine).await?;
    let visitor = app.visitor();
    for bad in ["x", "1", "-1-2", "99999999999999999999-1"] {
        let mut request = visitor.request(Method::GET, "/live", None);
        let id = bad.parse().expect("a header");
        request.headers_mut().insert("last-event-id", id);
        visitor.send(request).await.ends(422);
    }
    let reading = visitor.live(None).await;
    visitor
        .get("/live")
        .await
        .refuses(503, "service", "is busy; try again");
    drop(reading);
    visitor.live(None).await;
    Ok(())
}

crate::tests![
    what_is_new_is_shown_as_it_comes,
    a_reader_goes_on_where_it_left_off,
    what_another_process_writes_is_shown_too,
    readers_are_bounded_and_must_make_sense,
];

/// Where no log of changes is kept, that is said.
async fn there_is_none(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let answer = app.visitor().get("/live").await;
    assert_eq!(answer.status.as_u16(), 501);
    Ok(())
}

/// The tests of an engine that keeps no log of changes.
pub(crate) fn tests_without_changes() -> Vec<crate::Test> {
    vec![crate::Test {
        name: "there_is_none",
        run: |engine| Box::pin(there_is_none(engine)),
    }]
}
