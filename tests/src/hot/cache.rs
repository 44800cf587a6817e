//! The cache, on every store of cached values.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use larder_core::cache::{Cache, CacheOptions, Codec, LeaseRequest, Leased, NewEntry, Token};
use larder_core::{Clock, Error, ManualClock, Result, SystemClock, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::{Place, tests};

tests![
    a_value_is_kept_for_its_time,
    one_of_many_tasks_loads,
    one_of_two_processes_loads,
    a_dropped_loader_has_one_successor,
    a_panicking_loader_has_one_successor,
    an_error_goes_to_its_caller_and_is_not_kept,
    what_was_loaded_before_an_invalidation_is_not_kept,
    what_was_loaded_before_a_tag_was_revoked_is_not_kept,
    what_was_set_is_not_overwritten_by_an_older_load,
    a_tag_forgets_what_has_it_and_nothing_else,
    that_there_is_nothing_is_kept_for_less,
    a_stale_value_is_served_while_one_loads,
    a_stale_value_is_renewed_behind_the_callers_back,
    a_stale_value_bridges_an_error_if_asked,
    an_entry_is_renewed_before_its_time,
    a_dead_process_holds_its_lease_no_longer_than_said,
    counters_count_each_call_once,
    a_counter_ends_with_its_time_and_its_range,
    versions_of_a_type_do_not_meet,
    a_large_value_is_handed_through,
    both_codecs_keep_what_they_take,
    any_text_is_a_key,
    many_keys_at_once,
    what_is_gone_by_its_time_is_removed,
];

pub(super) const TTL: Duration = Duration::from_mins(1);

/// Without chance.
pub(super) fn exact() -> CacheOptions {
    CacheOptions::new().jitter(0.0).early(0.0).budget(Duration::from_secs(5))
}

pub(super) fn system() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

fn manual() -> Arc<ManualClock> {
    let start: Timestamp = "2031-05-06T07:08:09Z".parse().expect("a timestamp");
    Arc::new(ManualClock::at(start))
}

pub(super) async fn open(place: &Arc<dyn Place>) -> Result<Cache> {
    Ok(Cache::with_options(place.cache(system()).await?, exact()))
}

async fn open_at(place: &Arc<dyn Place>, clock: &Arc<ManualClock>) -> Result<Cache> {
    Ok(Cache::with_options(place.cache(clock.clone()).await?, exact()))
}

/// A loader of this value that nobody may need.
pub(super) async fn never() -> Result<u32> {
    panic!("loaded although there was a value")
}

/// A loader of a value, at once.
pub(super) fn load(value: u32) -> impl FnOnce() -> std::future::Ready<Result<u32>> + Send {
    move || std::future::ready(Ok(value))
}

/// A gate at which a loader waits.
#[derive(Default)]
struct Gate {
    entered: Notify,
    open: Notify,
}

impl Gate {
    async fn pass(&self) {
        self.entered.notify_one();
        self.open.notified().await;
    }
}

async fn a_value_is_kept_for_its_time(place: Arc<dyn Place>) -> Result<()> {
    let clock = manual();
    let cache = open_at(&place, &clock).await?;
    let entry = || cache.entry::<u32>("k").ttl(TTL);
    assert_eq!(entry().get().await, None);
    assert_eq!(entry().get_or_set(load(1)).await?, 1);
    let last = Duration::from_micros(1);
    clock.advance(TTL.saturating_sub(last));
    assert_eq!(entry().get_or_set(never).await?, 1);
    clock.advance(last);
    assert_eq!(entry().get().await, None);
    assert_eq!(entry().get_or_set(load(2)).await?, 2);
    let metrics = cache.metrics();
    assert_eq!((metrics.loads, metrics.fills, metrics.hits), (2, 2, 1));
    Ok(())
}

/// Many tasks ask for a key; the loaders wait until all have asked. Answers how many loaders ran.
async fn stampede(caches: &[Cache], tasks: usize) -> Result<u32> {
    let (loads, gate) = (Arc::new(AtomicU32::new(0)), Arc::new(Gate::default()));
    let mut set = JoinSet::new();
    for task in 0..tasks {
        let cache = caches[task % caches.len()].clone();
        let (loads, gate) = (Arc::clone(&loads), Arc::clone(&gate));
        set.spawn(async move {
            let load = || async {
                loads.fetch_add(1, Ordering::SeqCst);
                gate.pass().await;
                Ok::<_, Error>(7_u32)
            };
            cache.entry("hot").ttl(TTL).get_or_set(load).await
        });
    }
    gate.entered.notified().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    gate.open.notify_one();
    while let Some(done) = set.join_next().await {
        assert_eq!(done.expect("no panic")?, 7);
    }
    Ok(loads.load(Ordering::SeqCst))
}

async fn one_of_many_tasks_loads(place: Arc<dyn Place>) -> Result<()> {
    let cache = open(&place).await?;
    assert_eq!(stampede(&[cache], 1_000).await?, 1);
    Ok(())
}

async fn one_of_two_processes_loads(place: Arc<dyn Place>) -> Result<()> {
    let caches = [open(&place).await?, open(&place).await?];
    assert_eq!(stampede(&caches, 100).await?, 1);
    Ok(())
}

/// One loader waits at a gate, for two more that ask; then it ends as `end` does. Answers how many
/// of the others' loaders ran.
async fn succeed(cache: &Cache, end: impl AsyncFnOnce(tokio::task::AbortHandle)) -> Result<u32> {
    let (loads, gate) = (Arc::new(AtomicU32::new(0)), Arc::new(Gate::default()));
    let first = tokio::spawn({
        let (cache, gate) = (cache.clone(), Arc::clone(&gate));
        async move {
            let load = || async {
                gate.pass().await;
                panic!("the loader fails")
            };
            let _: Result<u32> = cache.entry("k").ttl(TTL).get_or_set(load).await;
        }
    });
    gate.entered.notified().await;
    let mut others = JoinSet::new();
    for _ in 0..2 {
        let (cache, loads) = (cache.clone(), Arc::clone(&loads));
        others.spawn(async move {
            let load = || async {
                loads.fetch_add(1, Ordering::SeqCst);
                Ok::<_, Error>(2_u32)
            };
            cache.entry("k").ttl(TTL).get_or_set(load).await
        });
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    gate.open.notify_one();
    end(first.abort_handle()).await;
    while let Some(done) = others.join_next().await {
        assert_eq!(done.expect("no panic")?, 2);
    }
    let _ = first.await;
    Ok(loads.load(Ordering::SeqCst))
}

async fn a_dropped_loader_has_one_successor(place: Arc<dyn Place>) -> Result<()> {
    let cache = open(&place).await?;
    assert_eq!(succeed(&cache, async |first| first.abort()).await?, 1);
    Ok(())
}

async fn a_panicking_loader_has_one_successor(place: Arc<dyn Place>) -> Result<()> {
    let cache = open(&place).await?;
    assert_eq!(succeed(&cache, async |_| {}).await?, 1);
    Ok(())
}

async fn an_error_goes_to_its_caller_and_is_not_kept(place: Arc<dyn Place>) -> Result<()> {
    let (cache, other) = (open(&place).await?, open(&place).await?);
    let fail = || async { Err::<u32, _>("no luck") };
    assert_eq!(cache.entry("k").get_or_set(fail).await, Err("no luck"));
    let started = Instant::now();
    assert_eq!(other.entry("k").get_or_set(load(1)).await?, 1);
    assert!(started.elapsed() < Duration::from_secs(5), "the lease was let go of");
    Ok(())
}

/// A load of 1 waits while `change` happens and another loads 2; what is kept then is the newer.
async fn overtake(cache: &Cache, change: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
    let gate = Arc::new(Gate::default());
    let entry = |cache: &Cache| cache.entry::<u32>("k").ttl(TTL).tags(["t"]);
    let old = tokio::spawn({
        let (entry, gate) = (entry(cache), Arc::clone(&gate));
        async move {
            let load = || async {
                gate.pass().await;
                Ok::<_, Error>(1)
            };
            entry.get_or_set(load).await
        }
    });
    gate.entered.notified().await;
    change().await?;
    assert_eq!(entry(cache).get_or_set(load(2)).await?, 2, "a new loader runs");
    gate.open.notify_one();
    assert_eq!(old.await.expect("no panic")?, 1);
    assert_eq!(entry(cache).get().await, Some(2));
    assert_eq!(cache.metrics().revoked_fills, 1);
    Ok(())
}

async fn what_was_loaded_before_an_invalidation_is_not_kept(place: Arc<dyn Place>) -> Result<()> {
    let (cache, other) = (open(&place).await?, open(&place).await?);
    overtake(&cache, async || cache.invalidate(&["k"]).await).await?;
    cache.invalidate(&["k"]).await?;
    // Another process that invalidates has no part in this one's flights.
    let gate = Arc::new(Gate::default());
    let old = tokio::spawn({
        let (entry, gate) = (cache.entry::<u32>("k").ttl(TTL), Arc::clone(&gate));
        async move {
            let load = || async {
                gate.pass().await;
                Ok::<_, Error>(3)
            };
            entry.get_or_set(load).await
        }
    });
    gate.entered.notified().await;
    other.invalidate(&["k"]).await?;
    gate.open.notify_one();
    assert_eq!(old.await.expect("no panic")?, 3);
    assert_eq!(cache.entry::<u32>("k").get().await, None);
    Ok(())
}

async fn what_was_loaded_before_a_tag_was_revoked_is_not_kept(place: Arc<dyn Place>) -> Result<()> {
    let cache = open(&place).await?;
    overtake(&cache, async || cache.invalidate_tags(&["t"]).await).await
}

async fn what_was_set_is_not_overwritten_by_an_older_load(place: Arc<dyn Place>) -> Result<()> {
    let (cache, gate) = (open(&place).await?, Arc::new(Gate::default()));
    let old = tokio::spawn({
        let (entry, gate) = (cache.entry::<u32>("k").ttl(TTL), Arc::clone(&gate));
        async move {
            let load = || async {
                gate.pass().await;
                Ok::<_, Error>(1)
            };
            entry.get_or_set(load).await
        }
    });
    gate.entered.notified().await;
    assert!(cache.entry("k").ttl(TTL).set(&2_u32).await);
    gate.open.notify_one();
    old.await.expect("no panic")?;
    assert_eq!(cache.entry("k").get().await, Some(2_u32));
    Ok(())
}

async fn a_tag_forgets_what_has_it_and_nothing_else(place: Arc<dyn Place>) -> Result<()> {
    let (cache, other) = (open(&place).await?, open(&place).await?);
    for (key, tags) in [("1", vec!["a"]), ("2", vec!["a", "b"]), ("3", vec!["b"]), ("4", vec![])] {
        cache.entry(key).ttl(TTL).tags(tags).get_or_set(load(1)).await?;
    }
    other.invalidate_tags(&["a", "never used"]).await?;
    let kept = cache.get_many::<u32>(&["1", "2", "3", "4"]).await;
    assert_eq!(kept, [None, None, Some(1), Some(1)]);
    cache.entry("1").ttl(TTL).tags(["a"]).get_or_set(load(2)).await?;
    assert_eq!(cache.entry("1").get().await, Some(2_u32), "the tag can be used again");
    Ok(())
}

async fn that_there_is_nothing_is_kept_for_less(place: Arc<dyn Place>) -> Result<()> {
    let clock = manual();
    let cache = open_at(&place, &clock).await?;
    let entry = || cache.entry::<u32>("k").ttl(TTL).absent(Duration::from_secs(5));
    let find = |found: Option<u32>| move || std::future::ready(Ok::<_, Error>(found));
    assert_eq!(entry().get_or_find(find(None)).await?, None);
    assert_eq!(entry().get_or_find(find(Some(1))).await?, None, "kept");
    assert_eq!(entry().get().await, None);
    clock.advance(Duration::from_secs(5));
    assert_eq!(entry().get_or_find(find(None)).await?, None);
    cache.invalidate(&["k"]).await?;
    assert_eq!(entry().get_or_find(find(Some(2))).await?, Some(2), "an insert forgets it");
    // Who wants a value whatever happens does not take absence for one.
    cache.invalidate(&["k"]).await?;
    assert_eq!(entry().get_or_find(find(None)).await?, None);
    assert_eq!(entry().get_or_set(load(3)).await?, 3);
    assert_eq!(entry().get_or_find(find(None)).await?, Some(3));
    assert_eq!(cache.metrics().bad_entries, 0);
    Ok(())
}

async fn a_stale_value_is_served_while_one_loads(place: Arc<dyn Place>) -> Result<()> {
    let (clock, gate) = (manual(), Arc::new(Gate::default()));
    let (cache, other) = (open_at(&place, &clock).await?, open_at(&place, &clock).await?);
    let entry = |cache: &Cache| cache.entry::<u32>("k").ttl(TTL).stale(TTL);
    entry(&cache).get_or_set(load(1)).await?;
    clock.advance(TTL);
    assert_eq!(entry(&cache).get().await, None, "it is not fresh");
    let renewal = tokio::spawn({
        let (entry, gate) = (entry(&cache), Arc::clone(&gate));
        async move {
            let load = || async {
                gate.pass().await;
                Ok::<_, Error>(2)
            };
            entry.get_or_set(load).await
        }
    });
    gate.entered.notified().await;
    for cache in [&cache, &other] {
        assert_eq!(entry(cache).get_or_set(never).await?, 1);
    }
    gate.open.notify_one();
    assert_eq!(renewal.await.expect("no panic")?, 2);
    assert_eq!(entry(&other).get_or_set(never).await?, 2);
    clock.advance(TTL * 2);
    assert_eq!(entry(&cache).get_or_set(load(3)).await?, 3, "stale ends too");
    Ok(())
}

async fn a_stale_value_is_renewed_behind_the_callers_back(place: Arc<dyn Place>) -> Result<()> {
    let clock = manual();
    let cache = open_at(&place, &clock).await?;
    let entry = || cache.entry::<u32>("k").ttl(TTL).stale(TTL);
    entry().get_or_set(load(1)).await?;
    clock.advance(TTL);
    assert_eq!(entry().get_or_refresh(load(2)).await?, 1);
    let renewed = async {
        while entry().get().await != Some(2) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), renewed).await.expect("it is renewed");
    Ok(())
}

async fn a_stale_value_bridges_an_error_if_asked(place: Arc<dyn Place>) -> Result<()> {
    let clock = manual();
    let cache = open_at(&place, &clock).await?;
    let entry = || cache.entry::<u32>("k").ttl(TTL).stale(TTL);
    entry().get_or_set(load(1)).await?;
    clock.advance(TTL);
    let fail = || async { Err::<u32, _>("down") };
    assert_eq!(entry().get_or_set(fail).await, Err("down"));
    assert_eq!(entry().stale_on_error().get_or_set(fail).await, Ok(1));
    clock.advance(TTL);
    assert_eq!(entry().stale_on_error().get_or_set(fail).await, Err("down"));
    Ok(())
}

async fn an_entry_is_renewed_before_its_time(place: Arc<dyn Place>) -> Result<()> {
    let store = place.cache(system()).await?;
    let eager = Cache::with_options(store, exact().early(1e12));
    let slow = |value| move || async move {
        tokio::time::sleep(Duration::from_millis(2)).await;
        Ok::<_, Error>(value)
    };
    let entry = || eager.entry::<u32>("k").ttl(TTL);
    assert_eq!(entry().get_or_set(slow(1)).await?, 1);
    assert_eq!(entry().get_or_set(slow(2)).await?, 2, "renewed though it is fresh");
    let fail = || async { Err::<u32, _>("down") };
    assert_eq!(entry().get_or_set(fail).await, Ok(2), "and kept if that fails");
    Ok(())
}

async fn a_dead_process_holds_its_lease_no_longer_than_said(place: Arc<dyn Place>) -> Result<()> {
    let clock = manual();
    let dead = place.cache(clock.clone()).await?;
    let cache = open_at(&place, &clock).await?;
    let request = LeaseRequest {
        key: "cache:k",
        shape: 1,
        tags: &[],
        token: Token::random()?,
        lease: Duration::from_secs(10),
        even_if_fresh: false,
    };
    assert_eq!(dead.lease(request).await?, Leased::Taken { kept: None });
    let waiting = tokio::spawn({
        let entry = cache.entry::<u32>("k").ttl(TTL);
        async move { entry.get_or_set(load(1)).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished(), "it waits");
    clock.advance(Duration::from_secs(10));
    assert_eq!(waiting.await.expect("no panic")?, 1);
    let entry = NewEntry {
        value: "late".into(),
        shape: 1,
        fresh: TTL,
        stale: TTL,
    };
    assert!(!dead.fill("cache:k", request.token, entry).await?, "too late");
    assert_eq!(cache.entry::<u32>("k").get().await, Some(1));
    Ok(())
}

async fn counters_count_each_call_once(place: Arc<dyn Place>) -> Result<()> {
    let caches = [open(&place).await?, open(&place).await?];
    let mut set = JoinSet::new();
    for task in 0..64 {
        let cache = caches[task % 2].clone();
        set.spawn(async move { cache.add("visits", 1, TTL).await });
    }
    let mut seen = Vec::new();
    while let Some(count) = set.join_next().await {
        seen.push(count.expect("no panic")?);
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=64).collect::<Vec<_>>());
    assert_eq!(caches[0].add("visits", -60, TTL).await?, 4);
    Ok(())
}

async fn a_counter_ends_with_its_time_and_its_range(place: Arc<dyn Place>) -> Result<()> {
    let clock = manual();
    let cache = open_at(&place, &clock).await?;
    assert_eq!(cache.add("n", 5, TTL).await?, 5);
    clock.advance(TTL / 2);
    assert_eq!(cache.add("n", 5, TTL).await?, 10, "its time goes on from its beginning");
    clock.advance(TTL / 2);
    assert_eq!(cache.add("n", i64::MAX, TTL).await?, i64::MAX);
    assert!(cache.add("n", 1, TTL).await.is_err_and(|error| error.is_invalid()));
    assert_eq!(cache.add("n", -1, TTL).await?, i64::MAX - 1, "it stayed as it was");
    cache.invalidate(&["n"]).await?;
    assert_eq!(cache.add("n", 1, TTL).await?, 1);
    Ok(())
}

mod old {
    #[derive(super::Serialize, super::Deserialize, Debug, PartialEq)]
    pub(super) struct Profile {
        pub(super) name: String,
    }
}

mod new {
    #[derive(super::Serialize, super::Deserialize, Debug, PartialEq)]
    pub(super) struct Profile {
        pub(super) name: String,
        pub(super) posts: u64,
    }
}

async fn versions_of_a_type_do_not_meet(place: Arc<dyn Place>) -> Result<()> {
    let cache = open(&place).await?;
    for round in 0..3 {
        let name = || format!("Ada {round}");
        let first = || async { Ok::<_, Error>(old::Profile { name: name() }) };
        let first = cache.entry("ada").ttl(TTL).get_or_set(first).await?;
        assert_eq!(first.name, name());
        let second = || async { Ok::<_, Error>(new::Profile { name: name(), posts: 1 }) };
        let second = cache.entry("ada").ttl(TTL).get_or_set(second).await?;
        assert_eq!((second.name, second.posts), (name(), 1));
        cache.invalidate(&["ada"]).await?;
        assert_eq!(cache.entry::<old::Profile>("ada").get().await, None);
        assert_eq!(cache.entry::<new::Profile>("ada").get().await, None);
    }
    assert_eq!(cache.metrics().bad_entries, 0);
    Ok(())
}

async fn a_large_value_is_handed_through(place: Arc<dyn Place>) -> Result<()> {
    let store = place.cache(system()).await?;
    let cache = Cache::with_options(store, exact().value_max(100_000));
    // What repeats itself is small on the way, but the limit is about what a reader must hold.
    let large = || async { Ok::<_, Error>("long ".repeat(40_000)) };
    assert_eq!(cache.entry("k").ttl(TTL).get_or_set(large).await?.len(), 200_000);
    assert_eq!(cache.entry::<String>("k").get().await, None);
    assert!(!cache.entry("k").set(&"x".repeat(100_001)).await);
    assert!(cache.entry("k").set(&"x".repeat(90_000)).await);
    assert_eq!(cache.entry::<String>("k").get().await.map(|text| text.len()), Some(90_000));
    assert_eq!(cache.metrics().unkept, 2);
    Ok(())
}

async fn both_codecs_keep_what_they_take(place: Arc<dyn Place>) -> Result<()> {
    let store = place.cache(system()).await?;
    let json = Cache::with_options(Arc::clone(&store), exact().codec(Codec::Json));
    let compact = Cache::with_options(store, exact());
    let value = serde_json::json!({ "any": ["thing", 1, null] });
    assert!(json.entry("a").set(&value).await);
    assert_eq!(json.entry("a").get().await, Some(value));
    let pair = ("both".to_owned(), 1.5_f64);
    assert!(json.entry("b").set(&pair).await);
    assert_eq!(compact.entry("b").get().await, Some(pair), "each reads the other's");
    Ok(())
}

async fn any_text_is_a_key(place: Arc<dyn Place>) -> Result<()> {
    let cache = open(&place).await?;
    let long = "x".repeat(5_000);
    let keys = ["", " ", "a:b", "a\0b", "a\nb", "~", "{x}", "'; --", "\u{1F980}", "Ä", &long];
    for (value, key) in keys.iter().enumerate() {
        assert!(cache.entry(key).ttl(TTL).tags([key]).set(&value).await, "{key:?}");
    }
    for (value, key) in keys.iter().enumerate() {
        assert_eq!(cache.entry(key).get().await, Some(value), "{key:?}");
        cache.invalidate_tags(&[key]).await?;
        assert_eq!(cache.entry::<usize>(key).get().await, None, "{key:?}");
    }
    Ok(())
}

async fn many_keys_at_once(place: Arc<dyn Place>) -> Result<()> {
    let cache = open(&place).await?;
    let keys: Vec<String> = (0..1_200).map(|n| format!("k{n}")).collect();
    let values: Vec<u32> = (0..1_200).collect();
    let pairs = keys.iter().map(String::as_str).zip(&values);
    assert!(cache.set_many(pairs, TTL).await);
    let mut asked: Vec<&str> = keys.iter().map(String::as_str).collect();
    asked.insert(600, "never set");
    let found = cache.get_many::<u32>(&asked).await;
    assert_eq!((found[0], found[600], found[1_200]), (Some(0), None, Some(1_199)));
    assert_eq!(found.iter().flatten().count(), 1_200);
    cache.invalidate(&asked).await?;
    assert!(cache.get_many::<u32>(&asked).await.iter().all(Option::is_none));
    Ok(())
}

async fn what_is_gone_by_its_time_is_removed(place: Arc<dyn Place>) -> Result<()> {
    let clock = manual();
    let store = place.cache(clock.clone()).await?;
    let cache = Cache::with_options(Arc::clone(&store), exact());
    for n in 0..10 {
        cache.entry(&n.to_string()).ttl(TTL).set(&1_u32).await;
    }
    cache.entry("long").ttl(TTL * 10).set(&1_u32).await;
    assert_eq!(store.purge(100).await?, 0);
    clock.advance(TTL);
    let mut removed = Vec::new();
    for _ in 0..3 {
        removed.push(store.purge(6).await?);
    }
    // A server that removes by itself has nothing to do here.
    assert!(removed == [6, 4, 0] || removed == [0, 0, 0], "{removed:?}");
    assert_eq!(cache.entry("long").get().await, Some(1_u32));
    Ok(())
}
