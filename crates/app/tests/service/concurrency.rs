//! Many at once.

use std::sync::Arc;

use larder::models::{Favorite, Post, PostTag, User};
use larder::{Error, ErrorKind, Result};
use larder_tests::hot::HotEngine;
use serde_json::json;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::app::TestApp;
use crate::client::{Article, new_article, new_user};

fn panicked(error: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Engine, "a task panicked").with_source(error)
}

async fn of_two_registrations_one_is_refused(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    for (round, field) in [(0, "email"), (1, "username")] {
        let barrier = Arc::new(Barrier::new(2));
        let mut tasks = JoinSet::new();
        for number in 0..2 {
            let (visitor, barrier) = (app.visitor(), Arc::clone(&barrier));
            let own = format!("own{round}{number}");
            let user = match field {
                "email" => new_user(&own, "shared@example.com"),
                _ => new_user("shared", &format!("{own}@example.com")),
            };
            tasks.spawn(async move {
                barrier.wait().await;
                visitor.post("/users", user).await
            });
        }
        let mut statuses = Vec::new();
        while let Some(answer) = tasks.join_next().await {
            let answer = answer.map_err(panicked)?;
            if answer.status == 409 {
                assert_eq!(
                    answer.body,
                    json!({"errors": {field: ["has already been taken"]}})
                );
            }
            statuses.push(answer.status.as_u16());
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409]);
    }
    assert_eq!(app.db.query::<User>().count().await?, 2);
    Ok(())
}

async fn likes_are_counted_exactly(engine: Arc<dyn HotEngine>) -> Result<()> {
    const FANS: usize = 8;
    const TASKS: usize = 64;
    let app = TestApp::on(&engine).await?;
    let ada = app.user("ada").await;
    ada.publish("On", &[]).await;
    let mut fans = Vec::new();
    for number in 0..FANS {
        fans.push(app.user(&format!("fan{number}")).await);
    }
    let barrier = Arc::new(Barrier::new(TASKS));
    let mut tasks = JoinSet::new();
    for number in 0..TASKS {
        let (fan, barrier) = (fans[number % FANS].clone(), Arc::clone(&barrier));
        tasks.spawn(async move {
            barrier.wait().await;
            let liked = fan.post_nothing("/articles/on/favorite").await.ends(200);
            let liked: Article = liked.read("article");
            assert!(liked.favorited && (1..=FANS as u64).contains(&liked.favorites_count));
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.map_err(panicked)?;
    }
    assert_eq!(ada.article("on").await.favorites_count, FANS as u64);
    assert_eq!(app.db.query::<Favorite>().count().await?, FANS as u64);
    Ok(())
}

async fn many_articles_of_one_title_have_their_own_slugs(engine: Arc<dyn HotEngine>) -> Result<()> {
    const TASKS: usize = 16;
    let app = TestApp::on(&engine).await?;
    let ada = app.user("ada").await;
    let barrier = Arc::new(Barrier::new(TASKS));
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let (ada, barrier) = (ada.clone(), Arc::clone(&barrier));
        tasks.spawn(async move {
            barrier.wait().await;
            ada.publish("On", &["b", "a", "new"]).await
        });
    }
    let mut slugs = std::collections::HashSet::new();
    while let Some(article) = tasks.join_next().await {
        let article = article.map_err(panicked)?;
        assert_eq!(article.tag_list, ["b", "a", "new"]);
        slugs.insert(article.slug);
    }
    assert_eq!(slugs.len(), TASKS);
    assert_eq!(app.db.query::<PostTag>().count().await?, 3 * TASKS as u64);
    assert_eq!(app.db.query::<larder::models::Tag>().count().await?, 3);
    Ok(())
}

async fn the_tags_of_one_update_are_not_mixed_with_anothers(
    engine: Arc<dyn HotEngine>,
) -> Result<()> {
    let waits = engine.name() != "redis";
    let app = TestApp::on(&engine).await?;
    let ada = app.user("ada").await;
    ada.publish("On", &["old"]).await;
    let sets = [["a", "b", "c"], ["c", "b", "d"]];
    let mut tasks = JoinSet::new();
    for number in 0..16 {
        let (ada, tags) = (ada.clone(), sets[number % 2]);
        tasks.spawn(async move {
            let change = json!({"article": {"tagList": tags}});
            let status = ada.put("/articles/on", change).await.status.as_u16();
            // Where nobody waits for anybody, one that loses again and again is told to try later.
            assert!(status == 200 || (status == 503 && !waits), "{status}");
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.map_err(panicked)?;
    }
    let left = ada.article("on").await.tag_list;
    assert!(sets.iter().any(|set| left == *set), "{left:?}");
    Ok(())
}

async fn what_is_written_on_a_deleted_article_goes_with_it(
    engine: Arc<dyn HotEngine>,
) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    for _ in 0..4 {
        ada.post("/articles", new_article("On", &["x"]))
            .await
            .ends(201);
        let mut tasks = JoinSet::new();
        for number in 0..8 {
            let (ada, bob) = (ada.clone(), bob.clone());
            tasks.spawn(async move {
                let status = match number {
                    3 => ada.delete("/articles/on").await.status,
                    n if n % 2 == 0 => bob.post_nothing("/articles/on/favorite").await.status,
                    _ => {
                        let comment = json!({"comment": {"body": "x"}});
                        bob.post("/articles/on/comments", comment).await.status
                    }
                };
                assert!(matches!(status.as_u16(), 200 | 201 | 204 | 404), "{status}");
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.map_err(panicked)?;
        }
        assert_eq!(app.db.query::<Post>().count().await?, 0);
        assert_eq!(app.db.query::<Favorite>().count().await?, 0);
    }
    Ok(())
}

crate::tests![
    of_two_registrations_one_is_refused,
    likes_are_counted_exactly,
    many_articles_of_one_title_have_their_own_slugs,
    the_tags_of_one_update_are_not_mixed_with_anothers,
    what_is_written_on_a_deleted_article_goes_with_it,
];
