//! The suite on PostgreSQL behind a pgbouncer in transaction mode.

use std::process::ExitCode;
use std::sync::Arc;

use larder_tests::cluster::Cluster;
use larder_tests::databases::Databases;
use larder_tests::engines::PooledPostgres;
use larder_tests::run;

/// What a pooler changes: each transaction may run on another connection of the server.
const FILES: &[&str] = &[
    "closing",
    "constraints",
    "crud",
    "deadlines",
    "filters",
    "inserting",
    "loading",
    "reopening",
    "streaming",
    "tasks",
    "transactions",
    "search",
    "types",
    "updates",
    "upserts",
];

fn main() -> ExitCode {
    let databases = Cluster::start_with(&[]).and_then(Databases::of);
    match databases {
        Ok(databases) => run(vec![Box::new(PooledPostgres {
            databases: Arc::new(databases),
            files: Some(FILES),
        })]),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
