//! One open database: its writer, its readers, and what they can do.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use larder_core::{Capabilities, Error, ErrorKind, Result, Rows, Select, Table};
use larder_sql::{Dialect, create_tables, render_select};
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use crate::connection::Opener;
use crate::error::EngineError;
use crate::interrupt::{Budget, Patience};
use crate::opening;
use crate::options::SqliteOptions;
use crate::read::{self, CancelOnDrop, Inline};
use crate::readers::Readers;
use crate::write_connection::WriteConnection;
use crate::writer::Writer;

/// How many pages a backup copies before it lets others have their turn.
const BACKUP_PAGES: i32 = 1_000;
/// How long a backup pauses between two steps.
const BACKUP_PAUSE: Duration = Duration::from_millis(1);
/// How long a backup waits for a lock before it gives up.
const BACKUP_PATIENCE: Duration = Duration::from_secs(30);

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
        let reader = self.readers.check_out(None).await?;
        let cancel = CancelOnDrop::default();
        let token = cancel.0.clone();
        off_task(move || {
            read::run_blocking(
                reader.connection(),
                reader.interrupt(),
                token,
                &select,
                &mut rows,
            )?;
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

    /// Closes everything; twice is fine.
    pub(crate) async fn close(self: &Arc<Self>) -> Result<()> {
        let connection = self.writer.close().await;
        let database = Arc::clone(self);
        off_task(move || {
            database.readers.close();
            match connection {
                Some(connection) => connection.close().map_err(|e| EngineError::from(e).into()),
                None => Ok(()),
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

/// Copies the database into a new file, while others go on reading and writing.
pub(crate) fn back_up(source: &Connection, target: &Path) -> Result<()> {
    let engine = |error: rusqlite::Error| Error::from(EngineError::from(error));
    if target.exists() {
        return Err(Error::misuse(format!(
            "`{}` exists already: a backup never replaces a file",
            target.display()
        )));
    }
    let partial = target.with_extension("partial");
    let _ = std::fs::remove_file(&partial);
    let outcome = (|| {
        let mut copy = Connection::open(&partial).map_err(engine)?;
        run_backup(source, &mut copy)?;
        verify(&copy)?;
        copy.close().map_err(|(_, error)| engine(error))
    })();
    let renamed = outcome.and_then(|()| {
        std::fs::rename(&partial, target).map_err(|error| {
            Error::new(
                ErrorKind::Unavailable,
                "the finished backup could not be renamed",
            )
            .with_source(error)
        })
    });
    if renamed.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    renamed
}

fn run_backup(source: &Connection, copy: &mut Connection) -> Result<()> {
    let engine = |error: rusqlite::Error| Error::from(EngineError::from(error));
    let backup = Backup::new(source, copy).map_err(engine)?;
    let mut locked_since = None;
    loop {
        match backup.step(BACKUP_PAGES).map_err(engine)? {
            StepResult::Done => return Ok(()),
            StepResult::More => locked_since = None,
            _ => {
                let since = *locked_since.get_or_insert_with(std::time::Instant::now);
                if since.elapsed() > BACKUP_PATIENCE {
                    return Err(Error::new(
                        ErrorKind::Busy,
                        "the database stayed locked during the backup",
                    ));
                }
            }
        }
        std::thread::sleep(BACKUP_PAUSE);
    }
}

/// A copy counts only once SQLite finds nothing wrong with it.
fn verify(copy: &Connection) -> Result<()> {
    let answer: rusqlite::Result<String> =
        copy.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0));
    match answer {
        Ok(text) if text == "ok" => Ok(()),
        Ok(text) => Err(
            Error::new(ErrorKind::Corrupt, "the backup is damaged; it was not kept")
                .with_value(text),
        ),
        Err(error) => Err(EngineError::from(error).into()),
    }
}
