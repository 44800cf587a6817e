//! `larder import`: what is taken, what is refused, and what is left then.

use crate::{COMMENTS, Place, USERS, lines, user};
use std::process::{Command, Stdio};

#[test]
fn a_file_with_bad_lines_changes_nothing() {
    let place = Place::with_data();
    let good = USERS.lines().next().expect("a line");
    let bad = [
        good.to_owned(),
        "not json".to_owned(),
        good.replace("ada@example.com", "ada")
            .replace("\"id\":1,", "\"id\":2,"),
        good.replace("\"id\":1,", "\"id\":\"3\","),
        good.replace("2018-03-09T18:48:09.000Z", "2018-02-30T00:00:00Z"),
        good.replace("Ada Lovelace", "  "),
        good.replace("Ada Lovelace", &"x".repeat(101)),
        good.replace("\"bio\"", "\"biography\""),
        good.replace("\"name\":\"Ada Lovelace\",", ""),
        good.replace("Ada Lovelace", "a\\u0000b"),
        good.replace("\"id\":1,", "\"id\":1,\"id\":2,"),
        good.replace("18:48:09.000Z", "18:48:09.0000001Z"),
    ];
    place.write("data/users.ndjson", bad.join("\n"));
    let run = place.run(&["import", "data"]).ends(3);
    let run = run
        .complains("users.ndjson:2: column 2: not a JSON object")
        .complains("users.ndjson:3: email: \"ada\" is not an email address")
        .complains("users.ndjson:4: id: a whole number is expected, found a text")
        .complains("users.ndjson:5: created_at: \"2018-02-30T00:00:00Z\" is not a timestamp")
        .complains(
            "users.ndjson:6: name: \"  \" must not be blank"
                .replace("  ", " ")
                .as_str(),
        )
        .complains("users.ndjson:7: name: is 101 characters long; at most 100")
        .complains("users.ndjson:8: unknown field \"biography\"; users has id, email")
        .complains("users.ndjson:9: name: is missing")
        .complains("users.ndjson:10: name: holds a NUL")
        .complains("users.ndjson:11: id: stands there twice")
        .complains("users.ndjson:12: created_at:")
        .complains("has 11 bad lines; nothing of it was imported")
        .complains("4 files after it were not read");
    assert!(!run.err.contains("users.ndjson:1:"));
    assert!(place.rows("users").is_empty());

    place.write("only/users.ndjson", bad.join("\n"));
    place
        .run(&["import", "only", "--skip-bad"])
        .ends(0)
        .says("1 imported, 11 bad, left out");
    assert_eq!(place.rows("users").len(), 1);
}

#[test]
fn many_bad_lines_are_counted() {
    let place = Place::new();
    place.write("data/tags.ndjson", "{\"id\":0}\n".repeat(2_500));
    let run = place.run(&["import", "data"]).ends(3);
    let run = run
        .complains("tags.ndjson:20:")
        .complains("and 2,480 more")
        .complains("2,500 bad lines");
    assert!(!run.err.contains("tags.ndjson:21:"));
}

#[test]
fn what_the_database_refuses_is_told_by_line() {
    let place = Place::imported();
    let again = place.run(&["import", "data"]).ends(3);
    again
        .complains("users.ndjson:1: id: 1 is there already")
        .complains("--on-conflict ignore")
        .complains("4 files after it were not read");
    place
        .run(&["import", "data", "--on-conflict", "ignore"])
        .ends(0)
        .says("users              0 imported, 3 there already");

    // Another key with the same email is refused all the same.
    let taken = USERS
        .lines()
        .next()
        .expect("a line")
        .replace("\"id\":1,", "\"id\":5,")
        .replace("\"ada\"", "\"ada-5\"");
    place.write("more/users.ndjson", taken);
    place
        .run(&["import", "more", "--on-conflict", "ignore"])
        .ends(3)
        .complains("users.ndjson:1: email: \"ada@example.com\" is there already (constraint `users_email_key`)");

    let orphan = COMMENTS
        .replace("\"id\":7", "\"id\":8")
        .replace("\"post_id\":1", "\"post_id\":99");
    let fine = COMMENTS.replace("\"id\":7", "\"id\":9");
    place.write("orphans/comments.ndjson", orphan + &fine);
    place
        .run(&["import", "orphans"])
        .ends(3)
        .complains("comments.ndjson:1: post_id: there is no row 99 in posts");
    assert_eq!(place.rows("comments").len(), 1);
    place
        .run(&["import", "orphans", "--skip-bad"])
        .ends(0)
        .says("1 imported, 1 bad, left out");
    assert_eq!(place.rows("comments").len(), 2);
}

#[test]
fn rows_that_were_not_tried_are_not_counted() {
    let place = Place::new();
    let tags = lines(1_500, |id| format!("{{\"id\":{id},\"name\":\"tag {id}\"}}"));
    place.write("data/tags.ndjson", tags);
    place.run(&["import", "data"]).ends(0);
    place
        .run(&["import", "data"])
        .ends(3)
        .complains("and 980 more, or yet more")
        .complains("at least 1,000 bad lines");
}

#[test]
fn more_rows_than_a_batch_are_one_unit() {
    let place = Place::new();
    let tags = lines(2_600, |id| format!("{{\"id\":{id},\"name\":\"tag {id}\"}}"));
    place.write(
        "data/tags.ndjson",
        tags.clone() + "{\"id\":2601,\"name\":\"tag 5\"}\n",
    );
    place
        .run(&["import", "data"])
        .ends(3)
        .complains("tags.ndjson:2601: name: \"tag 5\" is there already");
    place.write("data/tags.ndjson", &tags);
    place
        .run(&["import", "data"])
        .ends(0)
        .says("2,600 imported");
    place.run(&["export", "out"]).ends(0);
    assert_eq!(place.read("out/tags.ndjson"), tags);
}

#[test]
fn a_memory_database_checks_files() {
    let place = Place::with_data();
    for url in ["memory:", "sqlite::memory:"] {
        let run = place
            .run(&["import", "data", "--database-url", url])
            .ends(0);
        run.says("comments           1 imported");
    }
    assert!(!place.path().join("larder.db").exists());
}

#[cfg(unix)]
#[test]
fn an_interrupted_import_leaves_nothing() {
    let place = Place::new();
    place.write("data/users.ndjson", lines(100_000, user));
    place.run(&["migrate", "up"]).ends(0);
    let child = place
        .command(&["import", "data"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    std::thread::sleep(std::time::Duration::from_millis(400));
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .expect("it runs")
            .success()
    );
    let output = child.wait_with_output().expect("it ends");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{err}");
    assert!(err.contains("interrupted"), "{err}");
    assert!(place.rows("users").is_empty());
}
