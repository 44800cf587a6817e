//! Several programs at once, and tables that others have locked.

use std::time::{Duration, Instant};

use larder_core::ErrorKind;
use larder_core::migration::MigrationState::*;

use super::*;

/// A table with rows, and an index that is made while others use it.
const INDEXED: &[(&str, &str)] = &[
    (
        "V1__create_events.sql",
        "CREATE TABLE events (id bigint, at timestamptz);
        INSERT INTO events SELECT n, now() FROM generate_series(1, 20000) AS n;",
    ),
    (
        "V2__index_events.sql",
        "-- no-transaction\nCREATE INDEX CONCURRENTLY events_at_idx ON events (at);",
    ),
    (
        "V3__create_more.sql",
        "CREATE TABLE more (id bigint PRIMARY KEY);",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_apply_each_migration_once() {
    for programs in [2, 8] {
        let (database, client) = fresh().await;
        let since = Instant::now();
        let run = |url: String| async move {
            let client = open(&url).await;
            migrator(INDEXED).up(&client, None).await.unwrap().len()
        };
        let tasks: Vec<_> = (0..programs)
            .map(|_| tokio::spawn(run(database.url())))
            .collect();
        let mut applied = 0;
        for task in tasks {
            applied += task.await.unwrap();
        }
        assert_eq!(applied, 3);
        assert!(since.elapsed() < Duration::from_mins(1));
        assert_eq!(log(&client).await, "up1 up2 up3");
        let valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'events_at_idx'::regclass";
        assert!(one::<bool>(&client, valid).await);
    }
}

#[tokio::test]
async fn waiting_for_the_lock_has_an_end() {
    let (database, client) = fresh().await;
    let slow = notes_and(&[("V3__slow.sql", "SELECT pg_sleep(3);")]);
    let migrating = open(&database.url()).await;
    let run = tokio::spawn(async move { slow.up(&migrating, None).await });
    while tables(&client).await.len() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let more = notes_and(&[("V3__slow.sql", "SELECT pg_sleep(3);")])
        .lock_timeout(Duration::from_millis(300));
    let since = Instant::now();
    let error = more.up(&client, None).await.unwrap_err();
    assert!((300..2_500).contains(&since.elapsed().as_millis()));
    assert!(error.kind() == ErrorKind::Busy && error.is_retryable());
    assert!(
        error.to_string().contains("the lock is with process"),
        "{error}"
    );
    // With nothing to do no one waits.
    assert!(
        migrator(NOTES)
            .up(&client, Some(1))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(run.await.unwrap().unwrap().len(), 3);
}

#[tokio::test]
async fn a_table_in_use_is_tried_again() {
    let migrator = notes_and(&[("V3__alter.sql", "ALTER TABLE notes ADD COLUMN more text;")])
        .table_lock_timeout(Duration::from_millis(100));
    let (database, client) = fresh().await;
    migrator.up(&client, Some(2)).await.unwrap();
    let holder = open(&database.url()).await;
    holder
        .batch_execute("BEGIN; SELECT * FROM notes")
        .await
        .unwrap();
    let run = async {
        let since = Instant::now();
        (migrator.up(&client, None).await, since.elapsed())
    };
    let release = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        // Between two attempts nobody waits for a migration that waits.
        let other = open(&database.url()).await;
        let since = Instant::now();
        other.batch_execute("SELECT * FROM notes").await.unwrap();
        assert!(since.elapsed() < Duration::from_millis(300));
        holder.batch_execute("COMMIT").await.unwrap();
    };
    let ((applied, took), ()) = tokio::join!(run, release);
    assert_eq!(applied.unwrap().len(), 1);
    assert!((800..5_000).contains(&took.as_millis()), "{took:?}");
}

#[tokio::test]
async fn a_lost_lock_stops_before_the_next_file() {
    let migrator = notes_and(&[
        ("V3__unlock.sql", "SELECT pg_advisory_unlock_all();"),
        ("V4__more.sql", "CREATE TABLE more (id int);"),
    ]);
    let (_database, client) = fresh().await;
    let error = migrator.up(&client, None).await.unwrap_err();
    assert!(error.is_unsupported(), "{error:?}");
    assert_eq!(
        states(&migrator, &client).await[2..],
        [(3, Applied), (4, Pending)]
    );
    assert_eq!(tables(&client).await, ["marks", "notes"]);
}
