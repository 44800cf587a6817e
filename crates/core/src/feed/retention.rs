//! Removing what is older than the feed keeps, a bounded piece at a time.

use super::change::Position;
use super::reader::{ChangeFeed, PURGED, changes_after};
use super::tables::{ChangeRow, DeliveryRow, MarkRow};
use crate::db::Db;
use crate::error::Result;
use crate::types::{Id, Timestamp};

/// How many changes, and how many deliveries, one call removes at most.
const BATCH_ROWS: u64 = 1_000;

impl ChangeFeed {
    /// Removes changes older than the [retention](super::ChangeFeedOptions::retention), the oldest
    /// first and at most 1,000, and as many deliveries that were given up before then; says how many
    /// in all. Call it until it answers 0, every now and then, from any process.
    ///
    /// Only what all earlier changes have gone before is removed, so that the feed has no holes. A
    /// reader that has yet to come here gets a `Gap`. One short transaction; purges of several
    /// processes wait for each other.
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use larder_core::feed::{ChangeFeedOptions, Position, Recorded, Recording};
    /// # use larder_core::{Db, ErrorKind, ManualClock, Memory, Timestamp, models::{NewTag, Tag}};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let clock = Arc::new(ManualClock::at(Timestamp::now()));
    /// # let store = Recorded::new(Memory::new(), [Recording::of::<Tag>()]).clock(clock.clone());
    /// let options = ChangeFeedOptions::new().retention(Duration::from_hours(24));
    /// # let options = options.clock(clock.clone());
    /// let changes = store.changes_with(options)?;
    /// # let db = Db::new(store);
    /// db.insert(NewTag::new("rust")).await?;
    /// # clock.advance(Duration::from_hours(25)); // a day later
    /// while changes.purge().await? > 0 {}
    ///
    /// let late = changes.after(Position::START, 10).await;
    /// assert!(late.is_err_and(|error| error.kind() == ErrorKind::Gap));
    /// # Ok(()) }
    /// ```
    pub async fn purge(&self) -> Result<u64> {
        let oldest = self.db.now().saturating_sub(self.options.retention);
        let work = move |tx: crate::Tx| async move {
            let mark = locked_mark(&tx).await?;
            let changes = remove_changes(&tx, mark, oldest).await?;
            crate::Result::Ok(changes + remove_dead(&tx, oldest).await?)
        };
        self.db.transaction(work).await
    }
}

/// The mark, which others wait for.
async fn locked_mark(tx: &Db) -> Result<Position> {
    let first = MarkRow {
        name: PURGED.to_owned(),
        tx: 0,
        change_id: 0,
    };
    tx.upsert([first]).on(MarkRow::NAME).ignore().run().await?;
    let mark = tx.query::<MarkRow>().filter(MarkRow::NAME.eq(PURGED));
    Ok(mark.for_update().one().await?.position())
}

async fn remove_changes(tx: &Db, mark: Position, oldest: Timestamp) -> Result<u64> {
    let changes = changes_after(tx, mark, BATCH_ROWS).await?;
    let old: Vec<_> = (changes.iter())
        .take_while(|change| change.at < oldest)
        .map(|change| change.position)
        .collect();
    let Some(last) = old.last() else {
        return Ok(0);
    };
    let mark = tx.query::<MarkRow>().filter(MarkRow::NAME.eq(PURGED));
    let moved = [MarkRow::TX.set(last.tx), MarkRow::CHANGE_ID.set(last.id)];
    mark.update(moved).await?;
    let ids = old.iter().map(|position| Id::new(position.id));
    let old = tx.query::<ChangeRow>().filter(ChangeRow::ID.in_(ids));
    old.delete().await
}

async fn remove_dead(tx: &Db, oldest: Timestamp) -> Result<u64> {
    let old = DeliveryRow::DEAD
        .eq(true)
        .and(DeliveryRow::VISIBLE_AT.lt(oldest));
    let old = tx.query::<DeliveryRow>().filter(old).limit(BATCH_ROWS);
    let ids: Vec<_> = old.all().await?.into_iter().map(|row| row.id).collect();
    if ids.is_empty() {
        return Ok(0);
    }
    let old = tx.query::<DeliveryRow>().filter(DeliveryRow::ID.in_(ids));
    old.delete().await
}
