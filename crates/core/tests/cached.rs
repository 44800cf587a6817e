//! `#[cached]` on functions and methods.

use std::sync::atomic::{AtomicU32, Ordering};

use larder_core::cache::{Cache, LocalCache, cached};

type Outcome<T> = Result<T, String>;

fn cache() -> Cache {
    Cache::new(LocalCache::new(1 << 20))
}

/// Doubles, and counts how often it had to.
#[cached(ttl = "1h 30m", prefix = "double", skip(calls))]
async fn double(cache: &Cache, calls: &AtomicU32, number: i64, name: &str) -> Outcome<String> {
    calls.fetch_add(1, Ordering::SeqCst);
    let doubled = number.checked_mul(2).ok_or("too large")?;
    Ok(format!("{name} {doubled}"))
}

#[tokio::test]
async fn an_answer_is_kept_by_its_arguments() -> Outcome<()> {
    let (cache, calls) = (cache(), AtomicU32::new(0));
    for _ in 0..3 {
        assert_eq!(double(&cache, &calls, 2, "a").await?, "a 4");
    }
    assert_eq!(double(&cache, &calls, 2, "b").await?, "b 4");
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    double::invalidate(&cache, 2, "a")
        .await
        .map_err(|e| e.to_string())?;
    double(&cache, &calls, 2, "a").await?;
    double(&cache, &calls, 2, "b").await?;
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    Ok(())
}

#[tokio::test]
async fn an_error_is_not_kept_whatever_its_result_is_called() {
    let (cache, calls) = (cache(), AtomicU32::new(0));
    for _ in 0..2 {
        let error = double(&cache, &calls, i64::MAX, "a").await;
        assert_eq!(error, Err("too large".to_owned()));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[test]
fn keys_say_where_each_argument_ends() {
    #[cached(ttl = "1s", prefix = "pair", infallible)]
    async fn pair(cache: &Cache, one: &str, other: &str) -> u32 {
        (one.len() + other.len()) as u32
    }
    let key = |one, other| pair::key(one, other).expect("texts can be written");
    assert_ne!(key("ab", "c"), key("a", "bc"));
    assert_ne!(key("", "x"), key("x", ""));
    assert_eq!(key("ab", "c"), "pair:AmFiAWM");
    let _ = pair;
}

struct Shop {
    cache: Cache,
    asked: AtomicU32,
}

impl Shop {
    /// A price, if there is one.
    #[cached(
        ttl = "10m",
        absent = "5s",
        prefix = "price",
        tags("prices", "shelf:{shelf}"),
        cache = self.cache
    )]
    async fn price(&self, shelf: u8, mut name: String) -> Result<Option<u32>, String> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        name.make_ascii_lowercase();
        Ok((name == "tea").then_some(3))
    }

    /// The number of shelves.
    #[cached(ttl = "10m", cache = self.cache, infallible)]
    async fn shelves(&self) -> usize {
        self.asked.fetch_add(1, Ordering::SeqCst);
        7
    }
}

#[tokio::test]
async fn methods_are_cached_and_forgotten_by_key_or_tag() -> Result<(), Box<dyn std::error::Error>>
{
    let shop = Shop {
        cache: cache(),
        asked: AtomicU32::new(0),
    };
    let asked = || shop.asked.swap(0, Ordering::SeqCst);
    for _ in 0..2 {
        assert_eq!(shop.price(1, "Tea".into()).await?, Some(3));
        assert_eq!(shop.price(1, "salt".into()).await?, None, "kept too");
        assert_eq!(shop.price(2, "Tea".into()).await?, Some(3));
    }
    assert_eq!(asked(), 3);
    shop.invalidate_price(1, "Tea".into()).await?;
    shop.price(1, "Tea".into()).await?;
    assert_eq!(asked(), 1);
    shop.cache.invalidate_tags(&["shelf:1"]).await?;
    shop.price(1, "Tea".into()).await?;
    shop.price(1, "salt".into()).await?;
    shop.price(2, "Tea".into()).await?;
    assert_eq!(asked(), 2);
    assert_eq!(
        Shop::price_key(1, "Tea".into())?,
        Shop::price_key(1, "Tea".into())?
    );

    assert_eq!((shop.shelves().await, shop.shelves().await), (7, 7));
    shop.invalidate_shelves().await?;
    assert_eq!(shop.shelves().await, 7);
    assert_eq!(asked(), 2);
    Ok(())
}

#[tokio::test]
async fn futures_can_be_spawned() -> Result<(), Box<dyn std::error::Error>> {
    let (cache, calls) = (cache(), std::sync::Arc::new(AtomicU32::new(0)));
    let spawned = tokio::spawn(async move { double(&cache, &calls, 1, "a").await });
    assert_eq!(spawned.await??, "a 2");
    Ok(())
}

/// Arguments that serde cannot write: nothing is cached, and nothing breaks.
#[tokio::test]
async fn what_cannot_be_a_key_is_not_cached() -> Outcome<()> {
    struct Odd;
    impl serde::Serialize for Odd {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("never"))
        }
    }
    #[cached(ttl = "1h")]
    async fn odd(cache: &Cache, odd: &Odd) -> Outcome<u32> {
        let _ = odd;
        Ok(1)
    }
    let cache = cache();
    assert_eq!((odd(&cache, &Odd).await?, odd(&cache, &Odd).await?), (1, 1));
    assert!(
        odd::invalidate(&cache, &Odd)
            .await
            .is_err_and(|error| error.is_invalid())
    );
    assert_eq!(cache.metrics().fills, 0);
    Ok(())
}
