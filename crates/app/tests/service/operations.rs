//! What those see who run the service.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Method, Request, header};
use larder::Result;
use larder::models::User;
use larder::service::ServiceOptions;
use larder_tests::hot::HotEngine;
use serde_json::Value;

use crate::app::{Setup, TestApp};
use crate::client::{Answer, Client, new_user};

async fn at(client: &Client, path: &str) -> Answer {
    let request = Request::get(path).body(Body::empty()).expect("a request");
    client.send(request).await
}

async fn it_is_ready_until_its_store_is_gone(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let visitor = app.visitor();
    for path in ["/healthz", "/readyz"] {
        at(&visitor, path).await.ends(200);
    }
    app.db.close().await?;
    at(&visitor, "/healthz").await.ends(200);
    at(&visitor, "/readyz").await.ends(503);
    let answer = visitor.get("/articles").await;
    assert_eq!(answer.headers[header::RETRY_AFTER], "1");
    answer.refuses(503, "service", "is busy; try again");
    Ok(())
}

async fn what_happens_is_counted(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let ada = app.user("ada").await;
    ada.publish("On", &["x"]).await;
    for slug in ["on", "off", "none"] {
        ada.get(&format!("/articles/{slug}")).await;
    }
    ada.get("/nowhere/at/all").await.ends(404);
    let taken = new_user("ada", "ada@example.com");
    ada.post("/users", taken).await.ends(409);
    let metrics = at(&app.visitor(), "/metrics").await.ends(200).text;
    for line in [
        r#"larder_requests_total{method="POST",path="/api/users",status="201"} 1"#,
        r#"larder_requests_total{method="GET",path="/api/articles/{slug}",status="404"} 2"#,
        r#"larder_requests_total{method="GET",path="none",status="404"} 1"#,
        r#"larder_request_seconds_count{method="GET",path="/api/articles/{slug}"} 3"#,
        r#"larder_statement_errors_total{kind="write",error="unique"} 1"#,
        "larder_requests_in_flight 1",
    ] {
        assert!(
            metrics.lines().any(|one| one == line),
            "{line} is not in\n{metrics}"
        );
    }
    assert!(!metrics.contains("nowhere"), "paths are routes");
    let options = ServiceOptions::default().metrics(false);
    let silent = Setup::default().options(options).on(&engine).await?;
    at(&silent.visitor(), "/metrics").await.ends(404);
    Ok(())
}

async fn requests_have_names(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let visitor = app.visitor();
    let named = async |name: &str| {
        let request = Request::get("/healthz").header("x-request-id", name);
        let request = request.body(Body::empty()).expect("a request");
        let answer = visitor.send(request).await;
        let id = answer.headers["x-request-id"].to_str().expect("a text");
        id.to_owned()
    };
    assert_eq!(named("edge-1.a_B").await, "edge-1.a_B");
    for bad in ["", "a b", "a=b", &"x".repeat(65)] {
        let id = named(bad).await;
        assert!(id != bad && id.len() == 36, "{id}");
    }
    let (one, two) = (at(&visitor, "/healthz").await, at(&visitor, "/none").await);
    assert_ne!(one.headers["x-request-id"], two.headers["x-request-id"]);
    Ok(())
}

async fn long_answers_are_compressed(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let visitor = app.visitor();
    let mut request = visitor.request(Method::GET, "/docs", None);
    let gzip = "gzip".parse().expect("a header");
    request.headers_mut().insert(header::ACCEPT_ENCODING, gzip);
    let answer = visitor.send(request).await.ends(200);
    assert_eq!(answer.headers[header::CONTENT_ENCODING], "gzip");
    let plain = visitor.get("/docs").await.ends(200);
    assert!(!plain.headers.contains_key(header::CONTENT_ENCODING));
    Ok(())
}

async fn only_named_origins_may_call(engine: Arc<dyn HotEngine>) -> Result<()> {
    let origins = ["https://conduit.example".to_owned()];
    let options = ServiceOptions::default().origins(origins)?;
    let app = Setup::default().options(options).on(&engine).await?;
    let visitor = app.visitor();
    for (origin, allowed) in [
        ("https://conduit.example", Some("https://conduit.example")),
        ("https://evil.example", None),
    ] {
        let mut request = visitor.request(Method::GET, "/tags", None);
        let value = origin.parse().expect("a header");
        request.headers_mut().insert(header::ORIGIN, value);
        let answer = visitor.send(request).await.ends(200);
        let said = answer.headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        assert_eq!(said.and_then(|value| value.to_str().ok()), allowed);
    }
    Ok(())
}

async fn a_request_ends_in_time(engine: Arc<dyn HotEngine>) -> Result<()> {
    // hashing a password takes longer
    let options = ServiceOptions::default().request_timeout(Duration::from_millis(1));
    let app = Setup::default().options(options).on(&engine).await?;
    let visitor = app.visitor();
    let answer = visitor
        .post("/users", new_user("ada", "ada@example.com"))
        .await;
    assert!(answer.headers.contains_key(header::RETRY_AFTER));
    answer.refuses(503, "service", "is busy; try again");
    let users = app.db.query::<User>().count().await?;
    assert_eq!(users, 0, "nothing half-written");
    Ok(())
}

/// What the document names is served, and what is served below its paths it names.
async fn the_document_describes_what_is_served(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let ada = app.user("ada").await;
    let document = ada.get("/docs").await.ends(200).body;
    let paths = document["paths"].as_object().expect("paths");
    let mut operations = 0;
    for (path, described) in paths {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            let real = path.replace("{id}", "1").replace(['{', '}'], "");
            let lower = method.to_lowercase();
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            if real == "/live" && method == Method::GET {
                operations += 1; // it has no end
                continue;
            }
            let request = ada.request(method.clone(), &real, None);
            let answer = ada.send(request).await;
            let Value::Object(operation) = &described[&lower] else {
                assert_eq!(answer.status, 405, "{method} {path} is not described");
                continue;
            };
            operations += 1;
            let status = answer.status.as_str();
            assert!(
                operation["responses"].get(status).is_some(),
                "{method} {path} answered {status}, which is not described: {}",
                answer.text
            );
            let served = answer.body["errors"]["path"].is_null();
            assert!(served, "{method} {path} is not served");
        }
    }
    assert_eq!(operations, 21);
    check_references(&document, &document);
    Ok(())
}

/// Every `$ref` of the document leads to something.
fn check_references(document: &Value, part: &Value) {
    match part {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                let pointer = reference.trim_start_matches('#');
                assert!(document.pointer(pointer).is_some(), "{reference}");
            }
            for field in fields.values() {
                check_references(document, field);
            }
        }
        Value::Array(parts) => parts
            .iter()
            .for_each(|part| check_references(document, part)),
        _ => {}
    }
}

crate::tests![
    it_is_ready_until_its_store_is_gone,
    what_happens_is_counted,
    requests_have_names,
    long_answers_are_compressed,
    only_named_origins_may_call,
    a_request_ends_in_time,
    the_document_describes_what_is_served,
];
