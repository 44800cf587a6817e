//! Explicit transactions: the writer's connection, or a reader's, held until the end.
//!
//! All handles of one transaction share its connection behind a lock that is held for one
//! operation at a time. The open handles form a stack, the transaction at the bottom and its
//! savepoints above; only the topmost may work. Dropping a handle undoes it and those above it, at
//! once if the connection is free, else before its next use.

use std::sync::{Arc, PoisonError};

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

/// One handle of a transaction.
#[derive(Debug)]
pub(crate) struct SqliteTransaction {
    shared: Arc<Shared>,
    /// Tells the handles of one transaction apart; never used twice.
    serial: u64,
}

#[derive(Debug)]
struct Shared {
    database: Arc<Database>,
    read_only: bool,
    state: Arc<Mutex<State>>,
    /// The handles that were dropped and not looked at yet.
    abandoned: std::sync::Mutex<Vec<u64>>,
}

#[derive(Debug)]
struct State {
    /// `None` once the transaction has ended.
    held: Option<Held>,
    /// The open handles, the outermost first.
    open: Vec<u64>,
    /// How many handles there have been.
    handles: u64,
    committed: bool,
}

/// The connection a transaction runs on. Dropping it rolls back.
#[derive(Debug)]
enum Held {
    Writer(OwnedWriter),
    Reader(Box<CheckedOut>),
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
        begin_reading(Held::Reader(Box::new(reader))).await?
    } else {
        let writer = database.writer().exclusive(options.deadline).await?;
        begin_writing(Held::Writer(writer)).await?
    };
    Ok(SqliteTransaction {
        shared: Arc::new(Shared {
            database: Arc::clone(database),
            read_only: options.read_only,
            state: Arc::new(Mutex::new(State {
                held: Some(held),
                open: vec![0],
                handles: 1,
                committed: false,
            })),
            abandoned: std::sync::Mutex::default(),
        }),
        serial: 0,
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
    /// Takes the connection for one operation of this handle.
    async fn enter(&self, serial: u64) -> Result<OwnedMutexGuard<State>> {
        let mut state = Arc::clone(&self.state).lock_owned().await;
        self.settle(&mut state);
        if (state.held.as_ref()).is_some_and(|held| held.connection().is_autocommit()) {
            // SQLite rolled the transaction back when a statement failed. What came after would
            // be committed by itself.
            state.held = None;
            state.open.clear();
        }
        match state.open.iter().position(|&open| open == serial) {
            None => Err(ended()),
            Some(level) if level + 1 < state.open.len() => Err(Error::misuse(
                "a nested transaction is open: use its handle, or end it first",
            )),
            Some(_) => Ok(state),
        }
    }

    fn abandon(&self, serial: u64) {
        self.abandoned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(serial);
    }

    /// Undoes what the handles that were dropped had not ended.
    fn settle(&self, state: &mut State) {
        let abandoned = std::mem::take(
            &mut *self
                .abandoned
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        let levels = abandoned
            .iter()
            .filter_map(|serial| state.open.iter().position(|open| open == serial));
        if let Some(level) = levels.min() {
            state.undo(level);
        }
    }
}

impl State {
    /// Undoes the level and those above it.
    fn undo(&mut self, level: usize) {
        let undone = match &mut self.held {
            Some(held) if level > 0 => {
                held.arm(Patience::None);
                held.execute(&format!("ROLLBACK TO larder_{level}"))
                    .and_then(|()| held.execute(&format!("RELEASE larder_{level}")))
            }
            _ => Ok(()),
        };
        self.open.truncate(level);
        // A connection that cannot go back to the savepoint is of no use: all is undone.
        if level == 0 || undone.is_err() {
            self.open.clear();
            self.held = None; // dropping it rolls back
        }
    }
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
fn write_atomically(held: &mut Held, write: Write, rows: &mut Rows) -> Result<Written> {
    held.arm(Patience::BusyTimeout);
    let sql = |sql| held.execute(sql).map_err(EngineError::from);
    sql("SAVEPOINT larder_write")?;
    let outcome = write::run(held.connection(), write, rows);
    if outcome.is_err() {
        if held.connection().is_autocommit() {
            // A full or failing disk: SQLite has rolled everything back.
            return outcome;
        }
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
        let state = self.shared.enter(self.serial).await?;
        if read::is_short(&query, &rows) {
            let held = state.held.as_ref().ok_or_else(ended)?;
            let budget = self.shared.database.options().inline_budget;
            let run = read::run_inline(
                held.connection(),
                held.interrupt(),
                budget,
                &query,
                &mut rows,
            )?;
            if run == Inline::Done {
                return Ok(rows);
            }
        }
        let cancel = CancelOnDrop::default();
        let token = cancel.0.clone();
        self.off_task(state, move |held| {
            read::run_blocking(
                held.connection(),
                held.interrupt(),
                token,
                &query,
                &mut rows,
            )?;
            Ok(rows)
        })
        .await
    }

    async fn write(&self, write: Write, mut rows: Rows) -> Result<(Written, Rows)> {
        self.refuse_read_only()?;
        let mut state = self.shared.enter(self.serial).await?;
        if write::is_short(&write) {
            let held = state.held.as_mut().ok_or_else(ended)?;
            let written = write_atomically(held, write, &mut rows)?;
            return Ok((written, rows));
        }
        self.off_task(state, move |held| {
            let written = write_atomically(held, write, &mut rows)?;
            Ok((written, rows))
        })
        .await
    }

    async fn begin(&self, options: TxOptions) -> Result<Box<dyn Transaction>> {
        self.capabilities().check_tx(&options)?;
        let mut state = self.shared.enter(self.serial).await?;
        let level = state.open.len();
        let held = state.held.as_mut().ok_or_else(ended)?;
        held.arm(Patience::None);
        held.execute(&format!("SAVEPOINT larder_{level}"))
            .map_err(EngineError::from)?;
        let serial = state.handles;
        state.handles += 1;
        state.open.push(serial);
        Ok(Box::new(Self {
            shared: Arc::clone(&self.shared),
            serial,
        }))
    }

    async fn explain(&self, query: Select) -> Result<String> {
        let state = self.shared.enter(self.serial).await?;
        let held = state.held.as_ref().ok_or_else(ended)?;
        explain(held.connection(), &query)
    }

    async fn close(&self) -> Result<()> {
        Err(Error::misuse(
            "a transaction cannot be closed: commit or roll it back",
        ))
    }
}

#[async_trait]
impl Transaction for SqliteTransaction {
    async fn commit(&self) -> Result<()> {
        let mut state = self.shared.enter(self.serial).await?;
        let level = state.open.len() - 1;
        if level > 0 {
            let held = state.held.as_mut().ok_or_else(ended)?;
            held.arm(Patience::None);
            held.execute(&format!("RELEASE larder_{level}"))
                .map_err(EngineError::from)?;
            state.open.pop();
            return Ok(());
        }
        let mut held = state.held.take().ok_or_else(ended)?;
        state.open.clear();
        state.committed = true;
        drop(state);
        let quick = self.shared.read_only || self.shared.database.commits_quickly();
        let mut commit = move || {
            held.arm(Patience::BusyTimeout);
            held.execute("COMMIT").map_err(commit_failed)
        };
        if quick {
            commit()
        } else {
            off_task(commit).await
        }
    }

    async fn rollback(&self) -> Result<()> {
        let mut state = Arc::clone(&self.shared.state).lock_owned().await;
        if state.committed {
            return Err(ended());
        }
        self.shared.abandon(self.serial);
        self.shared.settle(&mut state);
        Ok(())
    }
}

impl Drop for SqliteTransaction {
    fn drop(&mut self) {
        self.shared.abandon(self.serial);
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
    Error::new(
        ErrorKind::Closed,
        "the transaction has ended: begin another one",
    )
}
