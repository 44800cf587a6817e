//! [`Recorded`]: a store that keeps a feed of what is written through it.

use std::sync::Arc;
use std::time::Instant;

use super::pubsub::Feed;
use super::pulse::Pulse;
use super::reader::{ChangeFeed, ChangeFeedOptions};
use super::recorder::{Recorder, save};
use super::transaction::RecordedTransaction;
use crate::clock::{Clock, SystemClock};
use crate::column::Column;
use crate::entity::Entity;
use crate::error::{Error, ErrorKind, Result};
use crate::raw::{RawAccess, RawStatement};
use crate::rows::Rows;
use crate::schema::Table;
use crate::select::Select;
use crate::storage::{Capabilities, NamedLock, Storage, Transaction, TxOptions};
use crate::write::{Write, Written};
use async_trait::async_trait;

/// A table to be recorded.
#[derive(Clone, Debug)]
pub struct Recording {
    pub(super) table: &'static Table,
    pub(super) rows: bool,
    pub(super) omitted: Vec<usize>,
    /// A column of another table that was to be left out.
    pub(super) foreign: Option<&'static str>,
}

impl Recording {
    /// The keys of the rows of a model that are written, and how.
    pub fn of<E: Entity>() -> Self {
        Self::of_table(E::TABLE)
    }

    /// The same of a table.
    pub fn of_table(table: &'static Table) -> Self {
        Self {
            table,
            rows: false,
            omitted: Vec::new(),
            foreign: None,
        }
    }

    /// Records the whole rows too. They are kept in the feed as they were, for as long as it keeps
    /// its changes: [leave out](Self::without) secrets, and what must be forgotten sooner.
    pub fn with_rows(mut self) -> Self {
        self.rows = true;
        self
    }

    /// Leaves this column out of the rows. Read back, it is NULL; a model in which it cannot be NULL
    /// is then not read ([`Change::row_of`](super::Change::row_of) answers `Decode`).
    ///
    /// ```
    /// use larder_core::feed::Recording;
    /// use larder_core::models::User;
    ///
    /// let users = Recording::of::<User>().with_rows().without(User::PASSWORD_HASH);
    /// # let _ = users;
    /// ```
    ///
    /// A column of another table makes every write of this one answer `Misuse`.
    pub fn without<E: Entity, T>(mut self, column: Column<E, T>) -> Self {
        match self.table.column(column.name()) {
            Some(at) if self.table.is(E::TABLE) => self.omitted.push(at),
            _ => self.foreign = Some(column.name()),
        }
        self
    }
}

/// A store around a store, which records what is written to some of its tables: each change is a
/// row of `larder_changes`, inserted by the very transaction that makes it, so that neither is there
/// without the other.
///
/// | what is written | what is recorded |
/// |---|---|
/// | inserts, one or many | [`Insert`](super::Operation::Insert); none for those that an upsert ignores |
/// | upserts that update | [`Upsert`](super::Operation::Upsert): the store does not say which it was |
/// | updates by key, by rows or by a filter | `Update`, one for each row |
/// | deletions by key or by a filter | `Delete`, one for each row |
/// | what goes with a deleted parent, or is set to NULL, as models say | `Delete` or `Update`, children first |
/// | changing keys, by an update with a filter | `Delete` under the old key, `Insert` under the new one |
/// | changing keys by an upsert | refused (`Unsupported`) |
/// | statements in SQL that may write | refused (`Unsupported`), or with [`allow_sql_writes`](Self::allow_sql_writes) not recorded |
///
/// Not seen is what does not come through this handle: other programs, migrations, triggers, and
/// cascades that the database knows and the models do not.
///
/// A recorded write costs a transaction of its own, the insertion of its changes, and the reading of
/// the whole rows it changes, which are in memory meanwhile. Inside a transaction the changes are
/// inserted together at its end, or whenever a thousand have come up. A deletion that may cascade
/// into recorded tables first locks and reads what it takes along, level by level; so does an update
/// that changes keys. Other writes cost
/// nothing more. The tables of [`tables`](super::tables) must exist.
///
/// Inside a transaction, a recorded write whose future is dropped before it has answered makes the
/// transaction answer `Conflict` from then on: whether it changed something cannot be told.
///
/// ```
/// use larder_core::feed::{Operation, Position, Recorded, Recording};
/// use larder_core::models::{NewTag, Tag};
/// use larder_core::{Db, Memory};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// let store = Recorded::new(Memory::new(), [Recording::of::<Tag>().with_rows()]);
/// let changes = store.changes()?;
/// let db = Db::new(store);
/// let tag = db.insert(NewTag::new("rust")).await?;
///
/// let found = changes.after(Position::START, 10).await?;
/// assert_eq!((found.len(), found[0].operation), (1, Operation::Insert));
/// assert_eq!(found[0].key_of::<Tag>()?, tag.id);
/// assert_eq!(found[0].row_of::<Tag>()?, Some(tag));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Recorded {
    inner: Arc<dyn Storage>,
    recorder: Arc<Recorder>,
    capabilities: Capabilities,
    sql_writes: bool,
    pulse: Pulse,
}

impl Recorded {
    /// The store, recording these tables.
    pub fn new(inner: impl Storage, tables: impl IntoIterator<Item = Recording>) -> Self {
        Self::from_shared(Arc::new(inner), tables)
    }

    /// A store that others hold too, of whose writes those through this handle are recorded.
    pub fn from_shared(
        inner: Arc<dyn Storage>,
        tables: impl IntoIterator<Item = Recording>,
    ) -> Self {
        let mut capabilities = inner.capabilities().clone();
        // A commit has no deadline that this could pass on.
        capabilities.keeps_deadlines = false;
        let clock = Arc::new(SystemClock);
        Self {
            inner,
            recorder: Arc::new(Recorder::new(tables.into_iter().collect(), clock)),
            capabilities,
            sql_writes: false,
            pulse: Pulse::new(),
        }
    }

    /// What says when a change was made. Default: the system's clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.recorder = Arc::new(self.recorder.with_clock(clock));
        self
    }

    /// Lets statements in SQL write, though what they change is not recorded: for services that
    /// leave the recorded tables alone in SQL.
    pub fn allow_sql_writes(mut self) -> Self {
        self.sql_writes = true;
        self
    }

    /// Publishes a message without content after commits, to the topic `larder_changes`, for the
    /// readers of other processes that are [woken by](ChangeFeed::woken_by) it: they then see a change
    /// at once rather than when they look the next time. It goes out beside the commit, which does
    /// not wait for it; commits that come meanwhile share the next one. If it is lost, the readers
    /// look anyway.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn announced_by(self, feed: Arc<dyn Feed>) -> Self {
        self.pulse.announce_by(feed);
        self
    }

    /// The feed of what is recorded. Its readers in this process are woken by each commit.
    ///
    /// # Errors
    /// As [`ChangeFeed::new`].
    pub fn changes(&self) -> Result<ChangeFeed> {
        self.changes_with(ChangeFeedOptions::new())
    }

    /// The same with options.
    ///
    /// # Errors
    /// As [`ChangeFeed::new`].
    pub fn changes_with(&self, options: ChangeFeedOptions) -> Result<ChangeFeed> {
        ChangeFeed::with_pulse(Arc::clone(&self.inner), options, self.pulse.clone())
    }

    /// A write in a transaction of its own.
    async fn write_recorded(&self, write: Write, rows: Rows) -> Result<(Written, Rows)> {
        self.recorder.check(&write)?;
        let options = TxOptions {
            deadline: write.deadline,
            ..TxOptions::default()
        };
        let tx = self.inner.begin(options).await?;
        let deadline = write.deadline;
        let work = async {
            let (written, rows, mut records) = self.recorder.run(&*tx, write, rows).await?;
            let changed = !records.is_empty();
            save(&*tx, &mut records, deadline).await?;
            Ok((written, rows, changed))
        };
        match by(deadline, work).await {
            Ok((written, rows, changed)) => {
                tx.commit().await?;
                if changed {
                    self.pulse.commit();
                }
                Ok((written, rows))
            }
            Err(error) => {
                // The error says more than a failing rollback, which dropping repeats.
                let _ = tx.rollback().await;
                Err(error)
            }
        }
    }
}

/// Work before a commit, by a deadline: what it reads to record it has none of its own.
async fn by<T>(deadline: Option<Instant>, work: impl Future<Output = Result<T>>) -> Result<T> {
    let Some(deadline) = deadline else {
        return work.await;
    };
    match tokio::time::timeout_at(deadline.into(), work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::new(
            ErrorKind::Timeout,
            "the write and its record did not end in time; nothing was applied",
        )),
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Storage for Recorded {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
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
        Ok(Box::new(RecordedTransaction::new(
            inner,
            Arc::clone(&self.recorder),
            self.sql_writes,
            self.pulse.clone(),
        )))
    }

    async fn explain(&self, query: Select) -> Result<String> {
        self.inner.explain(query).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

pub(super) fn check_sql(statement: &RawStatement, writes: bool) -> Result<()> {
    if statement.access == RawAccess::Read || writes {
        return Ok(());
    }
    Err(Error::unsupported(
        "a store that records changes",
        "statements in SQL that may write, because what they change would be missing in the feed; \
         `Recorded::allow_sql_writes` lets them",
    ))
}
