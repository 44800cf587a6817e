//! The cache on a store that fails, and the near cache, on every store of cached values.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use larder_core::cache::{
    Cache, CacheStore, Found, LeaseRequest, Leased, NearOptions, NewEntry, Token,
};
use larder_core::{Error, ErrorKind, Result};

use super::cache::{TTL, exact, load, never, open, system};
use super::{Place, tests};

tests![
    what_is_no_entry_is_a_miss_and_is_mended,
    a_store_that_does_not_answer_is_an_empty_one,
    a_failed_invalidation_bars_its_keys_until_it_is_made_up_for,
    an_invalidation_goes_on_without_its_caller,
    a_near_cache_asks_the_store_now_and_then,
    a_near_cache_forgets_at_once_what_its_process_invalidates,
    a_near_cache_follows_other_processes,
];

/// A store that others stand before.
#[derive(Debug)]
struct Faulty {
    store: Arc<dyn CacheStore>,
    /// Bytes come back changed.
    corrupts: AtomicBool,
    /// Nothing is answered.
    stalls: AtomicBool,
    /// Nothing can be removed.
    keeps: AtomicBool,
}

impl Faulty {
    async fn before(place: &Arc<dyn Place>) -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            store: place.cache(system()).await?,
            corrupts: AtomicBool::new(false),
            stalls: AtomicBool::new(false),
            keeps: AtomicBool::new(false),
        }))
    }

    async fn stall(&self) {
        if self.stalls.load(Ordering::SeqCst) {
            pending::<()>().await;
        }
    }

    fn refuse(&self) -> Result<()> {
        if self.keeps.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "nobody is there"));
        }
        Ok(())
    }

    fn corrupt(&self, found: Option<Found>) -> Option<Found> {
        let Found { value, fresh_for } = found?;
        let mut value = value.to_vec();
        if let Some(last) = value.last_mut().filter(|_| self.corrupts.load(Ordering::SeqCst)) {
            *last ^= 1;
        }
        let value = value.into();
        Some(Found { value, fresh_for })
    }
}

#[async_trait]
impl CacheStore for Faulty {
    async fn get(&self, keys: &[&str], shape: u64) -> Result<Vec<Option<Found>>> {
        self.stall().await;
        let found = self.store.get(keys, shape).await?;
        Ok(found.into_iter().map(|one| self.corrupt(one)).collect())
    }
    async fn lease(&self, request: LeaseRequest<'_>) -> Result<Leased> {
        self.stall().await;
        self.store.lease(request).await
    }
    async fn fill(&self, key: &str, token: Token, entry: NewEntry) -> Result<bool> {
        self.stall().await;
        self.store.fill(key, token, entry).await
    }
    async fn release(&self, key: &str, token: Token) -> Result<()> {
        self.store.release(key, token).await
    }
    async fn set(&self, entries: Vec<(String, NewEntry)>, tags: &[String]) -> Result<()> {
        self.stall().await;
        self.store.set(entries, tags).await
    }
    async fn delete(&self, keys: &[&str]) -> Result<()> {
        self.refuse()?;
        self.store.delete(keys).await
    }
    async fn discard(&self, key: &str, _: &[u8]) -> Result<()> {
        self.store.delete(&[key]).await
    }
    async fn revoke_tags(&self, tags: &[&str]) -> Result<()> {
        self.refuse()?;
        self.store.revoke_tags(tags).await
    }
    async fn add(&self, key: &str, by: i64, keep: Duration) -> Result<i64> {
        self.store.add(key, by, keep).await
    }
    async fn purge(&self, most: usize) -> Result<usize> {
        self.store.purge(most).await
    }
}

async fn what_is_no_entry_is_a_miss_and_is_mended(place: Arc<dyn Place>) -> Result<()> {
    let faulty = Faulty::before(&place).await?;
    let cache = Cache::with_options(faulty.clone(), exact());
    let entry = || cache.entry::<u32>("k").ttl(TTL);
    entry().get_or_set(load(1)).await?;
    faulty.corrupts.store(true, Ordering::SeqCst);
    assert_eq!(entry().get().await, None);
    assert_eq!(entry().get_or_set(load(2)).await?, 2);
    faulty.corrupts.store(false, Ordering::SeqCst);
    assert_eq!(entry().get().await, Some(2));
    assert_eq!(cache.metrics().bad_entries, 1);
    Ok(())
}

async fn a_store_that_does_not_answer_is_an_empty_one(place: Arc<dyn Place>) -> Result<()> {
    let faulty = Faulty::before(&place).await?;
    let budget = Duration::from_millis(20);
    let cache = Cache::with_options(faulty.clone(), exact().budget(budget));
    faulty.stalls.store(true, Ordering::SeqCst);
    let mut longest = Duration::ZERO;
    for round in 0..20 {
        let started = Instant::now();
        assert_eq!(cache.entry("k").ttl(TTL).get_or_set(load(round)).await?, round);
        longest = longest.max(started.elapsed());
    }
    // A look and a lease.
    assert!(longest < budget * 2 + Duration::from_millis(500), "{longest:?}");
    let metrics = cache.metrics();
    assert_eq!(metrics.failures, 5, "after some failures nobody asks");
    assert_eq!((metrics.loads, metrics.fills), (20, 0));
    assert!(metrics.skipped >= 30, "{metrics:?}");
    Ok(())
}

async fn a_failed_invalidation_bars_its_keys_until_it_is_made_up_for(
    place: Arc<dyn Place>,
) -> Result<()> {
    let faulty = Faulty::before(&place).await?;
    let cache = Cache::with_options(faulty.clone(), exact());
    let entry = || cache.entry::<u32>("k").ttl(TTL).tags(["t"]);
    for by_tag in [false, true] {
        cache.entry::<u32>("k").ttl(TTL).tags(["t"]).set(&1).await;
        faulty.keeps.store(true, Ordering::SeqCst);
        let told = if by_tag {
            cache.invalidate_tags(&["t"]).await
        } else {
            cache.invalidate(&["k"]).await
        };
        assert!(told.is_err_and(|error| error.is_unavailable()));
        assert_eq!(entry().get().await, None, "barred");
        assert_eq!(entry().get_or_set(load(2)).await?, 2, "neither served nor kept");
        assert_eq!(entry().get_or_set(load(3)).await?, 3);
        faulty.keeps.store(false, Ordering::SeqCst);
        let healed = async {
            while entry().get().await.is_none() {
                entry().get_or_set(load(4)).await?;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok::<_, Error>(())
        };
        let healed = tokio::time::timeout(Duration::from_secs(20), healed).await;
        healed.expect("it is told again")?;
        assert_eq!(entry().get().await, Some(4));
    }
    Ok(())
}

async fn an_invalidation_goes_on_without_its_caller(place: Arc<dyn Place>) -> Result<()> {
    let cache = open(&place).await?;
    cache.entry("k").ttl(TTL).set(&1_u32).await;
    let mut invalidation = Box::pin(cache.invalidate(&["k"]));
    // One poll, and the caller is gone.
    let first = futures_util::poll!(&mut invalidation);
    drop(invalidation);
    let _ = first;
    let gone = async {
        while cache.entry::<u32>("k").get().await.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("it is forgotten");
    Ok(())
}

/// A cache with a near cache that listens.
async fn near(place: &Arc<dyn Place>, ttl: Duration) -> Result<Cache> {
    let near = NearOptions::new().ttl(ttl).feed(place.feed().await?);
    let store = place.cache(system()).await?;
    Ok(Cache::with_options(store, exact().near(near)))
}

async fn a_near_cache_asks_the_store_now_and_then(place: Arc<dyn Place>) -> Result<()> {
    let near = NearOptions::new().ttl(TTL);
    let store = place.cache(system()).await?;
    let cache = Cache::with_options(store, exact().near(near));
    cache.entry("k").ttl(TTL).get_or_set(load(1)).await?;
    for _ in 0..10_000 {
        assert_eq!(cache.entry("k").ttl(TTL).get_or_set(never).await?, 1);
    }
    let metrics = cache.metrics();
    assert_eq!((metrics.near_hits, metrics.hits), (10_000, 0));
    Ok(())
}

async fn a_near_cache_forgets_at_once_what_its_process_invalidates(
    place: Arc<dyn Place>,
) -> Result<()> {
    let cache = near(&place, TTL).await?;
    let entry = || cache.entry::<u32>("k").ttl(TTL).tags(["t"]);
    for round in 0..50 {
        assert_eq!(entry().get_or_set(load(round)).await?, round);
        assert_eq!(entry().get_or_set(never).await?, round);
        match round % 3 {
            0 => cache.invalidate(&["k"]).await?,
            1 => cache.invalidate_tags(&["t"]).await?,
            _ => {
                assert!(entry().set(&(round + 1_000)).await);
                assert_eq!(entry().get().await, Some(round + 1_000));
                cache.invalidate(&["k"]).await?;
            }
        }
    }
    Ok(())
}

async fn a_near_cache_follows_other_processes(place: Arc<dyn Place>) -> Result<()> {
    // So long that only messages can be why it forgets.
    let (cache, other) = (near(&place, TTL).await?, near(&place, TTL).await?);
    let follows = async {
        for round in 0..10_u32 {
            let entry = |cache: &Cache| cache.entry::<u32>("k").ttl(TTL).tags(["t"]);
            entry(&cache).get_or_set(load(round)).await?;
            while entry(&other).get().await != Some(round) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            match round % 2 {
                0 => cache.invalidate(&["k"]).await?,
                _ => cache.invalidate_tags(&["t"]).await?,
            }
            while entry(&other).get().await == Some(round) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        Ok::<_, Error>(())
    };
    let followed = tokio::time::timeout(Duration::from_secs(30), follows).await;
    followed.expect("messages arrive")
}

