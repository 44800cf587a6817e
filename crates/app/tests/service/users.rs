//! Registering, signing in, and `/user`.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, header};
use larder::models::User;
use larder::service::ServiceOptions;
use larder::session::{SessionId, SessionStore as _, StoredSessions};
use larder::{ManualClock, Result, Timestamp};
use larder_tests::hot::HotEngine;
use serde_json::{Value, json};

use crate::app::{Setup, TestApp};
use crate::client::{PASSWORD, email_of, new_user};

async fn registering_answers_the_user_with_a_token(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let visitor = app.visitor();
    let answer = visitor
        .post("/users", new_user("Ada", "ada@example.com"))
        .await
        .ends(201);
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
    answer.has_in_order(&["email", "token", "username", "bio", "image"]);
    let user: crate::client::User = answer.read("user");
    assert_eq!(
        (
            user.username.as_str(),
            user.email.as_str(),
            &user.bio,
            &user.image
        ),
        ("Ada", "ada@example.com", &None, &None)
    );
    let again = visitor.signed_in(&user.token).user().await;
    assert_eq!(again, user);
    let stored = app.db.query::<User>().one().await?;
    let hash = stored.password_hash.expect("a hash");
    assert!(String::from(hash).starts_with("$argon2id$"));
    Ok(())
}

async fn what_is_taken_is_named(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let visitor = app.visitor();
    visitor.register("ada").await;
    for (username, email, field) in [
        ("ada", "new@example.com", "username"),
        ("new", "ada@example.com", "email"),
    ] {
        let answer = visitor.post("/users", new_user(username, email)).await;
        answer.refuses(409, field, "has already been taken");
    }
    assert_eq!(app.db.query::<User>().count().await?, 1);
    Ok(())
}

async fn a_registration_must_be_whole(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let visitor = app.visitor();
    for field in ["username", "email", "password"] {
        for nothing in [None, Some(Value::Null), Some("".into()), Some("  ".into())] {
            let mut body = new_user("ada", "ada@example.com");
            let user = body["user"].as_object_mut().expect("an object");
            match nothing {
                Some(value) => user.insert(field.to_owned(), value),
                None => user.remove(field),
            };
            let answer = visitor.post("/users", body).await;
            answer.refuses(422, field, "can't be blank");
        }
    }
    let answer = visitor.post("/users", json!({"user": {}})).await.ends(422);
    assert_eq!(
        answer.body["errors"].as_object().map(serde_json::Map::len),
        Some(3)
    );
    visitor
        .post("/users", json!({}))
        .await
        .refuses(422, "user", "can't be blank");
    assert_eq!(
        app.db.query::<User>().count().await?,
        0,
        "nothing is half-written"
    );
    Ok(())
}

async fn passwords_are_8_characters_or_more(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let visitor = app.visitor();
    let with = |name: &str, password: &str| json!({"user": {"username": name, "email": email_of(name), "password": password}});
    for short in ["1234567", "ééééééé"] {
        let answer = visitor.post("/users", with("ada", short)).await;
        answer.refuses(422, "password", "is too short (minimum is 8 characters)");
    }
    let long = ["x".repeat(64), "x".repeat(72) + "y", "é".repeat(300)];
    for (number, password) in long.iter().enumerate() {
        let name = format!("ada{number}");
        visitor
            .post("/users", with(&name, password))
            .await
            .ends(201);
        visitor.login(&email_of(&name), password).await.ends(200);
        let cut: String = password
            .chars()
            .take(password.chars().count() - 1)
            .collect();
        visitor.login(&email_of(&name), &cut).await.ends(401);
    }
    visitor
        .post("/users", with("bob", &"é".repeat(600)))
        .await
        .ends(422);
    Ok(())
}

async fn signing_in_does_not_tell_who_is_there(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let visitor = app.visitor();
    let ada = visitor.register("ada").await;
    let user = visitor.login(&ada.email, PASSWORD).await.ends(200);
    let user: crate::client::User = user.read("user");
    assert_ne!(user.token, ada.token, "each session has its own");
    for token in [&user.token, &ada.token] {
        assert_eq!(visitor.signed_in(token).user().await.username, "ada");
    }
    for (email, password) in [
        (ada.email.as_str(), "wrong horse"),
        ("nobody@example.com", PASSWORD),
        ("no email at all", PASSWORD),
    ] {
        let answer = visitor.login(email, password).await;
        answer.refuses(401, "credentials", "invalid");
    }
    visitor
        .login("", PASSWORD)
        .await
        .refuses(422, "email", "can't be blank");
    visitor
        .login(&ada.email, "")
        .await
        .refuses(422, "password", "can't be blank");
    let inactive = larder::models::UserPatch {
        is_active: Some(false),
        ..Default::default()
    };
    let id = app.db.query::<User>().one().await?.id;
    app.db.update(id, inactive).await?;
    let answer = visitor.login(&ada.email, PASSWORD).await;
    answer.refuses(401, "credentials", "invalid");
    Ok(())
}

async fn a_token_must_be_there_and_good(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let ada = app.user("ada").await;
    let article = ada.publish("On", &[]).await.slug;
    let visitor = app.visitor();
    for (method, path) in [
        (Method::GET, "/user".to_owned()),
        (Method::PUT, "/user".to_owned()),
        (Method::POST, "/profiles/ada/follow".to_owned()),
        (Method::DELETE, "/profiles/ada/follow".to_owned()),
        (Method::GET, "/articles/feed".to_owned()),
        (Method::POST, "/articles".to_owned()),
        (Method::PUT, format!("/articles/{article}")),
        (Method::DELETE, format!("/articles/{article}")),
        (Method::POST, format!("/articles/{article}/comments")),
        (Method::DELETE, format!("/articles/{article}/comments/1")),
        (Method::POST, format!("/articles/{article}/favorite")),
        (Method::DELETE, format!("/articles/{article}/favorite")),
    ] {
        let body = Some(b"{}".to_vec());
        let request = visitor.request(method.clone(), &path, body.clone());
        visitor
            .send(request)
            .await
            .refuses(401, "token", "is missing");
        let stranger = visitor.signed_in("0123456789abcdef0123456789abcdef");
        let request = stranger.request(method, &path, body);
        stranger
            .send(request)
            .await
            .refuses(401, "token", "is invalid");
    }
    for bad in ["Token", "Token ", "Bearer abc", "abc", "Token \u{e9}"] {
        let mut request = visitor.request(Method::GET, "/user", None);
        let value = http::HeaderValue::from_bytes(bad.as_bytes()).expect("a header");
        request.headers_mut().insert(header::AUTHORIZATION, value);
        visitor
            .send(request)
            .await
            .refuses(401, "token", "is invalid");
    }
    let mut twice = ada.request(Method::GET, "/user", None);
    let value = format!("Token {}", ada.token()).parse().expect("a header");
    twice.headers_mut().append(header::AUTHORIZATION, value);
    ada.send(twice).await.refuses(401, "token", "is invalid");
    let mut lower = ada.request(Method::GET, "/user", None);
    let value = format!("token {}", ada.token()).parse().expect("a header");
    lower.headers_mut().insert(header::AUTHORIZATION, value);
    ada.send(lower).await.ends(200);
    Ok(())
}

async fn what_is_left_out_of_an_update_stays(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let ada = app.user("ada").await;
    let put = async |user: Value| -> crate::client::User {
        ada.put("/user", json!({"user": user}))
            .await
            .ends(200)
            .read("user")
    };
    let changed = put(json!({"bio": "Countess", "image": "https://a.example/i.png"})).await;
    assert_eq!(changed.token, ada.token());
    assert_eq!(changed.bio.as_deref(), Some("Countess"));
    let changed = put(json!({"email": "new@example.com"})).await;
    assert_eq!(changed.email, "new@example.com");
    assert_eq!(
        (changed.username.as_str(), changed.bio.as_deref()),
        ("ada", Some("Countess"))
    );
    let changed = put(json!({"username": "lovelace", "unknown": 1})).await;
    assert_eq!(changed.username, "lovelace");
    assert_eq!(
        ada.profile("lovelace").await.bio.as_deref(),
        Some("Countess")
    );
    for nothing in [
        json!({"bio": "", "image": ""}),
        json!({"bio": null, "image": null}),
    ] {
        put(json!({"bio": "x", "image": "y"})).await;
        let changed = put(nothing).await;
        assert_eq!((changed.bio, changed.image), (None, None));
    }
    assert_eq!(ada.user().await.email, "new@example.com");
    Ok(())
}

async fn an_update_is_refused_as_a_whole(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let ada = app.user("ada").await;
    app.user("bob").await;
    let before = ada.user().await;
    for field in ["email", "username", "password"] {
        for nothing in [Value::Null, "".into()] {
            let answer = ada
                .put("/user", json!({"user": {"bio": "x", field: nothing}}))
                .await;
            answer.refuses(422, field, "can't be blank");
        }
    }
    for (field, value) in [("email", "bob@example.com"), ("username", "bob")] {
        let answer = ada
            .put("/user", json!({"user": {"bio": "x", field: value}}))
            .await;
        answer.refuses(422, field, "has already been taken");
    }
    let answer = ada
        .put("/user", json!({"user": {"email": "nowhere", "bio": "x"}}))
        .await;
    answer.refuses(422, "email", "is invalid");
    let answer = ada.put("/user", json!({"user": {}})).await;
    answer.refuses(422, "user", "must change something");
    assert_eq!(ada.user().await, before);
    Ok(())
}

async fn a_new_password_ends_the_other_sessions(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let ada = app.user("ada").await;
    let elsewhere = ada.login("ada@example.com", PASSWORD).await.ends(200);
    let elsewhere: crate::client::User = elsewhere.read("user");
    let bob = app.user("bob").await;
    let answer = ada
        .put("/user", json!({"user": {"password": "battery staple"}}))
        .await;
    let changed: crate::client::User = answer.ends(200).read("user");
    for old in [ada.token(), &elsewhere.token] {
        ada.signed_in(old)
            .get("/user")
            .await
            .refuses(401, "token", "is invalid");
    }
    assert_eq!(ada.signed_in(&changed.token).user().await.username, "ada");
    assert_eq!(bob.user().await.username, "bob");
    let visitor = app.visitor();
    visitor.login("ada@example.com", PASSWORD).await.ends(401);
    visitor
        .login("ada@example.com", "battery staple")
        .await
        .ends(200);
    Ok(())
}

async fn a_session_ends_unused_and_in_the_end(engine: Arc<dyn HotEngine>) -> Result<()> {
    let hour = Duration::from_hours(1);
    let clock = Arc::new(ManualClock::at(Timestamp::now()));
    let options = ServiceOptions::default()
        .session_idle(2 * hour)
        .session_lifetime(5 * hour);
    let app = Setup::default()
        .options(options)
        .clock(clock.clone())
        .on(&engine)
        .await?;
    let ada = app.user("ada").await;
    for _ in 0..4 {
        clock.advance(hour);
        ada.get("/user").await.ends(200);
    }
    clock.advance(hour);
    ada.get("/user").await.refuses(401, "token", "is invalid");
    let again = ada.login("ada@example.com", PASSWORD).await.ends(200);
    let again: crate::client::User = again.read("user");
    clock.advance(2 * hour);
    ada.signed_in(&again.token)
        .get("/user")
        .await
        .refuses(401, "token", "is invalid");
    ada.get("/articles")
        .await
        .refuses(401, "token", "is invalid");
    Ok(())
}

async fn a_token_is_not_kept(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let ada = app.user("ada").await;
    assert_eq!(ada.token().len(), 22, "128 bits");
    let kept = StoredSessions::new(app.db.clone());
    let user = app.db.query::<User>().one().await?.id;
    let sessions = kept.list(&user.to_string(), 10).await?;
    assert_eq!(sessions.len(), 1);
    let hash = sessions[0].hash.as_bytes();
    assert_eq!(*hash, *ada.token().parse::<SessionId>()?.hash().as_bytes());
    let guess = sessions[0].hash.to_string();
    ada.signed_in(&guess)
        .get("/user")
        .await
        .refuses(401, "token", "is invalid");
    kept.revoke_all(&user.to_string(), None).await?;
    ada.get("/user").await.refuses(401, "token", "is invalid");
    Ok(())
}

async fn who_was_deleted_is_nobody(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let article = bob.publish("On", &[]).await.slug;
    let id = app
        .db
        .query::<User>()
        .filter(User::USERNAME.eq("ada"))
        .one()
        .await?
        .id;
    app.db.delete::<User>(id).await?;
    for answer in [
        ada.get("/user").await,
        ada.put("/user", json!({"user": {"bio": "x"}})).await,
        ada.post("/articles", crate::client::new_article("On", &[]))
            .await,
        ada.post_nothing("/profiles/bob/follow").await,
        ada.post_nothing(&format!("/articles/{article}/favorite"))
            .await,
        ada.post(
            &format!("/articles/{article}/comments"),
            json!({"comment": {"body": "x"}}),
        )
        .await,
    ] {
        answer.refuses(401, "token", "is invalid");
    }
    Ok(())
}

crate::tests![
    registering_answers_the_user_with_a_token,
    what_is_taken_is_named,
    a_registration_must_be_whole,
    passwords_are_8_characters_or_more,
    signing_in_does_not_tell_who_is_there,
    a_token_must_be_there_and_good,
    what_is_left_out_of_an_update_stays,
    an_update_is_refused_as_a_whole,
    a_new_password_ends_the_other_sessions,
    a_session_ends_unused_and_in_the_end,
    a_token_is_not_kept,
    who_was_deleted_is_nobody,
];
