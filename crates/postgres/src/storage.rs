//! [`Postgres`]: the store.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use larder_core::migration::{MigrationRun, MigrationStatus};
use larder_core::{
    Capabilities, NamedLock, RawStatement, Result, Rows, Select, Storage, Table, Transaction,
    TxOptions, Write, Written,
};
use larder_sql::{Dialect, create_missing_tables};

use crate::database::Database;
use crate::migrate::Migrator;
use crate::options::PostgresOptions;
use crate::pool::PoolMetrics;
use crate::{lock, raw, read, transaction, write};

/// A PostgreSQL database.
///
/// Point reads of all tasks travel together on a few shared connections; everything else has a
/// connection of the pool to itself. Statements are prepared once per connection; when the schema
/// changes under one it is prepared again. Cheap to clone; needs a tokio runtime with time and I/O
/// enabled, whose end closes the connections that were opened on it.
///
/// A stream takes its rows from the server as fast as they are taken from it, and keeps its
/// connection meanwhile. Inside a transaction it uses the transaction's: until its rows are taken
/// or it is dropped, the transaction answers anything else with `Misuse`, after half a second. A
/// rollback ends the stream, and gives up the connection.
///
/// Closing waits five seconds for what is under way and then answers `Busy`. From then on nothing
/// new is accepted; an open transaction may still be ended, and closing again finishes the work.
///
/// ```no_run
/// use larder_core::{Db, models::{NewTag, Tag}};
/// use larder_postgres::Postgres;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// let db = Db::new(Postgres::connect("postgres://app:secret@localhost/app").await?);
/// db.insert(NewTag::new("rust")).await?;
/// assert_eq!(db.query::<Tag>().count().await?, 1);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Postgres {
    database: Arc<Database>,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("options", self.database.options())
            .field("pool", &self.pool_metrics())
            .finish_non_exhaustive()
    }
}

impl Postgres {
    /// Connects to the database at a URL, `postgres://user:password@host:port/database`.
    ///
    /// # Errors
    /// `Misuse` if the URL cannot be read; `Unavailable` if the server cannot be reached, refuses
    /// the user or does not know the database. The password is in none of them.
    pub async fn connect(url: &str) -> Result<Self> {
        Self::connect_with(PostgresOptions::new(url)?).await
    }

    /// Connects with these options.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_with(options: PostgresOptions) -> Result<Self> {
        Ok(Self {
            database: Arc::new(Database::connect(options).await?),
        })
    }

    /// Creates the tables of models, with their keys, references and indexes, all or none. For
    /// tests and first steps; a service runs migrations.
    ///
    /// # Errors
    /// `Schema` if one of them exists.
    pub async fn create_tables(&self, tables: &[&'static Table]) -> Result<()> {
        self.database.create_tables(tables).await
    }

    /// Creates those of the tables, and of their indexes, that are missing, all or none; does not look
    /// at those that exist. May be called by several programs at once, at each start: for the tables
    /// that belong to a feature of Larder rather than to a service's models. Where all the tables
    /// exist nothing is created, so that a role that may not create tables gets by with a migration
    /// that runs the statements of `larder_sql::create_missing_tables`.
    ///
    /// # Errors
    /// `Schema` if the tables can neither be found nor created.
    pub async fn create_missing_tables(&self, tables: &[&'static Table]) -> Result<()> {
        let statements = create_missing_tables(Dialect::Postgres, tables);
        self.database.create_missing(tables, &statements).await
    }

    pub(crate) fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// Applies the migrations that are missing, up to `target` (all if `None`), and answers which.
    /// Waits while another program migrates the same database. Takes a connection of its own,
    /// beside the pool. See [`Migrator::up`] for errors.
    pub async fn migrate(
        &self,
        migrator: &Migrator,
        target: Option<i32>,
    ) -> Result<Vec<MigrationRun>> {
        let connection = self.database.connector().connect().await?;
        migrator.up(&connection, target).await
    }

    /// Undoes every migration above `version`, newest first; 0 undoes all. Data goes with it. See
    /// [`Migrator::down_to`] for errors.
    pub async fn migrate_down(
        &self,
        migrator: &Migrator,
        version: i32,
    ) -> Result<Vec<MigrationRun>> {
        let connection = self.database.connector().connect().await?;
        migrator.down_to(&connection, version).await
    }

    /// How every migration stands. Writes nothing.
    pub async fn migration_status(&self, migrator: &Migrator) -> Result<Vec<MigrationStatus>> {
        let connection = self.database.connector().connect().await?;
        migrator.status(&connection).await
    }

    /// How the pool stands: connections in use and idle, tasks that wait.
    pub fn pool_metrics(&self) -> PoolMetrics {
        self.database.pool().metrics()
    }
}

#[async_trait]
impl Storage for Postgres {
    fn capabilities(&self) -> &Capabilities {
        self.database.capabilities()
    }

    async fn read(&self, query: Select, mut rows: Rows) -> Result<Rows> {
        read::run(&self.database, &query, &mut rows).await?;
        Ok(rows)
    }

    async fn read_all(&self, mut queries: Vec<(Select, Rows)>) -> Result<Vec<Rows>> {
        read::run_all(&self.database, &mut queries).await?;
        Ok(queries.into_iter().map(|(_, rows)| rows).collect())
    }

    async fn write(&self, write: Write, rows: Rows) -> Result<(Written, Rows)> {
        write::run(&self.database, write, rows).await
    }

    async fn sql(&self, statement: RawStatement, rows: Rows) -> Result<(Written, Rows)> {
        raw::run(&self.database, statement, rows).await
    }

    async fn lock(&self, name: &str, wait: bool) -> Result<Option<Box<dyn NamedLock>>> {
        lock::take(&self.database, name, wait).await
    }

    async fn begin(&self, options: TxOptions) -> Result<Box<dyn Transaction>> {
        Ok(Box::new(transaction::begin(&self.database, options).await?))
    }

    async fn explain(&self, query: Select) -> Result<String> {
        let mut lease = self.database.acquire(None).await?;
        lease.begin();
        let explained = read::explain(&lease, &query).await;
        lease.end();
        explained.map_err(|failure| failure.of_read(query.table))
    }

    async fn close(&self) -> Result<()> {
        self.database.close().await
    }
}
