//! [`LocalFeed`]: messages within one process.

use std::sync::Arc;

use async_trait::async_trait;

use super::hub::Hub;
use super::pubsub::{Feed, SubscribeOptions, check_topic};
use super::subscription::Subscription;
use crate::error::Result;

/// The longest message by default: 1 MiB.
const PAYLOAD_MAX: usize = 1 << 20;

/// A [`Feed`] within this process. Clones share their subscribers. Publishing neither waits nor
/// does I/O; it costs one copy of the payload, whatever the number of subscribers.
#[derive(Clone, Debug)]
pub struct LocalFeed {
    hub: Arc<Hub>,
    payload_max: usize,
}

impl Default for LocalFeed {
    fn default() -> Self {
        Self::new()
    }
}

impl LocalFeed {
    /// Without subscribers, for messages of up to 1 MiB.
    pub fn new() -> Self {
        Self::with_payload_max(PAYLOAD_MAX)
    }

    /// The same for messages of up to so many bytes.
    pub fn with_payload_max(bytes: usize) -> Self {
        Self {
            hub: Arc::new(Hub::new()),
            payload_max: bytes,
        }
    }
}

#[async_trait]
impl Feed for LocalFeed {
    async fn publish(&self, topic: &str, payload: &[u8]) -> Result<()> {
        check_topic(topic, payload.len(), self.payload_max)?;
        self.hub.deliver(topic, payload);
        Ok(())
    }

    async fn subscribe(&self, topics: &[&str], options: SubscribeOptions) -> Result<Subscription> {
        self.hub.subscribe(topics, options)
    }

    fn payload_max(&self) -> usize {
        self.payload_max
    }
}
