//! [`Engine`]: what is compared with the memory store.

use std::any::Any;
use std::sync::Arc;

use larder_core::{Memory, Result, Storage, Table};
use larder_postgres::{Postgres, PostgresOptions};
use larder_redis::{Redis, RedisOptions};
use larder_sqlite::{Sqlite, SqliteOptions};
use larder_tests::databases::Databases;
use larder_tests::redis_server::Namespaces;

use crate::compare::Side;
use crate::keys::Keys;

/// What PostgreSQL is called in reports, and in the differences that it may show.
pub(crate) const POSTGRES: &str = "PostgreSQL";

/// An engine.
pub(crate) enum Engine {
    /// In a file and in memory.
    Sqlite,
    /// A database in a server.
    Postgres(Databases),
    /// A namespace in a server.
    Redis(Namespaces),
}

/// A store, and what it needs as long as it is open.
type Opened = (Side, Box<dyn Any>);

impl Engine {
    /// The memory store and those of the engine, with empty tables.
    pub(crate) async fn open(&self, tables: &[&'static Table]) -> Result<Vec<Opened>> {
        let memory = side("memory", Memory::with_tables(tables), ());
        let mut opened = vec![];
        match self {
            Self::Sqlite => {
                opened.push(memory);
                let directory = tempfile::tempdir().expect("a directory for the database");
                let options = SqliteOptions::new(directory.path().join("oracle.db")).readers(2);
                let file = Sqlite::open_with(options).await?;
                file.create_tables(tables).await?;
                opened.push(side("SQLite file", file, directory));
                let in_memory = Sqlite::open_with(SqliteOptions::in_memory().readers(2)).await?;
                in_memory.create_tables(tables).await?;
                opened.push(side("SQLite in memory", in_memory, ()));
            }
            Self::Postgres(databases) => {
                // jsonb keeps the meaning and not the spelling.
                let (memory, keep) = memory;
                opened.push((memory.by_meaning(), keep));
                let database = databases.empty().await?;
                let options = PostgresOptions::new(&database.url())?.max_size(2);
                let store = Postgres::connect_with(options).await?;
                store.create_tables(tables).await?;
                let keys = Keys::of_postgres(&database.url(), tables).await?;
                let (side, keep) = side(POSTGRES, store, database);
                opened.push((side.taking_back(keys).by_meaning(), keep));
            }
            Self::Redis(namespaces) => {
                opened.push(memory);
                let namespace = namespaces.fresh();
                let options = RedisOptions::new(&namespace.url())?.connections(1);
                let store = Redis::connect_with(options).await?;
                store.create_tables(tables).await?;
                let keys = Keys::of_redis(&namespace.url(), namespace.name()).await?;
                let (side, keep) = side("Redis", store, namespace);
                opened.push((side.taking_back(keys), keep));
            }
        }
        Ok(opened)
    }
}

fn side(name: &'static str, store: impl Storage, keep: impl Any) -> Opened {
    (Side::new(name, Arc::new(store)), Box::new(keep))
}
