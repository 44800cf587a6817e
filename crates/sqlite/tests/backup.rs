//! Copies of a database in use: they end, are whole, and take nobody's file.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use larder_core::models::{self, NewTag, Tag};
use larder_core::{Db, ErrorKind};
use larder_sqlite::migrate::connect;
use larder_sqlite::{Sqlite, SqliteOptions};
use rusqlite::Connection;
use tempfile::TempDir;

/// Makes a database of this many rows of 1,000 bytes.
fn fill(path: &Path, rows: u32) {
    let connection = connect(SqliteOptions::new(path)).unwrap();
    let insert = format!(
        "CREATE TABLE big (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
         INSERT INTO big SELECT i, randomblob(1000) FROM n"
    );
    connection.execute_batch(&insert).unwrap();
}

fn count(path: &Path, table: &str) -> i64 {
    let connection = Connection::open(path).unwrap();
    let count = format!("SELECT count(*) FROM {table}");
    connection.query_row(&count, [], |row| row.get(0)).unwrap()
}

/// The names in a directory that belong to backups under way.
fn partials(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(".partial"))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_ends_while_another_process_writes_all_the_time() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("app.db");
    fill(&path, 30_000);
    let store = Sqlite::open(&path).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (path, stop) = (path.clone(), Arc::clone(&stop));
        move || {
            let connection = Connection::open(path).unwrap();
            connection.busy_timeout(Duration::from_secs(5)).unwrap();
            let mut commits = 0;
            while !stop.load(Ordering::Relaxed) {
                let insert = "INSERT INTO big (body) VALUES (x'01'), (x'02')";
                commits += connection.execute(insert, []).unwrap() / 2;
            }
            commits
        }
    });
    let copy = directory.path().join("copy.db");
    let backup = tokio::time::timeout(Duration::from_secs(30), store.backup_to(&copy)).await;
    stop.store(true, Ordering::Relaxed);
    assert!(writer.join().unwrap() > 10);
    backup.expect("the backup ends").unwrap();
    let copied = count(&copy, "big");
    assert!(copied >= 30_000 && copied % 2 == 0, "{copied} rows");
    assert!(partials(directory.path()).is_empty());
}

#[tokio::test]
async fn an_indexed_decimal_is_backed_up() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("app.db");
    let connection = connect(SqliteOptions::new(&path)).unwrap();
    let table = "CREATE TABLE prices (amount TEXT COLLATE LARDER_DECIMAL NOT NULL UNIQUE) STRICT;
                 INSERT INTO prices VALUES ('9.5'), ('10')";
    connection.execute_batch(table).unwrap();
    let store = Sqlite::open(&path).await.unwrap();
    let copy = directory.path().join("copy.db");
    store.backup_to(&copy).await.unwrap();
    let copy = connect(SqliteOptions::new(copy)).unwrap();
    let largest = "SELECT amount FROM prices ORDER BY amount DESC LIMIT 1";
    let largest: String = copy.query_row(largest, [], |row| row.get(0)).unwrap();
    assert_eq!(largest, "10");
}

#[tokio::test]
async fn a_database_in_memory_is_backed_up() {
    let directory = TempDir::new().unwrap();
    let store = Sqlite::in_memory().await.unwrap();
    store.create_tables(&models::tables()).await.unwrap();
    let db = Db::new(store.clone());
    db.insert(NewTag::new("kept")).await.unwrap();
    let path = directory.path().join("copy.db");
    store.backup_to(&path).await.unwrap();
    let copy = Db::new(Sqlite::open(&path).await.unwrap());
    assert_eq!(copy.query::<Tag>().count().await.unwrap(), 1);
    db.insert(NewTag::new("later")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_elses_file_is_touched() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("app.db");
    fill(&path, 3_000);
    let store = Sqlite::open(&path).await.unwrap();
    let users = directory.path().join("copy.partial");
    fs::write(&users, "mine").unwrap();
    let target = directory.path().join("copy.db");
    // Of several backups under one name, one is kept, whole.
    let (one, two) = tokio::join!(store.backup_to(&target), store.backup_to(&target));
    assert!(one.is_ok() != two.is_ok(), "{one:?}, {two:?}");
    let refused = one.and(two).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Misuse);
    assert_eq!(count(&target, "big"), 3_000);
    assert_eq!(fs::read(&users).unwrap(), b"mine");
    assert_eq!(partials(directory.path()), ["copy.partial"]);
    // A file that is there already stays as it is, even if it is a link to nowhere.
    let refused = store.backup_to(&users).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Misuse);
    assert!(refused.to_string().contains("copy.partial"), "{refused}");
    assert_eq!(fs::read(&users).unwrap(), b"mine");
}

#[tokio::test]
async fn a_log_left_behind_is_not_played_into_a_backup() {
    let directory = TempDir::new().unwrap();
    let store = Sqlite::open(directory.path().join("app.db")).await.unwrap();
    fs::write(directory.path().join("copy.db-wal"), "old").unwrap();
    let target = directory.path().join("copy.db");
    let refused = store.backup_to(&target).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Misuse);
    assert!(refused.to_string().contains("copy.db-wal"), "{refused}");
    assert!(!target.exists());
}

#[tokio::test]
async fn a_target_that_cannot_be_is_named() {
    let directory = TempDir::new().unwrap();
    let store = Sqlite::open(directory.path().join("app.db")).await.unwrap();
    let missing = directory.path().join("missing").join("copy.db");
    fs::write(directory.path().join("file"), "").unwrap();
    let below_a_file = directory.path().join("file").join("copy.db");
    for target in [missing, below_a_file] {
        let error = store.backup_to(&target).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(!error.is_retryable());
        let said = error.to_string();
        let backup = format!("the backup `{}`", target.display());
        assert!(
            said.contains(&backup) && said.contains("directory"),
            "{said}"
        );
    }
    for target in ["", ":memory:", "file:copy.db"] {
        let error = store.backup_to(target).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misuse, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_backup_leaves_nothing() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("app.db");
    fill(&path, 60_000);
    let store = Sqlite::open(&path).await.unwrap();
    let copies = directory.path().join("copies");
    fs::create_dir(&copies).unwrap();
    let backup = tokio::spawn({
        let (store, target) = (store.clone(), copies.join("copy.db"));
        async move { store.backup_to(target).await }
    });
    while partials(&copies).is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    backup.abort();
    assert!(backup.await.unwrap_err().is_cancelled());
    let is_empty = || fs::read_dir(&copies).unwrap().next().is_none();
    for _ in 0..1_000 {
        if is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(is_empty(), "{:?}", partials(&copies));
    // The reader it used is as good as new.
    store.backup_to(copies.join("next.db")).await.unwrap();
}
