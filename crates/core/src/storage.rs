//! The contract: what a store must do. Start reading here.
//!
//! ```text
//!   your code ──> Db (facade: queries, pages, plans, transactions, observation)
//!                  │  Select / Write: data over static schema metadata
//!                  v
//!               Storage ──> memory | SQLite | PostgreSQL | Redis, or a wrapper around one
//!                  │
//!                  └─ every row is shown to `Rows`, which builds your struct in place
//! ```
//!
//! A [`Storage`] is small and object safe; everything pleasant lives on [`Db`](crate::Db), once
//! for all engines. A [`Transaction`] is itself a `Storage`, so code written against `Db` works
//! inside and outside of one.
//!
//! The enums an engine matches on (`Filter`, `Kind`, ..) are exhaustive on purpose: a new variant
//! stops every engine from compiling until it says what it does with it.
//!
//! # Duties of an engine
//!
//! - Answers are the same as the in-memory store's ([`Memory`](crate::memory::Memory)), which the
//!   suite in `tests/` checks. What an engine cannot do it declares in [`Capabilities`] and
//!   refuses by name with [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported), before
//!   anything is sent.
//! - Values MUST be bound, never made into text; identifiers are quoted in one place.
//! - Errors are classified by code. A violated key or reference names its table and columns.
//! - A write MUST be all or nothing and MUST NOT be acknowledged before it is committed. When the
//!   acknowledgement is lost the answer is [`ErrorKind::Unknown`](crate::ErrorKind::Unknown).
//! - A dropped future leaves nothing behind: the next caller finds a clean connection, no open
//!   transaction and nobody else's answer. A write dropped before it was sent is not applied;
//!   dropped later, it is applied whole or not at all.
//! - The calling task MUST NOT be blocked for longer than a bounded, short time (the SQLite
//!   engine runs point reads inline within a budget; everything longer goes to a thread).
//! - Every queue is bounded and every wait ends by the deadline given.

use std::fmt::Debug;
use std::time::Instant;

use async_trait::async_trait;
use jiff::civil::Date;

use crate::error::{Error, Result};
use crate::raw::RawStatement;
use crate::rows::Rows;
use crate::select::Select;
use crate::write::{Write, Written};

/// A store of entities.
#[async_trait]
pub trait Storage: Debug + Send + Sync + 'static {
    /// What this store can and cannot do. Constant.
    fn capabilities(&self) -> &Capabilities;

    /// Runs one read; every row goes to `rows` in order.
    ///
    /// Sees one consistent state, at least as new as every write acknowledged before the call.
    /// Cancel-safe: a scan whose future is dropped is interrupted.
    async fn read(&self, query: Select, rows: Rows) -> Result<Rows>;

    /// Runs reads that do not depend on each other, in one round trip where the engine can.
    ///
    /// Answers in the order asked. Outside a transaction each read may see a state of its own.
    async fn read_all(&self, queries: Vec<(Select, Rows)>) -> Result<Vec<Rows>> {
        let mut answers = Vec::with_capacity(queries.len());
        for (query, rows) in queries {
            answers.push(self.read(query, rows).await?);
        }
        Ok(answers)
    }

    /// Runs one write atomically; the rows it returns go to `rows`, by
    /// [`Rows::returned`]: what its receiver cannot read does not undo it.
    async fn write(&self, write: Write, rows: Rows) -> Result<(Written, Rows)>;

    /// Begins a transaction; on a transaction, a nested one (a savepoint), during which the outer
    /// handle refuses work.
    async fn begin(&self, options: TxOptions) -> Result<Box<dyn Transaction>>;

    /// Runs one statement in the engine's own SQL, and shows its rows as
    /// [`RawStatement::place`] says: by [`Rows::row`] if it only reads, else by
    /// [`Rows::returned`].
    ///
    /// A statement that only reads sees what a [`read`](Self::read) sees and MUST NOT write,
    /// whatever its text says. One that may write is atomic, like a [`write`](Self::write).
    async fn sql(&self, statement: RawStatement, rows: Rows) -> Result<(Written, Rows)> {
        let _ = (statement, rows);
        let engine = self.capabilities().engine;
        Err(Error::unsupported(engine, "statements in SQL (`db.sql`)"))
    }

    /// Takes the lock of this name; without waiting, `None` if somebody holds it. Only on a store,
    /// not on a transaction. Dropping the future takes nothing.
    async fn lock(&self, name: &str, wait: bool) -> Result<Option<Box<dyn NamedLock>>> {
        let _ = (name, wait);
        let engine = self.capabilities().engine;
        Err(Error::unsupported(engine, "named locks (`db.lock`)"))
    }

    /// Says how the read would be executed, in the engine's own words, without running it.
    async fn explain(&self, query: Select) -> Result<String>;

    /// Refuses new work (`Closed`), waits for work in flight, tidies up and closes. Twice is fine.
    ///
    /// # Errors
    /// `Busy` if a transaction stays open for too long: it may finish, and closing again completes
    /// it.
    async fn close(&self) -> Result<()>;
}

/// An open transaction. Dropping it without [`commit`](Self::commit) rolls it back.
#[async_trait]
pub trait Transaction: Storage {
    /// Makes the work permanent (of a nested transaction: part of the outer one).
    ///
    /// # Errors
    /// `Conflict` if it lost against concurrent work; `Unknown` if the answer was lost; `Closed`
    /// if it has ended before: in these cases the transaction has ended. `Misuse` while a nested
    /// transaction is open: it stays as it is.
    async fn commit(&self) -> Result<()>;

    /// Undoes the work, and that of nested transactions. Twice is fine; after a commit it answers
    /// `Closed`.
    async fn rollback(&self) -> Result<()>;
}

/// A named lock that is held, until it is released or dropped.
#[async_trait]
pub trait NamedLock: Debug + Send + Sync + 'static {
    /// Lets go of the lock before it answers.
    async fn release(self: Box<Self>) -> Result<()>;
}

/// What a transaction asks for. The default: the engine's ordinary isolation, reads and writes.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct TxOptions {
    /// The weakest isolation that will do; the engine gives at least this or refuses.
    pub isolation: Option<Isolation>,
    /// Promises not to write; a write is then a `ReadOnly` error. Reads see one snapshot.
    pub read_only: bool,
    /// When to give up waiting for the transaction to begin.
    pub deadline: Option<Instant>,
}

/// How much of concurrent work a transaction may notice, from much to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isolation {
    /// Each statement sees what was committed before it.
    ReadCommitted,
    /// All statements see one snapshot; write skew is possible.
    Snapshot,
    /// As if transactions ran one after the other.
    Serializable,
}

impl TxOptions {
    /// The engine's ordinary transaction.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for at least this isolation.
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = Some(isolation);
        self
    }

    /// Promises not to write.
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }
}

/// What a store can do. Callers and tests branch on it; what is lacking is refused by name.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each answers a question of its own"
)]
pub struct Capabilities {
    /// The engine's name in messages and events: `sqlite`, `memory`.
    pub engine: &'static str,
    /// The strictest isolation a transaction can have.
    pub isolation: Isolation,
    /// Whether transactions nest.
    pub savepoints: bool,
    /// Whether reads outside a transaction go on while a writing transaction is open.
    pub reads_during_writes: bool,
    /// Whether several writing transactions can be open at a time. Where they exclude each other,
    /// every row a transaction reads is as good as locked.
    pub concurrent_writers: bool,
    /// Whether a transaction holds rows: those that it has changed, and those that it reads by
    /// `for_update`, which is refused otherwise. Without it nobody waits for a transaction, and one
    /// that has looked at rows which others changed meanwhile is answered `Conflict`.
    pub row_locks: bool,
    /// Whether conditions can look inside JSON columns.
    pub json_paths: bool,
    /// Whether it searches texts ([`Search`](crate::Search)).
    pub full_text: bool,
    /// Whose SQL [`Storage::sql`] takes: `sqlite`, `postgresql`; `None` if it takes none.
    pub raw_sql: Option<&'static str>,
    /// Where several writers are open at a time: the statement in its SQL whose one number says which
    /// have ended. Those with a lower number have; the column `larder_changes.tx` gets that number
    /// by its default. `None` elsewhere: rows then get their keys in the order of the commits.
    pub horizon: Option<&'static str>,
    /// The first day that dates and timestamps can have. Earlier ones are refused as `Invalid`,
    /// naming the column.
    pub first_day: Date,
    /// Whether it has named locks ([`Storage::lock`]).
    pub named_locks: bool,
    /// Whether a write is answered by its deadline whatever happens. If not, the facade sees to
    /// it, a second later and for the price of another timer.
    pub keeps_deadlines: bool,
}

impl Capabilities {
    /// An engine that can do everything the contract names, but for what has a method of its own:
    /// SQL and named locks.
    pub const fn full(engine: &'static str) -> Self {
        Self {
            engine,
            isolation: Isolation::Serializable,
            savepoints: true,
            reads_during_writes: true,
            concurrent_writers: true,
            row_locks: true,
            json_paths: true,
            full_text: true,
            raw_sql: None,
            horizon: None,
            named_locks: false,
            first_day: Date::MIN,
            keeps_deadlines: false,
        }
    }

    /// Refuses transaction options that the engine cannot honour.
    ///
    /// # Errors
    /// `Unsupported`, naming the engine and the isolation.
    pub fn check_tx(&self, options: &TxOptions) -> Result<()> {
        match options.isolation {
            Some(asked) if asked > self.isolation => Err(Error::unsupported(
                self.engine,
                &format!(
                    "{asked:?} isolation; the strictest it has is {:?}",
                    self.isolation
                ),
            )),
            _ => Ok(()),
        }
    }
}
