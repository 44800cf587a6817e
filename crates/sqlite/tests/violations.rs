//! What a refused write says, of tables that are not quite the model's.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use larder_core::rows::{Rows, Sink};
use larder_core::write::{InsertRows, Write, WriteOp};
use larder_core::{Db, Entity, ErrorKind, Flow, Id, Output, Result, Row, TxOptions, Value};
use larder_sqlite::{Sqlite, SqliteOptions};
use rusqlite::Connection;
use tempfile::TempDir;

#[derive(Entity, Clone, Debug, PartialEq)]
#[entity(table = "accounts")]
struct Account {
    #[key]
    id: i64,
    balance: i64,
    points: i32,
    level: i16,
}

#[derive(Entity, Clone, Debug, PartialEq)]
#[entity(table = "nodes")]
struct Node {
    #[key]
    id: Id<Node>,
    #[references(Node)]
    parent_id: Option<Id<Node>>,
    name: String,
}

async fn database(sql: &str) -> (TempDir, Db) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.db");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(sql).unwrap();
    drop(connection);
    let sqlite = Sqlite::open_with(SqliteOptions::new(path)).await.unwrap();
    (directory, Db::new(sqlite))
}

#[tokio::test]
async fn a_check_of_ones_own_is_no_overflow() {
    let (_directory, db) = database(
        "CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL, \
         points INTEGER NOT NULL CHECK (\"points\" BETWEEN -2147483648 AND 2147483647) \
         CHECK (\"points\" >= 0), \
         level INTEGER NOT NULL CHECK (level BETWEEN -32768 AND 32767) CHECK (level < 100), \
         CHECK (balance >= 0)) STRICT",
    )
    .await;
    let account = Account {
        id: 1,
        balance: 3,
        points: 3,
        level: 3,
    };
    db.insert(account.clone()).await.unwrap();
    for (change, kind, column) in [
        (Account::BALANCE.add(-5), ErrorKind::Check, None),
        (Account::POINTS.add(-5), ErrorKind::Check, None),
        (Account::LEVEL.add(200), ErrorKind::Check, None),
        (
            Account::BALANCE.add(i64::MAX),
            ErrorKind::Invalid,
            Some("balance"),
        ),
        (
            Account::POINTS.add(i32::MAX),
            ErrorKind::Invalid,
            Some("points"),
        ),
        (
            Account::LEVEL.add(i16::MAX),
            ErrorKind::Invalid,
            Some("level"),
        ),
    ] {
        let error = db.update::<Account>(1, change).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.table(), error.column()),
            (kind, Some("accounts"), column),
            "{error:?}"
        );
    }
    assert_eq!(db.find::<Account>(1).await.unwrap(), account);
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

#[tokio::test]
async fn references_are_checked_again_after_a_panic() {
    let (_directory, db) = database(
        "CREATE TABLE nodes (id INTEGER PRIMARY KEY, \
         parent_id INTEGER REFERENCES nodes (id), name TEXT NOT NULL) STRICT",
    )
    .await;
    let tx = db.begin(TxOptions::new()).await.unwrap();
    let row = |id| [Value::Int(id), Value::Null, Value::Text("a".into())];
    let mut write = Write::new(WriteOp::Insert(InsertRows {
        table: Node::TABLE,
        columns: vec![0, 1, 2],
        values: (0..20_000).flat_map(row).collect(),
        on_conflict: None,
    }));
    write.returning = Some(Output::Entity);
    let storage = Arc::clone(tx.storage());
    let panicking = tokio::spawn(async move { storage.write(write, Rows::new(Panics)).await });
    assert!(panicking.await.unwrap_err().is_panic());
    let orphan = Node {
        id: Id::new(1),
        parent_id: Some(Id::new(2)),
        name: "a".into(),
    };
    let error = tx.insert(orphan).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Reference, "{error:?}");
    tx.commit().await.unwrap();
    assert_eq!(db.query::<Node>().count().await.unwrap(), 0);
}
