//! Explicit transactions: the writer's connection, or a reader's, held until the end.
//!
//! All handles of one transaction share its connection behind a lock that is held for one
//! operation at a time. Handles have levels: 0 is the transaction, 1 the savepoint in it, and so
//! on; only the handle of the current level may work. Ending a handle by dropping it undoes its
//! level and those inside it, at once if the connection is free, else before its next use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use larder_core::{
    Capabilities, Error, ErrorKind, Result, Rows, Select, Storage, Transaction, TxOptions, Write,
    Written,
};
use rusqlite::Connection;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::database::{Database, explain, off_task};
use crate::error::{EngineError, Failure, failure};
use crate::interrupt::{Interrupt, Patience};
use crate::read::{self, CancelOnDrop, Inline};
use crate::readers::CheckedOut;
use crate::write;
use crate::writer::OwnedWriter;

/// No level was abandoned.
const NONE: u32 = u32::MAX;

/// One handle of a transaction.
#[derive(Debug)]
pub(crate) struct SqliteTransaction {
    shared: Arc<Shared>,
    level: u32,
}

#[derive(Debug)]
struct Shared {
    database: Arc<Database>,
    read_only: bool,
    state: Arc<Mutex<State>>,
    /// The outermost level whose handle was dropped without an end.
    abandoned: AtomicU32,
}

#[derive(Debug)]
struct State {
    /// `None` once the transaction has ended.
    held: Option<Held>,
    /// The level that may work.
    level: u32,
}

/// The connection a transaction runs on. Dropping it rolls back.
#[derive(Debug)]
enum Held {
    Writer(OwnedWriter),
    Reader(CheckedOut),
}

impl Held {
    fn connection(&self) -> &Connection {
        match self {
            Self::Writer(writer) => writer,
            Self::Reader(reader) => reader.connection(),
        }
    }

    fn interrupt(&self) -> &Interrupt {
        match self {
            Self::Writer(writer) => writer.interrupt(),
            Self::Reader(reader) => reader.interrupt(),
        }
    }

    fn arm(&mut self, patience: Patience) {
        let budget = crate::interrupt::Budget::Unlimited;
        self.interrupt().arm(budget, patience);
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection().prepare_cached(sql)?.execute([]).map(drop)
    }
}

/// Begins a transaction on the database.
pub(crate) async fn begin(
    database: &Arc<Database>,
    options: TxOptions,
) -> Result<SqliteTransaction> {
    database.capabilities().check_tx(&options)?;
    let held = if options.read_only {
        let reader = database.readers().check_out(options.deadline).await?;
        begin_reading(Held::Reader(reader)).await?
    } else {
        let writer = database.writer().exclusive(options.deadline).await?;
        begin_writing(Held::Writer(writer)).await?
    };
    Ok(SqliteTransaction {
        shared: Arc::new(Shared {
            database: Arc::clone(database),
            read_only: options.read_only,
            state: Arc::new(Mutex::new(State { held: Some(held), level: 0 })),
            abandoned: AtomicU32::new(NONE),
        }),
        level: 0,
    })
}

/// Begins at once, or on a blocking thread if another process holds the lock.
async fn begin_writing(mut held: Held) -> Result<Held> {
    held.arm(Patience::None);
    match held.execute("BEGIN IMMEDIATE") {
        Ok(()) => Ok(held),
        Err(error) if failure(&error) == Failure::Busy => {
            off_task(move || {
                held.arm(Patience::BusyTimeout);
                held.execute("BEGIN IMMEDIATE").map_err(EngineError::from)?;
                Ok(held)
            })
            .await
        }
        Err(error) => Err(EngineError::from(error).into()),
    }
}

/// Begins and fixes the snapshot, so that it is the state at the beginning.
async fn begin_reading(mut held: Held) -> Result<Held> {
    let snapshot = |held: &Held| -> rusqlite::Result<()> {
        held.execute("BEGIN")?;
        held.connection()
            .prepare_cached("SELECT count(*) FROM (SELECT 1 FROM sqlite_schema LIMIT 1)")?
            .query_row([], |_| Ok(()))
    };
    off_task(move || {
        held.arm(Patience::BusyTimeout);
        snapshot(&held).map_err(EngineError::from)?;
        Ok(held)
    })
    .await
}

impl Shared {
    /// Takes the connection for one operation of the handle at this level.
    async fn enter(&self, level: u32) -> Result<OwnedMutexGuard<State>> {
        let mut state = Arc::clone(&self.state).lock_owned().await;
        self.settle(&mut state);
        if state.held.is_none() || state.level < level {
            return Err(ended());
        }
        if state.level > level {
            return Err(Error::misuse(
                "a nested transaction is open: use its handle, or end it first",
            ));
        }
        Ok(state)
    }

    /// Undoes the levels whose handles were dropped.
    fn settle(&self, state: &mut State) {
        let abandoned = self.abandoned.swap(NONE, Ordering::AcqRel);
        if abandoned <= state.level {
            // A connection that cannot go back to the savepoint is of no use: all is undone.
            if abandoned == 0 || undo(state, abandoned).is_err() {
                state.held = None;
            }
        }
    }
}

/// Goes back to before the savepoint of this level.
fn undo(state: &mut State, level: u32) -> rusqlite::Result<()> {
    if let Some(held) = &mut state.held {
        held.arm(Patience::None);
        held.execute(&format!("ROLLBACK TO larder_{level}"))?;
        held.execute(&format!("RELEASE larder_{level}"))?;
    }
    state.level = level - 1;
    Ok(())
}

impl SqliteTransaction {
    /// Runs work on a blocking thread that owns the connection meanwhile.
    async fn off_task<T: Send + 'static>(
        &self,
        mut state: OwnedMutexGuard<State>,
        work: impl FnOnce(&mut Held) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        // The handle may be dropped while the work runs: then the level is undone right after.
        let shared = Arc::clone(&self.shared);
        off_task(move || {
            let outcome = state.held.as_mut().ok_or_else(ended).and_then(work);
            shared.settle(&mut state);
            outcome
        })
        .await
    }

    fn refuse_read_only(&self) -> Result<()> {
        if self.shared.read_only {
            return Err(Error::new(
                ErrorKind::ReadOnly,
                "the transaction was begun read-only: begin one without read_only() to write",
            ));
        }
        Ok(())
    }
}

/// Runs a write whose statements are undone together if one fails.
fn write_atomically(held: &mut Held, write: &Write, rows: &mut Rows) -> Result<Written> {
    held.arm(Patience::BusyTimeout);
    let sql = |sql| held.execute(sql).map_err(EngineError::from);
    sql("SAVEPOINT larder_write")?;
    let outcome = write::run(held.connection(), write, rows);
    if outcome.is_err() {
        sql("ROLLBACK TO larder_write")?;
    }
    sql("RELEASE larder_write")?;
    outcome
}

#[async_trait]
impl Storage for SqliteTransaction {
    fn capabilities(&self) -> &Capabilities {
        self.shared.database.capabilities()
    }

    async fn read(&self, query: Select, mut rows: Rows) -> Result<Rows> {
        let state = self.shared.enter(self.level).await?;
        if read::is_short(&query, &rows) {
            let held = state.held.as_ref().ok_or_else(ended)?;
            let budget = self.shared.database.options().inline_budget;
            let run = read::run_inline(held.connection(), held.interrupt(), budget, &query, &mut rows)?;
            if run == Inline::Done {
                return Ok(rows);
            }
        }
        let cancel = CancelOnDrop::default();
        let token = cancel.0.clone();
        self.off_task(state, move |held| {
            read::run_blocking(held.connection(), held.interrupt(), token, &query, &mut rows)?;
            Ok(rows)
        })
        .await
    }

    async fn write(&self, write: Write, mut rows: Rows) -> Result<(Written, Rows)> {
        self.refuse_read_only()?;
        let mut state = self.shared.enter(self.level).await?;
        if write::is_short(&write) {
            let held = state.held.as_mut().ok_or_else(ended)?;
            let written = write_atomically(held, &write, &mut rows)?;
            return Ok((written, rows));
        }
        self.off_task(state, move |held| {
            let written = write_atomically(held, &write, &mut rows)?;
            Ok((written, rows))
        })
        .await
    }

    async fn begin(&self, options: TxOptions) -> Result<Box<dyn Transaction>> {
        self.capabilities().check_tx(&options)?;
        let mut state = self.shared.enter(self.level).await?;
        let level = self.level + 1;
        let held = state.held.as_mut().ok_or_else(ended)?;
        held.arm(Patience::None);
        held.execute(&format!("SAVEPOINT larder_{level}")).map_err(EngineError::from)?;
        state.level = level;
        Ok(Box::new(Self { shared: Arc::clone(&self.shared), level }))
    }

    async fn explain(&self, query: Select) -> Result<String> {
        let state = self.shared.enter(self.level).await?;
        let held = state.held.as_ref().ok_or_else(ended)?;
        explain(held.connection(), &query)
    }

    async fn close(&self) -> Result<()> {
        Err(Error::misuse("a transaction cannot be closed: commit or roll it back"))
    }
}

#[async_trait]
impl Transaction for SqliteTransaction {
    async fn commit(&self) -> Result<()> {
        let mut state = self.shared.enter(self.level).await?;
        if self.level > 0 {
            let held = state.held.as_mut().ok_or_else(ended)?;
            held.arm(Patience::None);
            let sql = format!("RELEASE larder_{}", self.level);
            held.execute(&sql).map_err(EngineError::from)?;
            state.level = self.level - 1;
            return Ok(());
        }
        let mut held = state.held.take().ok_or_else(ended)?;
        drop(state);
        let quick = self.shared.read_only || self.shared.database.commits_quickly();
        let commit = move || {
            held.arm(Patience::BusyTimeout);
            held.execute("COMMIT").map_err(commit_failed)
        };
        if quick { commit() } else { off_task(commit).await }
    }

    async fn rollback(&self) -> Result<()> {
        let mut state = match self.shared.enter(self.level).await {
            Ok(state) => state,
            Err(error) if error.is_closed() => return Ok(()),
            Err(error) => return Err(error),
        };
        if self.level > 0 {
            undo(&mut state, self.level).map_err(EngineError::from)?;
        } else {
            state.held = None; // dropping it rolls back
        }
        Ok(())
    }
}

impl Drop for SqliteTransaction {
    fn drop(&mut self) {
        self.shared.abandoned.fetch_min(self.level, Ordering::AcqRel);
        // If the connection is in use, whoever uses it settles afterwards.
        if let Ok(mut state) = self.shared.state.try_lock() {
            self.shared.settle(&mut state);
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
        _ => EngineError::Unknown(Some(Arc::new(cause))).into(),
    }
}

#[cold]
fn ended() -> Error {
    Error::new(ErrorKind::Closed, "the transaction has ended: begin another one")
}
