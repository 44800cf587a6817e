//! [`Databases`]: one filled database, and copies for the peers.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::time::Duration;

use larder_sql::Dialect;
use larder_tests::cluster::Cluster;
use peers_common::{Engine, Result, Scenario};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

use crate::fill;

/// The filled database on a server.
const FILLED: &str = "larder_peers_filled";

/// The throwaway server waits for the disk and cleans up like any other, unlike those of tests.
const SETTINGS: &[(&str, &str)] = &[
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    ("autovacuum", "on"),
    ("shared_buffers", "256MB"),
    ("TimeZone", "UTC"),
];

/// A filled database of an engine, and how to copy it.
pub enum Databases {
    /// Files in a temporary directory on a real disk.
    Sqlite(TempDir),
    /// Databases of a server.
    Postgres(Server),
}

impl Databases {
    /// Fills a database; files are made below `parent`, which should be on a real disk.
    pub fn open(engine: Engine, parent: &Path) -> Result<Self> {
        match engine {
            Engine::Sqlite => {
                let directory = TempDir::with_prefix_in("peers-", parent)?;
                fill_sqlite(&directory.path().join("filled.db"))?;
                Ok(Self::Sqlite(directory))
            }
            Engine::Postgres => Ok(Self::Postgres(Server::open()?)),
        }
    }

    /// The URL of a database for one peer: its own copy if it writes.
    pub fn copy_for(&self, peer: &str, scenario: &Scenario) -> Result<String> {
        match self {
            Self::Sqlite(directory) => {
                let copy = directory.path().join(format!("peer-{peer}.db"));
                fs::copy(directory.path().join("filled.db"), &copy)?;
                let path = copy.to_str().ok_or("the path is no UTF-8")?;
                Ok(format!("sqlite:{path}"))
            }
            Self::Postgres(server) if scenario.work.writes() => server.copy_for(peer),
            Self::Postgres(server) => Ok(server.url(FILLED)),
        }
    }

    /// Removes the copies, whose peers have ended.
    pub fn remove_copies(&self) -> Result<()> {
        match self {
            Self::Sqlite(directory) => {
                for entry in fs::read_dir(directory.path())? {
                    let entry = entry?;
                    if entry.file_name().to_string_lossy().starts_with("peer-") {
                        fs::remove_file(entry.path())?;
                    }
                }
                Ok(())
            }
            Self::Postgres(server) => server.remove_copies(),
        }
    }
}

fn fill_sqlite(path: &Path) -> Result<()> {
    let connection = rusqlite::Connection::open(path)?;
    connection.execute_batch("PRAGMA journal_mode = WAL; BEGIN")?;
    for statement in fill::statements(Dialect::Sqlite) {
        connection.execute_batch(&statement)?;
    }
    connection.execute_batch("COMMIT; ANALYZE; PRAGMA wal_checkpoint(TRUNCATE)")?;
    Ok(())
}

/// A server with the filled database.
pub struct Server {
    place: Place,
    runtime: Runtime,
    copies: RefCell<Vec<String>>,
}

enum Place {
    /// Its URL, and where in it the name of the database is.
    Given(String),
    Throwaway(Cluster),
}

impl Server {
    fn open() -> Result<Self> {
        let place = match std::env::var("LARDER_BENCH_POSTGRES_URL") {
            Ok(url) => Place::Given(url),
            Err(_) => Place::Throwaway(Cluster::start_with(SETTINGS)?),
        };
        let server = Self {
            place,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            copies: RefCell::default(),
        };
        server.drop_database(FILLED)?;
        server.admin(&format!("CREATE DATABASE {FILLED}"))?;
        let mut statements = fill::statements(Dialect::Postgres);
        statements.push("VACUUM ANALYZE".to_owned());
        statements.push("CHECKPOINT".to_owned());
        server.run(FILLED, &statements)?;
        Ok(server)
    }

    fn url(&self, database: &str) -> String {
        match &self.place {
            Place::Given(url) => with_database(url, database),
            Place::Throwaway(cluster) => cluster.url(database),
        }
    }

    fn copy_for(&self, peer: &str) -> Result<String> {
        let name = format!("larder_peers_{}", peer.replace('-', "_"));
        self.drop_database(&name)?;
        self.admin(&format!("CREATE DATABASE {name} TEMPLATE {FILLED}"))?;
        let url = self.url(&name);
        self.copies.borrow_mut().push(name);
        Ok(url)
    }

    fn remove_copies(&self) -> Result<()> {
        for name in self.copies.take() {
            self.drop_database(&name)?;
        }
        Ok(())
    }

    fn drop_database(&self, name: &str) -> Result<()> {
        // Whoever a killed run left connected is in the way of nobody.
        self.admin(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
    }

    fn admin(&self, statement: &str) -> Result<()> {
        self.run("postgres", &[statement.to_owned()])
    }

    fn run(&self, database: &str, statements: &[String]) -> Result<()> {
        let url = self.url(database);
        self.runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
            let connection = tokio::spawn(connection);
            for statement in statements {
                patiently(&client, statement).await?;
            }
            drop(client);
            connection.await??;
            Ok(())
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self
            .remove_copies()
            .and_then(|()| self.drop_database(FILLED))
        {
            eprintln!("peers: the databases are not removed: {error}");
        }
    }
}

/// A server notices a closed connection a moment later; until then its database is in use.
async fn patiently(client: &Client, statement: &str) -> Result<()> {
    for _ in 0..50 {
        match client.batch_execute(statement).await {
            Err(error) if error.code() == Some(&tokio_postgres::error::SqlState::OBJECT_IN_USE) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            other => return Ok(other?),
        }
    }
    Ok(client.batch_execute(statement).await?)
}

/// `postgres://user@host/old?sslmode=..` with another database.
fn with_database(url: &str, database: &str) -> String {
    let (address, parameters) = url.split_once('?').unwrap_or((url, ""));
    let host_at = address.find("://").map_or(0, |at| at + 3);
    let end = address[host_at..]
        .find('/')
        .map_or(address.len(), |at| host_at + at);
    let mut changed = format!("{}/{database}", &address[..end]);
    if !parameters.is_empty() {
        changed.push('?');
        changed.push_str(parameters);
    }
    changed
}
