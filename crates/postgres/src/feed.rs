//! [`PostgresFeed`]: messages by LISTEN and NOTIFY.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use larder_core::{Error, ErrorKind, Result};
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};

use crate::connection::Failure;
use crate::database::Database;
use crate::error;
use crate::listener;
use crate::storage::Postgres;

#[doc(no_inline)]
pub use larder_core::feed::*;

/// The longest message: of the 7,999 bytes that a notification can have, what is left after the
/// topic, in base64.
const PAYLOAD_MAX: usize = 5_800;
/// How long the server may take to publish a message, once there is a connection.
const PUBLISH_MAX: Duration = Duration::from_secs(10);
/// How long subscribing waits for the server to listen.
const SETTLE_MAX: Duration = Duration::from_secs(10);

/// A [`Feed`] through a PostgreSQL server, by LISTEN and NOTIFY.
///
/// It listens on a connection of its own, beside the pool, and publishes on connections of the pool.
/// When the listening connection breaks, each subscriber gets a `Gap` at once and another one as soon
/// as it listens again; it tries to for as long as the feed is kept. Dropping the last clone ends the
/// subscriptions.
///
/// Messages have at most 5,800 bytes: send where to find what is longer. The server sends a
/// notification to whoever listens in the same database, keeps it in memory until the slowest of its
/// connections has read it, and lets those that notify commit one after the other; so this is for
/// some thousands of messages a second, not for more.
///
/// ```no_run
/// use larder_postgres::Postgres;
/// use larder_postgres::feed::{Feed, PostgresFeed, SubscribeOptions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_postgres::Result<()> {
/// let postgres = Postgres::connect("postgres://app:secret@localhost/app").await?;
/// let feed = PostgresFeed::open(&postgres).await?;
/// let mut news = feed.subscribe(&["news"], SubscribeOptions::new()).await?;
/// feed.publish("news", b"hello").await?;
/// assert_eq!(news.next().await?.payload(), b"hello");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct PostgresFeed {
    hub: Arc<Hub>,
    database: Arc<Database>,
}

impl PostgresFeed {
    /// Starts listening in the store's database.
    ///
    /// # Errors
    /// `Unsupported` for a store that is set up for a transaction pooler (without prepared
    /// statements), through which nobody can listen: open another one, past the pooler.
    /// `Unavailable` if the server cannot be reached.
    pub async fn open(postgres: &Postgres) -> Result<Self> {
        let database = Arc::clone(postgres.database());
        if !database.options().prepared_statements {
            return Err(Error::unsupported(
                "postgres behind a transaction pooler",
                "listening: give the feed a store that goes past the pooler",
            ));
        }
        let hub = Arc::new(Hub::new());
        listener::start(database.connector().clone(), &hub).await?;
        Ok(Self { hub, database })
    }
}

#[async_trait]
impl Feed for PostgresFeed {
    async fn publish(&self, topic: &str, payload: &[u8]) -> Result<()> {
        check_topic(topic, payload.len(), PAYLOAD_MAX)?;
        let text = encode(topic, payload);
        let channel = channel(topic);
        let values: [(&(dyn ToSql + Sync), Type); 2] =
            [(&channel, Type::TEXT), (&text, Type::TEXT)];
        let mut lease = self.database.acquire(None).await?;
        lease.begin();
        let notifying = lease.query_typed("SELECT pg_notify($1, $2)", &values);
        let Ok(notified) = timeout(PUBLISH_MAX, notifying).await else {
            // Still at it, the connection is cleaned before anybody else has it.
            return Err(error::unknown_outcome());
        };
        lease.end();
        match notified {
            Ok(_) => Ok(()),
            Err(cause) => Err(Failure::Driver(cause).of_sql(larder_core::raw::RawAccess::Write)),
        }
    }

    async fn subscribe(&self, topics: &[&str], options: SubscribeOptions) -> Result<Subscription> {
        let subscription = self.hub.subscribe(topics, options)?;
        match timeout(SETTLE_MAX, self.hub.settled()).await {
            Ok(()) => Ok(subscription),
            Err(_) => Err(Error::new(
                ErrorKind::Unavailable,
                format!(
                    "the server did not come to listen within {SETTLE_MAX:?}: is it reachable?"
                ),
            )),
        }
    }

    fn payload_max(&self) -> usize {
        PAYLOAD_MAX
    }
}

/// A notification's text: the topic, because channels are named by hashes, a line break, which no
/// topic has, and the payload.
fn encode(topic: &str, payload: &[u8]) -> String {
    let mut text = format!("{topic}\n");
    STANDARD.encode_string(payload, &mut text);
    text
}

/// Topic and payload, if the text is one of [`encode`].
pub(crate) fn decode(text: &str) -> Option<(&str, Vec<u8>)> {
    let (topic, payload) = text.split_once('\n')?;
    Some((topic, STANDARD.decode(payload).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_message_fits_a_notification() {
        let topic = "t".repeat(200);
        let payload = vec![0xff; PAYLOAD_MAX];
        let text = encode(&topic, &payload);
        assert!(text.len() < 8_000, "{}", text.len());
        assert_eq!(decode(&text), Some((topic.as_str(), payload)));
        assert!(channel(&topic).len() < 64);
        assert_eq!(decode("by somebody else"), None);
    }
}
