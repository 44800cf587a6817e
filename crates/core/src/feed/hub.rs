//! [`Hub`]: hands messages to the subscribers in this process. Every feed ends in one.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::gap::Gap;
use super::pubsub::{Message, SubscribeOptions, check_topic};
use super::subscription::{Queue, Subscription};
use crate::codec;
use crate::error::{Error, Result};

/// The subscribers of this process, by topic: for implementors of [`Feed`](super::Feed).
///
/// A feed that goes through a store receives what others publish and [`deliver`](Self::deliver)s it
/// here. Which topics it must listen to is told by [`interest`](Self::interest); after it has asked
/// the store for them it [`settle`](Self::settle)s that, and only then a subscription is answered.
///
/// Dropping the hub closes its subscriptions.
pub struct Hub(Arc<Shared>);

/// Which topics somebody is subscribed to, as of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Grows with each change of the topics.
    pub generation: u64,
    /// The topics, in order.
    pub topics: Vec<Arc<str>>,
}

pub(super) struct Shared {
    topics: Mutex<HashMap<Arc<str>, Vec<Arc<Queue>>>>,
    /// The generation of the topics.
    generation: watch::Sender<u64>,
    /// The generation that the feed listens to.
    settled: watch::Sender<u64>,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topics = self.0.lock().len();
        f.debug_struct("Hub").field("topics", &topics).finish()
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self::new()
    }
}

impl Hub {
    /// Without subscribers.
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            topics: Mutex::default(),
            generation: watch::Sender::new(0),
            settled: watch::Sender::new(0),
        }))
    }

    /// Hands a message to those who are subscribed to the topic.
    pub fn deliver(&self, topic: &str, payload: &[u8]) {
        let topics = self.0.lock();
        let Some((topic, queues)) = topics.get_key_value(topic) else {
            return;
        };
        let message = Message {
            topic: Arc::clone(topic),
            payload: payload.into(),
        };
        for queue in queues {
            queue.push(message.clone());
        }
    }

    /// Tells all subscribers that messages may be missing.
    pub fn gap(&self, gap: Gap) {
        for queue in self.0.lock().values().flatten() {
            queue.gap(gap);
        }
    }

    /// Adds a subscriber. Not settled yet: see [`settled`](Self::settled).
    ///
    /// # Errors
    /// `Invalid` for a topic that is none, or for no topics.
    pub fn subscribe(&self, topics: &[&str], options: SubscribeOptions) -> Result<Subscription> {
        if topics.is_empty() {
            return Err(Error::invalid("a subscription is to one topic or more"));
        }
        topics
            .iter()
            .try_for_each(|topic| check_topic(topic, 0, 0))?;
        let queue = Arc::new(Queue::new(options));
        self.0.add(topics, &queue);
        Ok(Subscription::new(queue, Arc::downgrade(&self.0)))
    }

    /// Which topics the feed must listen to.
    pub fn interest(&self) -> Interest {
        self.0.interest()
    }

    /// Tells when the interest changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.generation.subscribe()
    }

    /// Says that the feed listens to all the topics of this generation.
    pub fn settle(&self, generation: u64) {
        self.0.settled.send_modify(|settled| *settled = generation);
    }

    /// Says that the feed listens to nothing: the way to the store is cut.
    pub fn unsettle(&self) {
        self.0.settled.send_modify(|settled| *settled = 0);
    }

    /// Waits until the feed listens to the topics that there are now.
    pub async fn settled(&self) {
        let wanted = *self.0.generation.borrow();
        let mut settled = self.0.settled.subscribe();
        // The sender lives as long as this hub.
        let _ = settled.wait_for(|settled| *settled >= wanted).await;
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        for queue in self.0.lock().values().flatten() {
            queue.close();
        }
    }
}

/// A short name for a topic, where a store limits names: `larder_` and 16 hexadecimal digits, a hash
/// (64-bit FNV-1a). Two topics may share one, so the topic travels with each message.
pub fn channel(topic: &str) -> String {
    format!(
        "larder_{:016x}",
        codec::fnv1a(codec::FNV_OFFSET, topic.as_bytes())
    )
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Vec<Arc<Queue>>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, names: &[&str], queue: &Arc<Queue>) {
        let mut topics = self.lock();
        let before = topics.len();
        for name in names {
            let queues = topics.entry(Arc::from(*name)).or_default();
            if !queues.iter().any(|other| Arc::ptr_eq(other, queue)) {
                queues.push(Arc::clone(queue));
            }
        }
        if topics.len() != before {
            self.generation.send_modify(|generation| *generation += 1);
        }
    }

    pub(super) fn remove(&self, queue: &Arc<Queue>) {
        let mut topics = self.lock();
        let before = topics.len();
        topics.retain(|_, queues| {
            queues.retain(|other| !Arc::ptr_eq(other, queue));
            !queues.is_empty()
        });
        if topics.len() != before {
            self.generation.send_modify(|generation| *generation += 1);
        }
    }

    fn interest(&self) -> Interest {
        let topics = self.lock();
        let mut names: Vec<_> = topics.keys().cloned().collect();
        names.sort_unstable();
        Interest {
            generation: *self.generation.borrow(),
            topics: names,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interest_follows_the_subscribers() -> Result<()> {
        let hub = Hub::new();
        let options = SubscribeOptions::new();
        let one = hub.subscribe(&["b", "a"], options)?;
        let two = hub.subscribe(&["a"], options)?;
        let topics = |hub: &Hub| hub.interest().topics.join(" ");
        assert_eq!(
            (topics(&hub).as_str(), hub.interest().generation),
            ("a b", 1)
        );
        drop(one);
        assert_eq!((topics(&hub).as_str(), hub.interest().generation), ("a", 2));
        drop(two);
        assert!(hub.interest().topics.is_empty());
        Ok(())
    }

    #[test]
    fn a_dropped_hub_ends_its_subscriptions() -> Result<()> {
        let hub = Hub::new();
        let mut one = hub.subscribe(&["a"], SubscribeOptions::new())?;
        hub.deliver("a", b"last");
        drop(hub);
        assert_eq!(
            one.try_next()?.map(|m| m.payload().to_vec()),
            Some(b"last".to_vec())
        );
        assert!(one.try_next().is_err_and(|error| error.is_closed()));
        Ok(())
    }

    #[test]
    fn names_that_are_no_topics_are_refused() {
        let hub = Hub::new();
        let long = "x".repeat(201);
        for topics in [&[][..], &[""], &["a\n"], &[long.as_str()]] {
            let refused = hub.subscribe(topics, SubscribeOptions::new());
            assert!(refused.is_err_and(|error| error.is_invalid()), "{topics:?}");
        }
    }
}
