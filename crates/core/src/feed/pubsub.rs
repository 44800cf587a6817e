//! [`Feed`]: messages to whoever listens now.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use super::subscription::Subscription;
use crate::error::{Error, ErrorKind, Result};

/// The longest name of a topic, in bytes.
const TOPIC_MAX: usize = 200;

/// Carries messages from whoever publishes to whoever is subscribed at that moment.
///
/// Each subscriber gets a message at most once, and those of one publisher and topic in the order in
/// which they were published. One that is too slow for its queue, or was cut off, gets a
/// [`Gap`](super::Gap) in place of what it missed; it never slows down a publisher. What must not be
/// missed belongs into a [`ChangeFeed`](super::ChangeFeed).
///
/// Topics are names of 1 to 200 bytes without control characters. They need not be made.
///
/// ```
/// use larder_core::feed::{Feed, LocalFeed, SubscribeOptions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// let feed = LocalFeed::new();
/// let mut news = feed.subscribe(&["news"], SubscribeOptions::new()).await?;
/// feed.publish("news", b"hello").await?;
/// feed.publish("weather", b"rain").await?; // nobody listens
/// let message = news.next().await?;
/// assert_eq!((message.topic(), message.payload()), ("news", &b"hello"[..]));
/// # Ok(()) }
/// ```
#[async_trait]
pub trait Feed: Debug + Send + Sync + 'static {
    /// Sends the message to all who are subscribed to the topic, in any process the feed reaches.
    /// Does not wait for them: it may still be under way when this answers. Not part of any
    /// transaction.
    ///
    /// Dropping the future may or may not have published.
    ///
    /// # Errors
    /// `TooLong` for more than [`payload_max`](Self::payload_max) bytes, `Invalid` for a topic that
    /// is none; nothing was sent. `Unavailable` or `Timeout` if the store cannot be reached in time.
    async fn publish(&self, topic: &str, payload: &[u8]) -> Result<()>;

    /// Subscribes to the topics: everything that is published once this has answered arrives, or
    /// counts as missed. Dropping the subscription ends it.
    ///
    /// # Errors
    /// `Invalid` for a topic that is none, or for no topics; `Unavailable` or `Timeout` if the store
    /// cannot be reached in time.
    async fn subscribe(&self, topics: &[&str], options: SubscribeOptions) -> Result<Subscription>;

    /// The longest message, in bytes.
    fn payload_max(&self) -> usize;
}

/// How a subscriber queues what it has yet to take. Start from `SubscribeOptions::new()`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SubscribeOptions {
    pub(super) queue_max: usize,
    pub(super) queue_bytes_max: usize,
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self {
            queue_max: 1_024,
            queue_bytes_max: 8 << 20,
        }
    }
}

impl SubscribeOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many messages wait at most, at least one; beyond that the oldest are dropped. Default:
    /// 1,024.
    pub fn queue_max(mut self, messages: usize) -> Self {
        self.queue_max = messages.max(1);
        self
    }

    /// How many bytes of messages wait at most; beyond that the oldest are dropped, but for the
    /// last one. Default: 8 MiB.
    pub fn queue_bytes_max(mut self, bytes: usize) -> Self {
        self.queue_bytes_max = bytes;
        self
    }
}

/// A message as it arrives. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub(super) topic: Arc<str>,
    pub(super) payload: Arc<[u8]>,
}

impl Message {
    /// What it was published to.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// What was published.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}

/// Refuses a name that is no topic, and a payload that is too long: for implementors.
///
/// # Errors
/// `Invalid` and `TooLong`.
pub fn check_topic(topic: &str, payload: usize, payload_max: usize) -> Result<()> {
    if topic.is_empty() || topic.len() > TOPIC_MAX || topic.chars().any(char::is_control) {
        let message = format!("a topic has 1 to {TOPIC_MAX} bytes and no control characters");
        return Err(Error::invalid(message).with_value(topic));
    }
    if payload > payload_max {
        let message = format!(
            "the message is {payload} bytes long; at most {payload_max} are allowed: send where to \
             find it instead"
        );
        return Err(Error::new(ErrorKind::TooLong, message));
    }
    Ok(())
}
