//! Every command on PostgreSQL, and copies between it and SQLite.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use larder::models::{NewUser, PostTag, User};
use larder::{Db, Id};
use larder_tests::databases::{Database, Databases};
use tokio::runtime::Runtime;

use crate::{COMMENTS, POST_TAGS, POSTS, Place, TAGS, USERS, lines, made_ready, user};

const ONE: &str = "sqlite://larder.db";

/// A database of one test, empty at first.
struct Server {
    runtime: Runtime,
    database: Database,
}

impl Server {
    fn new() -> Self {
        // The server goes with the process.
        static DATABASES: OnceLock<Databases> = OnceLock::new();
        let databases =
            DATABASES.get_or_init(|| Databases::open().unwrap_or_else(|error| panic!("{error}")));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let database = runtime.block_on(databases.empty()).expect("a database");
        Self { runtime, database }
    }

    fn url(&self) -> String {
        self.database.url()
    }

    /// Runs a piece of code on the database by Larder.
    fn larder<T>(&self, work: impl AsyncFnOnce(&Db) -> larder::Result<T>) -> T {
        let url = self.url();
        let done = self.runtime.block_on(async {
            let db = larder::connect(&url).await?;
            let done = work(&db).await;
            db.close().await?;
            done
        });
        done.expect("it works")
    }

    fn users(&self) -> u64 {
        // There is no table at first.
        self.larder(async |db| Ok(db.query::<User>().count().await.unwrap_or(0)))
    }
}

pub(crate) fn assert_exported(place: &Place, dir: &str) {
    for (name, text) in [
        ("users", USERS),
        ("posts", POSTS),
        ("comments", COMMENTS),
        ("tags", TAGS),
        ("post_tags", POST_TAGS),
    ] {
        assert_eq!(place.read(&format!("{dir}/{name}.ndjson")), text);
    }
}

#[test]
fn every_command_works_on_postgres() {
    let (place, server) = (Place::with_data(), Server::new());
    let url = server.url();
    let run = |arguments: &[&str]| {
        let mut all = arguments.to_vec();
        all.extend(["--database-url", &url]);
        place.run(&all)
    };
    run(&["show", "users"])
        .ends(1)
        .complains("larder migrate up");
    run(&["migrate", "status"]).ends(0).says("pending");
    run(&["migrate", "up", "--to", "2"])
        .ends(0)
        .says("applied V2__create_posts");
    run(&["import", "data"])
        .ends(0)
        .says(&made_ready(2))
        .says("users              3 imported");
    run(&["migrate", "status"]).ends(0).says("applied  20");
    run(&["show", "posts", "--where", "status = published"])
        .ends(0)
        .says("1 of 1 posts");
    run(&["export", "out"]).ends(0);
    assert_exported(&place, "out");
    run(&["migrate", "down", "--to", "0", "--yes"])
        .ends(0)
        .says("undid V1__create_users");
}

#[test]
fn a_copy_to_postgres_and_back_holds_the_same() {
    let (place, server) = (Place::seeded(), Server::new());
    let url = server.url();
    place
        .run(&["copy", ONE, &url])
        .ends(0)
        .says(&made_ready(0))
        .says("favorites          3 on both sides, hash ");
    place
        .run(&["copy", ONE, &url])
        .ends(0)
        .says("3 there before");
    let arguments = ["export", "out", "--database-url", &url];
    place.run(&arguments).ends(0);
    assert_exported(&place, "out");
    place.run(&["copy", &url, "sqlite://three.db"]).ends(0);
    assert_eq!(place.dump("larder.db"), place.dump("three.db"));

    let other = Server::new();
    place.run(&["copy", &url, &other.url()]).ends(0);
    // New rows get keys after the largest.
    for server in [&server, &other] {
        let new = NewUser::without_password("new@example.com", "New").expect("it is valid");
        let new = server.larder(async |db| db.insert(new).await);
        assert_eq!(new.id, Id::new(1_000_001));
    }
}

#[test]
fn a_killed_copy_to_postgres_goes_on() {
    const ROWS: u32 = 3_000;
    let (place, server) = (Place::new(), Server::new());
    place.write("data/users.ndjson", lines(ROWS, user));
    place.run(&["import", "data"]).ends(0);
    let url = server.url();
    let mut child = place
        .command(&["copy", ONE, &url, "--batch", "1", "-q"])
        .spawn()
        .expect("it runs");
    let started = Instant::now();
    while server.users() < 20 {
        assert!(started.elapsed() < Duration::from_mins(1), "no rows came");
    }
    child.kill().expect("it was running"); // SIGKILL
    child.wait().expect("it ended");
    let there = server.users();
    assert!((20..u64::from(ROWS)).contains(&there), "{there}");
    place.run(&["copy", ONE, &url]).ends(0).says("there before");
    place.run(&["copy", &url, "sqlite://two.db"]).ends(0);
    assert_eq!(place.dump("larder.db"), place.dump("two.db"));
}

#[test]
fn what_postgres_cannot_hold_is_told_before_anything_is_written() {
    let (place, server) = (Place::seeded(), Server::new());
    place.sql(
        "UPDATE users SET created_at = -240000000000000000 WHERE id = 2;
         UPDATE comments SET content = 'a' || char(0)",
    );
    let url = server.url();
    place
        .run(&["copy", ONE, &url])
        .ends(3)
        .complains("users, key 2: created_at: is before 24 November 4714 BC")
        .complains("comments, key 7: content: holds a NUL")
        .complains("nothing was written");
    let status = ["migrate", "status", "--database-url", &url];
    let status = place.run(&status).ends(0);
    assert!(!status.out.contains("applied"), "{}", status.out);
}

#[test]
fn rows_of_others_and_missing_rights_are_told() {
    let (place, server) = (Place::seeded(), Server::new());
    let url = server.url();
    let mark = if url.contains('?') { '&' } else { '?' };
    let read_only = format!("{url}{mark}options=-c%20default_transaction_read_only%3Don");
    place
        .run(&["copy", ONE, &read_only])
        .ends(1)
        .complains("TO: ")
        .complains("check what this user may do");
    place.run(&["copy", ONE, &url]).ends(0);
    server.larder(async |db| {
        let tag = PostTag {
            post_id: Id::new(3),
            tag_id: Id::new(1),
            position: 0,
        };
        db.insert(tag).await
    });
    place
        .run(&["copy", ONE, &url])
        .ends(1)
        .complains("post_tags, key (3, 1) is not in the source");
    place
        .run(&["copy", &url, &url])
        .ends(2)
        .complains("the same database");
}

#[test]
fn servers_that_cannot_be_used_are_told_without_the_password() {
    let place = Place::seeded();
    let nowhere = "postgres://ada:hunter2@127.0.0.1:1/app";
    for (arguments, code, complaint) in [
        (vec!["copy", ONE, nowhere], 1, "TO: "),
        (vec!["copy", nowhere, ONE], 1, "FROM: "),
        (vec!["show", "users", "--database-url", nowhere], 1, ""),
        (
            vec!["copy", ONE, "postgres://ada:hunter2@h:port/app"],
            2,
            "TO: the PostgreSQL URL cannot be read",
        ),
    ] {
        let run = place.run(&arguments).ends(code).complains(complaint);
        assert!(!run.err.contains("hunter2"), "{}", run.err);
    }
}
