//! Optimistic transactions: [`RedisTransaction`].
//!
//! What is read is remembered, what is written stays in the process; nobody waits for a
//! transaction. The commit is one script, which checks that everything read is still so. All reads
//! see one moment: when others have changed a table since, what was read before is checked again,
//! and the moment moves on, or the transaction has lost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use larder_core::eval::{Names, Stored, deliver, evaluate, tables};
use larder_core::work::{Returned, apply};
use larder_core::{
    Capabilities, Error, ErrorKind, Result, Rows, Select, Storage, Table, Transaction, TxOptions,
    Write, Written,
};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::columns::Columns;
use crate::commit::{Outcome, Reads, commit, validate};
use crate::draft::{Draft, Need, Trust};
use crate::fetch::{self, Extent};
use crate::handle::{Handle, Made, by, maybe_applied, nothing_applied};
use crate::plan::Part;
use crate::read::{learn, refuse_locks, rows_of};
use crate::write::{check_referrers, keys_wanted, lost};
use crate::{storage, write};

/// One level of a transaction: the outermost, or a savepoint.
#[derive(Debug)]
pub(crate) struct RedisTransaction {
    scope: Arc<Scope>,
    id: u64,
    committed: AtomicBool,
}

/// What the levels of one transaction share.
#[derive(Debug)]
struct Scope {
    handle: Arc<Handle>,
    /// One permit: calls on a transaction take turns.
    turns: Semaphore,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// `None` while a call has it, and after the end.
    work: Option<Work>,
    /// The open levels, the outermost first. Empty when the transaction has ended.
    levels: Vec<Level>,
    last_id: u64,
    /// Counts what was undone: a call that began before must not put its work back.
    undone: u64,
}

#[derive(Debug)]
struct Level {
    id: u64,
    /// What to go back to; `None` for the outermost, which goes back to nothing.
    before: Option<Draft>,
    /// How many lots of keys had been made then.
    made: usize,
    read_only: bool,
}

/// What a transaction has read and would write.
#[derive(Debug)]
struct Work {
    /// `None` before the first read or write.
    draft: Option<Draft>,
    /// The moment that all reads see.
    as_of: u64,
    /// Of the tables that were read, the last commit before that moment.
    stamps: BTreeMap<&'static str, u64>,
    made: Vec<Made>,
}

impl RedisTransaction {
    pub(crate) fn begin(handle: Arc<Handle>, options: TxOptions) -> Self {
        let level = Level {
            id: 0,
            before: None,
            made: 0,
            read_only: options.read_only,
        };
        let work = Work {
            draft: None,
            as_of: 0,
            stamps: BTreeMap::new(),
            made: Vec::new(),
        };
        let scope = Scope {
            handle,
            turns: Semaphore::new(1),
            inner: Mutex::new(Inner {
                work: Some(work),
                levels: vec![level],
                last_id: 0,
                undone: 0,
            }),
        };
        Self::level(Arc::new(scope), 0)
    }

    fn level(scope: Arc<Scope>, id: u64) -> Self {
        Self {
            scope,
            id,
            committed: AtomicBool::new(false),
        }
    }

    /// Takes the work, when it is this call's turn.
    ///
    /// # Errors
    /// `Closed` after the end, `Misuse` while a nested transaction is open.
    async fn enter(&self) -> Result<Turn<'_>> {
        drop(self.scope.handle.enter().await?); // the store may have been closed
        self.check_level(&self.scope.lock())?;
        let permit = self.scope.turns.acquire().await.map_err(|_| ended())?;
        let mut inner = self.scope.lock();
        self.check_level(&inner)?;
        let work = inner.work.take().ok_or_else(ended)?;
        Ok(Turn {
            scope: &self.scope,
            undone: inner.undone,
            work: Some(work),
            _permit: permit,
        })
    }

    fn check_level(&self, inner: &Inner) -> Result<()> {
        match inner.levels.last() {
            Some(level) if level.id == self.id => Ok(()),
            Some(_) if inner.levels.iter().any(|level| level.id == self.id) => Err(Error::misuse(
                "a nested transaction is open: finish it before the outer one goes on",
            )),
            _ => Err(ended()),
        }
    }

    async fn answer(&self, query: Select) -> Result<Vec<Stored>> {
        refuse_locks(&self.scope.handle, &query)?;
        let mut turn = self.enter().await?;
        let work = turn.work();
        work.begin(&self.scope.handle, &tables(&query)).await?;
        loop {
            let draft = work.draft()?;
            let answer = evaluate(query.clone(), draft);
            let wanted = rows_of(draft.take_missing());
            if wanted.is_empty() {
                return answer;
            }
            work.fetch(&self.scope.handle, wanted).await?;
        }
    }

    async fn apply(&self, write: Write) -> Result<(Written, Returned)> {
        let mut turn = self.enter().await?;
        if turn.is_read_only() {
            return Err(read_only());
        }
        let work = turn.work();
        let handle = &self.scope.handle;
        work.begin(handle, &write::tables(&write)).await?;
        check_referrers(handle, &write)?;
        let many = keys_wanted(&write);
        loop {
            let draft = work.draft()?;
            let done = apply(draft, write.clone());
            let missing = draft.take_missing();
            if missing.is_empty() {
                return done;
            }
            for need in &missing {
                if let Need::Keys(keys) = need {
                    let new = handle.make_keys(keys, many, &mut work.made).await?;
                    work.draft()?.learn_keys(keys, new);
                }
            }
            let wanted = rows_of(missing);
            if !wanted.is_empty() {
                work.fetch(handle, wanted).await?;
            }
        }
    }

    /// Ends this level, and makes its work that of the outer one. Answers the work if there is none.
    fn end_level(&self, mut turn: Turn<'_>) -> Option<Work> {
        let mut inner = self.scope.lock();
        self.committed.store(true, Ordering::Relaxed);
        inner.levels.pop();
        if inner.levels.is_empty() {
            return turn.work.take();
        }
        drop(inner); // the turn puts the work back
        None
    }

    /// Undoes this level and those within it. Answers keys that were made for it.
    fn undo(&self) -> Vec<Made> {
        let mut inner = self.scope.lock();
        let Some(at) = inner.levels.iter().position(|level| level.id == self.id) else {
            return Vec::new();
        };
        let undone = inner.levels.drain(at..).next();
        inner.undone += 1;
        let Some(level) = undone else {
            return Vec::new();
        };
        let is_outermost = inner.levels.is_empty();
        let Some(mut work) = inner.work.take() else {
            return Vec::new();
        };
        let made = work.made.split_off(level.made.min(work.made.len()));
        if !is_outermost {
            work.go_back(level.before);
            inner.work = Some(work);
        }
        made
    }
}

impl Scope {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that is done under the lock can be left half done by a panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The work, lent to one call; put back when that ends, in whatever way.
struct Turn<'a> {
    scope: &'a Scope,
    undone: u64,
    work: Option<Work>,
    _permit: SemaphorePermit<'a>,
}

impl Turn<'_> {
    fn work(&mut self) -> &mut Work {
        self.work.as_mut().expect("it is taken by the end alone")
    }

    fn is_read_only(&self) -> bool {
        let inner = self.scope.lock();
        inner.levels.last().is_none_or(|level| level.read_only)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        let mut inner = self.scope.lock();
        if inner.undone == self.undone {
            inner.work = Some(work);
        }
    }
}

impl Work {
    /// Gets to know these tables.
    async fn begin(&mut self, handle: &Handle, wanted: &[&'static Table]) -> Result<()> {
        let is_known = self.draft.as_ref().is_some_and(|draft| {
            let mut wanted = wanted.iter();
            wanted.all(|table| draft.layout(table).is_some())
        });
        if is_known {
            return Ok(());
        }
        let tables = Arc::new(handle.schema.tables(&handle.client, wanted).await?);
        match &mut self.draft {
            Some(draft) => draft.know(tables),
            none => *none = Some(Draft::new(tables, Trust::Nothing)),
        }
        Ok(())
    }

    fn draft(&mut self) -> Result<&mut Draft> {
        self.draft.as_mut().ok_or_else(ended)
    }

    /// Fetches rows as of the moment that all reads see, or moves it.
    ///
    /// # Errors
    /// `Conflict` if something read before has changed meanwhile.
    async fn fetch(&mut self, handle: &Handle, wanted: Vec<(&'static str, Part)>) -> Result<()> {
        let client = &handle.client;
        let Self {
            draft: Some(draft),
            as_of,
            stamps,
            ..
        } = self
        else {
            return Err(ended());
        };
        let tables = Arc::clone(draft.tables());
        let mut fetched =
            fetch::parts(client, &tables, &Columns::all(), &wanted, Extent::Batches).await?;
        if fetched.torn {
            fetched =
                fetch::parts(client, &tables, &Columns::all(), &wanted, Extent::OneCall).await?;
        }
        let is_first = !draft.has_read();
        let has_moved = fetched.stamps.values().any(|stamp| *stamp > *as_of);
        if !is_first && has_moved && validate(client, draft, stamps).await? != Outcome::Applied {
            return Err(lost());
        }
        if is_first || has_moved {
            *as_of = fetched.clock;
        }
        stamps.extend(&fetched.stamps);
        learn(draft, wanted, fetched);
        Ok(())
    }

    fn go_back(&mut self, before: Option<Draft>) {
        match (&mut self.draft, before) {
            (Some(draft), Some(before)) => draft.go_back(before),
            (Some(draft), None) => {
                let empty = Draft::new(Arc::clone(draft.tables()), Trust::Nothing);
                draft.go_back(empty);
            }
            (None, _) => {}
        }
    }
}

#[async_trait]
impl Storage for RedisTransaction {
    fn capabilities(&self) -> &Capabilities {
        &self.scope.handle.capabilities
    }

    async fn read(&self, query: Select, mut rows: Rows) -> Result<Rows> {
        let names = Names::of_select(&query);
        let answer = self.answer(query).await?;
        deliver(names, answer, &mut rows).await?;
        Ok(rows)
    }

    /// A write that fails undoes itself alone; the transaction goes on.
    async fn write(&self, write: Write, rows: Rows) -> Result<(Written, Rows)> {
        let deadline = write.deadline;
        let (written, returned) = by(deadline, self.apply(write), nothing_applied).await?;
        Ok((written, returned.deliver(rows).await))
    }

    async fn begin(&self, options: TxOptions) -> Result<Box<dyn Transaction>> {
        self.capabilities().check_tx(&options)?;
        check_deadline(options.deadline)?;
        let turn = by(options.deadline, self.enter(), nothing_applied).await?;
        let mut inner = self.scope.lock();
        inner.last_id += 1;
        let id = inner.last_id;
        let work = turn.work.as_ref();
        let level = Level {
            id,
            before: work.and_then(|work| work.draft.clone()),
            made: work.map_or(0, |work| work.made.len()),
            read_only: options.read_only || inner.levels.last().is_none_or(|level| level.read_only),
        };
        inner.levels.push(level);
        drop(inner);
        Ok(Box::new(Self::level(Arc::clone(&self.scope), id)))
    }

    async fn explain(&self, query: Select) -> Result<String> {
        drop(self.enter().await?);
        storage::explain(&self.scope.handle, &query).await
    }

    /// Rolls the transaction back.
    async fn close(&self) -> Result<()> {
        self.undo();
        Ok(())
    }
}

#[async_trait]
impl Transaction for RedisTransaction {
    async fn commit(&self) -> Result<()> {
        let turn = self.enter().await?;
        let Some(mut work) = self.end_level(turn) else {
            return Ok(());
        };
        let handle = &self.scope.handle;
        let Some(draft) = work.draft.take().filter(Draft::is_changed) else {
            handle.give_back(&mut work.made).await;
            return Ok(());
        };
        let _call = handle.enter().await?;
        let limit = Instant::now().checked_add(handle.client.options().command_timeout);
        let committing = commit(&handle.client, &draft, Reads::Check(&work.stamps));
        match by(limit, committing, maybe_applied).await? {
            Outcome::Applied => {
                let mut unused = draft.unused_keys();
                handle.give_back(&mut unused).await;
                Ok(())
            }
            Outcome::Lost => {
                handle.give_back(&mut work.made).await;
                Err(lost())
            }
            Outcome::SchemaChanged => {
                handle.schema.load(&handle.client, &[]).await?;
                Err(lost())
            }
        }
    }

    async fn rollback(&self) -> Result<()> {
        if self.committed.load(Ordering::Relaxed) {
            return Err(ended());
        }
        let mut made = self.undo();
        self.scope.handle.give_back(&mut made).await;
        Ok(())
    }
}

impl Drop for RedisTransaction {
    fn drop(&mut self) {
        self.undo();
    }
}

fn check_deadline(deadline: Option<Instant>) -> Result<()> {
    match deadline {
        Some(deadline) if deadline <= Instant::now() => Err(nothing_applied()),
        _ => Ok(()),
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
