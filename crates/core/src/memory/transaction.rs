//! Transactions of the in-memory store: [`MemoryTransaction`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::OwnedSemaphorePermit;

use super::{Shared, answer_all, check_deadline, deliver_all, explain};
use crate::error::{Error, ErrorKind, Result};
use crate::eval::{Names, deliver};
use crate::rows::Rows;
use crate::select::Select;
use crate::storage::{Capabilities, Storage, Transaction, TxOptions};
use crate::work::{State, apply};
use crate::write::{Write, Written};

/// One level of a transaction: the outermost, or a savepoint.
#[derive(Debug)]
pub(super) struct MemoryTransaction {
    scope: Arc<Scope>,
    id: u64,
    committed: AtomicBool,
}

/// What the levels of one transaction share.
#[derive(Debug)]
struct Scope {
    shared: Arc<Shared>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// What the transaction sees. Private until the outermost level commits.
    state: State,
    /// The open levels, the outermost first. Empty when the transaction has ended.
    levels: Vec<Level>,
    last_id: u64,
    /// The right to write; `None` for a transaction that only reads.
    permit: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
struct Level {
    id: u64,
    /// The state to go back to.
    before: State,
    read_only: bool,
}

impl MemoryTransaction {
    /// A transaction that starts from this state; without a permit, one that only reads.
    pub(super) fn new(
        shared: Arc<Shared>,
        state: State,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let level = Level {
            id: 0,
            before: state.clone(),
            read_only: permit.is_none(),
        };
        let inner = Inner {
            state,
            levels: vec![level],
            last_id: 0,
            permit,
        };
        Self::level(
            Arc::new(Scope {
                shared,
                inner: Mutex::new(inner),
            }),
            0,
        )
    }

    fn level(scope: Arc<Scope>, id: u64) -> Self {
        Self {
            scope,
            id,
            committed: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic inside a write has been undone on its way up, so a poisoned lock is sound.
        self.scope
            .inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The inner state, if it is this level's turn to work.
    fn enter(&self) -> Result<MutexGuard<'_, Inner>> {
        let inner = self.lock();
        drop(self.scope.shared.view()?); // the store may have been closed
        match inner.levels.iter().position(|level| level.id == self.id) {
            None => Err(ended()),
            Some(at) if at + 1 == inner.levels.len() => Ok(inner),
            Some(_) => Err(Error::misuse(
                "a nested transaction is open: finish it before the outer one goes on",
            )),
        }
    }
}

impl Inner {
    fn read_only(&self) -> bool {
        self.levels.last().is_none_or(|level| level.read_only)
    }

    /// Goes back to how the level found things; it and the levels inside it end.
    fn undo(&mut self, id: u64) {
        let Some(at) = self.levels.iter().position(|level| level.id == id) else {
            return;
        };
        if let Some(level) = self.levels.drain(at..).next() {
            self.state = level.before;
        }
        if at == 0 {
            self.state = State::default();
            self.permit = None;
        }
    }
}

#[async_trait]
impl Storage for MemoryTransaction {
    fn capabilities(&self) -> &Capabilities {
        &self.scope.shared.capabilities
    }

    async fn read(&self, query: Select, mut rows: Rows) -> Result<Rows> {
        let names = Names::of_select(&query);
        let answer = self.enter()?.state.answer(query)?;
        deliver(names, answer, &mut rows).await?;
        Ok(rows)
    }

    async fn read_all(&self, queries: Vec<(Select, Rows)>) -> Result<Vec<Rows>> {
        let (answers, receivers) = answer_all(&self.enter()?.state, queries)?;
        deliver_all(answers, receivers).await
    }

    /// A write that fails undoes itself alone; the transaction goes on.
    async fn write(&self, write: Write, rows: Rows) -> Result<(Written, Rows)> {
        let (written, returned) = {
            let mut inner = self.enter()?;
            if inner.read_only() {
                return Err(read_only());
            }
            check_deadline(write.deadline)?;
            apply(&mut inner.state, write)?
        };
        Ok((written, returned.deliver(rows).await))
    }

    async fn begin(&self, options: TxOptions) -> Result<Box<dyn Transaction>> {
        self.scope.shared.capabilities.check_tx(&options)?;
        check_deadline(options.deadline)?;
        let mut inner = self.enter()?;
        inner.last_id += 1;
        let id = inner.last_id;
        let read_only = options.read_only || inner.read_only();
        let before = inner.state.clone();
        inner.levels.push(Level {
            id,
            before,
            read_only,
        });
        Ok(Box::new(Self::level(Arc::clone(&self.scope), id)))
    }

    async fn explain(&self, query: Select) -> Result<String> {
        explain(&self.enter()?.state, &query)
    }

    /// Rolls the transaction back.
    async fn close(&self) -> Result<()> {
        self.lock().undo(self.id);
        Ok(())
    }
}

#[async_trait]
impl Transaction for MemoryTransaction {
    async fn commit(&self) -> Result<()> {
        let mut inner = self.enter()?;
        self.committed.store(true, Ordering::Relaxed);
        inner.levels.pop();
        if inner.levels.is_empty() {
            let state = std::mem::take(&mut inner.state);
            let permit = inner.permit.take();
            if permit.is_some() {
                self.scope.shared.change()?.state = state;
            }
        }
        Ok(())
    }

    async fn rollback(&self) -> Result<()> {
        if self.committed.load(Ordering::Relaxed) {
            return Err(ended());
        }
        self.lock().undo(self.id);
        Ok(())
    }
}

impl Drop for MemoryTransaction {
    fn drop(&mut self) {
        self.lock().undo(self.id);
    }
}

#[cold]
fn ended() -> Error {
    Error::new(
        ErrorKind::Closed,
        "the transaction has ended; begin another one",
    )
}

#[cold]
fn read_only() -> Error {
    Error::new(
        ErrorKind::ReadOnly,
        "the transaction was begun for reading only",
    )
}
