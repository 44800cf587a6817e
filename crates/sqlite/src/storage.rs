//! [`Sqlite`]: the store.

use std::fmt;
use std::future::ready;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use larder_core::migration::{MigrationRun, MigrationStatus};
use larder_core::raw::RawAccess;
use larder_core::rows::BoxFuture;
use larder_core::{
    Capabilities, RawStatement, Result, Rows, Select, Storage, Table, Transaction, TxOptions,
    Write, Written,
};
use larder_sql::{Dialect, create_missing_tables};
use rusqlite::Connection;

use crate::database::{self, Database, off_task};
use crate::migrate::Migrator;
use crate::options::SqliteOptions;
use crate::read::{self, Inline};
use crate::write_batch::{Cost, JobOptions, Statements};
use crate::{raw, transaction, write};

/// A SQLite database: one writer, several readers, no thread in between for short work.
///
/// Point reads and bounded ranges run on the calling task within a budget of steps; everything
/// longer runs on a blocking thread. Writes of many tasks share transactions, each all or nothing
/// by itself; none is acknowledged before its commit. Cheap to clone; needs a tokio runtime with
/// time enabled.
///
/// A stream outside of a transaction keeps nobody from writing. Without a write-ahead log (in
/// memory, or with [`JournalMode::Rollback`](crate::JournalMode::Rollback)) that takes reading all
/// of its rows into memory first. Inside a transaction a stream uses the transaction's connection:
/// until its rows are taken or it is dropped, the transaction answers anything else with `Misuse`,
/// after half a second. A rollback ends the stream.
///
/// Closing waits for a transaction that is still open as long as for a lock
/// ([`busy_timeout`](SqliteOptions::busy_timeout)) and then answers `Busy`. From then on nothing new
/// is accepted; the transaction may still be ended, and closing again finishes the work.
///
/// ```
/// use larder_core::{Db, models::{self, NewTag, Tag}};
/// use larder_sqlite::Sqlite;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// let sqlite = Sqlite::in_memory().await?;
/// sqlite.create_tables(&models::tables()).await?;
/// let db = Db::new(sqlite);
/// db.insert(NewTag::new("rust")).await?;
/// assert_eq!(db.query::<Tag>().count().await?, 1);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Sqlite {
    database: Arc<Database>,
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite")
            .field("options", self.database.options())
            .finish_non_exhaustive()
    }
}

impl Sqlite {
    /// Opens the database file at `path` in the production profile, creating it if need be.
    ///
    /// `":memory:"` opens a database in memory, as [`in_memory`](Self::in_memory) does.
    ///
    /// # Errors
    /// `Misuse` for an empty path or a SQLite URI (`file:...`); `Unavailable` if there is no such
    /// directory or no right to open the file; `ReadOnly` if it or its directory is marked
    /// read-only; `Corrupt` if it is no database. All these name the path and are not retryable.
    /// `Busy` if it stays locked.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(SqliteOptions::new(path)).await
    }

    /// Opens a fresh database in memory; it is gone when the last handle is.
    ///
    /// It has no write-ahead log: a read outside of an open writing transaction waits for its
    /// end.
    pub async fn in_memory() -> Result<Self> {
        Self::open_with(SqliteOptions::in_memory()).await
    }

    /// Opens a database with these options.
    pub async fn open_with(options: SqliteOptions) -> Result<Self> {
        let database = off_task(move || Database::open(options)).await?;
        Ok(Self {
            database: Arc::new(database),
        })
    }

    /// Creates the tables of models, with their keys, references and indexes, all or none. For
    /// tests and first steps; a service runs migrations.
    pub async fn create_tables(&self, tables: &[&'static Table]) -> Result<()> {
        self.database.create_tables(tables).await
    }

    /// Creates those of the tables, and of their indexes, that are missing, all or none; does not look
    /// at those that exist. May be called by several programs at once, at each start: for the tables
    /// that belong to a feature of Larder rather than to a service's models.
    pub async fn create_missing_tables(&self, tables: &[&'static Table]) -> Result<()> {
        let statements = create_missing_tables(Dialect::Sqlite, tables);
        self.database.create_missing(statements).await
    }

    pub(crate) fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// Applies the migrations that are missing, up to `target` (all if `None`), and answers which.
    /// Waits while another program migrates the same file. See [`Migrator::up`] for errors.
    pub async fn migrate(
        &self,
        migrator: &Migrator,
        target: Option<i32>,
    ) -> Result<Vec<MigrationRun>> {
        let migrator = migrator.clone();
        self.database
            .with_writer(move |connection| migrator.up(connection, target))
            .await
    }

    /// Undoes every migration above `version`, newest first; 0 undoes all. Data goes with it. See
    /// [`Migrator::down_to`] for errors.
    pub async fn migrate_down(
        &self,
        migrator: &Migrator,
        version: i32,
    ) -> Result<Vec<MigrationRun>> {
        let migrator = migrator.clone();
        self.database
            .with_writer(move |connection| migrator.down_to(connection, version))
            .await
    }

    /// How every migration stands. Writes nothing.
    pub async fn migration_status(&self, migrator: &Migrator) -> Result<Vec<MigrationStatus>> {
        let migrator = migrator.clone();
        self.database
            .with_reader(move |connection| migrator.status(connection))
            .await
    }

    /// Copies the whole database into a new file at `path`, consistent as of one moment, while
    /// others go on reading and writing. The copy is checked and flushed to the disk, and appears
    /// under its name only when it is whole; until then it lies beside it, in a file whose name
    /// ends in `.partial`. Dropping the future stops the copy and removes that file.
    ///
    /// It is one long read: with a write-ahead log, the log grows while pages are copied. Without
    /// one ([`JournalMode::Rollback`](crate::JournalMode::Rollback), a database in memory) others
    /// can begin to write, but their commits wait until the pages are copied.
    ///
    /// # Errors
    /// `Misuse` if the file exists, or a log of an earlier database of this name; `Full` or
    /// `Unavailable`, naming the path, if it cannot be written; `Corrupt` if the copy does not pass
    /// SQLite's integrity check.
    pub async fn backup_to(&self, path: impl AsRef<Path>) -> Result<()> {
        self.database.back_up(path.as_ref().to_owned()).await
    }
}

#[async_trait]
impl Storage for Sqlite {
    fn capabilities(&self) -> &Capabilities {
        self.database.capabilities()
    }

    /// Not `async`, so that the future of a short read, which is over by then, holds its rows only.
    fn read<'a, 'f>(&'a self, query: Select, mut rows: Rows) -> BoxFuture<'f, Result<Rows>>
    where
        'a: 'f,
        Self: 'f,
    {
        if read::is_short(&query, &rows) {
            match self.database.read_inline(&query, &mut rows) {
                Ok(Inline::Done) => return Box::pin(ready(Ok(rows))),
                Ok(Inline::Later) => {}
                Err(error) => return Box::pin(ready(Err(error))),
            }
        }
        Box::pin(self.database.read_blocking(query, rows))
    }

    async fn write(&self, write: Write, mut rows: Rows) -> Result<(Written, Rows)> {
        let options = write::job_options(&write);
        let job = move |connection: &Connection| -> Result<_> {
            let ran = write::run(connection, write, &mut rows)?;
            Ok((ran, rows))
        };
        let (ran, mut rows) = self.database.writer().submit(options, job).await?;
        Ok((ran.finish(&mut rows), rows))
    }

    async fn sql(&self, statement: RawStatement, mut rows: Rows) -> Result<(Written, Rows)> {
        if statement.access == RawAccess::Read {
            let rows = self.database.read_sql(statement, rows).await?;
            return Ok((Written::rows(0), rows));
        }
        let options = JobOptions {
            cost: Cost::Blocking,
            statements: Statements::Many,
            deadline: statement.deadline,
        };
        let job = move |connection: &Connection| -> Result<_> {
            let written = raw::run(connection, &statement, &mut rows)?;
            Ok((written, rows))
        };
        self.database.writer().submit(options, job).await
    }

    async fn begin(&self, options: TxOptions) -> Result<Box<dyn Transaction>> {
        Ok(Box::new(transaction::begin(&self.database, options).await?))
    }

    async fn explain(&self, query: Select) -> Result<String> {
        self.database
            .with_reader(move |connection| database::explain(connection, &query))
            .await
    }

    async fn close(&self) -> Result<()> {
        self.database.close().await
    }
}
