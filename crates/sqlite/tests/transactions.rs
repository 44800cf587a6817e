//! What transactions do when something else stands in their way.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use larder_core::models::{self, NewTag, Tag};
use larder_core::rows::{Rows, Sink};
use larder_core::{Db, Error, ErrorKind, Flow, Result, Row, Select, Storage, TxOptions, Write};
use larder_sqlite::{JournalMode, Sqlite, SqliteOptions};
use rusqlite::Connection;
use tempfile::TempDir;

/// A file with the models' tables.
async fn file(options: impl FnOnce(SqliteOptions) -> SqliteOptions) -> (TempDir, Sqlite) {
    let directory = tempfile::tempdir().unwrap();
    let options = options(SqliteOptions::new(directory.path().join("test.db")));
    let sqlite = Sqlite::open_with(options).await.unwrap();
    sqlite.create_tables(&models::tables()).await.unwrap();
    (directory, sqlite)
}

/// The lock another process would hold.
fn locked(directory: &TempDir, sql: &str) -> Connection {
    let other = Connection::open(directory.path().join("test.db")).unwrap();
    other.execute_batch(sql).unwrap();
    other
}

fn late(after: Duration) -> TxOptions {
    let mut options = TxOptions::new();
    options.deadline = Some(Instant::now() + after);
    options
}

#[track_caller]
fn timed_out<T: std::fmt::Debug>(outcome: Result<T>, started: Instant) {
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    let waited = started.elapsed();
    assert!(waited < Duration::from_secs(2), "waited {waited:?}");
}

#[tokio::test]
async fn beginning_to_write_ends_by_its_deadline() {
    let (directory, sqlite) = file(|options| options).await;
    let other = locked(&directory, "BEGIN IMMEDIATE");
    let started = Instant::now();
    timed_out(
        sqlite.begin(late(Duration::from_millis(200))).await,
        started,
    );
    drop(other);
    let started = Instant::now();
    let tx = Db::new(sqlite.clone());
    tx.insert(NewTag::new("free again")).await.unwrap();
    let waited = started.elapsed();
    assert!(waited < Duration::from_secs(2), "waited {waited:?}");
}

#[tokio::test]
async fn beginning_to_read_ends_by_its_deadline() {
    let (directory, sqlite) = file(|options| options.journal_mode(JournalMode::Rollback)).await;
    let other = locked(&directory, "BEGIN EXCLUSIVE");
    let started = Instant::now();
    let begun = sqlite.begin(late(Duration::from_millis(200)).read_only());
    timed_out(begun.await, started);
    drop(other);
    sqlite.begin(TxOptions::new().read_only()).await.unwrap();
}

#[tokio::test]
async fn closing_does_not_wait_for_ever() {
    let (_directory, sqlite) =
        file(|options| options.busy_timeout(Duration::from_millis(200))).await;
    let db = Db::new(sqlite.clone());
    let tx = db.begin(TxOptions::new()).await.unwrap();
    tx.insert(NewTag::new("kept")).await.unwrap();
    let error = sqlite.close().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error:?}");
    assert!(error.message().contains("transaction"), "{error}");
    let refused = |error: Error| assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}");
    refused(db.begin(TxOptions::new()).await.unwrap_err());
    refused(db.insert(NewTag::new("late")).await.unwrap_err());
    refused(db.query::<Tag>().count().await.unwrap_err());
    tx.commit().await.unwrap(); // what was begun may be finished
    refused(db.begin(TxOptions::new()).await.unwrap_err());
    sqlite.close().await.unwrap();
    sqlite.close().await.unwrap();
}

/// Panics at the first row.
struct Panics;

impl Sink for Panics {
    fn row(&mut self, _: &dyn Row) -> Result<Flow> {
        panic!("on purpose")
    }

    fn restart(&mut self) -> bool {
        true
    }
}

fn insert(rows: usize) -> Write {
    use larder_core::write::{InsertRows, WriteOp};
    let name = |n: usize| larder_core::Value::Text(format!("tag {n}").into());
    let mut write = Write::new(WriteOp::Insert(InsertRows {
        table: <Tag as larder_core::Entity>::TABLE,
        columns: vec![Tag::NAME.index()],
        values: (0..rows).map(name).collect(),
        on_conflict: None,
    }));
    write.returning = Some(larder_core::Output::Entity);
    write
}

#[tokio::test]
async fn a_panic_while_rows_come_back_leaves_the_write_whole_or_undone() {
    let (_directory, sqlite) = file(|options| options).await;
    let db = Db::new(sqlite);
    for rows in [1, 100] {
        let tx = db.begin(TxOptions::new()).await.unwrap();
        tx.insert(NewTag::new("before")).await.unwrap();
        let storage = std::sync::Arc::clone(tx.storage());
        let panicking =
            tokio::spawn(async move { storage.write(insert(rows), Rows::new(Panics)).await });
        assert!(panicking.await.unwrap_err().is_panic());
        let left = tx.query::<Tag>().count().await.unwrap();
        assert!([1, 1 + rows as u64].contains(&left), "{left} of {rows}");
        tx.insert(NewTag::new("after")).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(db.query::<Tag>().delete().await.unwrap(), left + 1);
    }
}

#[tokio::test]
async fn a_panic_while_reading_leaves_the_transaction_usable() {
    let (_directory, sqlite) = file(|options| options).await;
    let db = Db::new(sqlite);
    let tx = db.begin(TxOptions::new()).await.unwrap();
    tx.insert(NewTag::new("before")).await.unwrap();
    let storage = std::sync::Arc::clone(tx.storage());
    let select = Select::new(<Tag as larder_core::Entity>::TABLE);
    let panicking = tokio::spawn(async move { storage.read(select, Rows::new(Panics)).await });
    assert!(panicking.await.unwrap_err().is_panic());
    tx.insert(NewTag::new("after")).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(db.query::<Tag>().count().await.unwrap(), 2);
}

#[tokio::test]
async fn a_stream_of_the_same_transaction_is_named() {
    let (_directory, sqlite) = file(|options| options).await;
    let db = Db::new(sqlite);
    let tags = (0..5_000).map(|n| NewTag::new(format!("tag {n}")));
    db.insert_all(tags).await.unwrap();
    let tx = db.begin(TxOptions::new()).await.unwrap();
    let mut stream = tx.query::<Tag>().stream();
    stream.next().await.unwrap().unwrap();
    let started = Instant::now();
    for error in [
        tx.insert(NewTag::new("a")).await.unwrap_err(),
        tx.query::<Tag>().count().await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Misuse, "{error:?}");
        assert!(error.message().contains("stream"), "{error}");
    }
    assert!(started.elapsed() < Duration::from_secs(3));
    let short = tx.with_timeout(Duration::from_millis(50));
    short.insert(NewTag::new("a")).await.unwrap_err();
    drop(stream);
    tx.insert(NewTag::new("a")).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(db.query::<Tag>().count().await.unwrap(), 5_001);
}

/// Whether the future is ready the first time it is asked, with the only blocking thread busy.
async fn at_once<T>(future: &mut (impl Future<Output = T> + Unpin)) -> bool {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let busy = tokio::task::spawn_blocking(move || released.recv().unwrap());
    let ready = std::future::poll_fn(|context| {
        std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_ready())
    });
    let ready = ready.await;
    release.send(()).unwrap();
    busy.await.unwrap();
    ready
}

async fn ends_at_once(db: &Db, rows: usize) {
    let short = rows < 100;
    for commit in [true, false] {
        let tx = db.begin(TxOptions::new()).await.unwrap();
        let tags = (0..rows).map(|n| NewTag::new(format!("tag {n}")));
        tx.insert_all(tags).await.unwrap();
        let mut ending: std::pin::Pin<Box<dyn Future<Output = Result<()>>>> = if commit {
            Box::pin(tx.commit())
        } else {
            Box::pin(tx.rollback())
        };
        let ended = at_once(&mut ending).await;
        assert_eq!(ended, short, "{rows} rows, commit: {commit}");
        if !ended {
            ending.await.unwrap();
        }
        let left = if commit { rows as u64 } else { 0 };
        assert_eq!(db.query::<Tag>().delete().await.unwrap(), left);
    }
}

#[test]
fn only_a_short_transaction_ends_on_the_calling_task() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let (_directory, sqlite) = file(|options| options).await;
        let db = Db::new(sqlite);
        ends_at_once(&db, 1).await;
        ends_at_once(&db, 1_000).await;
    });
}
