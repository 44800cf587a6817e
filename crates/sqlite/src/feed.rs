//! [`SqliteFeed`]: messages between the programs that have a file open.
//!
//! A message is a row of `larder_messages`. Each program looks for new ones as often as
//! [`FeedOptions::poll_interval`] says, and at once for its own. Looking costs next to nothing while
//! nothing is written: the reader compares the header of the write-ahead log's index, as every point
//! read does (`PRAGMA data_version` by another way).

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use larder_core::{Db, Error, ErrorKind, Result};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::messages;
use crate::storage::Sqlite;

pub use crate::messages::MessageRow;
#[doc(no_inline)]
pub use larder_core::feed::*;

/// The longest message.
const PAYLOAD_MAX: usize = 1 << 20;
/// How many messages are read at a time.
const BATCH_ROWS: u64 = 128;
/// After how many messages old ones are removed.
const PRUNE_EVERY: i64 = 64;
/// How long subscribing waits for the first look at the table.
const SETTLE_MAX: Duration = Duration::from_secs(10);

/// How a [`SqliteFeed`] looks for messages and keeps them. Start from `FeedOptions::new()`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FeedOptions {
    poll_interval: Duration,
    retention: Duration,
    rows_max: i64,
}

impl Default for FeedOptions {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_millis(50),
            retention: Duration::from_mins(1),
            rows_max: 10_000,
        }
    }
}

impl FeedOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How often to look for messages of other programs, while somebody is subscribed: the longest
    /// that one is under way. Default: 50 ms, at least 1 ms.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// How long messages are kept for a program that is slow to look. Default: 1 minute.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// How many messages are kept at most, give or take a hundred. Default: 10,000, at least 1.
    pub fn rows_max(mut self, messages: u32) -> Self {
        self.rows_max = i64::from(messages.max(1));
        self
    }
}

/// A [`Feed`] between the programs that have a SQLite file open, and within each.
///
/// Publishing is a write like any other: it waits for a transaction that is open, so publish from
/// [`Db::after_commit`] rather than beside a transaction of your own. A subscriber may also get
/// messages that were published a moment before it subscribed. Messages have at most 1 MiB. One that
/// was removed before a program came to look is a `Gap` that says how many they were. Dropping the
/// last clone ends the subscriptions.
///
/// ```
/// use larder_sqlite::Sqlite;
/// use larder_sqlite::feed::{Feed, FeedOptions, SqliteFeed, SubscribeOptions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_sqlite::Result<()> {
/// let sqlite = Sqlite::in_memory().await?; // or the file that others have open
/// let feed = SqliteFeed::open(&sqlite, FeedOptions::new()).await?;
/// let mut news = feed.subscribe(&["news"], SubscribeOptions::new()).await?;
/// feed.publish("news", b"hello").await?;
/// assert_eq!(news.next().await?.payload(), b"hello");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct SqliteFeed {
    hub: Arc<Hub>,
    db: Db,
    options: FeedOptions,
    published: Arc<Notify>,
}

impl SqliteFeed {
    /// Creates the table `larder_messages` if it is missing; several programs may do so at once.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn open(sqlite: &Sqlite, options: FeedOptions) -> Result<Self> {
        messages::create(sqlite.database()).await?;
        let feed = Self {
            hub: Arc::new(Hub::new()),
            db: Db::new(sqlite.clone()),
            options,
            published: Arc::default(),
        };
        let poller = Poller {
            hub: Arc::downgrade(&feed.hub),
            db: feed.db.clone(),
            interval: options.poll_interval,
            published: Arc::clone(&feed.published),
        };
        tokio::spawn(poller.run(feed.hub.changes()));
        Ok(feed)
    }

    async fn prune(&self, newest: i64) -> Result<()> {
        let before = self.db.now().saturating_sub(self.options.retention);
        messages::prune(&self.db, newest, before, self.options.rows_max).await
    }
}

#[async_trait]
impl Feed for SqliteFeed {
    async fn publish(&self, topic: &str, payload: &[u8]) -> Result<()> {
        check_topic(topic, payload.len(), PAYLOAD_MAX)?;
        let number = messages::add(&self.db, topic, payload).await?;
        self.published.notify_one();
        if number % PRUNE_EVERY == 0
            && let Err(error) = self.prune(number).await
        {
            // The message is published; the next one tries again.
            tracing::debug!(%error, "old messages could not be removed");
        }
        Ok(())
    }

    async fn subscribe(&self, topics: &[&str], options: SubscribeOptions) -> Result<Subscription> {
        let subscription = self.hub.subscribe(topics, options)?;
        self.published.notify_one();
        match timeout(SETTLE_MAX, self.hub.settled()).await {
            Ok(()) => Ok(subscription),
            Err(_) => Err(Error::new(
                ErrorKind::Timeout,
                format!("the messages could not be read within {SETTLE_MAX:?}"),
            )),
        }
    }

    fn payload_max(&self) -> usize {
        PAYLOAD_MAX
    }
}

/// Looks for messages, as long as the hub is there and somebody is subscribed.
struct Poller {
    hub: Weak<Hub>,
    db: Db,
    interval: Duration,
    published: Arc<Notify>,
}

impl Poller {
    async fn run(self, mut changes: tokio::sync::watch::Receiver<u64>) {
        // Ends with the hub, which has the sender.
        while changes.changed().await.is_ok() {
            self.follow().await;
        }
    }

    /// Follows the messages until nobody is subscribed any more.
    async fn follow(&self) {
        let mut last = None;
        while let Some(hub) = self.hub.upgrade() {
            let interest = hub.interest();
            if interest.topics.is_empty() {
                return;
            }
            match self.look(&hub, &mut last).await {
                Ok(()) => hub.settle(interest.generation),
                Err(error) if error.is_closed() => return,
                Err(error) => tracing::debug!(%error, "the messages cannot be read just now"),
            }
            drop(hub); // nobody is kept waiting for its end
            let _ = timeout(self.interval, self.published.notified()).await;
        }
    }

    /// Delivers what is new. The first time it only looks where the messages end.
    async fn look(&self, hub: &Hub, last: &mut Option<i64>) -> Result<()> {
        let Some(last) = last else {
            *last = Some(messages::newest(&self.db).await?);
            return Ok(());
        };
        loop {
            let found = messages::after(&self.db, *last, BATCH_ROWS).await?;
            for message in &found {
                let missed = message.id.get() - *last - 1;
                if missed > 0 {
                    hub.gap(Gap::lagged(missed.unsigned_abs()));
                }
                *last = message.id.get();
                hub.deliver(&message.topic, &message.payload);
            }
            if (found.len() as u64) < BATCH_ROWS {
                return Ok(());
            }
        }
    }
}
