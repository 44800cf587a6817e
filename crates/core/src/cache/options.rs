//! [`CacheOptions`] and [`NearOptions`].

use std::sync::Arc;
use std::time::Duration;

use super::envelope::Codec;
use crate::feed::Feed;

/// How a [`Cache`](super::Cache) behaves. Start from `CacheOptions::new()`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CacheOptions {
    pub(super) name: Arc<str>,
    pub(super) codec: Codec,
    pub(super) budget: Duration,
    pub(super) invalidation_timeout: Duration,
    pub(super) lease: Duration,
    pub(super) wait_max: Duration,
    pub(super) jitter: f64,
    pub(super) early: f64,
    pub(super) compress_from: usize,
    pub(super) value_max: usize,
    pub(super) loaders_max: usize,
    pub(super) near: Option<NearOptions>,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            name: "cache".into(),
            codec: Codec::Compact,
            budget: Duration::from_millis(50),
            invalidation_timeout: Duration::from_secs(1),
            lease: Duration::from_secs(10),
            wait_max: Duration::from_secs(10),
            jitter: 0.1,
            early: 1.0,
            compress_from: 1 << 10,
            value_max: 1 << 20,
            loaders_max: 64,
            near: None,
        }
    }
}

impl CacheOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// What keys begin with, so that several caches can share a store. Default: `cache`.
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// How values become bytes. Default: [`Codec::Compact`].
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// How long a call of the store may take before it counts as a miss. Default: 50 ms.
    pub fn budget(mut self, budget: Duration) -> Self {
        self.budget = budget;
        self
    }

    /// How long an invalidation may take before it is said to have failed. Default: 1 s.
    pub fn invalidation_timeout(mut self, timeout: Duration) -> Self {
        self.invalidation_timeout = timeout;
        self
    }

    /// How long others leave a key to who loads it. Longer than loading takes; after it, somebody else
    /// loads too. Default: 10 s.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How long a caller waits for somebody else to load, before loading without keeping.
    /// Default: 10 s.
    pub fn wait_max(mut self, wait: Duration) -> Self {
        self.wait_max = wait;
        self
    }

    /// By which part times to live differ by chance, so that what was kept together is not gone
    /// together. Default: 0.1, which is 10 % up or down.
    pub fn jitter(mut self, part: f64) -> Self {
        self.jitter = part.clamp(0.0, 0.9);
        self
    }

    /// How eagerly entries are renewed before their time, by one caller and by chance: the more
    /// likely the less is left, and the longer loading took. 0 turns it off. Default: 1.0, the
    /// beta of *XFetch* (Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede
    /// Prevention, VLDB 2015).
    pub fn early(mut self, beta: f64) -> Self {
        self.early = beta.max(0.0);
        self
    }

    /// From how many bytes on values are compressed (LZ4). Default: 1 KiB.
    pub fn compress_from(mut self, bytes: usize) -> Self {
        self.compress_from = bytes;
        self
    }

    /// The largest value that is kept, in bytes before compression; larger ones are handed through.
    /// Default: 1 MiB.
    pub fn value_max(mut self, bytes: usize) -> Self {
        self.value_max = bytes;
        self
    }

    /// How many loaders run at a time while the store cannot be asked, at least one; others wait for
    /// at most [`wait_max`](Self::wait_max). Default: 64.
    pub fn loaders_max(mut self, loaders: usize) -> Self {
        self.loaders_max = loaders.max(1);
        self
    }

    /// Keeps what was found in the process as well. Default: not.
    pub fn near(mut self, near: NearOptions) -> Self {
        self.near = Some(near);
        self
    }
}

/// A near cache: values of a shared cache, kept in this process for a moment. What this process
/// invalidates is gone from it at once. What another one invalidates is gone when its message comes,
/// and without one after [`ttl`](Self::ttl). Start from `NearOptions::new()`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NearOptions {
    pub(super) bytes_max: u64,
    pub(super) ttl: Duration,
    pub(super) feed: Option<Arc<dyn Feed>>,
}

impl Default for NearOptions {
    fn default() -> Self {
        Self {
            bytes_max: 64 << 20,
            ttl: Duration::from_secs(1),
            feed: None,
        }
    }
}

impl NearOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How much is kept at most, in bytes, keys and bookkeeping included. Default: 64 MiB.
    pub fn bytes_max(mut self, bytes: u64) -> Self {
        self.bytes_max = bytes;
        self
    }

    /// How long a value is served at most without asking the shared cache: the bound on how stale it
    /// can be when messages are lost. Default: 1 s.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// What tells other processes of invalidations, and this one of theirs. A gap in it, a message
    /// that could not be read and a lost connection empty the near cache. Default: none.
    pub fn feed(mut self, feed: Arc<dyn Feed>) -> Self {
        self.feed = Some(feed);
        self
    }
}
