//! Input that means no good, or makes no sense: a 4xx that says why, and nothing half-written.

use std::sync::Arc;

use axum::body::Body;
use http::{Method, Request, header};
use larder::Result;
use larder::models::{Post, Tag, User};
use larder_tests::hot::HotEngine;
use serde_json::{Value, json};

use crate::app::{Setup, TestApp};
use crate::client::{Answer, Article, Client, PASSWORD, new_article};

/// A refusal in the API's own form, which says something.
#[track_caller]
fn refused(answer: &Answer, what: &str) {
    let errors = answer.body["errors"].as_object();
    let said = errors.is_some_and(|errors| {
        !errors.is_empty() && errors.values().all(|messages| messages[0].is_string())
    });
    assert!(
        answer.status.is_client_error() && said,
        "{what}: {answer:?}"
    );
}

async fn bodies_that_are_no_json(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let visitor = app.visitor();
    let deep = "[".repeat(100_000);
    let bodies: [&[u8]; 14] = [
        b"",
        b"{",
        b"null",
        b"[]",
        b"7",
        b"\"user\"",
        b"{\"user\":[]}",
        b"{\"user\":\"x\"}",
        b"{'user':{}}",
        b"{\"user\":{\"username\":\"\xff\xfe\"}}",
        br#"{"user":{"username":"\ud800","email":"a@b.co","password":"12345678"}}"#,
        br#"{"user":{"username":"\udc00\ud800","email":"a@b.co","password":"12345678"}}"#,
        br#"{"user":{"username":1e999,"email":"a@b.co","password":"12345678"}}"#,
        deep.as_bytes(),
    ];
    for body in bodies {
        for path in ["/users", "/users/login"] {
            let answer = visitor.post_bytes(path, body).await.ends(422);
            refused(&answer, &String::from_utf8_lossy(body));
        }
    }
    assert_eq!(app.db.query::<User>().count().await?, 0);
    Ok(())
}

async fn values_of_other_types(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let ada = app.user("ada").await;
    ada.publish("On", &[]).await;
    for wrong in [
        json!(1),
        json!(true),
        json!([]),
        json!({}),
        json!(["x"]),
        json!(1.5),
    ] {
        for field in ["username", "email", "password"] {
            let mut user = json!({"username": "x", "email": "x@example.com", "password": PASSWORD});
            user[field] = wrong.clone();
            let answer = ada.post("/users", json!({"user": user})).await;
            answer.refuses(422, field, "must be a text");
        }
        for field in ["username", "email", "password", "bio", "image"] {
            let answer = ada.put("/user", json!({"user": {field: wrong}})).await;
            answer.refuses(422, field, "must be a text");
        }
        for field in ["title", "description", "body"] {
            let mut body = new_article("x", &[]);
            body["article"][field] = wrong.clone();
            ada.post("/articles", body)
                .await
                .refuses(422, field, "must be a text");
            let answer = ada
                .put("/articles/on", json!({"article": {field: wrong}}))
                .await;
            answer.refuses(422, field, "must be a text");
        }
        let answer = ada
            .post("/articles/on/comments", json!({"comment": {"body": wrong}}))
            .await;
        answer.refuses(422, "body", "must be a text");
    }
    assert_eq!(app.db.query::<Post>().count().await?, 1);
    Ok(())
}

async fn texts_with_nul_or_too_long(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let ada = app.user("ada").await;
    ada.publish("On", &[]).await;
    let long = |chars: usize| "é".repeat(chars);
    for (field, most) in [("username", 100), ("bio", 10_000), ("image", 2_048)] {
        for bad in ["a\0b".to_owned(), long(most + 1)] {
            let answer = ada
                .put("/user", json!({"user": {field: bad}}))
                .await
                .ends(422);
            refused(&answer, field);
        }
        ada.put("/user", json!({"user": {field: long(most)}}))
            .await
            .ends(200);
    }
    for (field, most) in [("title", 200), ("description", 1_000), ("body", 200_000)] {
        for bad in ["a\0b".to_owned(), long(most + 1)] {
            let mut body = new_article("x", &["new"]);
            body["article"][field] = bad.into();
            let answer = ada.post("/articles", body).await.ends(422);
            refused(&answer, field);
        }
        let mut body = new_article("x", &[]);
        body["article"][field] = long(most).into();
        ada.post("/articles", body).await.ends(201);
    }
    for tags in [
        json!(["a\0b"]),
        json!([long(65)]),
        json!((0..51).map(|n| n.to_string()).collect::<Vec<_>>()),
    ] {
        let mut body = new_article("x", &[]);
        body["article"]["tagList"] = tags;
        refused(&ada.post("/articles", body).await.ends(422), "tagList");
    }
    for bad in ["a\0b".to_owned(), long(20_001)] {
        let comment = json!({"comment": {"body": bad}});
        refused(
            &ada.post("/articles/on/comments", comment).await.ends(422),
            "comment",
        );
    }
    let email = format!("{}@example.com", "x".repeat(300));
    let new = crate::client::new_user("bob", &email);
    refused(&ada.post("/users", new).await.ends(422), "email");
    assert_eq!(
        app.db.query::<Tag>().count().await?,
        0,
        "nothing half-written"
    );
    Ok(())
}

async fn paths_that_name_nothing(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let ada = app.user("ada").await;
    for path in [
        "",
        "/",
        "/none",
        "/users/",
        "/user/1",
        "/articles/",
        "/articles/a/b",
        "/profiles/",
        "/profiles/a%00b",
        "/profiles/%FF",
        "/articles/a%00b",
        "/articles/%FF%FE/comments",
        "/articles/a%00b/favorite",
    ] {
        let answer = ada.get(path).await;
        refused(&answer, path);
    }
    let long = format!("/articles/{}", "x".repeat(20_000));
    ada.get(&long).await.ends(404);
    for (method, path) in [
        (Method::DELETE, "/users"),
        (Method::PATCH, "/user"),
        (Method::POST, "/articles/feed"),
        (Method::PUT, "/tags"),
    ] {
        let answer = ada.send(ada.request(method, path, None)).await.ends(405);
        refused(&answer, path);
        assert!(answer.headers.contains_key(header::ALLOW), "{path}");
    }
    Ok(())
}

async fn headers_missing_and_twice(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let visitor = app.visitor();
    let body = || crate::client::new_user("ada", "ada@example.com").to_string();
    let with = |types: &[&str]| {
        let mut request = Request::post("/api/users");
        for one in types {
            request = request.header(header::CONTENT_TYPE, *one);
        }
        request.body(Body::from(body())).expect("a request")
    };
    for types in [
        &[][..],
        &["text/plain"],
        &["application/x-www-form-urlencoded"],
        &["application/json", "application/json"],
        &["application/jsonp"],
    ] {
        let answer = visitor.send(with(types)).await.ends(415);
        refused(&answer, &format!("{types:?}"));
    }
    assert_eq!(app.db.query::<User>().count().await?, 0);
    visitor
        .send(with(&["Application/JSON; charset=utf-8"]))
        .await
        .ends(201);
    Ok(())
}

async fn bodies_too_large(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let ada = app.user("ada").await;
    let mut body = new_article("On", &[]);
    body["article"]["body"] = "x".repeat(10 << 20).into();
    let answer = ada.post("/articles", body.clone()).await.ends(413);
    refused(&answer, "it says so");
    // and where the length is not told before
    let chunks = body.to_string().into_bytes();
    let chunks: Vec<_> = chunks.chunks(64 << 10).map(<[u8]>::to_vec).collect();
    let chunks = chunks.into_iter().map(Ok::<_, std::io::Error>);
    let mut request = ada.request(Method::POST, "/articles", Some(Vec::new()));
    *request.body_mut() = Body::from_stream(futures_util::stream::iter(chunks));
    let answer = ada.send(request).await.ends(413);
    refused(&answer, "it shows");
    assert_eq!(app.db.query::<Post>().count().await?, 0);
    let options = larder::service::ServiceOptions::default().body_bytes_max(100);
    let small = Setup::default().options(options).on(&engine).await?;
    let user = crate::client::new_user(&"x".repeat(50), "ada@example.com");
    small.visitor().post("/users", user).await.ends(413);
    Ok(())
}

/// What breaks software elsewhere is stored and shown as it is, or refused; nothing in between.
async fn naughty_strings(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let ada = app.user("ada").await;
    for text in naughty() {
        let mut body = new_article("On", &[]);
        for field in ["title", "description", "body"] {
            body["article"][field] = text.into();
        }
        body["article"]["tagList"] = json!([text]);
        let answer = ada.post("/articles", body).await;
        match answer.status.as_u16() {
            201 => {
                let article: Article = answer.read("article");
                assert_eq!(article.title, text.trim());
                assert_eq!(article.body.as_deref(), Some(text));
                assert_eq!(article.tag_list, [text.trim()]);
                check_ways_to(&ada, &article).await;
            }
            422 => refused(&answer, text),
            other => panic!("{other} for {text:?}"),
        }
    }
    Ok(())
}

/// A text as it stands in an address.
fn in_url(text: &str) -> String {
    text.bytes()
        .fold(String::new(), |url, byte| url + &format!("%{byte:02X}"))
}

/// The article is found by its slug and by its tag.
async fn check_ways_to(client: &Client, article: &Article) {
    let found = client.article(&in_url(&article.slug)).await;
    assert_eq!(&found, article);
    let tag = in_url(&article.tag_list[0]);
    let list = client.list(&format!("/articles?tag={tag}")).await;
    assert!(
        list.articles.iter().any(|one| one.slug == article.slug),
        "{article:?}"
    );
}

/// Of every kind that breaks something somewhere.
fn naughty() -> impl Iterator<Item = &'static str> {
    [
        "undefined",
        "NULL",
        "nil",
        "true",
        "0",
        "-1",
        "1/0",
        "NaN",
        "0x0",
        "1e1000",
        ",./;'[]\\-=",
        "<>?:\"{}|_+",
        "!@#$%^&*()`~",
        "$HOME",
        "%d%s%n",
        "../../../etc/passwd",
        "'; DROP TABLE posts; --",
        "1;DROP TABLE users",
        "' OR 1=1 -- 1",
        "%",
        "_",
        "\\",
        "<script>alert(0)</script>",
        "&lt;b&gt;",
        "{{7*7}}",
        "${7*7}",
        "{0}",
        "() { 0; }; touch x",
        "Ω≈ç√∫˜µ≤≥÷",
        "田中さんにあげて下さい",
        "사회과학원",
        "表ポあA鷗ŒéＢ逍Üßªąñ丂㐀𠀀",
        "😍👩🏽🇺🇸🇷🇺",
        "بِسْمِ اللَّه",
        "הָיְתָה",
        "\u{202b}test\u{202b}",
        "\u{202e}reversed",
        "\u{feff}bom",
        "a\u{200b}b",
        "Z̮̞̠͙͔ͅḀ̗̞͈̻̗Ḷ͙͎̯̹̞͓G̻O̭̗̮",
        "ﬀ ﬁ",
        "İI",
        "ǅ",
        "ẞ",
        "line\nbreak",
        "tab\tbed",
        "\u{1b}[31mred",
        "\u{7f}",
        "\u{80}",
        "\r\n\r\nHTTP/1.1 200 OK",
        "CON",
        "feed",
        "favorite",
        ".",
        "..",
        "/",
        "?x=1#y",
    ]
    .into_iter()
}

async fn parameters_are_never_a_server_error(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let ada = app.user("ada").await;
    ada.publish("On", &["x"]).await;
    for text in naughty() {
        let raw = in_url(text);
        for path in [
            format!("/articles?tag={raw}"),
            format!("/articles?author={raw}&favorited={raw}"),
            format!("/articles?limit={raw}"),
            format!("/articles?offset={raw}"),
            format!("/profiles/{raw}"),
            format!("/articles/{raw}"),
            format!("/articles/{raw}/comments"),
        ] {
            let answer = ada.get(&path).await;
            let status = answer.status.as_u16();
            assert!(matches!(status, 200 | 404 | 422), "{status} for {path}");
            if status != 200 {
                refused(&answer, &path);
            }
        }
    }
    Ok(())
}

async fn answers_carry_what_browsers_need(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let ada = app.user("ada").await;
    let preflight = Request::options("/api/articles")
        .header(header::ORIGIN, "https://conduit.example")
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "PUT")
        .header(
            header::ACCESS_CONTROL_REQUEST_HEADERS,
            "authorization,content-type",
        )
        .body(Body::empty())
        .expect("a request");
    let answer = ada.send(preflight).await.ends(200);
    assert_eq!(answer.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    for answer in [
        ada.get("/user").await.ends(200),
        ada.get("/none").await.ends(404),
    ] {
        assert_eq!(answer.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(answer.headers[header::X_FRAME_OPTIONS], "DENY");
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
        assert!(answer.headers.contains_key(header::CONTENT_SECURITY_POLICY));
        assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
    }
    let _: Value = ada.get("/user").await.body;
    Ok(())
}

crate::tests![
    bodies_that_are_no_json,
    values_of_other_types,
    texts_with_nul_or_too_long,
    paths_that_name_nothing,
    headers_missing_and_twice,
    bodies_too_large,
    naughty_strings,
    parameters_are_never_a_server_error,
    answers_carry_what_browsers_need,
];
