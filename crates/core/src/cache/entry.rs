//! [`CacheEntry`]: one key, as a value of one type, and how it is kept and loaded.

use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;

use super::envelope::{Opened, Read};
use super::flight::Seat;
use super::handle::{Cache, Shared};
use super::metrics::count;
use super::near::Ticket;
use super::shape::shape_of;
use super::store::{Found, LeaseRequest, Leased, NewEntry};

/// Pauses between looks at a key that another process loads: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));

/// One key of a [`Cache`]; made by [`Cache::entry`]. Nothing is sent before one of the last calls.
///
/// ```
/// use std::time::Duration;
/// use larder_core::cache::{Cache, LocalCache};
///
/// # async fn find_user(id: u64) -> larder_core::Result<Option<String>> { Ok((id == 1).then(|| "Ada".into())) }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// # let cache = Cache::new(LocalCache::new(64 << 20));
/// let user = cache
///     .entry::<String>("user:1")
///     .ttl(Duration::from_secs(600))
///     .stale(Duration::from_secs(60)) // served that much longer while one caller loads
///     .tags(["users"])
///     .get_or_find(|| find_user(1)) // that there is none is remembered too, for 5 seconds
///     .await?;
/// assert_eq!(user.as_deref(), Some("Ada"));
/// cache.invalidate_tags(&["users"]).await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "an entry does nothing until .get().await, .get_or_set(..).await or the like"]
pub struct CacheEntry<T> {
    cache: Cache,
    pub(super) key: Arc<str>,
    ttl: Duration,
    stale: Duration,
    absent: Duration,
    pub(super) tags: Vec<String>,
    stale_on_error: bool,
    /// What tells versions of the value apart beside its type.
    version: u64,
    value: PhantomData<fn() -> T>,
}

/// What a look at the near cache and the store brought.
enum Look<A> {
    Fresh(A),
    /// It can be served, but it is time to load it anew.
    Due {
        answer: A,
        is_fresh: bool,
    },
    Missing,
}

/// What bytes turned out to be.
enum Reading<A> {
    Answer(A, Opened),
    /// An entry, but no answer to this caller.
    Other,
    /// No entry.
    Bad,
}

/// What callers get: a value, or perhaps none.
pub(super) trait Answer<T>: Sized {
    /// What was kept, as an answer; `None` if it is no answer to this caller.
    fn of(read: Read<T>) -> Option<Self>;
    fn value(&self) -> Option<&T>;
}

impl<T> Answer<T> for T {
    fn of(read: Read<T>) -> Option<T> {
        match read {
            Read::Value(value) => Some(value),
            Read::Absent => None,
        }
    }

    fn value(&self) -> Option<&T> {
        Some(self)
    }
}

impl<T> Answer<T> for Option<T> {
    fn of(read: Read<T>) -> Option<Option<T>> {
        match read {
            Read::Value(value) => Some(Some(value)),
            Read::Absent => Some(None),
        }
    }

    fn value(&self) -> Option<&T> {
        self.as_ref()
    }
}

impl<T> CacheEntry<T> {
    pub(super) fn new(cache: Cache, key: Arc<str>) -> Self {
        Self {
            cache,
            key,
            ttl: Duration::from_mins(5),
            stale: Duration::ZERO,
            absent: Duration::from_secs(5),
            tags: Vec::new(),
            stale_on_error: false,
            version: 0,
            value: PhantomData,
        }
    }

    /// How long a value is fresh. Default: 5 minutes.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// How much longer the value is served while one caller loads it anew. Default: not at all.
    pub fn stale(mut self, stale: Duration) -> Self {
        self.stale = stale;
        self
    }

    /// How long it is remembered that there is no value; zero: not at all. Default: 5 seconds.
    pub fn absent(mut self, absent: Duration) -> Self {
        self.absent = absent;
        self
    }

    /// Names by which it can be forgotten together with others: [`Cache::invalidate_tags`].
    pub fn tags<N: AsRef<str>>(mut self, tags: impl IntoIterator<Item = N>) -> Self {
        let tags = tags.into_iter();
        self.tags
            .extend(tags.map(|tag| self.cache.shared.tag(tag.as_ref())));
        self
    }

    /// Serves the stale value if loading fails, for as long as [`stale`](Self::stale) says.
    pub fn stale_on_error(mut self) -> Self {
        self.stale_on_error = true;
        self
    }

    /// What tells versions of the value apart beside its type.
    pub(crate) fn version(mut self, version: u64) -> Self {
        self.version = version;
        self
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.cache.shared
    }

    /// The names by which the entry can be forgotten.
    fn names(&self) -> impl Iterator<Item = &str> {
        let tags = self.tags.iter().map(String::as_str);
        std::iter::once(self.key.as_ref()).chain(tags)
    }
}

impl<T: Serialize + DeserializeOwned + 'static> CacheEntry<T> {
    /// What others must agree on to read what is kept.
    pub(super) fn shape(&self) -> u64 {
        shape_of::<T>() ^ self.version
    }

    /// The value, if there is a fresh one. A cache that does not answer has none.
    pub async fn get(self) -> Option<T> {
        let look = if self.is_barred() {
            Look::Missing
        } else {
            self.look::<T>().await
        };
        match look {
            Look::Fresh(value)
            | Look::Due {
                answer: value,
                is_fresh: true,
            } => Some(value),
            Look::Due { .. } | Look::Missing => {
                count(&self.shared().counters.misses);
                None
            }
        }
    }

    /// Keeps a value, whatever was there, and says whether it is kept: not if it is too large, or
    /// if the cache does not answer. What is being loaded meanwhile is not kept.
    pub async fn set(self, value: &T) -> bool {
        let Some(entry) = self.new_entry(Some(value), Duration::ZERO) else {
            count(&self.shared().counters.unkept);
            return false;
        };
        let shared = self.shared();
        let entries = vec![(self.key.to_string(), entry)];
        let set = shared.call(shared.store.set(entries, &self.tags)).await;
        shared.outdate_keys(std::slice::from_ref(&self.key));
        set.is_some()
    }

    /// The value; if there is none, loads and keeps it. Of all who ask for it meanwhile, in this
    /// process and others, one loads and the others wait for it.
    ///
    /// When the loader fails, panics or is dropped, the next one's turn comes; its error goes to
    /// its caller alone and is never kept. A cache that does not answer costs its budget, and is
    /// never an error. Never waits longer than
    /// [`CacheOptions::wait_max`](super::CacheOptions::wait_max) before it loads.
    ///
    /// # Errors
    /// The loader's.
    pub async fn get_or_set<E, F, Fut>(self, load: F) -> Result<T, E>
    where
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        T: Send + Sync,
    {
        self.answer(load).await
    }

    /// The value, if there is one; looks for it and keeps the answer, also that there is none.
    /// As [`get_or_set`](Self::get_or_set).
    ///
    /// # Errors
    /// The loader's.
    pub async fn get_or_find<E, F, Fut>(self, find: F) -> Result<Option<T>, E>
    where
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<Option<T>, E>> + Send,
        T: Send + Sync,
    {
        self.answer(find).await
    }

    /// As [`get_or_set`](Self::get_or_set), but whoever finds a value that is due is not the one
    /// to wait: it is loaded in a task of its own.
    ///
    /// # Errors
    /// The loader's, if there was nothing to serve.
    pub async fn get_or_refresh<E, F, Fut>(self, load: F) -> Result<T, E>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + Sync,
        E: Send,
    {
        if self.is_barred() {
            return self.load_unkept(load).await;
        }
        match self.look::<T>().await {
            Look::Fresh(value) => Ok(value),
            Look::Due { answer, is_fresh } => {
                self.count_served(is_fresh);
                // Its outcome is for the next caller; an error was counted.
                tokio::spawn(async move { drop(self.renew(is_fresh, load).await) });
                Ok(answer)
            }
            Look::Missing => self.load_once(load).await,
        }
    }

    async fn answer<A, E, F, Fut>(self, load: F) -> Result<A, E>
    where
        A: Answer<T>,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<A, E>>,
    {
        if self.is_barred() {
            return self.load_unkept(load).await;
        }
        match self.look::<A>().await {
            Look::Fresh(answer) => Ok(answer),
            Look::Due { answer, is_fresh } => match self.renew(is_fresh, load).await {
                Some(Ok(loaded)) => Ok(loaded),
                Some(Err(error)) if !is_fresh && !self.stale_on_error => Err(error),
                _ => {
                    self.count_served(is_fresh);
                    Ok(answer)
                }
            },
            Look::Missing => self.load_once(load).await,
        }
    }

    pub(super) fn is_barred(&self) -> bool {
        self.shared().barred.covers(self.names())
    }

    pub(super) fn ticket(&self) -> Option<Ticket> {
        let near = self.shared().near.as_ref()?;
        self.shared().listen();
        Some(near.ticket(self.names()))
    }

    /// Looks into the near cache, then into the store.
    async fn look<A: Answer<T>>(&self) -> Look<A> {
        let shared = self.shared();
        if let Some(answer) = self.look_near() {
            count(&shared.counters.near_hits);
            return Look::Fresh(answer);
        }
        let ticket = self.ticket();
        let (keys, shape) = ([self.key.as_ref()], self.shape());
        let found = shared.call(shared.store.get(&keys, shape)).await;
        let Some(found) = found.and_then(|mut found| found.pop()?) else {
            return Look::Missing;
        };
        let (answer, opened) = match self.read(&found) {
            Reading::Answer(answer, opened) => (answer, opened),
            Reading::Other => return Look::Missing,
            Reading::Bad => {
                self.discard(&found).await;
                return Look::Missing;
            }
        };
        match found.fresh_for {
            Some(left) if !self.is_due_early(opened.cost, left) => {
                count(&shared.counters.hits);
                self.keep_near(opened, left, ticket);
                Look::Fresh(answer)
            }
            left => Look::Due {
                answer,
                is_fresh: left.is_some(),
            },
        }
    }

    pub(super) fn look_near<A: Answer<T>>(&self) -> Option<A> {
        let opened = self.shared().near.as_ref()?.get(&self.key)?;
        A::of(opened.read()?)
    }

    fn read<A: Answer<T>>(&self, found: &Found) -> Reading<A> {
        let read = self.shared().open(&found.value);
        match read.and_then(|opened| Some((opened.read()?, opened))) {
            Some((read, opened)) => match A::of(read) {
                Some(answer) => Reading::Answer(answer, opened),
                None => Reading::Other,
            },
            None => Reading::Bad,
        }
    }

    fn count_served(&self, is_fresh: bool) {
        let counters = &self.shared().counters;
        count(if is_fresh {
            &counters.hits
        } else {
            &counters.stale_hits
        });
    }

    /// Removes what is no entry, unless somebody has mended it meanwhile.
    async fn discard(&self, found: &Found) {
        let shared = self.shared();
        count(&shared.counters.bad_entries);
        tracing::warn!(target: "larder::cache", key = %self.key, "what is cached cannot be read");
        shared
            .call(shared.store.discard(&self.key, &found.value))
            .await;
    }

    /// Whether to load a fresh value anew already: XFetch's rule.
    fn is_due_early(&self, cost: Duration, left: Duration) -> bool {
        let beta = self.shared().options.early;
        let gap = cost.as_secs_f64() * beta * -(1.0 - fastrand::f64()).ln();
        gap >= left.as_secs_f64()
    }

    pub(super) fn keep_near(&self, opened: Opened, left: Duration, ticket: Option<Ticket>) {
        if let (Some(near), Some(ticket)) = (&self.shared().near, ticket) {
            near.put(&self.key, opened, left, ticket);
        }
    }

    /// What is kept of an answer; `None` if it is not to be kept, or cannot be.
    pub(super) fn new_entry(&self, value: Option<&T>, cost: Duration) -> Option<NewEntry> {
        let shared = self.shared();
        let ttl = if value.is_some() {
            self.ttl
        } else {
            self.absent
        };
        if ttl.is_zero() {
            return None;
        }
        Some(NewEntry {
            value: shared.seal(value, cost)?,
            shape: self.shape(),
            fresh: shared.jittered(ttl),
            stale: self.stale,
        })
    }

    /// Loads what is due; `None` if somebody else does.
    async fn renew<A, E, F, Fut>(&self, is_fresh: bool, load: F) -> Option<Result<A, E>>
    where
        A: Answer<T>,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<A, E>>,
    {
        let shared = self.shared();
        let seat = shared.flights.join(&self.key).ok()?;
        let _turn = seat.try_turn()?;
        let ticket = self.ticket();
        match shared.call(self.lease(&seat, is_fresh)).await? {
            Leased::Taken { .. } => Some(self.load_and_fill(&seat, ticket, load).await),
            Leased::Fresh(_) | Leased::Busy { .. } => None,
        }
    }

    /// Loads what is missing, unless somebody else does.
    async fn load_once<A, E, F, Fut>(&self, load: F) -> Result<A, E>
    where
        A: Answer<T>,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<A, E>>,
    {
        let shared = self.shared();
        count(&shared.counters.misses);
        let give_up = Instant::now() + shared.options.wait_max;
        let Ok(seat) = shared.flights.join(&self.key) else {
            return self.load_unkept(load).await;
        };
        let Ok(turn) = tokio::time::timeout_at(give_up.into(), seat.turn()).await else {
            return self.load_unkept(load).await;
        };
        if let Some(answer) = seat.result().and_then(|opened| A::of(opened.read()?)) {
            count(&shared.counters.hits);
            return Ok(answer);
        }
        let answer = self.lead(&seat, give_up, load).await;
        drop(turn);
        answer
    }

    /// Loads under a lease, or waits for the process that has it.
    async fn lead<A, E, F, Fut>(&self, seat: &Seat<'_>, give_up: Instant, load: F) -> Result<A, E>
    where
        A: Answer<T>,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<A, E>>,
    {
        let shared = self.shared();
        let (mut pause, mut even_if_fresh) = (PAUSES.0, false);
        loop {
            let ticket = self.ticket();
            match shared.call(self.lease(seat, even_if_fresh)).await {
                None => return self.load_unkept(load).await,
                Some(Leased::Taken { .. }) => return self.load_and_fill(seat, ticket, load).await,
                Some(Leased::Fresh(found)) => {
                    if let Reading::Answer(answer, opened) = self.read(&found) {
                        count(&shared.counters.hits);
                        self.keep_near(opened, found.fresh_for.unwrap_or_default(), ticket);
                        return Ok(answer);
                    }
                    even_if_fresh = true;
                }
                Some(Leased::Busy { wait, .. }) => {
                    if Instant::now() + pause >= give_up {
                        return self.load_unkept(load).await;
                    }
                    tokio::time::sleep(pause.min(wait)).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    fn lease<'a>(
        &'a self,
        seat: &Seat<'_>,
        even_if_fresh: bool,
    ) -> impl Future<Output = crate::Result<Leased>> + use<'a, T> {
        let shared = self.shared();
        shared.store.lease(LeaseRequest {
            key: &self.key,
            shape: self.shape(),
            tags: &self.tags,
            token: seat.token(),
            lease: shared.options.lease,
            even_if_fresh,
        })
    }

    /// Loads and, if nothing was invalidated meanwhile, keeps and shares it.
    async fn load_and_fill<A, E, F, Fut>(
        &self,
        seat: &Seat<'_>,
        ticket: Option<Ticket>,
        load: F,
    ) -> Result<A, E>
    where
        A: Answer<T>,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<A, E>>,
    {
        let shared = self.shared();
        let release = ReleaseOnDrop {
            shared,
            key: &self.key,
            seat,
        };
        let started = Instant::now();
        let answer = self.counted(load()).await?;
        let Some(entry) = self.new_entry(answer.value(), started.elapsed()) else {
            count(&shared.counters.unkept);
            return Ok(answer);
        };
        let opened = shared.open(&entry.value);
        let fresh = entry.fresh;
        let fill = shared.store.fill(&self.key, seat.token(), entry);
        match shared.call(fill).await {
            Some(true) => {
                shared.filled();
                if let Some(opened) = opened {
                    self.keep_near(opened.clone(), fresh, ticket);
                    seat.land(opened);
                }
            }
            Some(false) => count(&shared.counters.revoked_fills),
            None => {}
        }
        drop(release);
        Ok(answer)
    }

    /// Loads without keeping: the store cannot be asked, or may not. Not all callers at once.
    async fn load_unkept<A, E, F, Fut>(&self, load: F) -> Result<A, E>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<A, E>>,
    {
        let shared = self.shared();
        let permit = shared.loaders.acquire();
        // Whoever waited that long goes ahead.
        let _permit = tokio::time::timeout(shared.options.wait_max, permit).await;
        self.counted(load()).await
    }

    async fn counted<A, E>(&self, loading: impl Future<Output = Result<A, E>>) -> Result<A, E> {
        let counters = &self.shared().counters;
        count(&counters.loads);
        let loaded = loading.await;
        if loaded.is_err() {
            count(&counters.load_errors);
        }
        loaded
    }
}

/// Ends a lease that was not filled, once nobody in this process takes it over: others need not
/// wait for its end.
struct ReleaseOnDrop<'a> {
    shared: &'a Arc<Shared>,
    key: &'a Arc<str>,
    seat: &'a Seat<'a>,
}

impl Drop for ReleaseOnDrop<'_> {
    fn drop(&mut self) {
        if self.seat.result().is_some() || !self.seat.is_last() {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let (shared, key) = (Arc::clone(self.shared), Arc::clone(self.key));
        let token = self.seat.token();
        runtime.spawn(async move { shared.call(shared.store.release(&key, token)).await });
    }
}
