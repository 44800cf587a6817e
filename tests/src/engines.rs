//! How a fresh database of each engine is made.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use larder_core::rows::BoxFuture;
use larder_core::{Error, ErrorKind, Result, Storage, Table};
use larder_sqlite::{Sqlite, SqliteOptions};

use crate::harness::{Engine, Fresh};

/// The in-memory store.
pub struct Memory;

#[async_trait]
impl Engine for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn fresh(&self, tables: &[&'static Table]) -> Result<Fresh> {
        Ok(Fresh {
            storage: Arc::new(larder_core::Memory::with_tables(tables)),
            keep: Box::new(()),
            again: None,
        })
    }
}

/// A SQLite file in a directory of its own.
pub struct SqliteFile {
    /// The profile's name in the list of tests.
    pub name: &'static str,
    /// How the file is opened.
    pub options: fn(&Path) -> SqliteOptions,
    /// The files of the suite that the profile changes something for; all if `None`.
    pub files: Option<&'static [&'static str]>,
}

#[async_trait]
impl Engine for SqliteFile {
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
        let again = move || -> BoxFuture<'static, Result<Arc<dyn Storage>>> {
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

/// A SQLite database in memory.
pub struct SqliteInMemory;

#[async_trait]
impl Engine for SqliteInMemory {
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
