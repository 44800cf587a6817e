//! `larder copy`, between two SQLite files.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::{COMMENTS, POST_TAGS, POSTS, Place, Run, TAGS, USERS, lines, made_ready, user};

const ONE: &str = "sqlite://larder.db";
const TWO: &str = "sqlite://two.db";

impl Place {
    /// The seeded files in `larder.db`, with rows of the tables that have no files.
    pub(crate) fn seeded() -> Self {
        let place = Self::imported();
        place.sql(
            "INSERT INTO favorites VALUES (1, 3, 5), (1, 1, -7), (2, 1, 0);
             INSERT INTO follows VALUES (2, 1, 1), (1, 2, 2);
             UPDATE users SET password_hash = '$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$\
             aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g' WHERE id = 2",
        );
        place
    }

    /// Statements on `larder.db` by another hand than Larder's.
    pub(crate) fn sql(&self, sql: &str) {
        let connection = self.connection("larder.db");
        connection
            .execute_batch(&format!(
                "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON; {sql}"
            ))
            .expect("it runs");
    }

    fn connection(&self, file: &str) -> Connection {
        Connection::open(self.path().join(file)).expect("it opens")
    }

    /// All that a file holds, as text, password hashes too.
    pub(crate) fn dump(&self, file: &str) -> String {
        let connection = self.connection(file);
        let mut dump = String::new();
        for table in larder::models::tables() {
            let mut statement = connection
                .prepare(&format!("SELECT * FROM {} ORDER BY 1, 2", table.name))
                .expect("SQL");
            let mut rows = statement.query([]).expect("rows");
            while let Some(row) = rows.next().expect("a row") {
                for at in 0..table.columns.len() {
                    let value = row.get_ref(at).expect("a value");
                    write!(dump, "{value:?} ").expect("a text takes all");
                }
                dump += table.name;
                dump.push('\n');
            }
        }
        dump
    }

    fn copy(&self) -> Run {
        self.run(&["copy", ONE, TWO])
    }
}

#[test]
fn a_copy_holds_the_same_there_and_back() {
    let place = Place::seeded();
    place
        .copy()
        .ends(0)
        .says(&made_ready(0))
        .says("users              3 on both sides, hash ")
        .says("favorites          3 on both sides, hash ");
    place.run(&["copy", TWO, "sqlite://three.db"]).ends(0);
    assert_eq!(place.dump("larder.db"), place.dump("two.db"));
    assert_eq!(place.dump("larder.db"), place.dump("three.db"));
    let url = ["--database-url", "sqlite://three.db"];
    place.run(&["export", "out", url[0], url[1]]).ends(0);
    for (name, text) in [
        ("users", USERS),
        ("posts", POSTS),
        ("comments", COMMENTS),
        ("tags", TAGS),
        ("post_tags", POST_TAGS),
    ] {
        assert_eq!(place.read(&format!("out/{name}.ndjson")), text);
    }
    // New rows get keys after the largest.
    let copy = place.connection("three.db");
    copy.execute(
        "INSERT INTO users (email, name, created_at) VALUES ('n@b.co', 'N', 0)",
        [],
    )
    .expect("it inserts");
    assert_eq!(copy.last_insert_rowid(), 1_000_001);
}

#[test]
fn pages_of_any_size_copy_the_same() {
    let place = Place::seeded();
    place.run(&["copy", ONE, TWO, "--batch", "1", "-q"]).ends(0);
    assert_eq!(place.dump("larder.db"), place.dump("two.db"));
    place
        .run(&["copy", ONE, TWO, "--batch", "0"])
        .ends(2)
        .complains("--batch");
}

#[test]
fn a_killed_copy_goes_on() {
    const ROWS: u32 = 6_000;
    let place = Place::new();
    place.write("data/users.ndjson", lines(ROWS, user));
    place.run(&["import", "data"]).ends(0);
    let mut child = place
        .command(&["copy", ONE, TWO, "--batch", "1", "-q"])
        .spawn()
        .expect("it runs");
    wait_for_rows(&place.path().join("two.db"), 50);
    child.kill().expect("it was running"); // SIGKILL
    child.wait().expect("it ended");
    let there = users(&place.path().join("two.db"));
    assert!((50..ROWS).contains(&there), "{there}");
    place.copy().ends(0).says(", hash ").says(" there before");
    assert_eq!(place.dump("larder.db"), place.dump("two.db"));
}

/// How many users a file holds that may not be there yet.
fn users(file: &Path) -> u32 {
    if !file.exists() {
        return 0;
    }
    let count = Connection::open(file).and_then(|connection| {
        connection.query_row("SELECT count(*) FROM users", [], |row| row.get(0))
    });
    count.unwrap_or(0)
}

fn wait_for_rows(file: &Path, rows: u32) {
    let started = Instant::now();
    while users(file) < rows {
        assert!(started.elapsed() < Duration::from_mins(1), "no rows came");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_copy_killed_while_migrating_goes_on() {
    let place = Place::seeded();
    let up = ["migrate", "up", "--to", "2", "--database-url", TWO];
    place.run(&up).ends(0);
    place.copy().ends(0).says(&made_ready(2));
    assert_eq!(place.dump("larder.db"), place.dump("two.db"));
}

#[test]
fn what_was_copied_before_must_be_the_beginning_of_this_copy() {
    let place = Place::seeded();
    place.copy().ends(0);
    let copied = place.dump("two.db");
    let change = |sql: &str| {
        place.connection("two.db").execute_batch(sql).expect("SQL");
    };
    let undo = || {
        std::fs::remove_file(place.path().join("two.db")).expect("a file");
        place.copy().ends(0);
    };
    for (sql, complaint) in [
        (
            "INSERT INTO users (id, email, name, created_at) VALUES (5, 'x@y.zz', 'X', 0)",
            "users, key 5 is not in the source",
        ),
        (
            "INSERT INTO follows VALUES (1, 1, 0)",
            "follows, key (1, 1) is not in the source",
        ),
        (
            "UPDATE posts SET title = 'Other', status = 'draft' WHERE id = 3",
            "posts, key 3 differs in title, status",
        ),
        (
            "DELETE FROM favorites WHERE post_id = 1 AND user_id = 1",
            "favorites, key (1, 1) of the source is missing before key (1, 3)",
        ),
    ] {
        change(sql);
        place
            .copy()
            .ends(1)
            .complains(complaint)
            .complains("nothing was copied");
        undo();
    }
    // The end may be missing from any table.
    change("DELETE FROM favorites WHERE user_id = 2; DELETE FROM users WHERE id = 1000000");
    place.copy().ends(0).says("2 there before");
    assert_eq!(place.dump("two.db"), copied);
}

#[test]
fn rows_under_an_older_schema_are_left_alone() {
    let place = Place::seeded();
    let up = ["migrate", "up", "--to", "2", "--database-url", TWO];
    place.run(&up).ends(0);
    let insert = "INSERT INTO users (email, name, created_at) VALUES ('x@y.zz', 'X', 0)";
    place.connection("two.db").execute(insert, []).expect("SQL");
    place
        .copy()
        .ends(1)
        .complains("TO: `users` has rows under another schema")
        .complains("larder migrate up");
    place
        .run(&["copy", TWO, "sqlite://three.db"])
        .ends(1)
        .complains("FROM: its schema");
    assert!(!place.path().join("three.db").exists());
}

#[test]
fn what_cannot_be_held_is_told_before_anything_is_written() {
    let place = Place::seeded();
    place.sql(
        "UPDATE users SET bio = 'a' || char(0) || 'b' WHERE id = 2;
         UPDATE users SET created_at = 9223372036854775807 WHERE id = 1000000;
         UPDATE posts SET title = printf('%.201c', 'x'), status = 'lost' WHERE id = 3;
         UPDATE comments SET author_id = 77;
         UPDATE post_tags SET tag_id = 9 WHERE post_id = 1",
    );
    let told = [
        "users, key 2: bio: holds a NUL",
        "users, key 1000000: created_at: the stored Integer cannot be read as timestamp",
        "posts, key 3: title: is 201 characters long; at most 200 are allowed",
        "posts, key 3: status: ",
        "comments, key 7: author_id: there is no row 77 in users",
        "post_tags, key (1, 9): tag_id: there is no row 9 in tags",
    ];
    for arguments in [vec!["copy", ONE, TWO], vec!["copy", ONE, TWO, "--dry-run"]] {
        let mut run = place.run(&arguments).ends(3);
        for line in told {
            run = run.complains(line);
        }
        run.complains("FROM holds 6 values that TO cannot hold; nothing was written");
        assert!(!place.path().join("two.db").exists());
    }
}

#[test]
fn of_many_findings_some_are_shown() {
    let place = Place::new();
    place.write("data/users.ndjson", lines(50, user));
    place.run(&["import", "data"]).ends(0);
    place.sql("UPDATE users SET name = printf('%.101c', 'x')");
    let run = place.copy().ends(3).complains("and 30 more");
    let shown = run.err.lines().filter(|line| line.contains("at most 100"));
    assert_eq!(shown.count(), 20);
}

#[test]
fn a_dry_run_writes_nothing() {
    let place = Place::seeded();
    place
        .run(&["copy", ONE, TWO, "--dry-run"])
        .ends(0)
        .says("checked 15 rows: TO can hold them");
    assert!(!place.path().join("two.db").exists());
}

#[test]
fn pairs_that_make_no_sense_are_refused() {
    let place = Place::seeded();
    for (from, to, complaint) in [
        (ONE, ONE, "the same database"),
        (ONE, "sqlite:./larder.db", "the same database"),
        (ONE, "memory:", "TO: a database in memory"),
        ("sqlite::memory:", TWO, "FROM: a database in memory"),
        (ONE, "mysql://ada:hunter2@db", "TO: the database URL"),
        ("hunter2", TWO, "FROM: the database URL names no engine"),
    ] {
        let run = place.run(&["copy", from, to]).ends(2).complains(complaint);
        assert!(!run.err.contains("hunter2"), "{}", run.err);
    }
    place
        .run(&["copy", "sqlite://none.db", TWO])
        .ends(1)
        .complains("FROM: there is no database at `none.db`");
    place
        .run(&["copy", ONE, "sqlite://no/such/directory/two.db"])
        .ends(1)
        .complains("TO: ");
    place.write("text.db", "no database, but long enough\n".repeat(99));
    place
        .run(&["copy", ONE, "sqlite://text.db"])
        .ends(1)
        .complains("TO: ");
    assert!(!place.path().join("two.db").exists());
}
