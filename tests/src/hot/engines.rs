//! What each engine brings to the hot path.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use larder_core::cache::{CacheStore, LocalCache, StoredCache};
use larder_core::feed::{Feed, LocalFeed};
use larder_core::{Clock, Db, DbOptions, Error, ErrorKind, Result, Storage, StoredSessions, Table};
use larder_core::{LocalRateLimiter, RateLimiter};
use larder_postgres::{PostgresFeed, PostgresOptions};
use larder_redis::{RedisFeed, RedisOptions};
use larder_sql::SqlRateLimiter;
use larder_sqlite::SqliteFeed;
use larder_sqlite::feed::FeedOptions;
use tempfile::TempDir;

use super::{HotEngine, Place};
use crate::databases::{Database, Databases};
use crate::redis_server::{Namespaces, TestNamespace};
use crate::suite;

/// The tables of the suite and those of the hot path that are models.
fn tables() -> Vec<&'static Table> {
    let mut tables = suite::tables();
    tables.push(StoredSessions::TABLE);
    tables
}

/// How much the cache within the process keeps.
const CACHE_BYTES: u64 = 64 << 20;

/// Within the process.
pub struct Memory;

#[async_trait]
impl HotEngine for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn place(&self) -> Result<Arc<dyn Place>> {
        Ok(Arc::new(MemoryPlace {
            store: larder_core::Memory::new(),
            cache: OnceLock::new(),
            feed: LocalFeed::new(),
            limiter: OnceLock::new(),
        }))
    }
}

struct MemoryPlace {
    store: larder_core::Memory,
    cache: OnceLock<LocalCache>,
    feed: LocalFeed,
    limiter: OnceLock<LocalRateLimiter>,
}

#[async_trait]
impl Place for MemoryPlace {
    async fn store(&self) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(self.store.clone()))
    }

    async fn cache(&self, clock: Arc<dyn Clock>) -> Result<Arc<dyn CacheStore>> {
        let cache = || LocalCache::with_clock(CACHE_BYTES, clock);
        Ok(Arc::new(self.cache.get_or_init(cache).clone()))
    }

    async fn feed(&self) -> Result<Arc<dyn Feed>> {
        Ok(Arc::new(self.feed.clone()))
    }

    async fn rate_limiter(&self, clock: Option<Arc<dyn Clock>>) -> Result<Arc<dyn RateLimiter>> {
        let limiter = || match clock {
            Some(clock) => LocalRateLimiter::with_clock(KEYS_MAX, clock),
            None => LocalRateLimiter::keys_max(KEYS_MAX),
        };
        Ok(Arc::new(self.limiter.get_or_init(limiter).clone()))
    }
}

/// Keys that the limiter within the process keeps.
const KEYS_MAX: usize = 1_000;

/// A SQLite file in a directory of its own.
pub struct Sqlite;

#[async_trait]
impl HotEngine for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    async fn place(&self) -> Result<Arc<dyn Place>> {
        let directory = tempfile::tempdir().map_err(|source| {
            Error::new(ErrorKind::Unavailable, "no temporary directory").with_source(source)
        })?;
        let path = directory.path().join("test.db");
        let store = larder_sqlite::Sqlite::open(&path).await?;
        store.create_tables(&tables()).await?;
        store.create_change_log().await?;
        store.close().await?;
        Ok(Arc::new(SqlitePlace {
            path,
            _directory: directory,
        }))
    }
}

struct SqlitePlace {
    path: PathBuf,
    _directory: TempDir,
}

impl SqlitePlace {
    async fn open(&self) -> Result<larder_sqlite::Sqlite> {
        larder_sqlite::Sqlite::open(&self.path).await
    }
}

#[async_trait]
impl Place for SqlitePlace {
    async fn store(&self) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(self.open().await?))
    }

    async fn cache(&self, clock: Arc<dyn Clock>) -> Result<Arc<dyn CacheStore>> {
        let store = self.open().await?;
        store.cache().await?; // makes the tables
        Ok(stored_cache(store, clock))
    }

    async fn feed(&self) -> Result<Arc<dyn Feed>> {
        let options = FeedOptions::new().poll_interval(Duration::from_millis(10));
        Ok(Arc::new(
            SqliteFeed::open(&self.open().await?, options).await?,
        ))
    }

    async fn rate_limiter(&self, clock: Option<Arc<dyn Clock>>) -> Result<Arc<dyn RateLimiter>> {
        let store = self.open().await?;
        let limiter = store.rate_limiter().await?;
        Ok(told_by(clock, store, limiter))
    }
}

/// A PostgreSQL database, a copy of one with all the tables.
pub struct Postgres {
    databases: Databases,
}

impl Postgres {
    /// In the server of [`Databases::open`].
    ///
    /// # Errors
    /// If there is none, saying what to install.
    pub fn start() -> std::io::Result<Self> {
        Ok(Self {
            databases: Databases::open()?,
        })
    }
}

#[async_trait]
impl HotEngine for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    async fn place(&self) -> Result<Arc<dyn Place>> {
        let create = |url: String| async move {
            let store = larder_postgres::Postgres::connect(&url).await?;
            store.create_tables(&tables()).await?;
            store.create_change_log().await?;
            store.close().await
        };
        let database = self.databases.with_tables(&tables(), create).await?;
        Ok(Arc::new(PostgresPlace(database)))
    }
}

struct PostgresPlace(Database);

/// Connections of one opened store: many tests share a server.
const POOL_SIZE: usize = 10;

impl PostgresPlace {
    async fn open(&self) -> Result<larder_postgres::Postgres> {
        let options = PostgresOptions::new(&self.0.url())?.max_size(POOL_SIZE);
        larder_postgres::Postgres::connect_with(options.shared_connections(1)).await
    }
}

#[async_trait]
impl Place for PostgresPlace {
    async fn store(&self) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(self.open().await?))
    }

    async fn cache(&self, clock: Arc<dyn Clock>) -> Result<Arc<dyn CacheStore>> {
        let store = self.open().await?;
        store.cache().await?; // makes the tables
        Ok(stored_cache(store, clock))
    }

    async fn feed(&self) -> Result<Arc<dyn Feed>> {
        Ok(Arc::new(PostgresFeed::open(&self.open().await?).await?))
    }

    async fn rate_limiter(&self, clock: Option<Arc<dyn Clock>>) -> Result<Arc<dyn RateLimiter>> {
        let store = self.open().await?;
        let limiter = store.rate_limiter().await?;
        Ok(told_by(clock, store, limiter))
    }
}

/// The limiter, or one by the test's clock on the same table.
fn told_by(
    clock: Option<Arc<dyn Clock>>,
    store: impl Storage,
    limiter: SqlRateLimiter,
) -> Arc<dyn RateLimiter> {
    match clock {
        Some(clock) => Arc::new(SqlRateLimiter::with_clock(Db::new(store), clock)),
        None => Arc::new(limiter),
    }
}

/// A namespace of a Redis server. As a store it has no feed of changes.
pub struct Redis {
    namespaces: Namespaces,
}

impl Redis {
    /// In the server of [`Namespaces::open`].
    ///
    /// # Errors
    /// If there is none, saying what to install.
    pub fn start() -> std::io::Result<Self> {
        Ok(Self {
            namespaces: Namespaces::open()?,
        })
    }
}

#[async_trait]
impl HotEngine for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    async fn place(&self) -> Result<Arc<dyn Place>> {
        let place = RedisPlace(self.namespaces.fresh());
        place.open().await?.create_tables(&tables()).await?;
        Ok(Arc::new(place))
    }

    fn wants(&self, file: &str) -> bool {
        [
            "cache",
            "cache_faults",
            "messages",
            "rate_limits",
            "sessions",
            "tower_sessions",
        ]
        .contains(&file)
    }
}

struct RedisPlace(TestNamespace);

impl RedisPlace {
    async fn open(&self) -> Result<larder_redis::Redis> {
        let options = RedisOptions::new(&self.0.url())?.tables(&tables());
        // The machine may be busy with other tests.
        let options = options.connect_timeout(Duration::from_secs(30));
        larder_redis::Redis::connect_with(options).await
    }
}

#[async_trait]
impl Place for RedisPlace {
    async fn store(&self) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(self.open().await?))
    }

    async fn cache(&self, clock: Arc<dyn Clock>) -> Result<Arc<dyn CacheStore>> {
        Ok(Arc::new(self.open().await?.cache().with_clock(clock)))
    }

    async fn rate_limiter(&self, clock: Option<Arc<dyn Clock>>) -> Result<Arc<dyn RateLimiter>> {
        let limiter = self.open().await?.rate_limiter();
        Ok(Arc::new(match clock {
            Some(clock) => limiter.with_clock(clock),
            None => limiter,
        }))
    }

    async fn feed(&self) -> Result<Arc<dyn Feed>> {
        Ok(Arc::new(RedisFeed::open(&self.open().await?).await?))
    }
}

/// A cache in the tables of a store, on a clock of the test's.
fn stored_cache(store: impl Storage, clock: Arc<dyn Clock>) -> Arc<dyn CacheStore> {
    let options = DbOptions::default().shared_clock(clock);
    Arc::new(StoredCache::new(Db::with_options(store, options)))
}
