//! Migrations on PostgreSQL: atomic, once each, reversible, resumed where one died.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod concurrent;
mod down;
mod drift;
mod killed;
mod stepwise;
mod up;

use std::sync::LazyLock;

use larder_core::migration::{MigrationState, Migrations};
use larder_postgres::migrate::Migrator;
use larder_tests::databases::{Database, Databases};
use tokio_postgres::types::FromSqlOwned;
use tokio_postgres::{Client, NoTls};

/// The server of all the tests; it ends with the process.
static SERVER: LazyLock<Databases> = LazyLock::new(|| Databases::open().unwrap());

/// A set of two tables with their ways back.
const NOTES: &[(&str, &str)] = &[
    (
        "V1__create_notes.sql",
        "CREATE TABLE notes (id bigint PRIMARY KEY, text text);\n",
    ),
    ("V1__create_notes.down.sql", "DROP TABLE notes;\n"),
    (
        "V2__create_marks.sql",
        "CREATE TABLE marks (id bigint PRIMARY KEY);\n",
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

/// A fresh database and a connection to it.
async fn fresh() -> (Database, Client) {
    let database = SERVER.empty().await.unwrap();
    let client = open(&database.url()).await;
    (database, client)
}

async fn open(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// The names of the user's tables, in order.
async fn tables(client: &Client) -> Vec<String> {
    let sql = "SELECT tablename::text FROM pg_tables
        WHERE schemaname = 'public'
          AND tablename NOT LIKE 'refinery%'
          AND tablename NOT LIKE 'larder%'
        ORDER BY tablename";
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn states(migrator: &Migrator, client: &Client) -> Vec<(i32, MigrationState)> {
    let status = migrator.status(client).await.unwrap();
    status
        .iter()
        .map(|line| (line.version, line.state))
        .collect()
}

async fn one<T: FromSqlOwned>(client: &Client, sql: &str) -> T {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// What was applied and undone, in order.
async fn log(client: &Client) -> String {
    let sql = "SELECT string_agg(direction || version, ' ' ORDER BY id) FROM larder_migration_log";
    one(client, sql).await
}
