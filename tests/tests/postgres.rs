//! The suite on PostgreSQL: with prepared statements, and what changes without them.

use std::process::ExitCode;
use std::sync::Arc;

use larder_tests::databases::Databases;
use larder_tests::engines::{Postgres, Recording, WRITES};
use larder_tests::run;

/// What unnamed statements change, as behind a pooler: how every statement travels.
const UNPREPARED: &[&str] = &[
    "closing",
    "constraints",
    "crud",
    "deadlines",
    "filters",
    "inserting",
    "loading",
    "reopening",
    "search",
    "streaming",
    "tasks",
    "transactions",
    "types",
    "updates",
    "upserts",
];

fn main() -> ExitCode {
    let databases = match Databases::open() {
        Ok(databases) => Arc::new(databases),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    run(vec![
        Box::new(Postgres {
            name: "postgres",
            databases: Arc::clone(&databases),
            options: |options| options,
            files: None,
        }),
        Box::new(Postgres {
            name: "postgres-unprepared",
            databases: Arc::clone(&databases),
            options: |options| options.prepared_statements(false),
            files: Some(UNPREPARED),
        }),
        Box::new(Recording {
            name: "postgres-recorded",
            engine: Postgres {
                name: "postgres",
                databases,
                options: |options| options,
                files: None,
            },
            files: Some(WRITES),
        }),
    ])
}
