//! One open database: its writer, its readers, and what they can do.

use std::sync::Arc;

use larder_core::{Capabilities, Error, ErrorKind, RawStatement, Result, Rows, Select, Table};
use larder_sql::{Dialect, create_tables, render_select};
use rusqlite::{Connection, TransactionBehavior};

use crate::connection::Opener;
use crate::error::EngineError;
use crate::interrupt::{Budget, Cancel, Interrupt, Patience};
use crate::opening;
use crate::options::SqliteOptions;
use crate::raw;
use crate::read::{self, CancelOnDrop, Inline};
use crate::read_ahead::Kept;
use crate::readers::Readers;
use crate::write_connection::WriteConnection;
use crate::writer::Writer;

/// The connections of one database, shared by all handles and transactions.
#[derive(Debug)]
pub(crate) struct Database {
    options: SqliteOptions,
    capabilities: Capabilities,
    writer: Writer,
    readers: Readers,
    commits_quickly: bool,
}

impl Database {
    /// Opens the connections. Blocks on the disk.
    pub(crate) fn open(options: SqliteOptions) -> Result<Self> {
        opening::explained(&options, || Self::connect(&options))
    }

    fn connect(options: &SqliteOptions) -> Result<Self, EngineError> {
        let opener = Opener::new(options.clone());
        let connection = WriteConnection::new(opener.writer()?, &opener)?;
        let readers = Readers::open(&opener)?;
        let connection = connection.with_gate(readers.gate());
        let mut capabilities = Capabilities::full("sqlite");
        capabilities.reads_during_writes = connection.is_wal();
        capabilities.keeps_deadlines = true;
        capabilities.concurrent_writers = false;
        capabilities.raw_sql = Some("sqlite");
        Ok(Self {
            commits_quickly: connection.commits_without_waiting(),
            writer: Writer::new(connection, options.queue_max),
            readers,
            capabilities,
            options: options.clone(),
        })
    }

    pub(crate) fn options(&self) -> &SqliteOptions {
        &self.options
    }

    pub(crate) fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    pub(crate) fn writer(&self) -> &Writer {
        &self.writer
    }

    pub(crate) fn readers(&self) -> &Readers {
        &self.readers
    }

    /// Whether a commit may run on the calling task.
    pub(crate) fn commits_quickly(&self) -> bool {
        self.commits_quickly
    }

    /// Tries to run a short read on the calling task.
    pub(crate) fn read_inline(&self, select: &Select, rows: &mut Rows) -> Result<Inline> {
        let Some(mut lent) = self.readers.try_lend() else {
            return Ok(Inline::Later);
        };
        match lent.fresh() {
            Ok(_) => {}
            Err(error) if error.is_busy() => return Ok(Inline::Later),
            Err(error) => return Err(error.into()),
        }
        let budget = self.options.inline_budget;
        read::run_inline(lent.connection(), lent.interrupt(), budget, select, rows)
    }

    /// Runs a read of any length on a blocking thread.
    pub(crate) async fn read_blocking(&self, select: Select, mut rows: Rows) -> Result<Rows> {
        if self.capabilities.reads_during_writes || !rows.may_wait() {
            return self.read_at_once(select, rows).await;
        }
        let kept = Rows::new(Kept::of(&select));
        let kept = self.read_at_once(select, kept).await?;
        kept.into_sink::<Kept>()?.show(&mut rows).await?;
        Ok(rows)
    }

    async fn read_at_once(&self, select: Select, rows: Rows) -> Result<Rows> {
        self.read_with(rows, move |connection, interrupt, cancel, rows| {
            read::run_blocking(connection, interrupt, cancel, &select, rows)
        })
        .await
    }

    /// Runs a statement that only reads on a blocking thread.
    pub(crate) async fn read_sql(&self, raw: RawStatement, rows: Rows) -> Result<Rows> {
        self.read_with(rows, move |connection, interrupt, cancel, rows| {
            raw::read_blocking(connection, interrupt, cancel, &raw, rows)
        })
        .await
    }

    async fn read_with(
        &self,
        mut rows: Rows,
        read: impl FnOnce(&Connection, &Interrupt, Cancel, &mut Rows) -> Result<()> + Send + 'static,
    ) -> Result<Rows> {
        let reader = self.readers.check_out(None).await?;
        let cancel = CancelOnDrop::default();
        let token = cancel.0.clone();
        off_task(move || {
            read(reader.connection(), reader.interrupt(), token, &mut rows)?;
            Ok(rows)
        })
        .await
    }

    /// Runs work on a reader on a blocking thread, without a snapshot.
    pub(crate) async fn with_reader<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let reader = self.readers.check_out(None).await?;
        off_task(move || {
            reader
                .interrupt()
                .arm(Budget::Unlimited, Patience::BusyTimeout);
            work(reader.connection())
        })
        .await
    }

    /// Runs work on the writer's connection on a blocking thread, outside of a transaction.
    pub(crate) async fn with_writer<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let mut writer = self.writer.exclusive(None).await?;
        off_task(move || {
            writer.arm(Patience::BusyTimeout);
            work(writer.connection_mut())
        })
        .await
    }

    /// Creates the tables in one transaction.
    pub(crate) async fn create_tables(&self, tables: &[&'static Table]) -> Result<()> {
        let statements = create_tables(Dialect::Sqlite, tables);
        self.with_writer(move |connection| {
            let mut run = || -> rusqlite::Result<()> {
                let transaction = connection.transaction()?;
                for statement in &statements {
                    transaction.execute_batch(statement)?;
                }
                transaction.commit()
            };
            run().map_err(|error| EngineError::from(error).into())
        })
        .await
    }

    /// Runs statements that create what is missing, in one transaction.
    pub(crate) async fn create_missing(&self, statements: Vec<String>) -> Result<()> {
        self.with_writer(move |connection| {
            let mut run = || -> rusqlite::Result<()> {
                // At once, so that two programs wait for each other.
                let transaction =
                    connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                for statement in &statements {
                    transaction.execute_batch(statement)?;
                }
                transaction.commit()
            };
            run().map_err(|error| EngineError::from(error).into())
        })
        .await
    }

    /// Closes everything; twice is fine. Waits for the writer as long as for a lock: a transaction
    /// may be left open by the very task that closes.
    pub(crate) async fn close(self: &Arc<Self>) -> Result<()> {
        let patience = self.options.busy_timeout;
        let writer = tokio::time::timeout(patience, self.writer.close()).await;
        let database = Arc::clone(self);
        off_task(move || {
            database.readers.close();
            match writer {
                Ok(Some(connection)) => connection.close().map_err(|e| EngineError::from(e).into()),
                Ok(None) => Ok(()),
                Err(_) => Err(Error::new(
                    ErrorKind::Busy,
                    "a transaction is still open: end it or drop its handle, and close again; \
                     nothing new is accepted meanwhile",
                )),
            }
        })
        .await
    }
}

/// Runs blocking work on a thread for it.
pub(crate) async fn off_task<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => {
            Err(Error::new(ErrorKind::Closed, "the runtime is shutting down").with_source(error))
        }
    }
}

/// SQLite's own words on how it would run the read.
pub(crate) fn explain(connection: &Connection, select: &Select) -> Result<String> {
    let sql = render_select(Dialect::Sqlite, select).sql;
    let run = || -> rusqlite::Result<Vec<String>> {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
        let mut rows = statement.raw_query();
        let mut steps = Vec::new();
        while let Some(row) = rows.next()? {
            steps.push(row.get::<_, String>("detail")?);
        }
        Ok(steps)
    };
    let steps = run().map_err(|error| crate::error::of_read(error.into(), select))?;
    let access = select.access();
    Ok(format!("{access:?}\n{sql}\n{}", steps.join("\n")))
}
