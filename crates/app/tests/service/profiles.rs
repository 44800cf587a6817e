//! Profiles, and following.

use std::sync::Arc;

use larder::Result;
use larder::models::{Follow, NewUser};
use larder_tests::hot::HotEngine;
use serde_json::json;

use crate::app::TestApp;
use crate::client::Profile;

async fn a_profile_says_whether_one_follows(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    bob.put(
        "/user",
        json!({"user": {"bio": "Builds.", "image": "https://b.example/i.png"}}),
    )
    .await
    .ends(200);
    let mut expected = Profile {
        username: "bob".to_owned(),
        bio: Some("Builds.".to_owned()),
        image: Some("https://b.example/i.png".to_owned()),
        following: false,
    };
    assert_eq!(app.visitor().profile("bob").await, expected);
    assert_eq!(ada.profile("bob").await, expected);
    expected.following = true;
    for _ in 0..2 {
        let followed = ada.post_nothing("/profiles/bob/follow").await.ends(200);
        assert_eq!(followed.read::<Profile>("profile"), expected);
        assert_eq!(ada.profile("bob").await, expected);
    }
    assert_eq!(app.db.query::<Follow>().count().await?, 1);
    assert!(
        !bob.profile("ada").await.following,
        "the other way is another thing"
    );
    assert!(!app.visitor().profile("bob").await.following);
    expected.following = false;
    for _ in 0..2 {
        let left = ada.delete("/profiles/bob/follow").await.ends(200);
        assert_eq!(left.read::<Profile>("profile"), expected);
        assert_eq!(ada.profile("bob").await, expected);
    }
    Ok(())
}

async fn there_is_no_profile_of_nobody(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let ada = app.user("ada").await;
    for answer in [
        ada.get("/profiles/bob").await,
        app.visitor().get("/profiles/bob").await,
        ada.post_nothing("/profiles/bob/follow").await,
        ada.delete("/profiles/bob/follow").await,
        ada.get("/profiles/Ada").await, // letter case counts
    ] {
        answer.refuses(404, "profile", "not found");
    }
    Ok(())
}

async fn names_are_what_people_write(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    for (number, (name, path)) in [
        ("Ada Lovelace", "Ada%20Lovelace"),
        ("a/b?c#d", "a%2Fb%3Fc%23d"),
        ("Zoë 🦀", "Zo%C3%AB%20%F0%9F%A6%80"),
        ("100%", "100%25"),
        (
            "'; DROP TABLE users; --",
            "'%3B%20DROP%20TABLE%20users%3B%20--",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let new = crate::client::new_user(name, &format!("u{number}@example.com"));
        app.visitor().post("/users", new).await.ends(201);
        assert_eq!(app.visitor().profile(path).await.username, name);
    }
    Ok(())
}

async fn who_has_no_username_is_shown_by_name(engine: Arc<dyn HotEngine>) -> Result<()> {
    use larder::models::{NewPost, PostStatus};
    let app = TestApp::on(&engine).await?;
    let grace = NewUser::without_password("grace@example.com", "Grace")?;
    let author_id = app.db.insert(grace).await?.id;
    let post = NewPost {
        author_id,
        slug: "on".to_owned(),
        title: "On".to_owned(),
        content: "..".to_owned(),
        status: PostStatus::Published,
    };
    app.db.insert(post).await?;
    assert_eq!(app.visitor().article("on").await.author.username, "Grace");
    app.visitor().get("/profiles/Grace").await.ends(404);
    Ok(())
}

crate::tests![
    a_profile_says_whether_one_follows,
    there_is_no_profile_of_nobody,
    names_are_what_people_write,
    who_has_no_username_is_shown_by_name,
];
