//! [`Topic`]: messages that are values.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::pubsub::{Feed, SubscribeOptions};
use super::subscription::Subscription;
use crate::error::{Error, Result};

/// A topic of a feed whose messages are values of one type, as JSON. Cheap to clone.
///
/// ```
/// use std::sync::Arc;
/// use larder_core::feed::{LocalFeed, Topic};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// let logins = Topic::<(u64, String)>::new(Arc::new(LocalFeed::new()), "logins");
/// let mut seen = logins.subscribe().await?;
/// logins.publish(&(17, "ada".to_owned())).await?;
/// assert_eq!(seen.next().await?, (17, "ada".to_owned()));
/// # Ok(()) }
/// ```
pub struct Topic<T> {
    feed: Arc<dyn Feed>,
    name: Arc<str>,
    marker: PhantomData<fn() -> T>,
}

impl<T> Clone for Topic<T> {
    fn clone(&self) -> Self {
        Self {
            feed: Arc::clone(&self.feed),
            name: Arc::clone(&self.name),
            marker: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Topic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Topic").field(&self.name).finish()
    }
}

/// The values of a topic as they arrive. Keeps the feed open; dropping it ends it.
pub struct TopicSubscription<T> {
    messages: Subscription,
    _feed: Arc<dyn Feed>,
    marker: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for TopicSubscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TopicSubscription")
            .field(&self.messages)
            .finish()
    }
}

impl<T: Serialize + DeserializeOwned> Topic<T> {
    /// The topic of this name in a feed.
    pub fn new(feed: Arc<dyn Feed>, name: &str) -> Self {
        Self {
            feed,
            name: name.into(),
            marker: PhantomData,
        }
    }

    /// Publishes a value.
    ///
    /// # Errors
    /// `Invalid` for a value that JSON cannot hold; else as [`Feed::publish`].
    pub async fn publish(&self, value: &T) -> Result<()> {
        let payload = serde_json::to_vec(value).map_err(|source| {
            Error::invalid("the value cannot be written as JSON").with_source(source)
        })?;
        self.feed.publish(&self.name, &payload).await
    }

    /// Subscribes, with the default options.
    ///
    /// # Errors
    /// As [`Feed::subscribe`].
    pub async fn subscribe(&self) -> Result<TopicSubscription<T>> {
        self.subscribe_with(SubscribeOptions::new()).await
    }

    /// Subscribes with these options.
    ///
    /// # Errors
    /// As [`Feed::subscribe`].
    pub async fn subscribe_with(&self, options: SubscribeOptions) -> Result<TopicSubscription<T>> {
        Ok(TopicSubscription {
            messages: self.feed.subscribe(&[&self.name], options).await?,
            _feed: Arc::clone(&self.feed),
            marker: PhantomData,
        })
    }
}

impl<T: DeserializeOwned> TopicSubscription<T> {
    /// The next value, waited for as long as it takes. Dropping the future loses nothing.
    ///
    /// # Errors
    /// `Decode` for a message that is no such value; else as [`Subscription::next`]. The next call
    /// goes on.
    pub async fn next(&mut self) -> Result<T> {
        let message = self.messages.next().await?;
        serde_json::from_slice(message.payload()).map_err(|source| {
            Error::decode("the message is not of the topic's type").with_source(source)
        })
    }
}
