//! Explicit transactions: the writer's connection, or a reader's, held until the end.
//!
//! All handles of one transaction share its connection behind a lock that is held for one
//! operation at a time. The open handles form a stack, the transaction at the bottom and its
//! savepoints above; only the topmost may work. Dropping a handle, or rolling it back, ends a read
//! that runs on it or above it, and undoes it and those above it: at once if the connection is
//! free, else before its next use.
//!
//! A stream holds the connection until its last row is read, or until it is dropped. Whatever else
//! is asked of the transaction meanwhile waits half a second and is then refused as a misuse: the
//! task that waits is most likely the one that should take the rows.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use larder_core::raw::RawAccess;
use larder_core::{
    Capabilities, Error, ErrorKind, RawStatement, Result, Rows, Select, Storage, Transaction,
    TxOptions, Write, Written,
};
use rusqlite::Connection;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout_at;

use crate::database::{Database, off_task};
use crate::error::EngineError;
use crate::held::Held;
use crate::interrupt::{Cancel, Interrupt};
use crate::raw;
use crate::read::{self, CancelOnDrop, Inline};
use crate::write;

/// How long an operation waits for a stream of its own transaction.
const STREAM_WAIT: Duration = Duration::from_millis(500);

/// One handle of a transaction.
#[derive(Debug)]
pub(crate) struct SqliteTransaction {
    shared: Arc<Shared>,
    /// Tells the handles of one transaction apart; never used twice.
    serial: u64,
    committed: AtomicBool,
}

#[derive(Debug)]
struct Shared {
    database: Arc<Database>,
    state: Arc<Mutex<State>>,
    /// The handles that were dropped and not looked at yet.
    abandoned: std::sync::Mutex<Vec<u64>>,
    /// The read that a blocking thread runs at the moment.
    reading: std::sync::Mutex<Option<Reading>>,
}

#[derive(Debug)]
struct State {
    /// `None` once the transaction has ended.
    held: Option<Held>,
    /// The open handles, the outermost first.
    open: Vec<Level>,
    /// How many handles there have been.
    handles: u64,
}

#[derive(Clone, Copy, Debug)]
struct Level {
    serial: u64,
    read_only: bool,
}

/// A read on a blocking thread.
#[derive(Debug)]
struct Reading {
    /// The handles that were open when it began; the last one reads.
    open: Vec<u64>,
    cancel: Cancel,
    /// Whether it waits for somebody to take its rows.
    streams: bool,
}

/// Begins a transaction on the database.
pub(crate) async fn begin(
    database: &Arc<Database>,
    options: TxOptions,
) -> Result<SqliteTransaction> {
    database.capabilities().check_tx(&options)?;
    check_deadline(options.deadline)?;
    let begun = hold(database, &options);
    let held = match options.deadline {
        None => begun.await?,
        // What begins too late is dropped, which rolls it back.
        Some(deadline) => {
            (timeout_at(deadline.into(), begun).await).map_err(|_| EngineError::Timeout)??
        }
    };
    let level = Level {
        serial: 0,
        read_only: options.read_only,
    };
    let state = State {
        held: Some(held),
        open: vec![level],
        handles: 1,
    };
    let shared = Shared {
        database: Arc::clone(database),
        state: Arc::new(Mutex::new(state)),
        abandoned: std::sync::Mutex::default(),
        reading: std::sync::Mutex::default(),
    };
    Ok(SqliteTransaction::new(Arc::new(shared), 0))
}

async fn hold(database: &Database, options: &TxOptions) -> Result<Held> {
    if options.read_only {
        let reader = database.readers().check_out(options.deadline).await?;
        Held::begin_reading(reader).await
    } else {
        let writer = database.writer().exclusive(options.deadline).await?;
        Held::begin_writing(writer).await
    }
}

impl Shared {
    /// Takes the connection for one operation of this handle, by the deadline.
    async fn enter(
        &self,
        serial: u64,
        deadline: Option<Instant>,
    ) -> Result<OwnedMutexGuard<State>> {
        let mut state = self.lock(deadline).await?;
        self.settle(&mut state);
        if state.held.as_ref().is_some_and(Held::has_ended) {
            // SQLite rolled the transaction back when a statement failed. What came after would
            // be committed by itself.
            state.held = None;
            state.open.clear();
        }
        match state.open.iter().position(|level| level.serial == serial) {
            None => Err(ended()),
            Some(level) if level + 1 < state.open.len() => Err(Error::misuse(
                "a nested transaction is open: use its handle, or end it first",
            )),
            Some(_) => {
                check_deadline(deadline)?;
                Ok(state)
            }
        }
    }

    async fn lock(&self, deadline: Option<Instant>) -> Result<OwnedMutexGuard<State>> {
        if let Ok(state) = Arc::clone(&self.state).try_lock_owned() {
            return Ok(state);
        }
        let mut lock = Box::pin(Arc::clone(&self.state).lock_owned());
        if self.streams() {
            let until = Instant::now() + STREAM_WAIT;
            let until = deadline.map_or(until, |deadline| deadline.min(until));
            if let Ok(state) = timeout_at(until.into(), &mut lock).await {
                return Ok(state);
            }
            if self.streams() {
                return Err(Error::misuse(
                    "a stream of this transaction is open: take its rows to the end or drop it \
                     first; nothing was applied",
                ));
            }
        }
        match deadline {
            None => Ok(lock.await),
            Some(deadline) => (timeout_at(deadline.into(), lock).await).map_err(|_| too_late()),
        }
    }

    /// Whether a stream of this transaction is open.
    fn streams(&self) -> bool {
        let reading = self.reading();
        reading
            .as_ref()
            .is_some_and(|reading| reading.streams && !reading.cancel.is_cancelled())
    }

    fn reading(&self) -> MutexGuard<'_, Option<Reading>> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn abandoned(&self) -> MutexGuard<'_, Vec<u64>> {
        self.abandoned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the handle undone, and ends what is read on it or above it.
    fn abandon(&self, serial: u64) {
        self.abandoned().push(serial);
        if let Some(reading) = &*self.reading()
            && reading.open.contains(&serial)
        {
            reading.cancel.cancel();
        }
    }

    /// Undoes what the handles that were dropped had not ended.
    fn settle(&self, state: &mut State) {
        let abandoned = std::mem::take(&mut *self.abandoned());
        let levels = abandoned
            .iter()
            .filter_map(|serial| state.open.iter().position(|level| level.serial == *serial));
        if let Some(level) = levels.min() {
            state.undo(level);
        }
    }
}

impl State {
    fn held(&mut self) -> Result<&mut Held> {
        self.held.as_mut().ok_or_else(ended)
    }

    fn is_read_only(&self) -> bool {
        self.open.last().is_none_or(|level| level.read_only)
    }

    /// Undoes the level and those above it.
    fn undo(&mut self, level: usize) {
        let undone = match &self.held {
            Some(held) if level > 0 => held.undo_savepoint(level),
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

/// The connection while a blocking thread uses it. When that ends, in whatever way, it undoes what
/// was dropped meanwhile.
struct Working {
    shared: Arc<Shared>,
    state: OwnedMutexGuard<State>,
}

impl Drop for Working {
    fn drop(&mut self) {
        self.shared.reading().take();
        self.shared.settle(&mut self.state);
    }
}

impl SqliteTransaction {
    fn new(shared: Arc<Shared>, serial: u64) -> Self {
        Self {
            shared,
            serial,
            committed: AtomicBool::new(false),
        }
    }

    fn working(&self, state: OwnedMutexGuard<State>) -> Working {
        Working {
            shared: Arc::clone(&self.shared),
            state,
        }
    }

    /// Runs a read of any length on a blocking thread.
    async fn read_blocking(
        &self,
        state: OwnedMutexGuard<State>,
        mut rows: Rows,
        read: impl FnOnce(&Connection, &Interrupt, Cancel, &mut Rows) -> Result<()> + Send + 'static,
    ) -> Result<Rows> {
        let cancel = CancelOnDrop::default();
        let token = cancel.0.clone();
        *self.shared.reading() = Some(Reading {
            open: state.open.iter().map(|level| level.serial).collect(),
            cancel: token.clone(),
            streams: rows.may_wait(),
        });
        let mut working = self.working(state);
        off_task(move || {
            let held = working.state.held()?;
            let (connection, interrupt) = (held.connection(), held.interrupt());
            match read(connection, interrupt, token.clone(), &mut rows) {
                Ok(()) => Ok(rows),
                // Somebody rolled it back, or nobody waits for the answer.
                Err(_) if token.is_cancelled() => Err(ended()),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Runs a write of any length on a blocking thread, and answers by the deadline.
    async fn write_blocking<T: Send + 'static>(
        &self,
        state: OwnedMutexGuard<State>,
        deadline: Option<Instant>,
        write: impl FnOnce(&mut Held) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let mut working = self.working(state);
        let writing = off_task(move || {
            check_deadline(deadline)?;
            write(working.state.held()?)
        });
        match deadline {
            None => writing.await,
            Some(deadline) => (timeout_at(deadline.into(), writing).await)
                .unwrap_or_else(|_| Err(EngineError::Unknown(None).into())),
        }
    }
}

#[async_trait]
impl Storage for SqliteTransaction {
    fn capabilities(&self) -> &Capabilities {
        self.shared.database.capabilities()
    }

    async fn read(&self, query: Select, mut rows: Rows) -> Result<Rows> {
        let mut state = self.shared.enter(self.serial, None).await?;
        if read::is_short(&query, &rows) {
            let held = state.held()?;
            let (connection, interrupt) = (held.connection(), held.interrupt());
            let budget = self.shared.database.options().inline_budget;
            let run = read::run_inline(connection, interrupt, budget, &query, &mut rows)?;
            if run == Inline::Done {
                return Ok(rows);
            }
        }
        // In a box of its own, to keep the future of a point read small.
        let read =
            move |connection: &Connection, interrupt: &Interrupt, cancel, rows: &mut Rows| {
                read::run_blocking(connection, interrupt, cancel, &query, rows)
            };
        Box::pin(self.read_blocking(state, rows, read)).await
    }

    async fn write(&self, write: Write, mut rows: Rows) -> Result<(Written, Rows)> {
        let deadline = write.deadline;
        let mut state = self.shared.enter(self.serial, deadline).await?;
        if state.is_read_only() {
            return Err(read_only());
        }
        if write::is_short(&write) {
            let written = state.held()?.write(write, &mut rows)?;
            return Ok((written, rows));
        }
        self.write_blocking(state, deadline, move |held| {
            let written = held.write(write, &mut rows)?;
            Ok((written, rows))
        })
        .await
    }

    async fn sql(&self, raw: RawStatement, mut rows: Rows) -> Result<(Written, Rows)> {
        let deadline = raw.deadline;
        let state = self.shared.enter(self.serial, deadline).await?;
        if raw.access == RawAccess::Read {
            let read =
                move |connection: &Connection, interrupt: &Interrupt, cancel, rows: &mut Rows| {
                    raw::read_blocking(connection, interrupt, cancel, &raw, rows)
                };
            let rows = self.read_blocking(state, rows, read).await?;
            return Ok((Written::rows(0), rows));
        }
        if state.is_read_only() {
            return Err(read_only());
        }
        self.write_blocking(state, deadline, move |held| {
            let written = held.write_sql(&raw, &mut rows)?;
            Ok((written, rows))
        })
        .await
    }

    async fn begin(&self, options: TxOptions) -> Result<Box<dyn Transaction>> {
        self.capabilities().check_tx(&options)?;
        let mut state = self.shared.enter(self.serial, options.deadline).await?;
        let level = state.open.len();
        state.held()?.set_savepoint(level)?;
        let serial = state.handles;
        state.handles += 1;
        let read_only = options.read_only || state.is_read_only();
        state.open.push(Level { serial, read_only });
        Ok(Box::new(Self::new(Arc::clone(&self.shared), serial)))
    }

    async fn explain(&self, query: Select) -> Result<String> {
        let mut state = self.shared.enter(self.serial, None).await?;
        state.held()?.explain(&query)
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
        let mut state = self.shared.enter(self.serial, None).await?;
        let level = state.open.len() - 1;
        if level > 0 {
            state.held()?.release_savepoint(level)?;
            state.open.pop();
            self.committed.store(true, Ordering::Relaxed);
            return Ok(());
        }
        let held = state.held.take().ok_or_else(ended)?;
        let read_only = state.is_read_only();
        state.open.clear();
        self.committed.store(true, Ordering::Relaxed);
        drop(state);
        let quick = self.shared.database.commits_quickly() && held.ends_quickly();
        if read_only || quick {
            held.commit()
        } else {
            off_task(move || held.commit()).await
        }
    }

    async fn rollback(&self) -> Result<()> {
        if self.committed.load(Ordering::Relaxed) {
            return Err(ended());
        }
        self.shared.abandon(self.serial);
        let mut state = Arc::clone(&self.shared.state).lock_owned().await;
        if self.committed.load(Ordering::Relaxed) {
            return Err(ended()); // by a commit that was under way
        }
        if state.held.as_ref().is_none_or(Held::ends_quickly) {
            self.shared.settle(&mut state);
            return Ok(());
        }
        let working = self.working(state);
        off_task(move || {
            drop(working); // which undoes it
            Ok(())
        })
        .await
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

fn check_deadline(deadline: Option<Instant>) -> Result<()> {
    if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
        return Err(too_late());
    }
    Ok(())
}

#[cold]
fn too_late() -> Error {
    Error::new(
        ErrorKind::Timeout,
        "the deadline passed before the transaction could go on; nothing was applied",
    )
}

#[cold]
fn ended() -> Error {
    Error::new(
        ErrorKind::Closed,
        "the transaction has ended: begin another one",
    )
}

#[cold]
fn read_only() -> Error {
    Error::new(
        ErrorKind::ReadOnly,
        "the transaction was begun read-only: begin one without read_only() to write",
    )
}
