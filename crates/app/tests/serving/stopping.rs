//! How it ends when it is asked to.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::server::{Connection, Server};

#[test]
fn a_request_in_flight_is_answered() {
    let place = tempfile::tempdir().expect("a directory");
    let mut server = Server::start(place.path(), &[]);
    let user = json!({"user": {
        "username": "ada", "email": "ada@example.com", "password": "correct horse"
    }})
    .to_string();
    let mut connection = server.connect();
    let head = format!(
        "POST /api/users HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        user.len()
    );
    let (first, rest) = user.split_at(10);
    connection
        .write(format!("{head}{first}").as_bytes())
        .expect("sent");
    // it has begun to read it once it answers somebody who came later
    let ready = server.connect().send("GET", "/readyz", None, None);
    assert_eq!(ready.expect("an answer").status, 200);
    server.terminate();
    refuses_others(&server);
    connection.write(rest.as_bytes()).expect("sent");
    let answer = connection.read().expect("an answer");
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(server.wait(), 0);
    let again = Server::start(place.path(), &[]);
    let login = json!({"user": {"email": "ada@example.com", "password": "correct horse"}});
    let answer = again
        .connect()
        .send("POST", "/api/users/login", None, Some(&login));
    assert_eq!(answer.expect("an answer").status, 200);
}

/// New connections are not taken any more.
fn refuses_others(server: &Server) {
    let started = Instant::now();
    while Connection::to(&server.address).is_ok() {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "it still listens"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_request_that_does_not_end_is_not_waited_for() {
    let place = tempfile::tempdir().expect("a directory");
    let mut server = Server::start(place.path(), &["--stop-timeout", "200ms"]);
    let mut connection = server.connect();
    let begun = "POST /api/users HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                 content-length: 100\r\n\r\n{";
    connection.write(begun.as_bytes()).expect("sent");
    let ready = server.connect().send("GET", "/readyz", None, None);
    assert_eq!(ready.expect("an answer").status, 200);
    let started = Instant::now();
    server.terminate();
    assert_eq!(server.wait(), 1, "and it says so");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn silent_connections_and_live_feeds_do_not_hold_it_up() {
    let place = tempfile::tempdir().expect("a directory");
    let mut server = Server::start(place.path(), &[]);
    let mut idle = server.connect();
    assert_eq!(
        idle.send("GET", "/healthz", None, None)
            .expect("an answer")
            .status,
        200
    );
    let mut live = server.connect();
    let answer = live.send("GET", "/api/live", None, None).expect("a head");
    assert!(answer.head.contains("text/event-stream"));
    let started = Instant::now();
    server.terminate();
    assert_eq!(server.wait(), 0);
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_client_that_sends_nonsense_gets_a_4xx() {
    let place = tempfile::tempdir().expect("a directory");
    let server = Server::start(place.path(), &[]);
    for nonsense in [
        "GET\r\n\r\n",
        "\0\0\0\0\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET /a b HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nbad header\r\n\r\n",
        "POST /api/users HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n",
        "POST /api/users HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        "POST /api/users HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-type: application/json\r\n\r\nZZ\r\n",
    ] {
        let mut connection = server.connect();
        connection.write(nonsense.as_bytes()).expect("sent");
        let answer = connection.read().expect("an answer");
        assert!(
            (400..500).contains(&answer.status),
            "{nonsense:?}: {answer:?}"
        );
    }
    let answer = server.connect().send("GET", "/healthz", None, None);
    assert_eq!(answer.expect("an answer").status, 200);
}
