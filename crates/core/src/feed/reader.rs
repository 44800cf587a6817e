//! [`ChangeFeed`]: reads changes in the order in which they became certain.

use std::sync::Arc;
use std::time::Duration;

use super::change::{Change, Position};
use super::gap::{Gap, GapReason};
use super::group::{Group, GroupOptions};
use super::pulse::Pulse;
use super::tables::{ChangeRow, MarkRow};
use super::tail::Tail;
use super::watch::Watch;
use crate::clock::{Clock, SystemClock};
use crate::db::{Db, DbOptions};
use crate::error::{Error, Result};
use crate::storage::{Capabilities, Storage, TxOptions};

/// The name of the mark that says how far changes were removed.
pub(super) const PURGED: &str = "purged";

/// How a feed of changes is read and kept. Start from `ChangeFeedOptions::new()`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChangeFeedOptions {
    pub(super) poll_interval: Duration,
    pub(super) batch_max: u64,
    pub(super) retention: Duration,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) timeout: Duration,
}

impl Default for ChangeFeedOptions {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_secs(1),
            batch_max: 256,
            retention: Duration::from_hours(7 * 24),
            clock: Arc::new(SystemClock),
            timeout: Duration::from_secs(30),
        }
    }
}

impl ChangeFeedOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How often the store is asked for changes while nothing wakes the readers: the longest that
    /// another process's change goes unseen. One question for all waiting tails of the feed's
    /// clones, one for each waiting consumer of a group. Default: 1 s.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// How many changes a tail reads at a time, at least one. Default: 256.
    pub fn batch_max(mut self, changes: u64) -> Self {
        self.batch_max = changes.max(1);
        self
    }

    /// For how long changes are kept; older ones are removed by [`ChangeFeed::purge`], given up
    /// deliveries too. Default: 7 days.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// What says whether a change is too old and a delivery overdue. Default: the system's clock;
    /// that of several processes should agree to well within the visibility timeout.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The deadline of each statement. Default: 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// The changes that were recorded in a store, by this process or any other. Cheap to clone.
///
/// Changes come in one order for all readers: on a store with one writer at a time in that of the
/// commits, elsewhere in that in which transactions began to write, and never before it is certain
/// that nothing earlier can still come. There a transaction that has written and stays open holds
/// back what was committed since, and [`Change::number`] tells which of two changes of a row is the
/// later one.
///
/// Reads go to the store's primary, each in one snapshot.
#[derive(Clone, Debug)]
pub struct ChangeFeed {
    pub(super) db: Db,
    pub(super) options: Arc<ChangeFeedOptions>,
    pub(super) watch: Arc<Watch>,
}

impl ChangeFeed {
    /// The feed in this store, whose tables must exist. A store that records
    /// ([`Recorded::changes`](super::Recorded::changes)) also wakes its readers at once.
    ///
    /// # Errors
    /// `Unsupported` if the store has several writers at a time and cannot tell which of them have
    /// ended, so that changes could be skipped.
    pub fn new(store: Arc<dyn Storage>, options: ChangeFeedOptions) -> Result<Self> {
        Self::with_pulse(store, options, Pulse::new())
    }

    pub(super) fn with_pulse(
        store: Arc<dyn Storage>,
        options: ChangeFeedOptions,
        pulse: Pulse,
    ) -> Result<Self> {
        check_order(store.capabilities())?;
        let settings = DbOptions::default()
            .timeout(options.timeout)
            .shared_clock(Arc::clone(&options.clock));
        Ok(Self {
            db: Db::from_shared(store, settings),
            watch: Arc::new(Watch::new(pulse)),
            options: Arc::new(options),
        })
    }

    /// Has the readers woken by what other processes
    /// [announce](super::Recorded::announced_by) in this feed, which is kept meanwhile.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use larder_core::feed::{ChangeFeed, ChangeFeedOptions, LocalFeed, Recorded, Recording};
    /// # use larder_core::{Memory, models::Tag};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let (here, there) = (Memory::new(), Memory::new());
    /// # let feed = Arc::new(LocalFeed::new()); // in life, one that goes through the store
    /// // In the process that writes:
    /// let store = Recorded::new(here, [Recording::of::<Tag>()]).announced_by(feed.clone());
    /// // In the process that reads:
    /// let options = ChangeFeedOptions::new();
    /// let changes = ChangeFeed::new(Arc::new(there), options)?.woken_by(feed).await?;
    /// # let _ = (store, changes); Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Feed::subscribe`](super::Feed::subscribe).
    pub async fn woken_by(self, feed: Arc<dyn super::Feed>) -> Result<Self> {
        self.watch.pulse().hear(feed).await?;
        Ok(self)
    }

    /// The changes behind this position, at most so many; none if there are none yet.
    ///
    /// ```
    /// # use larder_core::feed::{Position, Recorded, Recording};
    /// # use larder_core::{Db, Memory, models::{NewTag, Tag}};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let store = Recorded::new(Memory::new(), [Recording::of::<Tag>()]);
    /// # let changes = store.changes()?;
    /// # let db = Db::new(store);
    /// db.insert_all(["a", "b", "c"].map(NewTag::new)).await?;
    /// let first = changes.after(Position::START, 2).await?;
    /// let last_seen = first[1].position.to_string(); // kept, sent, and read again
    /// let rest = changes.after(last_seen.parse()?, 2).await?;
    /// assert_eq!((first.len(), rest.len()), (2, 1));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `Gap` if changes behind the position have been removed, or if the feed has not come to it:
    /// [`Gap::resume`] says where to go on.
    pub async fn after(&self, position: Position, limit: u64) -> Result<Vec<Change>> {
        let tx = self.snapshot().await?;
        let changes = changes_after(&tx, position, limit).await?;
        let gap = gap_at(&tx, position, changes.is_empty() && limit > 0).await?;
        tx.rollback().await?;
        match gap {
            Some(gap) => Err(gap.into_error()),
            None => Ok(changes),
        }
    }

    /// The position behind all changes that can be read now: where to start from to see only what
    /// comes.
    pub async fn end(&self) -> Result<Position> {
        let tx = self.snapshot().await?;
        let end = end(&tx).await?;
        tx.rollback().await?;
        Ok(end)
    }

    /// The position before the oldest change that is kept.
    pub async fn oldest(&self) -> Result<Position> {
        purged(&self.db).await
    }

    /// The changes behind this position, waiting for those to come.
    pub fn tail(&self, position: Position) -> Tail {
        Tail::new(self.clone(), position)
    }

    /// The group of consumers of this name, which is made if it is not there.
    ///
    /// # Errors
    /// `Invalid` for an empty name or one of more than 200 bytes.
    pub async fn group(&self, name: &str, options: GroupOptions) -> Result<Group> {
        Group::open(self.clone(), name, options).await
    }

    /// One snapshot, of the store that takes the writes.
    async fn snapshot(&self) -> Result<crate::Tx> {
        self.db.begin(TxOptions::new().read_only()).await
    }
}

/// Refuses a store in which a change may become visible behind ones that were read.
fn check_order(capabilities: &Capabilities) -> Result<()> {
    if !capabilities.concurrent_writers || capabilities.horizon.is_some() {
        return Ok(());
    }
    Err(Error::unsupported(
        capabilities.engine,
        "a feed of changes: its writers commit in any order, and it does not say which have ended",
    ))
}

/// Up to which number all transactions have ended; `None` if they write one at a time.
async fn horizon(db: &Db) -> Result<Option<i64>> {
    let Some(text) = db.capabilities().horizon else {
        return Ok(None);
    };
    let (horizon,) = db.sql(text).one::<(i64,)>().await?;
    Ok(Some(horizon))
}

/// The certain changes behind a position. Looks for the horizon first: what lies before it can be
/// seen by every later statement.
pub(super) async fn changes_after(db: &Db, from: Position, limit: u64) -> Result<Vec<Change>> {
    let rows = match horizon(db).await? {
        None => {
            let later = db
                .query::<ChangeRow>()
                .filter(ChangeRow::ID.gt(id(from.id)));
            later.order(ChangeRow::ID.asc()).limit(limit).all().await?
        }
        Some(horizon) => ended_after(db, from, horizon, limit).await?,
    };
    Ok(rows.into_iter().map(ChangeRow::into_change).collect())
}

/// First the rest of the position's own transaction, then later ones: each a range of the index.
async fn ended_after(db: &Db, from: Position, horizon: i64, limit: u64) -> Result<Vec<ChangeRow>> {
    let same = ChangeRow::TX.eq(from.tx).and(ChangeRow::ID.gt(id(from.id)));
    let same = db.query::<ChangeRow>().filter(same);
    let mut rows = if from.tx < horizon {
        same.order(ChangeRow::ID.asc()).limit(limit).all().await?
    } else {
        Vec::new()
    };
    let left = limit.saturating_sub(rows.len() as u64);
    if left > 0 {
        let later = ChangeRow::TX.gt(from.tx).and(ChangeRow::TX.lt(horizon));
        let later = db.query::<ChangeRow>().filter(later);
        let later = later.order(ChangeRow::TX.asc()).order(ChangeRow::ID.asc());
        rows.extend(later.limit(left).all().await?);
    }
    Ok(rows)
}

/// The position behind all changes that are certain.
async fn end(db: &Db) -> Result<Position> {
    let last = match horizon(db).await? {
        None => newest(db).await?,
        Some(horizon) => {
            let ended = db.query::<ChangeRow>().filter(ChangeRow::TX.lt(horizon));
            let last = ended
                .order(ChangeRow::TX.desc())
                .order(ChangeRow::ID.desc())
                .first();
            last.await?.map(|row| row.position())
        }
    };
    let purged = purged(db).await?;
    Ok(last.map_or(purged, |last| last.max(purged)))
}

/// What a reader at this position has missed, if anything. To be asked after the changes behind it,
/// so that a removal in between is seen.
pub(super) async fn gap_at(db: &Db, position: Position, at_end: bool) -> Result<Option<Gap>> {
    let purged = purged(db).await?;
    if purged > position {
        return Ok(Some(Gap::resuming_at(GapReason::Purged, purged)));
    }
    if !at_end || position == purged {
        return Ok(None);
    }
    match newest(db).await? {
        Some(newest) if newest >= position => Ok(None),
        _ => Ok(Some(Gap::resuming_at(GapReason::Ahead, end(db).await?))),
    }
}

/// The last change of all, certain or not.
async fn newest(db: &Db) -> Result<Option<Position>> {
    let rows = db.query::<ChangeRow>();
    let last = match db.capabilities().horizon {
        None => rows.order(ChangeRow::ID.desc()),
        Some(_) => rows.order(ChangeRow::TX.desc()).order(ChangeRow::ID.desc()),
    };
    Ok(last.first().await?.map(|row| row.position()))
}

/// How far the oldest changes have been removed.
pub(super) async fn purged(db: &Db) -> Result<Position> {
    let mark = db.get::<MarkRow>(PURGED.to_owned()).await?;
    Ok(mark.map_or(Position::START, |mark| mark.position()))
}

fn id(number: i64) -> crate::Id<ChangeRow> {
    crate::Id::new(number)
}
