//! [`Place`]: where a child writes, how, and how to come by it from both processes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use larder_core::models;
use larder_core::{Error, ErrorKind, Result, Storage};
use larder_postgres::Postgres;
use larder_sqlite::{Sqlite, SqliteOptions};
use tokio_postgres::NoTls;

/// The journals' directory; only a child has it.
const DIRECTORY: &str = "LARDER_CRASH_DIRECTORY";
const PROFILE: &str = "LARDER_CRASH_PROFILE";
/// How long a server may take to notice that its client has died.
const SETTLED_MAX: Duration = Duration::from_secs(10);

/// A database, and a directory for the journals beside it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) directory: PathBuf,
    pub(crate) profile: Profile,
}

/// What the database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    Sqlite,
    SqliteDurable,
    /// The server's URL.
    Postgres(String),
}

impl Place {
    pub(crate) fn new(directory: &Path, profile: Profile) -> Self {
        Self {
            directory: directory.to_owned(),
            profile,
        }
    }

    /// The database's file, of SQLite.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.join("crash.db")
    }

    /// Tells a child.
    pub(crate) fn tell<'c>(&self, child: &'c mut Command) -> &'c mut Command {
        let profile = match &self.profile {
            Profile::Sqlite => "sqlite",
            Profile::SqliteDurable => "durable",
            Profile::Postgres(url) => url,
        };
        child.env(DIRECTORY, &self.directory).env(PROFILE, profile)
    }

    /// What the parent has told; `None` if this process is no child.
    pub(crate) fn told() -> Option<Self> {
        let directory = PathBuf::from(std::env::var_os(DIRECTORY)?);
        let profile = std::env::var_os(PROFILE).map(OsString::into_string);
        let profile = match profile.and_then(std::result::Result::ok)?.as_str() {
            "sqlite" => Profile::Sqlite,
            "durable" => Profile::SqliteDurable,
            url => Profile::Postgres(url.to_owned()),
        };
        Some(Self { directory, profile })
    }

    /// Opens the database, once nobody is at work in it any more.
    pub(crate) async fn open(&self) -> Result<Arc<dyn Storage>> {
        let file = || SqliteOptions::new(self.file()).checkpoint_pages(200);
        Ok(match &self.profile {
            Profile::Sqlite => Arc::new(Sqlite::open_with(file()).await?),
            Profile::SqliteDurable => Arc::new(Sqlite::open_with(file().durable()).await?),
            Profile::Postgres(url) => {
                settled(url).await?;
                Arc::new(Postgres::connect(url).await?)
            }
        })
    }

    /// Creates the tables.
    pub(crate) async fn create_tables(&self) -> Result<()> {
        let tables = models::tables();
        if let Profile::Postgres(url) = &self.profile {
            let store = Postgres::connect(url).await?;
            store.create_tables(&tables).await?;
            return store.close().await;
        }
        let store = Sqlite::open(self.file()).await?;
        store.create_tables(&tables).await?;
        store.close().await
    }
}

/// Waits until the server has done with those who were connected: it may be writing yet what a
/// dead client had asked for.
async fn settled(url: &str) -> Result<()> {
    let others = "SELECT count(*) FROM pg_stat_activity \
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let waiting = async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        let driver = tokio::spawn(connection);
        while client.query_one(others, &[]).await?.get::<_, i64>(0) > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        drop(client);
        // It ends with its client.
        let _ = driver.await;
        Ok::<_, tokio_postgres::Error>(())
    };
    let failed = |message: &'static str| Error::new(ErrorKind::Unavailable, message);
    match tokio::time::timeout(SETTLED_MAX, waiting).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(failed("the server does not answer").with_source(error)),
        Err(_) => Err(failed("somebody dead is still at work in the server")),
    }
}
