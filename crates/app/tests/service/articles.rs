//! One article: making, showing, changing and deleting it.

use std::sync::Arc;
use std::time::Duration;

use larder::models::{Comment, Favorite, Post, PostPatch, PostStatus, PostTag};
use larder::{ManualClock, Result, Timestamp};
use larder_tests::hot::HotEngine;
use serde_json::{Value, json};

use crate::app::{Setup, TestApp};
use crate::client::{Article, new_article};

async fn a_new_article_is_shown_as_it_was_written(engine: Arc<dyn HotEngine>) -> Result<()> {
    let start: Timestamp = "2016-02-18T03:22:56.637912Z".parse()?;
    let clock = Arc::new(ManualClock::at(start));
    let app = Setup::default().clock(clock.clone()).on(&engine).await?;
    let ada = app.user("ada").await;
    let article = ada
        .publish("How to train your dragon", &["training", "dragons"])
        .await;
    assert_eq!(article.slug, "how-to-train-your-dragon");
    assert_eq!(article.title, "How to train your dragon");
    assert_eq!(article.description, "In short.");
    assert_eq!(article.body.as_deref(), Some("At length."));
    assert_eq!(article.tag_list, ["training", "dragons"]);
    assert_eq!(article.created_at, "2016-02-18T03:22:56.637Z");
    assert_eq!(article.updated_at, article.created_at);
    assert_eq!((article.favorited, article.favorites_count), (false, 0));
    assert_eq!(article.author.username, "ada");
    assert!(!article.author.following);
    assert_eq!(app.visitor().article(&article.slug).await, article);
    clock.advance(Duration::from_mins(1));
    let change = json!({"article": {"body": "Longer."}});
    let changed = ada
        .put(&format!("/articles/{}", article.slug), change)
        .await
        .ends(200);
    let changed: Article = changed.read("article");
    assert_eq!(changed.updated_at, "2016-02-18T03:23:56.637Z");
    assert_eq!(changed.created_at, article.created_at);
    Ok(())
}

async fn one_title_may_be_several_articles(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let mut slugs = Vec::new();
    for author in [&ada, &bob, &ada] {
        slugs.push(author.publish("On", &["x"]).await.slug);
    }
    assert_eq!(slugs[0], "on");
    slugs.sort();
    slugs.dedup();
    assert_eq!(slugs.len(), 3, "{slugs:?}");
    let feed = ada.publish("Feed", &[]).await.slug;
    assert_eq!(ada.article(&feed).await.title, "Feed", "not the feed");
    Ok(())
}

async fn an_article_must_be_whole(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let ada = app.user("ada").await;
    for field in ["title", "description", "body"] {
        for nothing in [None, Some(Value::Null), Some("".into())] {
            let mut body = new_article("On", &[]);
            let article = body["article"].as_object_mut().expect("an object");
            match nothing {
                Some(value) => article.insert(field.to_owned(), value),
                None => article.remove(field),
            };
            let answer = ada.post("/articles", body).await;
            answer.refuses(422, field, "can't be blank");
        }
    }
    let mut without = new_article("On", &[]);
    without["article"]
        .as_object_mut()
        .expect("an object")
        .remove("tagList");
    let made: Article = ada
        .post("/articles", without)
        .await
        .ends(201)
        .read("article");
    assert!(made.tag_list.is_empty());
    for bad in [
        Value::Null,
        json!("x"),
        json!([1]),
        json!([""]),
        json!([null]),
    ] {
        let mut body = new_article("Bad", &[]);
        body["article"]["tagList"] = bad;
        ada.post("/articles", body).await.ends(422);
    }
    assert_eq!(app.db.query::<Post>().count().await?, 1);
    Ok(())
}

async fn what_is_left_out_of_an_update_stays(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let ada = app.user("ada").await;
    let article = ada.publish("On ships", &["sea", "wood"]).await;
    let path = format!("/articles/{}", article.slug);
    let put = async |path: &str, article: Value| -> Article {
        ada.put(path, json!({"article": article}))
            .await
            .ends(200)
            .read("article")
    };
    let changed = put(&path, json!({"body": "Of wood."})).await;
    assert_eq!(changed.body.as_deref(), Some("Of wood."));
    assert_eq!(
        (
            &changed.slug,
            &changed.title,
            &changed.description,
            &changed.tag_list
        ),
        (
            &article.slug,
            &article.title,
            &article.description,
            &article.tag_list
        )
    );
    let changed = put(
        &path,
        json!({"title": article.title, "description": "Short."}),
    )
    .await;
    assert_eq!(
        (&changed.slug, changed.description.as_str()),
        (&article.slug, "Short.")
    );
    assert_eq!(put(&path, json!({})).await.tag_list, ["sea", "wood"]);
    let renamed = put(&path, json!({"title": "On boats"})).await;
    assert_eq!(
        (renamed.title.as_str(), renamed.slug.as_str()),
        ("On boats", "on-boats")
    );
    ada.get(&path).await.refuses(404, "article", "not found");
    assert_eq!(ada.article("on-boats").await, renamed);
    Ok(())
}

async fn tags_are_kept_changed_and_cleared(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let ada = app.user("ada").await;
    let article = ada.publish("On", &["z", "a", "m", "z"]).await;
    assert_eq!(article.tag_list, ["z", "a", "m"], "in order, each once");
    let put = async |tags: Value| {
        ada.put("/articles/on", json!({"article": {"tagList": tags}}))
            .await
    };
    let changed: Article = put(json!(["new", "m", "a"]))
        .await
        .ends(200)
        .read("article");
    assert_eq!(changed.tag_list, ["new", "m", "a"]);
    assert_eq!(ada.article("on").await.tag_list, ["new", "m", "a"]);
    put(Value::Null).await.ends(422);
    assert_eq!(ada.article("on").await.tag_list, ["new", "m", "a"]);
    let cleared: Article = put(json!([])).await.ends(200).read("article");
    assert!(cleared.tag_list.is_empty());
    assert_eq!(app.db.query::<PostTag>().count().await?, 0);
    Ok(())
}

async fn an_update_may_be_refused(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let article = ada.publish("On", &["x"]).await;
    for field in ["title", "description", "body"] {
        for nothing in [Value::Null, "".into()] {
            let change = json!({"article": {"body": "x", field: nothing}});
            let answer = ada.put("/articles/on", change).await;
            answer.refuses(422, field, "can't be blank");
        }
    }
    let change = || json!({"article": {"body": "mine"}});
    bob.put("/articles/on", change())
        .await
        .refuses(403, "article", "forbidden");
    bob.delete("/articles/on")
        .await
        .refuses(403, "article", "forbidden");
    ada.put("/articles/off", change())
        .await
        .refuses(404, "article", "not found");
    ada.delete("/articles/off")
        .await
        .refuses(404, "article", "not found");
    assert_eq!(ada.article("on").await, article);
    Ok(())
}

async fn a_deleted_article_is_gone_with_all_that_is_its_own(
    engine: Arc<dyn HotEngine>,
) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    ada.publish("On", &["x"]).await;
    bob.comment("on", "Well said.").await;
    bob.post_nothing("/articles/on/favorite").await.ends(200);
    let answer = ada.delete("/articles/on").await.ends(204);
    assert_eq!(answer.body, Value::Null);
    for answer in [
        ada.get("/articles/on").await,
        ada.delete("/articles/on").await,
        ada.get("/articles/on/comments").await,
        bob.post_nothing("/articles/on/favorite").await,
    ] {
        answer.refuses(404, "article", "not found");
    }
    let left = [
        app.db.query::<Comment>().count().await?,
        app.db.query::<Favorite>().count().await?,
        app.db.query::<PostTag>().count().await?,
    ];
    assert_eq!(left, [0; 3]);
    Ok(())
}

async fn a_draft_is_its_authors(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    ada.publish("On", &["x"]).await;
    let id = app.db.query::<Post>().one().await?.id;
    let status = async |status| {
        let patch = PostPatch {
            status: Some(status),
            ..PostPatch::default()
        };
        app.db.update(id, patch).await
    };
    status(PostStatus::Draft).await?;
    assert_eq!(ada.article("on").await.title, "On");
    bob.get("/articles/on").await.ends(404);
    bob.post_nothing("/articles/on/favorite").await.ends(404);
    app.visitor().get("/articles/on/comments").await.ends(404);
    assert_eq!(ada.list("/articles").await.articles_count, 0);
    status(PostStatus::Archived).await?;
    assert_eq!(
        bob.article("on").await.title,
        "On",
        "whoever has the address"
    );
    assert_eq!(bob.list("/articles").await.articles_count, 0);
    Ok(())
}

crate::tests![
    a_new_article_is_shown_as_it_was_written,
    one_title_may_be_several_articles,
    an_article_must_be_whole,
    what_is_left_out_of_an_update_stays,
    tags_are_kept_changed_and_cleared,
    an_update_may_be_refused,
    a_deleted_article_is_gone_with_all_that_is_its_own,
    a_draft_is_its_authors,
];
