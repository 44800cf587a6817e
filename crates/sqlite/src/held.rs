//! The connection that an explicit transaction holds until its end.

use rusqlite::Connection;

use larder_core::{Error, RawStatement, Result, Rows, Select, Write, Written};

use crate::database::{explain, off_task};
use crate::error::{EngineError, Failure, failure};
use crate::interrupt::{Budget, Interrupt, Patience};
use crate::raw;
use crate::read::CancelOnDrop;
use crate::readers::CheckedOut;
use crate::write;
use crate::writer::OwnedWriter;

/// The most rows a transaction may have changed for its end to run on the calling task.
const SHORT_ROWS_MAX: u64 = 128;

/// A connection with an open transaction. Dropping it rolls back.
#[derive(Debug)]
pub(crate) struct Held {
    line: Line,
    /// The connection's count of changes when the transaction began.
    changes_before: u64,
    /// Whether a write was longer than what runs on the calling task.
    wrote_much: bool,
}

#[derive(Debug)]
enum Line {
    Writer(OwnedWriter),
    Reader(Box<CheckedOut>),
}

impl Held {
    fn new(line: Line) -> Self {
        let mut held = Self {
            line,
            changes_before: 0,
            wrote_much: false,
        };
        held.changes_before = held.connection().total_changes();
        held
    }

    /// Begins to write: at once, or on a blocking thread if another process holds the lock.
    /// Dropping the future ends the wait.
    pub(crate) async fn begin_writing(writer: OwnedWriter) -> Result<Self> {
        let held = Self::new(Line::Writer(writer));
        held.arm(Patience::None);
        match held.execute("BEGIN IMMEDIATE") {
            Ok(()) => Ok(held),
            Err(error) if failure(&error) == Failure::Busy => {
                held.begin_patiently(|held| held.execute("BEGIN IMMEDIATE"))
                    .await
            }
            Err(error) => Err(EngineError::from(error).into()),
        }
    }

    /// Begins to read and fixes the snapshot, so that it is the state at the beginning. Dropping
    /// the future ends the wait.
    pub(crate) async fn begin_reading(reader: CheckedOut) -> Result<Self> {
        let held = Self::new(Line::Reader(Box::new(reader)));
        held.begin_patiently(|held| {
            held.execute("BEGIN")?;
            held.connection()
                .prepare_cached("SELECT count(*) FROM (SELECT 1 FROM sqlite_schema LIMIT 1)")?
                .query_row([], |_| Ok(()))
        })
        .await
    }

    async fn begin_patiently(
        self,
        begin: impl FnOnce(&Self) -> rusqlite::Result<()> + Send + 'static,
    ) -> Result<Self> {
        let cancel = CancelOnDrop::default();
        let token = cancel.0.clone();
        off_task(move || {
            let interrupt = self.interrupt();
            interrupt.arm_cancellable(Budget::Unlimited, Patience::BusyTimeout, token);
            let begun = begin(&self);
            self.arm(Patience::None);
            begun.map_err(EngineError::from)?;
            // If nobody waits for it any more, it is dropped here and rolls back.
            Ok(self)
        })
        .await
    }

    pub(crate) fn connection(&self) -> &Connection {
        match &self.line {
            Line::Writer(writer) => writer,
            Line::Reader(reader) => reader.connection(),
        }
    }

    pub(crate) fn interrupt(&self) -> &Interrupt {
        match &self.line {
            Line::Writer(writer) => writer.interrupt(),
            Line::Reader(reader) => reader.interrupt(),
        }
    }

    /// Whether SQLite has ended the transaction by itself, because a statement failed badly.
    pub(crate) fn has_ended(&self) -> bool {
        self.connection().is_autocommit()
    }

    /// Whether ending the transaction takes microseconds, apart from flushing.
    pub(crate) fn ends_quickly(&self) -> bool {
        let changes = self.connection().total_changes();
        !self.wrote_much && changes.saturating_sub(self.changes_before) <= SHORT_ROWS_MAX
    }

    /// Opens the savepoint of this level.
    pub(crate) fn set_savepoint(&self, level: usize) -> Result<()> {
        self.arm(Patience::None);
        self.run(&format!("SAVEPOINT larder_{level}"))
    }

    /// Makes what was done since the savepoint part of what is around it.
    pub(crate) fn release_savepoint(&self, level: usize) -> Result<()> {
        self.arm(Patience::None);
        self.run(&format!("RELEASE larder_{level}"))
    }

    /// Undoes what was done since the savepoint.
    pub(crate) fn undo_savepoint(&self, level: usize) -> Result<()> {
        self.arm(Patience::None);
        self.run(&format!("ROLLBACK TO larder_{level}"))?;
        self.run(&format!("RELEASE larder_{level}"))
    }

    /// Runs a write whose statements are undone together if one fails or a receiver panics.
    pub(crate) fn write(&mut self, write: Write, rows: &mut Rows) -> Result<Written> {
        self.arm(Patience::BusyTimeout);
        self.wrote_much |= !write::is_short(&write);
        let savepoint = WriteSavepoint::set(self)?;
        let ran = write::run(self.connection(), write, rows)?;
        savepoint.release()?;
        Ok(ran.finish(rows))
    }

    /// Runs a statement that may write; it is undone if it fails or a receiver panics.
    pub(crate) fn write_sql(&mut self, raw: &RawStatement, rows: &mut Rows) -> Result<Written> {
        self.arm(Patience::BusyTimeout);
        self.wrote_much = true;
        let savepoint = WriteSavepoint::set(self)?;
        let written = raw::run(self.connection(), raw, rows)?;
        savepoint.release()?;
        Ok(written)
    }

    /// See [`Storage::explain`](larder_core::Storage::explain).
    pub(crate) fn explain(&self, query: &Select) -> Result<String> {
        self.arm(Patience::BusyTimeout);
        explain(self.connection(), query)
    }

    /// Makes the transaction permanent.
    pub(crate) fn commit(self) -> Result<()> {
        self.arm(Patience::BusyTimeout);
        self.execute("COMMIT").map_err(commit_failed)
    }

    fn arm(&self, patience: Patience) {
        self.interrupt().arm(Budget::Unlimited, patience);
    }

    fn run(&self, sql: &str) -> Result<()> {
        Ok(self.execute(sql).map_err(EngineError::from)?)
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection().prepare_cached(sql)?.execute([]).map(drop)
    }
}

/// The savepoint around one write. Dropping it undoes the write.
struct WriteSavepoint<'h> {
    held: &'h Held,
    released: bool,
}

impl<'h> WriteSavepoint<'h> {
    fn set(held: &'h Held) -> Result<Self> {
        held.run("SAVEPOINT larder_write")?;
        Ok(Self {
            held,
            released: false,
        })
    }

    fn release(mut self) -> Result<()> {
        self.held.run("RELEASE larder_write")?;
        self.released = true;
        Ok(())
    }
}

impl Drop for WriteSavepoint<'_> {
    fn drop(&mut self) {
        // A full or failing disk: SQLite has rolled everything back.
        if self.released || self.held.has_ended() {
            return;
        }
        let undone = (self.held.execute("ROLLBACK TO larder_write"))
            .and_then(|()| self.held.execute("RELEASE larder_write"));
        if let Err(error) = undone {
            // Half a write must not be committed with the rest: all is undone.
            tracing::error!(%error, "a refused write could not be undone by itself");
            let _ = self.held.execute("ROLLBACK");
        }
    }
}

/// A failed commit was not applied if SQLite refused it for a lock or a constraint; otherwise the
/// log may hold it after all.
fn commit_failed(cause: rusqlite::Error) -> Error {
    match failure(&cause) {
        Failure::Busy | Failure::ForeignKey | Failure::Constraint | Failure::Interrupted => {
            EngineError::from(cause).into()
        }
        _ => EngineError::Unknown(Some(std::sync::Arc::new(cause))).into(),
    }
}
