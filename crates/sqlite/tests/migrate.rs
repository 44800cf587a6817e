//! Migrations on real files: atomic, once each, reversible, and honest about what differs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "migrate/concurrent.rs"]
mod concurrent;
#[path = "migrate/down.rs"]
mod down;
#[path = "migrate/rebuild.rs"]
mod rebuild;
#[path = "migrate/up.rs"]
mod up;

use larder_core::migration::{MigrationState, Migrations};
use larder_sqlite::SqliteOptions;
use larder_sqlite::migrate::{Migrator, connect};
use rusqlite::Connection;

/// A set of two tables with their ways back.
const NOTES: &[(&str, &str)] = &[
    (
        "V1__create_notes.sql",
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT) STRICT;\n",
    ),
    ("V1__create_notes.down.sql", "DROP TABLE notes;\n"),
    (
        "V2__create_marks.sql",
        "CREATE TABLE marks (id INTEGER PRIMARY KEY) STRICT;\n",
    ),
    ("V2__create_marks.down.sql", "DROP TABLE marks;\n"),
];

fn migrator(files: &[(&str, &str)]) -> Migrator {
    Migrator::new(Migrations::from_files(files).unwrap())
}

/// The set of [`NOTES`] and more files.
fn notes_and(more: &[(&str, &str)]) -> Migrator {
    migrator(&[NOTES, more].concat())
}

fn memory() -> Connection {
    connect(SqliteOptions::in_memory()).unwrap()
}

/// The names of the user's tables, in order.
fn tables(connection: &Connection) -> Vec<String> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table'
        AND name NOT LIKE 'sqlite%' AND name NOT LIKE 'refinery%' AND name NOT LIKE 'larder%'
        ORDER BY name";
    let mut statement = connection.prepare(sql).unwrap();
    let names = statement.query_map([], |row| row.get(0)).unwrap();
    names.collect::<Result<_, _>>().unwrap()
}

fn states(migrator: &Migrator, connection: &Connection) -> Vec<(i32, MigrationState)> {
    let status = migrator.status(connection).unwrap();
    status
        .iter()
        .map(|line| (line.version, line.state))
        .collect()
}

fn one<T: rusqlite::types::FromSql>(connection: &Connection, sql: &str) -> T {
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}
