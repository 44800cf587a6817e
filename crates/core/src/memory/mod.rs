//! The in-memory store: [`Memory`].
//!
//! It evaluates every query for real and keeps every rule a database would (keys, references,
//! atomic writes, serializable transactions), so it serves tests without a database and is what
//! the engines are compared with.
//!
//! ```text
//!   reads ───────────────> committed state <── publish ── transaction: a private state,
//!   single writes ──(in place, undo log)──┘               copied table by table as it writes
//! ```
//!
//! One writer at a time: a writing transaction holds the permit from `begin` to its end, and
//! other writes wait for it until their deadline (without one, as long as it takes). Reads never
//! wait for a transaction; they see the last committed state. Nothing is kept when the last
//! handle goes.

mod locks;
mod transaction;

use std::fmt::Write as _;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::access::Access;
use crate::error::{Error, ErrorKind, Result};
use crate::eval::{Names, Stored, deliver};
use crate::filter::Filter;
use crate::rows::Rows;
use crate::schema::Table;
use crate::select::Select;
use crate::storage::{Capabilities, NamedLock, Storage, Transaction, TxOptions};
use crate::work::{State, Target, apply};
use crate::write::{Write, Written};

use locks::Locks;
use transaction::MemoryTransaction;

/// A store that keeps its rows in memory. Clones share them.
///
/// Tables need no set-up: they exist from their first row on. Inserts and point reads cost
/// O(log n); a transaction copies each table the first time it writes to it.
///
/// ```
/// use larder_core::{Memory, Storage};
///
/// let store = Memory::new();
/// assert_eq!(store.capabilities().engine, "memory");
/// ```
#[derive(Clone, Debug)]
pub struct Memory {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    committed: RwLock<Committed>,
    /// One permit: the right to write.
    writer: Arc<Semaphore>,
    locks: Locks,
    capabilities: Capabilities,
}

#[derive(Debug, Default)]
struct Committed {
    state: State,
    closed: bool,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::with_tables(&[])
    }

    /// An empty store that knows these tables from the start: a model that means one of them but
    /// has other columns is then refused (`Schema`) from its first use on.
    pub fn with_tables(tables: &[&'static Table]) -> Self {
        let mut state = State::default();
        for table in tables {
            state.register(table);
        }
        let mut capabilities = Capabilities::full("memory");
        capabilities.concurrent_writers = false;
        capabilities.named_locks = true;
        Self {
            shared: Arc::new(Shared {
                committed: RwLock::new(Committed {
                    state,
                    closed: false,
                }),
                writer: Arc::new(Semaphore::new(1)),
                locks: Locks::default(),
                capabilities,
            }),
        }
    }
}

#[async_trait]
impl Storage for Memory {
    fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    async fn read(&self, query: Select, mut rows: Rows) -> Result<Rows> {
        let names = Names::of_select(&query);
        let answer = self.shared.view()?.state.answer(query)?;
        deliver(names, answer, &mut rows).await?;
        Ok(rows)
    }

    async fn read_all(&self, queries: Vec<(Select, Rows)>) -> Result<Vec<Rows>> {
        let (answers, receivers) = answer_all(&self.shared.view()?.state, queries)?;
        deliver_all(answers, receivers).await
    }

    async fn write(&self, write: Write, rows: Rows) -> Result<(Written, Rows)> {
        let permit = self.shared.permit(write.deadline).await?;
        check_deadline(write.deadline)?;
        let (written, returned) = apply(&mut self.shared.change()?.state, write)?;
        drop(permit);
        Ok((written, returned.deliver(rows).await))
    }

    async fn begin(&self, options: TxOptions) -> Result<Box<dyn Transaction>> {
        self.shared.capabilities.check_tx(&options)?;
        let permit = if options.read_only {
            None
        } else {
            Some(self.shared.permit(options.deadline).await?)
        };
        let state = self.shared.view()?.state.clone();
        Ok(Box::new(MemoryTransaction::new(
            Arc::clone(&self.shared),
            state,
            permit,
        )))
    }

    async fn lock(&self, name: &str, wait: bool) -> Result<Option<Box<dyn NamedLock>>> {
        drop(self.shared.view()?); // the store may have been closed
        Ok(self.shared.locks.take(name, wait).await)
    }

    async fn explain(&self, query: Select) -> Result<String> {
        explain(&self.shared.view()?.state, &query)
    }

    /// Forgets all rows. Open transactions end: their next call answers `Closed`.
    async fn close(&self) -> Result<()> {
        self.shared.writer.close();
        let mut committed = self
            .shared
            .committed
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *committed = Committed {
            state: State::default(),
            closed: true,
        };
        Ok(())
    }
}

impl Shared {
    /// The committed state, to read.
    fn view(&self) -> Result<RwLockReadGuard<'_, Committed>> {
        // A panic inside a write has been undone on its way up, so a poisoned lock is sound.
        let committed = self
            .committed
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if committed.closed {
            Err(closed())
        } else {
            Ok(committed)
        }
    }

    /// The committed state, to change; the caller has the permit.
    fn change(&self) -> Result<RwLockWriteGuard<'_, Committed>> {
        let committed = self
            .committed
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if committed.closed {
            Err(closed())
        } else {
            Ok(committed)
        }
    }

    /// The right to write, waited for until the deadline.
    async fn permit(&self, deadline: Option<Instant>) -> Result<OwnedSemaphorePermit> {
        check_deadline(deadline)?;
        match Arc::clone(&self.writer).try_acquire_owned() {
            Ok(permit) => return Ok(permit),
            Err(TryAcquireError::Closed) => return Err(closed()),
            Err(TryAcquireError::NoPermits) => {}
        }
        let wait = Arc::clone(&self.writer).acquire_owned();
        let permit = match deadline {
            None => wait.await,
            Some(deadline) => tokio::time::timeout_at(deadline.into(), wait)
                .await
                .map_err(|_| timeout())?,
        };
        permit.map_err(|_| closed())
    }
}

/// The rows of a read and what their positions are called.
type Answer = (Names, Vec<Stored>);

fn answer_all(state: &State, queries: Vec<(Select, Rows)>) -> Result<(Vec<Answer>, Vec<Rows>)> {
    let mut answers = Vec::with_capacity(queries.len());
    let mut receivers = Vec::with_capacity(queries.len());
    for (query, rows) in queries {
        answers.push((Names::of_select(&query), state.answer(query)?));
        receivers.push(rows);
    }
    Ok((answers, receivers))
}

async fn deliver_all(answers: Vec<Answer>, receivers: Vec<Rows>) -> Result<Vec<Rows>> {
    let mut delivered = Vec::with_capacity(receivers.len());
    for ((names, answer), mut rows) in answers.into_iter().zip(receivers) {
        deliver(names, answer, &mut rows).await?;
        delivered.push(rows);
    }
    Ok(delivered)
}

/// Says what the evaluator will do. Holds no values.
fn explain(state: &State, query: &Select) -> Result<String> {
    state.check_tables(&crate::eval::tables(query))?;
    let table = query.table.name;
    let mut text = match query.access() {
        Access::Point { keys } => {
            format!("point: at most {keys} rows of `{table}` by a unique key")
        }
        Access::Range { .. } => format!("range: rows of `{table}` by an index"),
        Access::Scan => format!("scan: all {} rows of `{table}`", state.len(query.table)),
    };
    if let Some(link) = &query.link {
        // Writing to a String cannot fail.
        let _ = write!(text, ", those of {} parents", link.parents.len());
    }
    let steps = [
        (!matches!(query.filter, Filter::All), "filtered"),
        (query.aggregates(), "aggregated"),
        (!query.order.is_empty(), "sorted"),
        (query.distinct, "without duplicates"),
        (query.limit.is_some() || query.offset > 0, "cut to size"),
    ];
    for (_, step) in steps.iter().filter(|(taken, _)| *taken) {
        text.push_str(", ");
        text.push_str(step);
    }
    Ok(text)
}

fn check_deadline(deadline: Option<Instant>) -> Result<()> {
    match deadline {
        Some(deadline) if deadline <= Instant::now() => Err(Error::new(
            ErrorKind::Timeout,
            "the deadline had passed before the work began",
        )),
        _ => Ok(()),
    }
}

#[cold]
fn timeout() -> Error {
    Error::new(
        ErrorKind::Timeout,
        "another transaction is open and was not finished in time; the memory store has one writer",
    )
}

#[cold]
fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the memory store has been closed")
}

#[cfg(test)]
mod tests;
