//! [`Cache`]: the handle an application holds.

use std::fmt;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use super::barred::Barred;
use super::entry::CacheEntry;
use super::envelope::{self, Opened, Read};
use super::flight::Flights;
use super::metrics::{CacheMetrics, Counters, count};
use super::near::Near;
use super::options::CacheOptions;
use super::shape::shape_of;
use super::store::{CacheStore, NewEntry};
use super::{forget, listen};
use crate::breaker::Breaker;
use crate::error::Result;

/// The longest key that a store sees as it is, in bytes; of a longer one it sees a hash.
const KEY_MAX: usize = 250;
/// After how many fills what is gone by its time is removed, and how much at a time.
const PURGE: (u64, usize) = (256, 512);

/// A cache of values, on a [`CacheStore`]. Cheap to clone; clones share everything. See the
/// [module](super) for what it promises.
///
/// ```
/// use std::time::Duration;
/// use larder_core::cache::{Cache, LocalCache};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// let cache = Cache::new(LocalCache::new(64 << 20));
/// let slow = || async { Ok::<_, larder_core::Error>("computed".to_owned()) };
/// let report = cache.entry("report:7").ttl(Duration::from_secs(60)).get_or_set(slow).await?;
/// assert_eq!(report, "computed");
/// assert_eq!(cache.entry::<String>("report:7").get().await, Some(report));
///
/// cache.invalidate(&["report:7"]).await?;
/// assert_eq!(cache.entry::<String>("report:7").get().await, None);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Cache {
    pub(super) shared: Arc<Shared>,
}

/// What the clones of a handle share.
pub(super) struct Shared {
    pub(super) store: Arc<dyn CacheStore>,
    pub(super) options: CacheOptions,
    pub(super) near: Option<Near>,
    pub(super) flights: Flights,
    pub(super) barred: Barred,
    pub(super) loaders: Semaphore,
    pub(super) counters: Counters,
    /// Tells this process's messages from others'.
    pub(super) id: u64,
    breaker: Breaker,
    listener: OnceLock<Option<AbortHandle>>,
    fills: AtomicU64,
    purging: AtomicBool,
}

impl Cache {
    /// A cache with the default options.
    pub fn new(store: impl CacheStore) -> Self {
        Self::with_options(Arc::new(store), CacheOptions::new())
    }

    /// A cache with options.
    pub fn with_options(store: Arc<dyn CacheStore>, options: CacheOptions) -> Self {
        let near = options.near.as_ref();
        let shared = Shared {
            near: near.map(|near| Near::new(near.bytes_max, near.ttl)),
            flights: Flights::default(),
            barred: Barred::default(),
            loaders: Semaphore::new(options.loaders_max.min(Semaphore::MAX_PERMITS)),
            counters: Counters::default(),
            id: fastrand::u64(..),
            breaker: Breaker::default(),
            listener: OnceLock::new(),
            fills: AtomicU64::new(0),
            purging: AtomicBool::new(false),
            store,
            options,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// What is kept under a key, as a value of this type. Sends nothing: see [`CacheEntry`].
    ///
    /// Any text is a key. A value of another type, or of another version of the type, counts as
    /// missing.
    pub fn entry<T>(&self, key: &str) -> CacheEntry<T> {
        CacheEntry::new(self.clone(), self.shared.key(key))
    }

    /// Looks many keys up with one call of the store: in the order given, `None` where there is
    /// no fresh value.
    pub async fn get_many<T>(&self, keys: &[&str]) -> Vec<Option<T>>
    where
        T: DeserializeOwned + 'static,
    {
        let names: Vec<_> = keys.iter().map(|key| self.shared.key(key)).collect();
        let asked: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        let store = &self.shared.store;
        let found = self.shared.call(store.get(&asked, shape_of::<T>())).await;
        let mut found = found.unwrap_or_default().into_iter();
        let barred = |name: &Arc<str>| self.shared.barred.covers([name.as_ref()].into_iter());
        let mut read = |name: &Arc<str>| {
            let found = found.next()??;
            found.fresh_for.filter(|_| !barred(name))?;
            match self.shared.open(&found.value)?.read()? {
                Read::Value(value) => Some(value),
                Read::Absent => None,
            }
        };
        let values: Vec<Option<T>> = names.iter().map(&mut read).collect();
        for value in &values {
            let counters = &self.shared.counters;
            count(if value.is_some() {
                &counters.hits
            } else {
                &counters.misses
            });
        }
        values
    }

    /// Keeps many values for as long as `ttl`, with one call of the store, and says whether they are
    /// kept: none is if one of them is too large.
    pub async fn set_many<'a, T>(
        &self,
        values: impl IntoIterator<Item = (&'a str, &'a T)>,
        ttl: Duration,
    ) -> bool
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        let seal = |(key, value): (&str, &T)| {
            let (fresh, stale) = (self.shared.jittered(ttl), Duration::ZERO);
            let value = self.shared.seal(Some(value), Duration::ZERO)?;
            let shape = shape_of::<T>();
            Some((
                self.shared.key(key).to_string(),
                NewEntry {
                    value,
                    shape,
                    fresh,
                    stale,
                },
            ))
        };
        let entries: Option<Vec<_>> = values.into_iter().map(seal).collect();
        let Some(entries) = entries else {
            count(&self.shared.counters.unkept);
            return false;
        };
        let keys: Vec<Arc<str>> = entries.iter().map(|(key, _)| key.as_str().into()).collect();
        let set = self.shared.call(self.shared.store.set(entries, &[])).await;
        self.shared.outdate_keys(&keys);
        set.is_some()
    }

    /// Adds to a counter, which is forgotten `keep` after its beginning, and answers what it is.
    ///
    /// # Errors
    /// The store's: a count cannot be made up. `Unknown` if the answer was lost; `Invalid` if the
    /// count would leave the range of an `i64`.
    pub async fn add(&self, key: &str, by: i64, keep: Duration) -> Result<i64> {
        let key = self.shared.key(key);
        let add = self.shared.store.add(&key, by, keep);
        forget::within(self.shared.options.invalidation_timeout, add).await
    }

    /// Forgets keys. Once this has answered, no process that asks the store sees their old values,
    /// and this one does not either; what is being loaded meanwhile is not kept. Other
    /// processes' near caches follow by message.
    ///
    /// Call it after the write whose outcome was cached has been committed. It runs to its end though
    /// its future is dropped.
    ///
    /// # Errors
    /// The store's, if it cannot be told in time. It is told again and again then, in the background;
    /// until that succeeds this process does not use the keys, but others may serve old values.
    pub async fn invalidate(&self, keys: &[&str]) -> Result<()> {
        let keys = keys.iter().map(|key| self.shared.key(key)).collect();
        forget::forget(&self.shared, forget::Target::Keys(keys)).await
    }

    /// Forgets all that has one of the tags, at the same cost however much that is. As
    /// [`invalidate`](Self::invalidate).
    pub async fn invalidate_tags(&self, tags: &[&str]) -> Result<()> {
        let tags = tags.iter().map(|tag| self.shared.tag(tag).into()).collect();
        forget::forget(&self.shared, forget::Target::Tags(tags)).await
    }

    /// How the cache is doing, in this process.
    pub fn metrics(&self) -> CacheMetrics {
        self.shared.counters.snapshot()
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("store", &self.shared.store)
            .field("name", &self.shared.options.name)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// A key as the store sees it.
    fn key(&self, key: &str) -> Arc<str> {
        self.named(":", key).into()
    }

    /// A tag as the store sees it; no key looks like it.
    pub(super) fn tag(&self, tag: &str) -> String {
        self.named("#", tag)
    }

    fn named(&self, sign: &str, text: &str) -> String {
        let name = &self.options.name;
        let plain =
            name.len() + text.len() < KEY_MAX && !text.bytes().any(|b| b.is_ascii_control());
        if plain && !text.starts_with('~') {
            return [name, sign, text].concat();
        }
        let hash = Sha256::digest(text.as_bytes());
        let hash = u128::from_be_bytes(std::array::from_fn(|at| hash[at]));
        format!("{name}{sign}~{hash:032x}")
    }

    /// Calls the store within its budget; `None` if that fails, or is not tried after failures.
    pub(super) async fn call<R>(&self, call: impl Future<Output = Result<R>>) -> Option<R> {
        if !self.breaker.allows() {
            count(&self.counters.skipped);
            return None;
        }
        let outcome = forget::within(self.options.budget, call).await;
        self.breaker.note(outcome.is_ok());
        match outcome {
            Ok(answer) => Some(answer),
            Err(error) => {
                count(&self.counters.failures);
                tracing::warn!(target: "larder::cache", cache = %self.options.name, %error,
                    "the cache does not answer: it counts as empty");
                None
            }
        }
    }

    pub(super) fn open(&self, bytes: &bytes::Bytes) -> Option<Opened> {
        envelope::open(bytes, self.options.value_max)
    }

    pub(super) fn seal<T: Serialize>(
        &self,
        value: Option<&T>,
        cost: Duration,
    ) -> Option<bytes::Bytes> {
        let options = &self.options;
        let (from, max) = (options.compress_from, options.value_max);
        envelope::seal(value, options.codec, cost, from, max)
    }

    /// A time to live that differs from others' by chance.
    pub(super) fn jittered(&self, ttl: Duration) -> Duration {
        let by = 1.0 + self.options.jitter * (2.0 * fastrand::f64() - 1.0);
        Duration::try_from_secs_f64(ttl.as_secs_f64() * by).unwrap_or(ttl)
    }

    /// Lets nothing that this process knows of the keys be served, nor what it is about to know.
    pub(super) fn outdate_keys(&self, keys: &[Arc<str>]) {
        for key in keys {
            self.flights.detach(key);
        }
        if let Some(near) = &self.near {
            near.outdate(keys.iter().map(|key| super::near::mark(key)));
        }
    }

    /// Begins to listen to other processes, once.
    pub(super) fn listen(self: &Arc<Self>) {
        self.listener.get_or_init(|| listen::start(self));
    }

    /// After some fills, removes what is gone by its time, in the background.
    pub(super) fn filled(self: &Arc<Self>) {
        count(&self.counters.fills);
        let fills = self.fills.fetch_add(1, Ordering::Relaxed) + 1;
        if !fills.is_multiple_of(PURGE.0) || self.purging.swap(true, Ordering::AcqRel) {
            return;
        }
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            let purge = shared.store.purge(PURGE.1);
            if let Err(error) = forget::within(shared.options.invalidation_timeout, purge).await {
                tracing::debug!(target: "larder::cache", %error, "could not purge");
            }
            shared.purging.store(false, Ordering::Release);
        });
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(Some(listener)) = self.listener.get() {
            listener.abort();
        }
    }
}
