//! [`RedisFeed`]: messages by PUBLISH and SUBSCRIBE.
//!
//! ```text
//!   connected ──> SUBSCRIBE to each topic ──> settled ──> topics change: SUBSCRIBE, UNSUBSCRIBE
//!       ^                                        │
//!       └── the driver reconnects <── cut: Gap <─┘   and one more Gap once it is subscribed again
//! ```

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::{ClusterHash, CustomCommand, Message as DriverMessage};
use fred::util::redis_keyslot;
use futures_util::future::{Either, select};
use larder_core::{Error, ErrorKind, Result};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::client::{Client, Subscriber};
use crate::error::{Effect, classify};
use crate::storage::Redis;

#[doc(no_inline)]
pub use larder_core::feed::*;

/// The longest message.
const PAYLOAD_MAX: usize = 1 << 20;
/// How long subscribing waits for the server to have taken it.
const SETTLE_MAX: Duration = Duration::from_secs(10);
/// How often a silent server is asked for a sign of life, and a failed subscription tried again.
const PING_EVERY: Duration = Duration::from_secs(5);
const RETRY_EVERY: Duration = Duration::from_millis(100);

/// A [`Feed`] through a Redis server, by PUBLISH and SUBSCRIBE, among the handles of one namespace.
///
/// It subscribes on a connection of its own. When that is cut, each subscriber gets a `Gap` at once
/// and another one as soon as it is subscribed again; the driver tries to for as long as the feed is
/// kept. A server that falls silent is noticed within some seconds more than the
/// [command timeout](crate::RedisOptions::command_timeout). Dropping the last clone ends the
/// subscriptions.
///
/// Messages have at most 1 MiB. Redis keeps none: who is not subscribed, or is cut off by the server
/// for reading too slowly (`client-output-buffer-limit pubsub`), misses them.
///
/// ```no_run
/// use larder_redis::Redis;
/// use larder_redis::feed::{Feed, RedisFeed, SubscribeOptions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_redis::Result<()> {
/// let redis = Redis::connect("redis://localhost:6379?namespace=shop").await?;
/// let feed = RedisFeed::open(&redis).await?;
/// let mut news = feed.subscribe(&["news"], SubscribeOptions::new()).await?;
/// feed.publish("news", b"hello").await?;
/// assert_eq!(news.next().await?.payload(), b"hello");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct RedisFeed {
    hub: Arc<Hub>,
    client: Client,
    /// The beginning of each channel's name.
    prefix: Arc<str>,
}

impl RedisFeed {
    /// Opens the connection that subscribes.
    ///
    /// # Errors
    /// `Unavailable` if the server cannot be reached.
    pub async fn open(redis: &Redis) -> Result<Self> {
        let client = redis.client().clone();
        let subscriber = client.subscriber().await?;
        let prefix = client.namespace().key(&[b"feed", b""]);
        let feed = Self {
            hub: Arc::new(Hub::new()),
            client,
            prefix: String::from_utf8_lossy(&prefix).into(),
        };
        let messages = subscriber.driver.message_rx();
        tokio::spawn(deliver(
            messages,
            Arc::downgrade(&feed.hub),
            Arc::clone(&feed.prefix),
        ));
        let listener = Listener {
            hub: Arc::downgrade(&feed.hub),
            changes: feed.hub.changes(),
            prefix: Arc::clone(&feed.prefix),
            subscriber,
        };
        tokio::spawn(listener.run());
        Ok(feed)
    }
}

#[async_trait]
impl Feed for RedisFeed {
    async fn publish(&self, topic: &str, payload: &[u8]) -> Result<()> {
        check_topic(topic, payload.len(), PAYLOAD_MAX)?;
        let channel = format!("{}{topic}", self.prefix);
        let driver = self.client.ready().await?;
        let published = driver.publish::<i64, _, _>(channel, payload).await;
        match published {
            Ok(_) => Ok(()),
            Err(error) => Err(classify(error, Effect::Writes)),
        }
    }

    async fn subscribe(&self, topics: &[&str], options: SubscribeOptions) -> Result<Subscription> {
        let subscription = self.hub.subscribe(topics, options)?;
        match timeout(SETTLE_MAX, self.hub.settled()).await {
            Ok(()) => Ok(subscription),
            Err(_) => Err(Error::new(
                ErrorKind::Unavailable,
                format!("Redis did not take the subscription within {SETTLE_MAX:?}"),
            )),
        }
    }

    fn payload_max(&self) -> usize {
        PAYLOAD_MAX
    }
}

/// Hands what arrives to the hub; the driver's own queue may overflow.
async fn deliver(mut messages: Receiver<DriverMessage>, hub: Weak<Hub>, prefix: Arc<str>) {
    loop {
        let next = messages.recv().await;
        let Some(hub) = hub.upgrade() else {
            return;
        };
        match next {
            Ok(message) => {
                let topic = message.channel.strip_prefix(&*prefix);
                if let (Some(topic), Some(payload)) = (topic, message.value.as_bytes()) {
                    hub.deliver(topic, payload);
                }
            }
            Err(RecvError::Lagged(missed)) => hub.gap(Gap::lagged(missed)),
            Err(RecvError::Closed) => return,
        }
    }
}

/// Keeps the server's subscriptions the same as the hub's, until the hub is gone.
struct Listener {
    hub: Weak<Hub>,
    changes: watch::Receiver<u64>,
    prefix: Arc<str>,
    subscriber: Subscriber,
}

enum Event {
    /// The topics have changed, or it is time to try again.
    Topics,
    /// The connection was cut.
    Cut,
    /// It is there again, without subscriptions.
    Reconnected,
    Unwanted,
}

impl Listener {
    async fn run(mut self) {
        let mut cuts = self.subscriber.driver.error_rx();
        let mut returns = self.subscriber.driver.reconnect_rx();
        let mut channels = BTreeSet::new();
        let mut cut = false;
        let mut pause = PING_EVERY;
        loop {
            match self.event(&mut cuts, &mut returns, pause).await {
                Event::Topics => {}
                Event::Cut => {
                    cut = true;
                    channels.clear();
                    self.say_missed(true);
                    continue;
                }
                Event::Reconnected => {
                    // The driver may tell of the first connection as well: nothing was missed then.
                    cut |= !channels.is_empty();
                    channels.clear();
                }
                Event::Unwanted => return,
            }
            let followed = self.follow(&mut channels).await;
            pause = if followed { PING_EVERY } else { RETRY_EVERY };
            if followed && std::mem::take(&mut cut) {
                self.say_missed(false);
            }
        }
    }

    fn say_missed(&self, unsettled: bool) {
        if let Some(hub) = self.hub.upgrade() {
            if unsettled {
                hub.unsettle();
            }
            hub.gap(Gap::reconnected());
        }
    }

    /// Subscribes to what is new and drops what is gone; asks for a sign of life in any case. False
    /// if the server did not answer.
    async fn follow(&mut self, channels: &mut BTreeSet<String>) -> bool {
        self.changes.borrow_and_update();
        let Some(hub) = self.hub.upgrade() else {
            return true;
        };
        let interest = hub.interest();
        let name = |topic: &Arc<str>| format!("{}{topic}", self.prefix);
        let wanted: BTreeSet<_> = interest.topics.iter().map(name).collect();
        let new: Vec<_> = wanted.difference(channels).cloned().collect();
        let gone: Vec<_> = channels.difference(&wanted).cloned().collect();
        let driver = &self.subscriber.driver;
        let mut answers = true;
        if !new.is_empty() {
            answers &= driver.subscribe(new).await.is_ok();
        }
        if !gone.is_empty() {
            answers &= driver.unsubscribe(gone).await.is_ok();
        }
        // The driver does not wait for the server to have subscribed; this answer comes behind it.
        answers &= self.ping().await.is_ok();
        if answers {
            *channels = wanted;
            hub.settle(interest.generation);
        }
        answers
    }

    /// Asks the node that has the subscriptions for a sign of life.
    async fn ping(&self) -> Result<(), fred::error::Error> {
        let driver = &self.subscriber.driver;
        // To this node the driver sends the subscriptions of a cluster.
        let slot = redis_keyslot(driver.id().as_bytes());
        let ping = CustomCommand::new_static("PING", ClusterHash::Custom(slot), false);
        driver.custom::<(), _>(ping, Vec::<&str>::new()).await
    }

    async fn event<E: Clone, S: Clone>(
        &mut self,
        cuts: &mut Receiver<E>,
        returns: &mut Receiver<S>,
        pause: Duration,
    ) -> Event {
        let changed = pin!(self.changes.changed());
        let cut = pin!(cuts.recv());
        let returned = pin!(returns.recv());
        // What was cut is seen before what came back.
        match timeout(pause, select(changed, select(cut, returned))).await {
            Err(_) | Ok(Either::Left((Ok(()), _))) => Event::Topics,
            Ok(Either::Left((Err(_), _))) => Event::Unwanted,
            Ok(Either::Right((Either::Left((Ok(_) | Err(RecvError::Lagged(_)), _)), _))) => {
                Event::Cut
            }
            Ok(Either::Right((Either::Right((Ok(_) | Err(RecvError::Lagged(_)), _)), _))) => {
                Event::Reconnected
            }
            Ok(Either::Right(_)) => Event::Unwanted,
        }
    }
}
