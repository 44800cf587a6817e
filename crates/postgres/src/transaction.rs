//! Explicit transactions: a connection of the pool, held until the end.
//!
//! All handles of one transaction share its connection behind a lock that is held for one
//! operation at a time. The open handles form a stack, the transaction at the bottom and its
//! savepoints above; only the topmost may work. What a dropped handle leaves is undone before the
//! connection's next use.
//!
//! A stream holds the connection until its last row is read, or until it is dropped. Whatever else
//! is asked of the transaction meanwhile waits half a second and is then refused as a misuse: the
//! task that waits is most likely the one that should take the rows. A rollback ends the stream.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use larder_core::raw::RawAccess;
use larder_core::{
    Capabilities, Error, ErrorKind, Isolation, RawStatement, Result, Rows, Select, Storage,
    Transaction, TxOptions, Write, Written,
};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::AbortHandle;
use tokio::time::timeout_at;

use crate::database::Database;
use crate::held::{self, Held};
use crate::read::Task;

/// How long an operation waits for a stream of its own transaction.
const STREAM_WAIT: Duration = Duration::from_millis(500);

/// One handle of a transaction.
#[derive(Debug)]
pub(crate) struct PostgresTransaction {
    shared: Arc<Shared>,
    /// Tells the handles of one transaction apart; never used twice.
    serial: u64,
    committed: AtomicBool,
}

#[derive(Debug)]
struct Shared {
    database: Arc<Database>,
    isolation: Isolation,
    state: Arc<Mutex<State>>,
    /// The handles that were dropped and not looked at yet.
    abandoned: std::sync::Mutex<Vec<u64>>,
    /// What ends the read that waits for somebody to take its rows.
    streaming: std::sync::Mutex<Option<AbortHandle>>,
}

#[derive(Debug)]
struct State {
    /// `None` once the transaction has ended.
    held: Option<Held>,
    /// The open handles, the outermost first.
    open: Vec<Level>,
    /// How many handles there have been.
    handles: u64,
    /// The level that is to be undone before anything else.
    undoing: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Level {
    serial: u64,
    read_only: bool,
}

/// Begins a transaction on the database.
pub(crate) async fn begin(
    database: &Arc<Database>,
    options: TxOptions,
) -> Result<PostgresTransaction> {
    database.capabilities().check_tx(&options)?;
    check_deadline(options.deadline)?;
    let begun = Held::begin(database, &options);
    let held = match options.deadline {
        None => begun.await?,
        // What begins too late is dropped, which rolls it back.
        Some(deadline) => (timeout_at(deadline.into(), begun).await).map_err(|_| too_late())??,
    };
    let level = Level {
        serial: 0,
        read_only: options.read_only,
    };
    let state = State {
        held: Some(held),
        open: vec![level],
        handles: 1,
        undoing: None,
    };
    let shared = Shared {
        database: Arc::clone(database),
        isolation: held::isolation(&options),
        state: Arc::new(Mutex::new(state)),
        abandoned: std::sync::Mutex::default(),
        streaming: std::sync::Mutex::default(),
    };
    Ok(PostgresTransaction::new(Arc::new(shared), 0))
}

impl Shared {
    /// Takes the connection for one operation of this handle, by the deadline.
    async fn enter(
        &self,
        serial: u64,
        deadline: Option<Instant>,
    ) -> Result<OwnedMutexGuard<State>> {
        let mut state = self.lock(deadline).await?;
        self.settle(&mut state).await;
        match state.open.iter().position(|level| level.serial == serial) {
            None => Err(ended()),
            Some(level) if level + 1 < state.open.len() => Err(Error::misuse(
                "a nested transaction is open: use its handle, or end it first",
            )),
            Some(_) => {
                check_deadline(deadline)?;
                if let Err(lost) = state.held()?.settle().await {
                    state.end();
                    return Err(lost);
                }
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
        let streaming = self.streaming();
        streaming.as_ref().is_some_and(|read| !read.is_finished())
    }

    fn streaming(&self) -> MutexGuard<'_, Option<AbortHandle>> {
        self.streaming
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the stream, if one is open: the connection is free soon.
    fn end_stream(&self) {
        if let Some(read) = self.streaming().take() {
            read.abort();
        }
    }

    fn abandoned(&self) -> MutexGuard<'_, Vec<u64>> {
        self.abandoned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Undoes what the handles that were dropped had not ended.
    async fn settle(&self, state: &mut State) {
        let abandoned = std::mem::take(&mut *self.abandoned());
        let levels = abandoned
            .iter()
            .filter_map(|serial| state.open.iter().position(|level| level.serial == *serial));
        if let Some(level) = levels.min() {
            state.open.truncate(level);
            // Noted before anything is waited for: whoever comes next goes on with it.
            let other = state.undoing.unwrap_or(usize::MAX);
            state.undoing = Some(level.min(other));
        }
        if let Some(level) = state.undoing {
            state.undo(level).await;
            state.undoing = None;
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

    /// Undoes the level, whose handles are gone.
    async fn undo(&mut self, level: usize) {
        if level > 0
            && let Some(held) = &mut self.held
            && held.settle().await.is_ok()
            && held.undo_savepoint(level).await.is_ok()
        {
            return;
        }
        // All is undone; also where a connection cannot go back to the savepoint.
        self.open.clear();
        if let Some(held) = self.held.take() {
            held.roll_back().await;
        }
    }

    /// Gives the transaction up; the server rolls it back.
    fn end(&mut self) {
        self.open.clear();
        self.held = None;
    }
}

impl PostgresTransaction {
    fn new(shared: Arc<Shared>, serial: u64) -> Self {
        Self {
            shared,
            serial,
            committed: AtomicBool::new(false),
        }
    }

    /// Runs a read whose rows are taken while it goes on, in a task of its own: whoever takes them
    /// may stop polling.
    async fn read_streamed(
        &self,
        mut state: OwnedMutexGuard<State>,
        query: Select,
        mut rows: Rows,
    ) -> Result<Rows> {
        let reading = Task::spawn(async move {
            state.held()?.read(&query, &mut rows).await?;
            Ok(rows)
        });
        *self.shared.streaming() = Some(reading.abort_handle());
        match reading.join().await {
            Ok(outcome) => outcome,
            Err(_) => Err(ended()),
        }
    }
}

#[async_trait]
impl Storage for PostgresTransaction {
    fn capabilities(&self) -> &Capabilities {
        self.shared.database.capabilities()
    }

    async fn read(&self, query: Select, mut rows: Rows) -> Result<Rows> {
        let mut state = self.shared.enter(self.serial, None).await?;
        if rows.may_wait() {
            return self.read_streamed(state, query, rows).await;
        }
        state.held()?.read(&query, &mut rows).await?;
        Ok(rows)
    }

    async fn read_all(&self, mut queries: Vec<(Select, Rows)>) -> Result<Vec<Rows>> {
        let mut state = self.shared.enter(self.serial, None).await?;
        state.held()?.read_all(&mut queries).await?;
        Ok(queries.into_iter().map(|(_, rows)| rows).collect())
    }

    async fn write(&self, write: Write, mut rows: Rows) -> Result<(Written, Rows)> {
        let mut state = self.shared.enter(self.serial, write.deadline).await?;
        if state.is_read_only() {
            return Err(read_only());
        }
        let written = state.held()?.write(&write, &mut rows).await?;
        Ok((written, rows))
    }

    async fn sql(&self, raw: RawStatement, mut rows: Rows) -> Result<(Written, Rows)> {
        let mut state = self.shared.enter(self.serial, raw.deadline).await?;
        if raw.access == RawAccess::Write && state.is_read_only() {
            return Err(read_only());
        }
        let written = state.held()?.sql(&raw, &mut rows).await?;
        Ok((written, rows))
    }

    async fn begin(&self, options: TxOptions) -> Result<Box<dyn Transaction>> {
        self.capabilities().check_tx(&options)?;
        if let Some(asked) = options
            .isolation
            .filter(|asked| *asked > self.shared.isolation)
        {
            let has = self.shared.isolation;
            return Err(Error::unsupported(
                "postgres",
                &format!("{asked:?} isolation inside a transaction that has {has:?}"),
            ));
        }
        let mut state = self.shared.enter(self.serial, options.deadline).await?;
        let level = state.open.len();
        state.held()?.set_savepoint(level).await?;
        let serial = state.handles;
        state.handles += 1;
        let read_only = options.read_only || state.is_read_only();
        state.open.push(Level { serial, read_only });
        Ok(Box::new(Self::new(Arc::clone(&self.shared), serial)))
    }

    async fn explain(&self, query: Select) -> Result<String> {
        let mut state = self.shared.enter(self.serial, None).await?;
        state.held()?.explain(&query).await
    }

    async fn close(&self) -> Result<()> {
        Err(Error::misuse(
            "a transaction cannot be closed: commit or roll it back",
        ))
    }
}

#[async_trait]
impl Transaction for PostgresTransaction {
    async fn commit(&self) -> Result<()> {
        let mut state = self.shared.enter(self.serial, None).await?;
        let level = state.open.len() - 1;
        if level > 0 {
            // Noted before the answer: what is sent is carried out, whether somebody waits or not.
            state.open.pop();
            self.committed.store(true, Ordering::Relaxed);
            return state.held()?.release_savepoint(level).await;
        }
        let held = state.held.take().ok_or_else(ended)?;
        state.open.clear();
        self.committed.store(true, Ordering::Relaxed);
        drop(state);
        held.commit().await
    }

    async fn rollback(&self) -> Result<()> {
        if self.committed.load(Ordering::Relaxed) {
            return Err(ended());
        }
        self.shared.abandoned().push(self.serial);
        self.shared.end_stream();
        let mut state = Arc::clone(&self.shared.state).lock_owned().await;
        if self.committed.load(Ordering::Relaxed) {
            return Err(ended()); // by a commit that was under way
        }
        self.shared.settle(&mut state).await;
        Ok(())
    }
}

impl Drop for PostgresTransaction {
    fn drop(&mut self) {
        if self.committed.load(Ordering::Relaxed) {
            return;
        }
        self.shared.abandoned().push(self.serial);
        if self.serial == 0 {
            self.shared.end_stream();
            // If the connection is in use, the last one that has it lets it go.
            if let Ok(mut state) = self.shared.state.try_lock() {
                state.end(); // dropping it has it rolled back
            }
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
