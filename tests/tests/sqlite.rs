//! The suite on SQLite: a file and a database in memory, and what other profiles change.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use larder_core::{Error, ErrorKind, Result, Storage, Table};
use larder_sqlite::{JournalMode, Sqlite, SqliteOptions};
use larder_tests::{Engine, Fresh, run};

/// A database file in a directory of its own.
struct File {
    name: &'static str,
    options: fn(&Path) -> SqliteOptions,
    files: Option<&'static [&'static str]>,
}

#[async_trait]
impl Engine for File {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn fresh(&self, tables: &[&'static Table]) -> Result<Fresh> {
        let directory = tempfile::tempdir().map_err(|source| {
            Error::new(ErrorKind::Unavailable, "no temporary directory").with_source(source)
        })?;
        let options = (self.options)(&directory.path().join("test.db"));
        let store = Sqlite::open_with(options.clone()).await?;
        store.create_tables(tables).await?;
        let again = move || -> larder_core::rows::BoxFuture<'static, Result<Arc<dyn Storage>>> {
            let options = options.clone();
            Box::pin(async move { Ok(Arc::new(Sqlite::open_with(options).await?) as _) })
        };
        Ok(Fresh {
            storage: Arc::new(store),
            keep: Box::new(directory),
            again: Some(Box::new(again)),
        })
    }

    fn wants(&self, file: &str) -> bool {
        self.files.is_none_or(|files| files.contains(&file))
    }
}

/// A database in memory.
struct InMemory;

#[async_trait]
impl Engine for InMemory {
    fn name(&self) -> &'static str {
        "sqlite-memory"
    }

    async fn fresh(&self, tables: &[&'static Table]) -> Result<Fresh> {
        let store = Sqlite::in_memory().await?;
        store.create_tables(tables).await?;
        Ok(Fresh {
            storage: Arc::new(store),
            keep: Box::new(()),
            again: None,
        })
    }
}

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
        Box::new(File {
            name: "sqlite-file",
            options: |path| SqliteOptions::new(path),
            files: None,
        }),
        Box::new(InMemory),
        Box::new(File {
            name: "sqlite-durable",
            options: |path| SqliteOptions::new(path).durable(),
            files: Some(WRITING),
        }),
        Box::new(File {
            name: "sqlite-rollback-journal",
            options: |path| SqliteOptions::new(path).journal_mode(JournalMode::Rollback),
            files: Some(READING),
        }),
        Box::new(File {
            name: "sqlite-unparked",
            options: |path| SqliteOptions::new(path).parked_snapshots(false),
            files: Some(READING),
        }),
    ])
}
