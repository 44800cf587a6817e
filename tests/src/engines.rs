//! How a fresh database of each engine is made.

use std::io;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use larder_core::cache::{Cache, LocalCache};
use larder_core::feed;
use larder_core::rows::BoxFuture;
use larder_core::{Cached, CachedTable, Error, ErrorKind, Result, Storage, Table};
use larder_postgres::PostgresOptions;
use larder_redis::RedisOptions;
use larder_sqlite::{Sqlite, SqliteOptions};

use crate::databases::Databases;
use crate::harness::{Engine, Fresh};
use crate::pgbouncer::PgBouncer;
use crate::redis_server::Namespaces;

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

/// Another engine, all of whose writes are recorded in a feed of changes: nobody may notice.
pub struct Recording<E> {
    /// The profile's name in the list of tests.
    pub name: &'static str,
    /// The engine.
    pub engine: E,
    /// The files of the suite that recording changes something for; all if `None`.
    pub files: Option<&'static [&'static str]>,
}

/// What writes, and how.
pub const WRITES: &[&str] = &[
    "cascades",
    "conditional_upserts",
    "constraints",
    "crud",
    "deadlines",
    "defaults",
    "effects",
    "inserting",
    "locking",
    "transactions",
    "types",
    "updates",
    "upserts",
];

#[async_trait]
impl<E: Engine> Engine for Recording<E> {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn fresh(&self, tables: &[&'static Table]) -> Result<Fresh> {
        let mut all = tables.to_vec();
        all.extend(feed::tables());
        let fresh = self.engine.fresh(&all).await?;
        let tables = tables.to_vec();
        let again = fresh.again.map(|again| {
            let tables = tables.clone();
            let again = move || -> BoxFuture<'static, Result<Arc<dyn Storage>>> {
                let (opening, tables) = (again(), tables.clone());
                Box::pin(async move { Ok(recorded(opening.await?, &tables)) })
            };
            Box::new(again) as _
        });
        Ok(Fresh {
            storage: recorded(fresh.storage, &tables),
            again,
            ..fresh
        })
    }

    fn wants(&self, file: &str) -> bool {
        self.files.is_none_or(|files| files.contains(&file))
    }
}

fn recorded(storage: Arc<dyn Storage>, tables: &[&'static Table]) -> Arc<dyn Storage> {
    let tables = tables.iter().copied();
    let tables = tables.map(|table| feed::Recording::of_table(table).with_rows());
    Arc::new(feed::Recorded::from_shared(storage, tables).allow_sql_writes())
}

/// A profile of an engine whose tables are all cached, in the process.
pub struct WithCache<E> {
    /// The profile's name in the list of tests.
    pub name: &'static str,
    /// The engine.
    pub engine: E,
}

/// The files of the suite that a cache could change something for.
const CACHED: &[&str] = &[
    "cascades",
    "closing",
    "conditional_upserts",
    "constraints",
    "crud",
    "deadlines",
    "defaults",
    "effects",
    "hostile",
    "inserting",
    "loading",
    "locking",
    "order",
    "relations",
    "row_locks",
    "streaming",
    "tasks",
    "text",
    "timestamps",
    "transactions",
    "types",
    "updates",
    "upserts",
];

#[async_trait]
impl<E: Engine> Engine for WithCache<E> {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn fresh(&self, tables: &[&'static Table]) -> Result<Fresh> {
        let mut fresh = self.engine.fresh(tables).await?;
        let cache = Cache::new(LocalCache::new(64 << 20));
        let tables: Vec<_> = tables
            .iter()
            .map(|table| CachedTable::of_table(table))
            .collect();
        let around = Arc::new(move |store| -> Arc<dyn Storage> {
            Arc::new(Cached::from_shared(store, cache.clone(), tables.clone()))
        });
        fresh.storage = around(fresh.storage);
        if let Some(open) = fresh.again.take() {
            fresh.again = Some(Box::new(move || {
                let (opening, around) = (open(), Arc::clone(&around));
                Box::pin(async move { Ok(around(opening.await?)) })
            }));
        }
        Ok(fresh)
    }

    fn wants(&self, file: &str) -> bool {
        self.engine.wants(file) && CACHED.contains(&file)
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

/// A PostgreSQL database, a copy of one that the engine made the tables in.
pub struct Postgres {
    /// The profile's name in the list of tests.
    pub name: &'static str,
    /// Where databases are made; the profiles of a test program share them.
    pub databases: Arc<Databases>,
    /// What the profile changes.
    pub options: fn(PostgresOptions) -> PostgresOptions,
    /// The files of the suite that the profile changes something for; all if `None`.
    pub files: Option<&'static [&'static str]>,
}

/// Connections of a test's pool: many tests share a server.
const POOL_SIZE: usize = 5;

#[async_trait]
impl Engine for Postgres {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn fresh(&self, tables: &[&'static Table]) -> Result<Fresh> {
        let database = self.databases.with_tables(tables, create(tables)).await?;
        let options = PostgresOptions::new(&database.url())?.max_size(POOL_SIZE);
        open_postgres((self.options)(options), database).await
    }

    fn wants(&self, file: &str) -> bool {
        self.files.is_none_or(|files| files.contains(&file))
    }
}

/// A PostgreSQL database behind a transaction pooler of its own.
pub struct PooledPostgres {
    /// Where databases are made: in a cluster of the tests' own.
    pub databases: Arc<Databases>,
    /// The files of the suite to run; all if `None`.
    pub files: Option<&'static [&'static str]>,
}

#[async_trait]
impl Engine for PooledPostgres {
    fn name(&self) -> &'static str {
        "pgbouncer"
    }

    async fn fresh(&self, tables: &[&'static Table]) -> Result<Fresh> {
        let database = self.databases.with_tables(tables, create(tables)).await?;
        let databases = Arc::clone(&self.databases);
        let start = move || {
            let cluster = databases.cluster();
            PgBouncer::start(cluster.ok_or_else(|| io::Error::other("no cluster of its own"))?)
        };
        let bouncer = tokio::task::spawn_blocking(start).await;
        let bouncer = bouncer
            .map_err(io::Error::other)
            .flatten()
            .map_err(|source| {
                Error::new(ErrorKind::Unavailable, "no pgbouncer").with_source(source)
            })?;
        let options = PostgresOptions::new(&bouncer.url(&database.url()))?
            .max_size(POOL_SIZE)
            .prepared_statements(false);
        open_postgres(options, (database, bouncer)).await
    }

    fn wants(&self, file: &str) -> bool {
        self.files.is_none_or(|files| files.contains(&file))
    }
}

/// Makes the tables in the database at a URL.
fn create(tables: &[&'static Table]) -> impl FnOnce(String) -> BoxFuture<'static, Result<()>> {
    let tables = tables.to_vec();
    |url| {
        Box::pin(async move {
            let store = larder_postgres::Postgres::connect(&url).await?;
            store.create_tables(&tables).await?;
            store.close().await
        })
    }
}

async fn open_postgres(
    options: PostgresOptions,
    keep: impl Send + Sync + 'static,
) -> Result<Fresh> {
    let open = move || -> BoxFuture<'static, Result<Arc<dyn Storage>>> {
        let options = options.clone();
        Box::pin(async move {
            Ok(Arc::new(larder_postgres::Postgres::connect_with(options).await?) as _)
        })
    };
    Ok(Fresh {
        storage: open().await?,
        keep: Box::new(keep),
        again: Some(Box::new(open)),
    })
}

/// A namespace of a Redis server.
pub struct Redis {
    /// The profile's name in the list of tests.
    pub name: &'static str,
    /// Where namespaces are made; the profiles of a test program share them.
    pub namespaces: Arc<Namespaces>,
    /// What the profile changes.
    pub options: fn(RedisOptions) -> RedisOptions,
    /// The files of the suite that the profile changes something for; all if `None`.
    pub files: Option<&'static [&'static str]>,
}

#[async_trait]
impl Engine for Redis {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn fresh(&self, tables: &[&'static Table]) -> Result<Fresh> {
        let namespace = self.namespaces.fresh();
        let options = RedisOptions::new(&namespace.url())?.tables(tables);
        let options = (self.options)(options);
        let store = larder_redis::Redis::connect_with(options.clone()).await?;
        store.create_tables(tables).await?;
        let again = move || -> BoxFuture<'static, Result<Arc<dyn Storage>>> {
            let options = options.clone();
            Box::pin(
                async move { Ok(Arc::new(larder_redis::Redis::connect_with(options).await?) as _) },
            )
        };
        Ok(Fresh {
            storage: Arc::new(store),
            keep: Box::new(namespace),
            again: Some(Box::new(again)),
        })
    }

    fn wants(&self, file: &str) -> bool {
        self.files.is_none_or(|files| files.contains(&file))
    }
}
