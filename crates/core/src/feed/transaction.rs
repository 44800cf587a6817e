//! [`RecordedTransaction`]: a transaction that inserts the changes it records before it commits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use async_trait::async_trait;

use super::pulse::Pulse;
use super::recorded::check_sql;
use super::recorder::{Record, Recorder, save};
use crate::error::{Error, ErrorKind, Result};
use crate::raw::RawStatement;
use crate::rows::Rows;
use crate::select::Select;
use crate::storage::{Capabilities, NamedLock, Storage, Transaction, TxOptions};
use crate::write::{Write, Written};

/// How many changes wait for the commit; more are inserted at once.
const WAITING_MAX: usize = 1_000;

/// A transaction around a transaction of the store.
#[derive(Debug)]
pub(super) struct RecordedTransaction {
    inner: Box<dyn Transaction>,
    recorder: Arc<Recorder>,
    sql_writes: bool,
    pulse: Pulse,
    waiting: Shared,
    /// Where the changes of a nested transaction go when it commits.
    outer: Option<Shared>,
}

type Shared = Arc<Mutex<Waiting>>;

/// The changes that are made and not inserted yet.
#[derive(Debug, Default)]
struct Waiting {
    records: Vec<Record>,
    /// Whether changes have been inserted before.
    inserted: bool,
    /// How many calls may make changes just now.
    in_flight: usize,
    /// Whether a change may be missing: the transaction must not commit.
    incomplete: bool,
}

fn lock(waiting: &Shared) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// While it is there, changes may be made that are not noted. Dropped before it has landed, with
/// the future that makes them, it leaves the transaction incomplete.
struct InFlight<'a> {
    waiting: &'a Shared,
    landed: bool,
}

impl<'a> InFlight<'a> {
    fn new(waiting: &'a Shared) -> Result<Self> {
        let mut found = lock(waiting);
        if found.incomplete {
            return Err(incomplete());
        }
        found.in_flight += 1;
        Ok(Self {
            waiting,
            landed: false,
        })
    }

    /// Notes what was changed; nothing is missing.
    fn land(mut self, records: Vec<Record>) {
        lock(self.waiting).records.extend(records);
        self.landed = true;
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let mut waiting = lock(self.waiting);
        waiting.in_flight -= 1;
        waiting.incomplete |= !self.landed;
    }
}

impl RecordedTransaction {
    pub(super) fn new(
        inner: Box<dyn Transaction>,
        recorder: Arc<Recorder>,
        sql_writes: bool,
        pulse: Pulse,
    ) -> Self {
        Self {
            inner,
            recorder,
            sql_writes,
            pulse,
            waiting: Shared::default(),
            outer: None,
        }
    }

    async fn write_recorded(&self, write: Write, rows: Rows) -> Result<(Written, Rows)> {
        self.recorder.check(&write)?;
        let deadline = write.deadline;
        let flight = InFlight::new(&self.waiting)?;
        match self.recorder.run(&*self.inner, write, rows).await {
            Ok((written, rows, records)) => {
                flight.land(records);
                if lock(&self.waiting).records.len() >= WAITING_MAX {
                    // The write has succeeded; what cannot be inserted now, the commit inserts.
                    let _ = self.insert_waiting(deadline).await;
                }
                Ok((written, rows))
            }
            Err(error) => {
                // A write that fails has changed nothing, unless nobody knows.
                if !error.is_unknown_outcome() && !error.is_decode() {
                    flight.land(Vec::new());
                }
                Err(error)
            }
        }
    }

    /// Inserts what waits; what could not be inserted goes on waiting.
    async fn insert_waiting(&self, deadline: Option<Instant>) -> Result<()> {
        let flight = InFlight::new(&self.waiting)?;
        let mut records = std::mem::take(&mut lock(&self.waiting).records);
        if records.is_empty() {
            flight.land(records);
            return Ok(());
        }
        let saved = save(&*self.inner, &mut records, deadline).await;
        lock(&self.waiting).inserted = true;
        match &saved {
            Err(error) if error.is_unknown_outcome() => {}
            _ => flight.land(records),
        }
        saved
    }

    /// Commits a nested transaction; its changes wait with the outer one's.
    async fn commit_into(&self, outer: &Shared) -> Result<()> {
        let flight = InFlight::new(outer)?;
        let committed = self.inner.commit().await;
        match &committed {
            Ok(()) => {
                let mut own = lock(&self.waiting);
                lock(outer).inserted |= own.inserted;
                flight.land(std::mem::take(&mut own.records));
            }
            Err(error) if error.is_unknown_outcome() => {}
            Err(_) => flight.land(Vec::new()),
        }
        committed
    }

    async fn commit_all(&self) -> Result<()> {
        self.insert_waiting(None).await?;
        self.inner.commit().await?;
        if lock(&self.waiting).inserted {
            self.pulse.commit();
        }
        Ok(())
    }

    /// Whether it must not commit, because changes may be missing.
    fn is_incomplete(&self) -> bool {
        let outer = self.outer.as_ref();
        let own = lock(&self.waiting);
        own.incomplete || own.in_flight > 0 || outer.is_some_and(|outer| lock(outer).incomplete)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Storage for RecordedTransaction {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn read(&self, query: Select, rows: Rows) -> Result<Rows> {
        self.inner.read(query, rows).await
    }

    async fn read_all(&self, queries: Vec<(Select, Rows)>) -> Result<Vec<Rows>> {
        self.inner.read_all(queries).await
    }

    async fn write(&self, write: Write, rows: Rows) -> Result<(Written, Rows)> {
        if self.recorder.concerns(&write) {
            Box::pin(self.write_recorded(write, rows)).await
        } else {
            self.inner.write(write, rows).await
        }
    }

    async fn sql(&self, statement: RawStatement, rows: Rows) -> Result<(Written, Rows)> {
        check_sql(&statement, self.sql_writes)?;
        self.inner.sql(statement, rows).await
    }

    async fn lock(&self, name: &str, wait: bool) -> Result<Option<Box<dyn NamedLock>>> {
        self.inner.lock(name, wait).await
    }

    async fn begin(&self, options: TxOptions) -> Result<Box<dyn Transaction>> {
        let inner = self.inner.begin(options).await?;
        let mut nested = Self::new(
            inner,
            Arc::clone(&self.recorder),
            self.sql_writes,
            self.pulse.clone(),
        );
        nested.outer = Some(Arc::clone(&self.waiting));
        Ok(Box::new(nested))
    }

    async fn explain(&self, query: Select) -> Result<String> {
        self.inner.explain(query).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Transaction for RecordedTransaction {
    async fn commit(&self) -> Result<()> {
        if self.is_incomplete() {
            self.inner.rollback().await?;
            return Err(incomplete());
        }
        let committed = match &self.outer {
            Some(outer) => self.commit_into(outer).await,
            None => self.commit_all().await,
        };
        match committed {
            // As it is while a nested one is open.
            Err(error) if !error.is_misuse() => {
                let _ = self.inner.rollback().await;
                Err(error)
            }
            committed => committed,
        }
    }

    async fn rollback(&self) -> Result<()> {
        lock(&self.waiting).records.clear();
        self.inner.rollback().await
    }
}

#[cold]
fn incomplete() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "a recorded write of this transaction was given up before it was answered, so that its \
         changes may be missing in the feed: roll back and run it again",
    )
}
