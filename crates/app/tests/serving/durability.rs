//! Killed under load: what was acknowledged is there afterwards.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use larder_tests::databases::Databases;
use serde_json::{Value, json};

use crate::server::{Connection, PATIENCE, Server};

/// How many write at a time.
const WRITERS: usize = 4;
/// How often it is killed.
const ROUNDS: usize = 3;
/// How many writes are acknowledged before it is.
const WRITES: usize = 40;

/// What was acknowledged: articles by slug, comments by the article's slug and their key.
#[derive(Default)]
struct Journal {
    articles: Vec<String>,
    comments: Vec<(String, i64)>,
}

#[test]
fn what_was_acknowledged_is_there_on_sqlite() {
    let place = tempfile::tempdir().expect("a directory");
    survives(place.path(), "sqlite://kept.db");
}

#[test]
fn what_was_acknowledged_is_there_on_postgres() {
    let place = tempfile::tempdir().expect("a directory");
    let databases = Databases::open().expect("PostgreSQL, to test on");
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let database = runtime.expect("a runtime").block_on(databases.empty());
    let database = database.expect("a database");
    survives(place.path(), &database.url());
}

fn survives(place: &Path, url: &str) {
    let mut journals: Vec<Journal> = Vec::new();
    let mut tokens: Vec<String> = Vec::new();
    for round in 0..ROUNDS {
        let server = Server::start(place, &["--database-url", url, "--rate-limits", "false"]);
        if round == 0 {
            let mut connection = server.connect();
            tokens.extend((0..WRITERS).map(|writer| connection.register(&format!("w{writer}"))));
        }
        check(&server, &journals, &tokens[0]);
        journals.extend(write_until_killed(server, &tokens, round));
    }
    let server = Server::start(place, &["--database-url", url, "--rate-limits", "false"]);
    check(&server, &journals, &tokens[0]);
    let articles: usize = journals.iter().map(|journal| journal.articles.len()).sum();
    let comments: usize = journals.iter().map(|journal| journal.comments.len()).sum();
    assert!(articles + comments >= ROUNDS * WRITES);
}

/// Everybody writes until the process is gone; each keeps what was acknowledged.
fn write_until_killed(server: Server, tokens: &[String], round: usize) -> Vec<Journal> {
    let acknowledged = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (address, acknowledged) = (server.address.clone(), &acknowledged);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (address, token) = (address.clone(), &tokens[writer]);
                scope.spawn(move || {
                    write(&address, token, &format!("{round}-{writer}"), acknowledged)
                })
            })
            .collect();
        let started = Instant::now();
        while acknowledged.load(Ordering::Relaxed) < WRITES {
            assert!(started.elapsed() < PATIENCE, "nothing is written");
            thread::sleep(Duration::from_millis(1));
        }
        server.kill();
        let journals = writers.into_iter().map(thread::ScopedJoinHandle::join);
        journals
            .map(|journal| journal.expect("it does not panic"))
            .collect()
    })
}

fn write(address: &str, token: &str, name: &str, acknowledged: &AtomicUsize) -> Journal {
    let mut journal = Journal::default();
    let Ok(mut connection) = Connection::to(address) else {
        return journal;
    };
    for number in 0.. {
        let article = json!({"article": {
            "title": format!("{name} {number}"), "description": "d", "body": "b", "tagList": ["t"]
        }});
        let Some(answer) = stored(&mut connection, "/api/articles", token, &article) else {
            return journal;
        };
        let slug = answer["article"]["slug"]
            .as_str()
            .expect("a slug")
            .to_owned();
        journal.articles.push(slug.clone());
        acknowledged.fetch_add(1, Ordering::Relaxed);
        let comment = json!({"comment": {"body": name}});
        let path = format!("/api/articles/{slug}/comments");
        let Some(answer) = stored(&mut connection, &path, token, &comment) else {
            return journal;
        };
        let id = answer["comment"]["id"].as_i64().expect("a key");
        journal.comments.push((slug, id));
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    journal
}

/// The answer to a write that was acknowledged; `None` once the process is gone.
fn stored(connection: &mut Connection, path: &str, token: &str, body: &Value) -> Option<Value> {
    let answer = connection
        .send("POST", path, Some(token), Some(body))
        .ok()?;
    assert_eq!(answer.status, 201, "{}", answer.text);
    Some(answer.json())
}

/// Everything that was acknowledged is there, whole, and so are the sessions.
fn check(server: &Server, journals: &[Journal], token: &str) {
    let mut connection = server.connect();
    let mut get = |path: &str| {
        let answer = connection.send("GET", path, Some(token), None);
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    };
    for slug in journals.iter().flat_map(|journal| &journal.articles) {
        let article = get(&format!("/api/articles/{slug}"));
        assert_eq!(article["article"]["tagList"], json!(["t"]), "{slug}");
    }
    for (slug, id) in journals.iter().flat_map(|journal| &journal.comments) {
        let comments = get(&format!("/api/articles/{slug}/comments"));
        let comments = comments["comments"].as_array().expect("a list").clone();
        assert!(
            comments.iter().any(|one| one["id"] == *id),
            "{id} of {slug}"
        );
    }
}
