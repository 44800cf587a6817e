//! Where settings come from, and what happens at the start.

use std::fs;

use crate::server::{Server, command};

#[test]
fn flags_come_before_the_environment_and_that_before_the_file() {
    let place = tempfile::tempdir().expect("a directory");
    let file = "database-url = 'sqlite://file.db'\nmetrics = false\nbody-bytes-max = 50\n";
    fs::write(place.path().join("larder.toml"), file).expect("a file");
    let mut command = command(place.path());
    command.args([
        "serve",
        "--config",
        "larder.toml",
        "--listen",
        "127.0.0.1:0",
    ]);
    command
        .env("DATABASE_URL", "sqlite://environment.db")
        .env("LARDER_BODY_BYTES_MAX", "60");
    let server = Server::of(command.args(["--body-bytes-max", "70"]));
    assert!(place.path().join("environment.db").exists());
    assert!(!place.path().join("file.db").exists());
    let metrics = server.connect().send("GET", "/metrics", None, None);
    assert_eq!(metrics.expect("an answer").status, 404, "the file says so");
    for (length, status) in [(65, 422), (75, 413)] {
        let body = serde_json::Value::from("x".repeat(length - 2));
        let answer = server
            .connect()
            .send("POST", "/api/users", None, Some(&body));
        assert_eq!(answer.expect("an answer").status, status);
    }
}

#[test]
fn what_makes_no_sense_is_told() {
    let place = tempfile::tempdir().expect("a directory");
    fs::write(place.path().join("bad.toml"), "listne = 'x'").expect("a file");
    let blocked = Server::start(place.path(), &[]);
    for (arguments, code, complaint) in [
        (&["--config", "bad.toml"][..], 2, "listne"),
        (&["--config", "none.toml"], 1, "cannot be read"),
        (&["--request-timeout", "5"], 2, "a number and a unit"),
        (
            &["--origins", "https://a.example/path"],
            2,
            "an origin is written as",
        ),
        (&["--database-url", "mysql://x"], 2, "does not know"),
        (
            &["--listen", blocked.address.as_str()],
            1,
            "cannot be listened at",
        ),
    ] {
        let mut command = command(place.path());
        command
            .arg("serve")
            .args(arguments)
            .stderr(std::process::Stdio::piped());
        if arguments[0] != "--listen" {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let output = command.output().expect("it runs");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{err}");
        assert!(err.contains(complaint), "`{complaint}` is not in {err}");
    }
}

#[test]
fn sample_data_comes_once() {
    let place = tempfile::tempdir().expect("a directory");
    let server = Server::start(place.path(), &["--seed"]);
    assert!(server.greeting.contains("made ready by "));
    assert!(server.greeting.contains("sign in as ada@larder.example"));
    let login = serde_json::json!({"user": {
        "email": "ada@larder.example", "password": "correct horse"
    }});
    let answer = server
        .connect()
        .send("POST", "/api/users/login", None, Some(&login));
    assert_eq!(answer.expect("an answer").status, 200);
    let articles = server.connect().send("GET", "/api/articles", None, None);
    assert_eq!(articles.expect("an answer").json()["articlesCount"], 4);
    drop(server);
    let again = Server::start(place.path(), &["--seed"]);
    assert!(again.greeting.contains("not empty"), "{}", again.greeting);
    let articles = again.connect().send("GET", "/api/articles", None, None);
    assert_eq!(articles.expect("an answer").json()["articlesCount"], 4);
}

#[test]
fn several_may_start_at_once() {
    let place = tempfile::tempdir().expect("a directory");
    let servers: Vec<Server> = std::thread::scope(|scope| {
        let start = || scope.spawn(|| Server::start(place.path(), &[]));
        let starting: Vec<_> = (0..3).map(|_| start()).collect();
        let started = starting
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join);
        started.map(|server| server.expect("it starts")).collect()
    });
    let token = servers[0].connect().register("ada");
    for server in &servers {
        let user = server
            .connect()
            .send("GET", "/api/user", Some(&token), None);
        assert_eq!(user.expect("an answer").status, 200);
    }
}
