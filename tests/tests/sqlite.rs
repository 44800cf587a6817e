//! The suite on SQLite: a file and a database in memory, and what other profiles change.

use std::process::ExitCode;

use larder_sqlite::{JournalMode, SqliteOptions};
use larder_tests::engines::{Recording, SqliteFile, SqliteInMemory, WRITES, WithCache};
use larder_tests::run;

/// What a profile of writing changes.
const WRITING: &[&str] = &[
    "crud",
    "deadlines",
    "inserting",
    "reopening",
    "tasks",
    "transactions",
];
/// What a profile of reading changes.
const READING: &[&str] = &[
    "closing",
    "crud",
    "reopening",
    "streaming",
    "tasks",
    "transactions",
];

fn main() -> ExitCode {
    run(vec![
        Box::new(SqliteFile {
            name: "sqlite-file",
            options: |path| SqliteOptions::new(path),
            files: None,
        }),
        Box::new(SqliteInMemory),
        Box::new(WithCache {
            name: "sqlite-cached",
            engine: SqliteInMemory,
        }),
        Box::new(SqliteFile {
            name: "sqlite-durable",
            options: |path| SqliteOptions::new(path).durable(),
            files: Some(WRITING),
        }),
        Box::new(SqliteFile {
            name: "sqlite-rollback-journal",
            options: |path| SqliteOptions::new(path).journal_mode(JournalMode::Rollback),
            files: Some(READING),
        }),
        Box::new(SqliteFile {
            name: "sqlite-unparked",
            options: |path| SqliteOptions::new(path).parked_snapshots(false),
            files: Some(READING),
        }),
        Box::new(Recording {
            name: "sqlite-recorded",
            engine: SqliteFile {
                name: "sqlite-file",
                options: |path| SqliteOptions::new(path),
                files: None,
            },
            files: Some(WRITES),
        }),
    ])
}
