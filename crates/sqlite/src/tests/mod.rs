//! The engine room's tests: a database with its readers and its writer, and nothing above them.

mod connection;
mod decimal;
mod snapshots;
mod violation;
mod writing;

use std::sync::Arc;

use rusqlite::Connection;
use tempfile::TempDir;

use crate::connection::Opener;
use crate::error::EngineError;
use crate::options::SqliteOptions;
use crate::readers::Readers;
use crate::write_batch::{Cost, JobOptions, Statements};
use crate::write_connection::WriteConnection;
use crate::writer::Writer;

/// A fresh database with one table: `t (id INTEGER PRIMARY KEY, body TEXT NOT NULL UNIQUE)`.
struct Rig {
    readers: Arc<Readers>,
    writer: Arc<Writer>,
    dir: TempDir,
}

type Result<T> = std::result::Result<T, EngineError>;

const INLINE: JobOptions = JobOptions {
    cost: Cost::Inline,
    statements: Statements::One,
    deadline: None,
};

impl Rig {
    fn new() -> Self {
        Self::with(|options| options)
    }

    fn with(configure: impl FnOnce(SqliteOptions) -> SqliteOptions) -> Self {
        let dir = TempDir::new().unwrap();
        let options = configure(SqliteOptions::new(dir.path().join("test.db")));
        let (readers, writer) = open(options);
        Self {
            readers,
            writer,
            dir,
        }
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("test.db")
    }

    async fn insert(&self, body: impl Into<String>) -> Result<i64> {
        insert(&self.writer, INLINE, body.into()).await
    }

    /// Counts the rows by a point read on a parked snapshot.
    fn count(&self) -> i64 {
        let mut lent = self.readers.try_lend().unwrap();
        count(lent.fresh().unwrap())
    }

    /// Reads until the reader has parked.
    fn park(&self) {
        for _ in 0..3 {
            self.count();
        }
    }
}

fn open(options: SqliteOptions) -> (Arc<Readers>, Arc<Writer>) {
    let opener = Opener::new(options);
    let opened = opener.writer().unwrap();
    let table = "CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, body TEXT NOT NULL UNIQUE)";
    opened.connection.execute_batch(table).unwrap();
    let connection = WriteConnection::new(opened, &opener).unwrap();
    let readers = Readers::open(&opener).unwrap();
    let connection = connection.with_gate(readers.gate());
    let writer = Writer::new(connection, opener.options().queue_max);
    (Arc::new(readers), Arc::new(writer))
}

async fn insert(writer: &Writer, options: JobOptions, body: String) -> Result<i64> {
    writer
        .submit(options, move |connection| insert_row(connection, &body))
        .await
}

fn insert_row(connection: &Connection, body: &str) -> Result<i64> {
    let mut statement = connection.prepare_cached("INSERT INTO t (body) VALUES (?1)")?;
    Ok(statement.insert([body])?)
}

fn count(connection: &Connection) -> i64 {
    let mut statement = connection.prepare_cached("SELECT count(*) FROM t").unwrap();
    statement.query_row([], |row| row.get(0)).unwrap()
}
