//! The table of messages of a [`SqliteFeed`](crate::SqliteFeed).

use larder_core::{Db, Entity, Id, Insert, Result, Timestamp};
use larder_sql::{Dialect, create_missing_tables};

use crate::database::Database;

/// How many old messages go at a time.
const PRUNED_MAX: u64 = 512;

/// A message, kept for a moment.
#[derive(Entity, Clone, Debug)]
#[entity(table = "larder_messages")]
pub struct MessageRow {
    /// Drawn when it is published; no number is left out.
    #[key(auto)]
    pub id: Id<MessageRow>,
    /// What it was published to.
    pub topic: String,
    /// What was published.
    pub payload: Vec<u8>,
    /// When.
    pub published_at: Timestamp,
}

#[derive(Insert, Clone, Debug)]
#[insert(MessageRow)]
struct NewMessage {
    topic: String,
    payload: Vec<u8>,
    published_at: Timestamp,
}

/// Creates the table if it is missing.
pub(crate) async fn create(database: &Database) -> Result<()> {
    let statements = create_missing_tables(Dialect::Sqlite, &[MessageRow::TABLE]);
    database.create_missing(statements).await
}

/// Adds a message and answers its number.
pub(crate) async fn add(db: &Db, topic: &str, payload: &[u8]) -> Result<i64> {
    let message = NewMessage {
        topic: topic.to_owned(),
        payload: payload.to_vec(),
        published_at: db.now(),
    };
    Ok(db.insert(message).await?.id.get())
}

/// The messages behind this number, at most so many, the oldest first.
pub(crate) async fn after(db: &Db, number: i64, limit: u64) -> Result<Vec<MessageRow>> {
    let later = MessageRow::ID.gt(Id::new(number));
    let later = db.query::<MessageRow>().filter(later);
    later.order(MessageRow::ID.asc()).limit(limit).all().await
}

/// The number of the newest message, 0 if there is none.
pub(crate) async fn newest(db: &Db) -> Result<i64> {
    let newest = db.query::<MessageRow>().order(MessageRow::ID.desc());
    let newest = newest.select((MessageRow::ID,)).first().await?;
    Ok(newest.map_or(0, |(id,)| id.get()))
}

/// Removes messages from before a time and beyond a number, a bounded piece at a time. The newest
/// one stays, so that whoever sleeps for long can tell that messages are missing.
pub(crate) async fn prune(db: &Db, newest: i64, before: Timestamp, rows_max: i64) -> Result<()> {
    let kept = newest.saturating_sub(rows_max);
    let old = MessageRow::PUBLISHED_AT.lt(before);
    let old = old.or(MessageRow::ID.le(Id::new(kept)));
    let old = old.and(MessageRow::ID.lt(Id::new(newest)));
    let oldest = db
        .query::<MessageRow>()
        .filter(MessageRow::ID.lt(Id::new(newest)));
    let oldest = oldest.order(MessageRow::ID.asc()).limit(PRUNED_MAX);
    let ids = oldest.select((MessageRow::ID,)).all().await?;
    let Some(&(last,)) = ids.last() else {
        return Ok(());
    };
    let old = db
        .query::<MessageRow>()
        .filter(old.and(MessageRow::ID.le(last)));
    old.delete().await?;
    Ok(())
}
