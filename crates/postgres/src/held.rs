//! The connection that an explicit transaction holds until its end.
//!
//! PostgreSQL gives up a whole transaction when one statement of it fails. The contract is that a
//! failing statement undoes itself alone. So a savepoint is set before it, in the same packet, and
//! gone back to when it fails or was dropped half-way; the next statement replaces it. Reads that
//! follow each other need only one: what goes back to it undoes nothing.

use std::time::{Duration, Instant};

use futures_util::future::join;
use larder_core::raw::RawAccess;
use larder_core::{
    Error, Flow, Isolation, RawStatement, Result, Rows, Select, TxOptions, Write, Written,
};
use tokio::time::timeout;

use crate::connection::{Connection, Failure};
use crate::database::Database;
use crate::pool::Lease;
use crate::{error, raw, read, write};

/// How long a statement that was dropped half-way may take to be undone.
const SETTLE_MAX: Duration = Duration::from_secs(5);

/// A connection with an open transaction. Dropping it rolls back.
#[derive(Debug)]
pub(crate) struct Held {
    lease: Lease,
    guard: Guard,
}

/// What stands between a statement and the rest of its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guard {
    /// No savepoint is set.
    None,
    /// One is, and nothing has been changed or locked since.
    Fresh,
    /// One is, before the last statement, which has ended well.
    Set,
    /// One is, or is about to be, and what came after it has not ended.
    Unsettled,
}

impl Held {
    /// Takes a connection and begins.
    pub(crate) async fn begin(database: &Database, options: &TxOptions) -> Result<Self> {
        let mut lease = database.acquire(options.deadline).await?;
        lease.begin();
        let begun = lease.batch_execute(begin_sql(options)).await;
        begun.map_err(error::begin_failed)?;
        lease.pause();
        Ok(Self {
            lease,
            guard: Guard::None,
        })
    }

    /// Undoes what was dropped half-way, so that the next statement can be run.
    ///
    /// # Errors
    /// If that cannot be done, or takes too long: the transaction is lost.
    pub(crate) async fn settle(&mut self) -> Result<()> {
        if self.guard != Guard::Unsettled {
            return Ok(());
        }
        let undone = async {
            self.lease.cancel().await;
            self.undo_statement().await
        };
        match timeout(SETTLE_MAX, undone).await {
            Ok(undone) => undone,
            Err(_) => Err(error::connection_lost()),
        }
    }

    async fn undo_statement(&mut self) -> Result<()> {
        let undone = self.lease.batch_execute("ROLLBACK TO larder_w").await;
        undone.map_err(error::transaction_lost)?;
        self.set_guard(Guard::Fresh);
        Ok(())
    }

    fn set_guard(&mut self, guard: Guard) {
        self.guard = guard;
        match guard {
            Guard::None | Guard::Fresh | Guard::Set => self.lease.pause(),
            Guard::Unsettled => self.lease.begin(),
        }
    }

    /// Runs a statement behind a savepoint, and goes back to it if it fails; else that is left as
    /// said. By the deadline, with some grace: `Unknown` if nobody knows then.
    async fn guarded<T>(
        &mut self,
        deadline: Option<Instant>,
        leaves: Guard,
        work: impl AsyncFnOnce(&Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let set = match self.guard {
            Guard::None => Some("SAVEPOINT larder_w"),
            Guard::Fresh => None,
            Guard::Set | Guard::Unsettled => Some("RELEASE larder_w; SAVEPOINT larder_w"),
        };
        self.set_guard(Guard::Unsettled);
        let connection: &Connection = &self.lease;
        let setting = async {
            match set {
                Some(set) => connection.batch_execute(set).await,
                None => Ok(()),
            }
        };
        let both = join(setting, work(connection));
        let both = write::by_deadline(connection, Instant::now(), deadline, both).await;
        let (set, done) = both.ok_or_else(error::unknown_outcome)?;
        set.map_err(|cause| Failure::Own(error::transaction_lost(cause)))?;
        match &done {
            Ok(_) => self.set_guard(leaves),
            Err(Failure::Driver(_)) => {
                // If this fails or takes too long, the next statement says so.
                let _ = timeout(SETTLE_MAX, self.undo_statement()).await;
            }
            // Rows may be on their way; the next statement stops them.
            Err(Failure::Own(_)) => {}
        }
        done
    }

    /// The failure as an error: as outside of a transaction, unless it means something else here.
    fn explain_failure(&self, failure: Failure, outside: impl FnOnce(Failure) -> Error) -> Error {
        match failure {
            Failure::Driver(cause) if error::is_stale_plan(&cause) => {
                self.lease.forget_statements();
                error::schema_changed(cause)
            }
            // Nothing of it was committed.
            Failure::Driver(cause) if error::is_lost(&cause) => error::transaction_lost(cause),
            other => outside(other),
        }
    }

    /// Runs a read.
    pub(crate) async fn read(&mut self, select: &Select, rows: &mut Rows) -> Result<()> {
        let leaves = match select.lock {
            None => Guard::Fresh,
            Some(_) => Guard::Set, // to go back would let go of the rows
        };
        let show = async |connection: &Connection| read::show(connection, select, rows).await;
        match self.guarded(None, leaves, show).await {
            Ok(Flow::Stop) => {
                // The rest of the rows is on its way.
                self.set_guard(Guard::Unsettled);
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(failure) => {
                Err(self.explain_failure(failure, |failure| failure.of_read(select.table)))
            }
        }
    }

    /// Runs reads sent together.
    pub(crate) async fn read_all(&mut self, queries: &mut [(Select, Rows)]) -> Result<()> {
        let mut table = None;
        let done = self
            .guarded(None, Guard::Fresh, async |connection| {
                let all = read::all_on(connection, queries).await;
                all.map_err(|(failure, of)| {
                    table = Some(of);
                    failure
                })
            })
            .await;
        done.map_err(|failure| {
            self.explain_failure(failure, |failure| match (failure, table) {
                (failure, Some(table)) => failure.of_read(table),
                (Failure::Own(error), None) => error,
                (Failure::Driver(cause), None) => error::transaction_lost(cause),
            })
        })
    }

    /// Runs a write; if it fails, it is undone alone.
    pub(crate) async fn write(&mut self, write: &Write, rows: &mut Rows) -> Result<Written> {
        let done = self
            .guarded(write.deadline, Guard::Set, async |connection| {
                write::statements(connection, write, rows).await
            })
            .await;
        done.map_err(|failure| {
            let error = self.explain_failure(failure, |failure| failure.of_write(write));
            Connection::heed(&self.lease, &error);
            error
        })
    }

    /// Runs a statement in SQL; if it fails, it is undone alone.
    pub(crate) async fn sql(&mut self, raw: &RawStatement, rows: &mut Rows) -> Result<Written> {
        let access = raw.access;
        let done = self
            .guarded(raw.deadline, Guard::Set, async |connection| {
                if access == RawAccess::Read {
                    raw::forbid_writes(connection).await?;
                }
                raw::statement(connection, raw, rows).await
            })
            .await;
        match done {
            Ok(written) => {
                if access == RawAccess::Read {
                    self.undo_statement().await?; // which allows to write again
                }
                Ok(written)
            }
            Err(failure) => Err(self.explain_failure(failure, |failure| failure.of_sql(access))),
        }
    }

    /// Says how the read would be executed.
    pub(crate) async fn explain(&mut self, select: &Select) -> Result<String> {
        let explain = async |connection: &Connection| read::explain(connection, select).await;
        let explained = self.guarded(None, Guard::Fresh, explain).await;
        explained.map_err(|failure| {
            self.explain_failure(failure, |failure| failure.of_read(select.table))
        })
    }

    pub(crate) async fn set_savepoint(&mut self, level: usize) -> Result<()> {
        let release = match self.guard {
            Guard::None => "",
            Guard::Fresh | Guard::Set | Guard::Unsettled => "RELEASE larder_w; ",
        };
        self.control(&format!("{release}SAVEPOINT larder_{level}"))
            .await
    }

    /// Makes what was done since the savepoint part of what is around it.
    pub(crate) async fn release_savepoint(&mut self, level: usize) -> Result<()> {
        self.control(&format!("RELEASE larder_{level}")).await
    }

    /// Undoes what was done since the savepoint.
    pub(crate) async fn undo_savepoint(&mut self, level: usize) -> Result<()> {
        // The savepoint stays, so that this can be said again if its answer was not waited for. A
        // later one of the same name stands before it.
        self.control(&format!("ROLLBACK TO larder_{level}")).await
    }

    async fn control(&mut self, sql: &str) -> Result<()> {
        // Known at once: what is sent is carried out, whether somebody waits for it or not.
        self.guard = Guard::None;
        self.lease.begin();
        let done = self.lease.batch_execute(sql).await;
        done.map_err(error::transaction_lost)?;
        self.lease.pause();
        Ok(())
    }

    /// Makes the transaction permanent.
    pub(crate) async fn commit(mut self) -> Result<()> {
        self.lease.begin();
        let committed = write::commit(&self.lease).await;
        if committed.is_ok() {
            self.lease.end();
        }
        committed
    }

    /// Undoes the transaction.
    pub(crate) async fn roll_back(mut self) {
        if self.guard == Guard::Unsettled {
            self.lease.cancel().await;
        }
        // If it fails, the connection is not used again, and the server rolls back by itself.
        if self.lease.batch_execute("ROLLBACK").await.is_ok() {
            self.lease.end();
        }
    }
}

/// The isolation that a transaction with these options has.
pub(crate) fn isolation(options: &TxOptions) -> Isolation {
    // One that only reads sees one snapshot, says the contract.
    let least = if options.read_only {
        Isolation::Snapshot
    } else {
        Isolation::ReadCommitted
    };
    options.isolation.unwrap_or(least).max(least)
}

fn begin_sql(options: &TxOptions) -> &'static str {
    match (isolation(options), options.read_only) {
        (Isolation::Serializable, false) => "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE",
        (Isolation::Serializable, true) => "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
        (Isolation::Snapshot, false) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE",
        (_, true) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        (Isolation::ReadCommitted, false) => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
    }
}
