//! [`Group`] and [`Consumer`]: changes handed out to workers, each to one, until it is acknowledged.
//!
//! ```text
//!   changes ──(the group's position)──> deliveries ──ack──> gone
//!                                          │  └─ not in time ──> handed out once more
//!                                          └─ after too many attempts ──> dead, kept to be looked at
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::change::{Change, Position};
use super::gap::Gap;
use super::reader::{ChangeFeed, changes_after, gap_at};
use super::tables::{DeliveryRow, GroupRow, NewDelivery};
use crate::db::Db;
use crate::error::{Error, ErrorKind, Result};
use crate::filter::Predicate;
use crate::storage::TxOptions;
use crate::types::{Id, Timestamp};

/// The longest name of a group or a consumer, in bytes.
const NAME_MAX: usize = 200;

/// How a group hands out changes. Start from `GroupOptions::new()`.
///
/// All but the start may differ between the processes of a group: each goes by its own.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct GroupOptions {
    start: Start,
    visibility_timeout: Duration,
    attempts_max: u32,
    in_flight_max: u64,
}

/// Where a new group begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// At the oldest change that is kept.
    Oldest,
    /// Behind the changes that are there when the group is made.
    End,
    /// Behind this position.
    After(Position),
}

impl Default for GroupOptions {
    fn default() -> Self {
        Self {
            start: Start::Oldest,
            visibility_timeout: Duration::from_secs(30),
            attempts_max: 5,
            in_flight_max: 1_000,
        }
    }
}

impl GroupOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the group begins if it is new; one that is there goes on where it is. Default: at the
    /// oldest change.
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// How long a consumer may take for a change before it is handed out once more. Default: 30 s.
    pub fn visibility_timeout(mut self, timeout: Duration) -> Self {
        self.visibility_timeout = timeout;
        self
    }

    /// How often a change is handed out in all, at least once, before it is given up. Default: 5.
    pub fn attempts_max(mut self, attempts: u32) -> Self {
        self.attempts_max = attempts.clamp(1, i32::MAX as u32);
        self
    }

    /// How many changes may be handed out and not acknowledged, of the whole group; no further ones
    /// are taken until some are. Default: 1,000.
    pub fn in_flight_max(mut self, changes: u64) -> Self {
        self.in_flight_max = changes.max(1);
        self
    }
}

/// A group of consumers that share a feed's changes: each change goes to one of them. Made by
/// [`ChangeFeed::group`]; groups of other names see all changes for themselves. Cheap to clone.
///
/// How far it is and what is handed out is kept in the store, so that consumers may come, go and
/// die in any process. A change is handed out at least once. A single consumer gets them in order,
/// but for those that come once more.
///
/// Consumers find changes by taking the group's lock for a short transaction, if there are any.
#[derive(Clone, Debug)]
pub struct Group(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    feed: ChangeFeed,
    name: String,
    options: GroupOptions,
}

/// One worker of a group.
///
/// ```
/// use std::time::Duration;
/// use larder_core::feed::{GroupOptions, Recorded, Recording};
/// use larder_core::models::{NewTag, Tag};
/// use larder_core::{Db, Memory};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// let store = Recorded::new(Memory::new(), [Recording::of::<Tag>()]);
/// let group = store.changes()?.group("index", GroupOptions::new()).await?;
/// let db = Db::new(store);
/// db.insert_all(["rust", "sql"].map(NewTag::new)).await?;
///
/// let worker = group.consumer("worker-1")?;
/// let mut indexed = Vec::new();
/// for delivery in worker.receive(10, Duration::from_secs(5)).await? {
///     indexed.push(delivery.change().key_of::<Tag>()?); // the work
///     worker.ack(&delivery).await?;
/// }
/// assert_eq!(indexed.len(), 2);
/// assert!(worker.receive(10, Duration::ZERO).await?.is_empty());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Consumer {
    group: Group,
    name: String,
}

/// A change handed out to a consumer, or given up.
#[derive(Clone, Debug)]
pub struct Delivery {
    id: Id<DeliveryRow>,
    change: Change,
    attempt: i32,
}

impl Delivery {
    /// The change.
    pub fn change(&self) -> &Change {
        &self.change
    }

    /// Which attempt this is, counted from one.
    pub fn attempt(&self) -> u32 {
        self.attempt.unsigned_abs()
    }

    fn of(row: &DeliveryRow) -> Result<Self> {
        Ok(Self {
            id: row.id,
            change: row.change()?,
            attempt: row.attempts,
        })
    }
}

impl Group {
    pub(super) async fn open(feed: ChangeFeed, name: &str, options: GroupOptions) -> Result<Self> {
        check_name(name)?;
        if feed.db.get::<GroupRow>(name.to_owned()).await?.is_none() {
            let start = match options.start {
                Start::Oldest => feed.oldest().await?,
                Start::End => feed.end().await?,
                Start::After(position) => position,
            };
            let row = GroupRow {
                name: name.to_owned(),
                tx: start.tx,
                change_id: start.id,
            };
            // Somebody else may have made it just now.
            let made = feed.db.upsert([row]).on(GroupRow::NAME).ignore();
            made.run().await?;
        }
        Ok(Self(Arc::new(Shared {
            feed,
            name: name.to_owned(),
            options,
        })))
    }

    /// A consumer of this name, which is for people to look at: consumers may share it.
    ///
    /// # Errors
    /// `Invalid` for an empty name or one of more than 200 bytes.
    pub fn consumer(&self, name: &str) -> Result<Consumer> {
        check_name(name)?;
        Ok(Consumer {
            group: self.clone(),
            name: name.to_owned(),
        })
    }

    /// How far the group has taken changes.
    ///
    /// # Errors
    /// `NotFound` if the group has been removed.
    pub async fn position(&self) -> Result<Position> {
        let row = self.db().get::<GroupRow>(self.0.name.clone()).await?;
        Ok(row.ok_or_else(removed)?.position())
    }

    /// How many changes are handed out and not acknowledged.
    pub async fn in_flight(&self) -> Result<u64> {
        let rows = self.db().query::<DeliveryRow>();
        rows.filter(self.deliveries(false)).count().await
    }

    /// Sets the group's position: after a `Gap` to [`Gap::resume`], or back to see changes again.
    /// What is handed out already stays so.
    ///
    /// # Errors
    /// `NotFound` if the group has been removed.
    pub async fn resume_at(&self, position: Position) -> Result<()> {
        move_to(self.db(), &self.0.name, position).await
    }

    /// Changes that were given up, the oldest first. They are kept as long as the feed's retention.
    pub async fn dead(&self, limit: u64) -> Result<Vec<Delivery>> {
        let rows = self.db().query::<DeliveryRow>();
        let rows = rows.filter(self.deliveries(true));
        let rows = rows.order(DeliveryRow::ID.asc()).limit(limit).all().await?;
        rows.iter().map(Delivery::of).collect()
    }

    /// Hands out a change once more that was given up, with all its attempts. False if it is gone.
    pub async fn revive(&self, dead: &Delivery) -> Result<bool> {
        let rows = self.db().query::<DeliveryRow>();
        let changes = [
            DeliveryRow::DEAD.set(false),
            DeliveryRow::ATTEMPTS.set(0),
            DeliveryRow::VISIBLE_AT.set(self.db().now()),
        ];
        let this = DeliveryRow::ID.eq(dead.id).and(self.deliveries(true));
        let revived = rows.filter(this).update(changes).await? > 0;
        self.0.feed.watch.pulse().beat();
        Ok(revived)
    }

    /// Forgets a change that was given up. False if it is gone.
    pub async fn discard(&self, dead: &Delivery) -> Result<bool> {
        let rows = self.db().query::<DeliveryRow>();
        let this = DeliveryRow::ID.eq(dead.id).and(self.deliveries(true));
        Ok(rows.filter(this).delete().await? > 0)
    }

    /// Removes the group and all that is handed out.
    pub async fn remove(self) -> Result<()> {
        let tx = self.db().begin(TxOptions::new()).await?;
        tx.delete::<GroupRow>(self.0.name.clone()).await?;
        let name = DeliveryRow::GROUP_NAME.eq(self.0.name.clone());
        tx.query::<DeliveryRow>().filter(name).delete().await?;
        tx.commit().await
    }

    fn db(&self) -> &Db {
        &self.0.feed.db
    }

    fn deliveries(&self, dead: bool) -> Predicate<DeliveryRow> {
        let own = DeliveryRow::GROUP_NAME.eq(self.0.name.clone());
        own.and(DeliveryRow::DEAD.eq(dead))
    }

    fn overdue(&self, now: Timestamp) -> Predicate<DeliveryRow> {
        self.deliveries(false).and(DeliveryRow::VISIBLE_AT.le(now))
    }

    /// Whether there is something to hand out, or to say; looks without locking anything.
    async fn has_something(&self) -> Result<bool> {
        let tx = self.db().begin(TxOptions::new().read_only()).await?;
        let row = tx.get::<GroupRow>(self.0.name.clone()).await?;
        let position = row.ok_or_else(removed)?.position();
        let overdue = tx.query::<DeliveryRow>().filter(self.overdue(tx.now()));
        let something = overdue.exists().await?
            || !changes_after(&tx, position, 1).await?.is_empty()
            || gap_at(&tx, position, true).await?.is_some();
        tx.rollback().await?;
        Ok(something)
    }

    /// Hands out overdue changes and then new ones. With nothing to hand out, says if there is a gap.
    async fn take(
        &self,
        tx: &Db,
        consumer: &str,
        max: u64,
    ) -> Result<(Vec<Delivery>, Option<Gap>)> {
        let group = tx.query::<GroupRow>();
        let group = group.filter(GroupRow::NAME.eq(self.0.name.clone()));
        let group = group.for_update().first().await?.ok_or_else(removed)?;
        let mut taken = self.take_overdue(tx, consumer, max).await?;
        let in_flight = tx.query::<DeliveryRow>().filter(self.deliveries(false));
        let in_flight = in_flight.count().await?;
        let room = self.0.options.in_flight_max.saturating_sub(in_flight);
        let room = room.min(max - taken.len() as u64);
        let changes = changes_after(tx, group.position(), room).await?;
        let gap = gap_at(tx, group.position(), changes.is_empty() && room > 0).await?;
        if gap.is_some() {
            return Ok((taken, gap));
        }
        if let Some(last) = changes.last() {
            move_to(tx, &self.0.name, last.position).await?;
            taken.extend(self.hand_out(tx, consumer, changes).await?);
        }
        Ok((taken, None))
    }

    /// Hands out once more what was not acknowledged in time, and gives up what was so too often.
    async fn take_overdue(&self, tx: &Db, consumer: &str, max: u64) -> Result<Vec<Delivery>> {
        let mut taken = Vec::new();
        while (taken.len() as u64) < max {
            let rows = tx.query::<DeliveryRow>().filter(self.overdue(tx.now()));
            let rows = rows.order(DeliveryRow::VISIBLE_AT.asc());
            let rows = rows.order(DeliveryRow::ID.asc());
            // An acknowledgement may be deleting one of them just now.
            let rows = rows.limit(max - taken.len() as u64).for_update();
            let mut rows = rows.skip_locked().all().await?;
            if rows.is_empty() {
                break;
            }
            for row in &mut rows {
                if row.attempts.unsigned_abs() >= self.0.options.attempts_max {
                    (row.dead, row.visible_at) = (true, tx.now());
                } else {
                    row.attempts += 1;
                    row.visible_at = self.visible_again(tx);
                    consumer.clone_into(&mut row.consumer);
                    taken.push(Delivery::of(row)?);
                }
            }
            tx.update_all(rows).await?;
        }
        Ok(taken)
    }

    async fn hand_out(
        &self,
        tx: &Db,
        consumer: &str,
        changes: Vec<Change>,
    ) -> Result<Vec<Delivery>> {
        let visible_at = self.visible_again(tx);
        let new = |change: &Change| {
            Ok(NewDelivery {
                group_name: self.0.name.clone(),
                dead: false,
                visible_at,
                attempts: 1,
                consumer: consumer.to_owned(),
                change_json: serde_json::to_string(change).map_err(|source| {
                    Error::invalid("the change cannot be written as JSON").with_source(source)
                })?,
            })
        };
        let new = changes.iter().map(new).collect::<Result<Vec<_>>>()?;
        let rows = tx.insert_all_returning(new).await?;
        let deliveries = rows.into_iter().zip(changes).map(|(row, change)| Delivery {
            id: row.id,
            change,
            attempt: row.attempts,
        });
        Ok(deliveries.collect())
    }

    fn visible_again(&self, db: &Db) -> Timestamp {
        db.now().saturating_add(self.0.options.visibility_timeout)
    }
}

impl Consumer {
    /// At most `max` changes, those overdue first; waits for the first one as long as `wait`. Empty
    /// if none came. Dropping the future may leave changes handed out, which come once more when the
    /// visibility timeout is over.
    ///
    /// # Errors
    /// `Gap` if changes were removed before the group has taken them; it stays until
    /// [`Group::resume_at`] says where to go on. `NotFound` if the group has been removed.
    pub async fn receive(&self, max: u64, wait: Duration) -> Result<Vec<Delivery>> {
        let until = Instant::now().checked_add(wait);
        let feed = &self.group.0.feed;
        let mut beats = feed.watch.pulse().listen();
        loop {
            beats.borrow_and_update();
            if max > 0 && self.group.has_something().await? {
                let taken = self.take(max).await?;
                if !taken.is_empty() {
                    return Ok(taken);
                }
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Ok(Vec::new());
            }
            let pause = feed.options.poll_interval;
            let pause = left.map_or(pause, |left| left.min(pause));
            feed.watch.wait_at_most(pause, &mut beats).await;
        }
    }

    async fn take(&self, max: u64) -> Result<Vec<Delivery>> {
        let work = |tx: crate::Tx| {
            let this = self.clone();
            async move { this.group.take(&tx, &this.name, max).await }
        };
        match self.group.db().transaction(work).await? {
            (taken, Some(gap)) if taken.is_empty() => Err(gap.into_error()),
            (taken, _) => Ok(taken),
        }
    }

    /// Says that the change is dealt with. False if that comes too late: it was handed out once more
    /// or given up meanwhile.
    pub async fn ack(&self, delivery: &Delivery) -> Result<bool> {
        let rows = self.group.db().query::<DeliveryRow>();
        Ok(rows.filter(self.this(delivery)).delete().await? > 0)
    }

    /// Gives the change back, to be handed out once more after a while. The attempt counts. False as
    /// for [`ack`](Self::ack).
    pub async fn release(&self, delivery: &Delivery, after: Duration) -> Result<bool> {
        let released = self.move_to(delivery, after).await?;
        if after.is_zero() {
            self.group.0.feed.watch.pulse().beat();
        }
        Ok(released)
    }

    /// Asks for the visibility timeout once more, counted from now. False as for
    /// [`ack`](Self::ack).
    pub async fn extend(&self, delivery: &Delivery) -> Result<bool> {
        let timeout = self.group.0.options.visibility_timeout;
        self.move_to(delivery, timeout).await
    }

    async fn move_to(&self, delivery: &Delivery, after: Duration) -> Result<bool> {
        let db = self.group.db();
        let visible_at = db.now().saturating_add(after);
        let rows = db.query::<DeliveryRow>().filter(self.this(delivery));
        let moved = rows.update(DeliveryRow::VISIBLE_AT.set(visible_at)).await?;
        Ok(moved > 0)
    }

    /// The delivery, as long as it is this attempt's.
    fn this(&self, delivery: &Delivery) -> Predicate<DeliveryRow> {
        let this = DeliveryRow::ID.eq(delivery.id);
        this.and(DeliveryRow::ATTEMPTS.eq(delivery.attempt))
            .and(self.group.deliveries(false))
    }
}

/// Sets a group's position.
async fn move_to(db: &Db, group: &str, position: Position) -> Result<()> {
    let rows = db.query::<GroupRow>();
    let row = rows.filter(GroupRow::NAME.eq(group.to_owned()));
    let changes = [
        GroupRow::TX.set(position.tx),
        GroupRow::CHANGE_ID.set(position.id),
    ];
    match row.update(changes).await? {
        0 => Err(removed()),
        _ => Ok(()),
    }
}

fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > NAME_MAX {
        let message = format!("the name has 1 to {NAME_MAX} bytes");
        return Err(Error::invalid(message).with_value(name));
    }
    Ok(())
}

#[cold]
fn removed() -> Error {
    let error = Error::new(
        ErrorKind::NotFound,
        "the group has been removed: open it anew",
    );
    error.with_table("larder_change_groups")
}
