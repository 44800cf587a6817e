//! The server and its databases: one is filled, every scenario gets copies of it.

use std::sync::{Arc, Mutex, PoisonError};

use larder_core::{Db, models};
use larder_postgres::Postgres;
use larder_tests::cluster::Cluster;
use larder_tests::databases::{Database, Databases};
use tokio::runtime::Runtime;
use tokio_postgres::NoTls;

use super::raw::{Raw, Result, fill};
use crate::run;

/// Names a running server, whose user may create databases.
const URL: &str = "LARDER_BENCH_POSTGRES_URL";

/// A server of one's own keeps what it has committed and cleans up, unlike those of tests. It has
/// room in its log, so that no checkpoint falls into the time of one side alone.
const SETTINGS: &[(&str, &str)] = &[
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    ("autovacuum", "on"),
    ("shared_buffers", "256MB"),
    ("max_wal_size", "4GB"),
    ("TimeZone", "UTC"),
];

/// A server with the filled database, and the runtime that both sides run on. Clones share them.
#[derive(Clone, Debug)]
pub struct Fixture {
    kept: Arc<Mutex<Vec<Database>>>,
    databases: Arc<Databases>,
    runtime: Arc<Runtime>,
}

impl Fixture {
    /// Starts a server, unless `LARDER_BENCH_POSTGRES_URL` names one, and fills a database.
    pub fn new() -> Self {
        let databases = match std::env::var(URL) {
            Ok(url) => Databases::named(url),
            Err(_) => Cluster::start_with(SETTINGS).and_then(Databases::of),
        };
        let fixture = Self {
            kept: Arc::default(),
            databases: Arc::new(databases.expect("a PostgreSQL server")),
            runtime: run::runtime(),
        };
        fixture.kept();
        fixture
    }

    /// The runtime.
    pub fn runtime(&self) -> Arc<Runtime> {
        Arc::clone(&self.runtime)
    }

    /// What the server calls itself.
    pub fn version(&self) -> String {
        let url = self.kept();
        let version = async {
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
            tokio::spawn(connection);
            let row = client.query_one("SHOW server_version", &[]).await?;
            row.try_get(0)
        };
        let version: Result<String> = self.runtime.block_on(version);
        version.expect("every server has a version")
    }

    /// A copy of the filled database, removed when it is dropped.
    pub fn copy(&self) -> Database {
        let tables = models::tables();
        let filled = async |url: String| {
            fill(&url).await.expect("the made-up data fits its schema");
            Ok(())
        };
        let copied = self.databases.with_tables(&tables, filled);
        let copied = self.runtime.block_on(copied);
        copied.expect("room on the server's disk")
    }

    /// The URL of a copy of the filled database that is removed with the fixture.
    pub fn kept(&self) -> String {
        let copy = self.copy();
        let url = copy.url();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(copy);
        url
    }

    /// One database, open with the driver and with Larder.
    pub fn pair(&self) -> (Raw, Db) {
        let url = self.kept();
        (self.raw(&url), self.larder(&url))
    }

    /// Connects with the driver.
    pub fn raw(&self, url: &str) -> Raw {
        let connected = self.runtime.block_on(Raw::connect(url));
        connected.expect("a database that was just copied")
    }

    /// Connects with Larder as it is by default.
    pub fn larder(&self, url: &str) -> Db {
        let store = self.runtime.block_on(Postgres::connect(url));
        Db::new(store.expect("a database that was just copied"))
    }
}

impl Default for Fixture {
    fn default() -> Self {
        Self::new()
    }
}
