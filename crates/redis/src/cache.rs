//! A cache in Redis: [`RedisCache`].
//!
//! ```text
//!   {namespace}:cache:KEY   hash: v value, h its shape, f fresh until, k kept until, g tags' versions,
//!                                 t token, x lease until, l the lease's tags, c a counter
//!   {namespace}:ctag:TAG    the tag's version
//! ```
//!
//! Each call is one script or one command, hence one round trip. Times are microseconds of the
//! server's clock. Everything has a time to live; the server may also evict (`maxmemory-policy`
//! `allkeys-lru` or `-lfu`): what is evicted is a miss, a lease that is evicted has ended, and a tag
//! whose version is evicted has been revoked.

mod scripts;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fred::interfaces::KeysInterface;
use fred::types::{Key, Value};
use larder_core::{Clock, Error, ErrorKind, Result};

#[doc(no_inline)]
pub use larder_core::cache::*;

use crate::client::Client;
use crate::error::{Effect, classify};
use crate::storage::Redis;

/// How many keys one command or script takes at a time, so that others get their turn.
const KEYS_MAX: usize = 500;

impl Redis {
    /// A cache in this namespace. Sends nothing.
    ///
    /// ```no_run
    /// use larder_redis::{Redis, cache::Cache};
    ///
    /// # async fn open() -> larder_redis::Result<()> {
    /// let redis = Redis::connect("redis://localhost:6379?namespace=shop").await?;
    /// let cache = Cache::new(redis.cache());
    /// # Ok(()) }
    /// ```
    pub fn cache(&self) -> RedisCache {
        RedisCache {
            client: self.client().clone(),
            clock: None,
        }
    }
}

/// A [`CacheStore`] in a Redis namespace. Cheap to clone.
#[derive(Clone)]
pub struct RedisCache {
    client: Client,
    clock: Option<Arc<dyn Clock>>,
}

impl RedisCache {
    /// The same with a clock that a test moves, in place of the server's.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    fn key(&self, key: &str) -> Bytes {
        self.client.namespace().key(&[b"cache", key.as_bytes()])
    }

    fn tag(&self, tag: &str) -> Bytes {
        self.client.namespace().key(&[b"ctag", tag.as_bytes()])
    }

    /// The first arguments of every script: the time, if it is not the server's, and how tags' keys
    /// begin.
    fn context(&self) -> Vec<Bytes> {
        let now = self.clock.as_ref().map(|clock| clock.now().as_micros());
        let now = now.map(|now| now.to_string()).unwrap_or_default();
        vec![now.into(), self.tag("")]
    }

    /// The arguments that say which tags, each with the version it gets if it has none.
    fn tags(tags: &[String]) -> Result<Vec<Bytes>> {
        let mut arguments = vec![tags.len().to_string().into()];
        for tag in tags {
            arguments.push(tag.clone().into());
            arguments.push(Token::random()?.as_i64().to_string().into());
        }
        Ok(arguments)
    }

    async fn unlink(&self, keys: Vec<Bytes>) -> Result<()> {
        for keys in keys.chunks(KEYS_MAX) {
            let keys: Vec<Key> = keys.iter().cloned().map(Key::from).collect();
            let driver = self.client.ready().await?;
            let removed: std::result::Result<i64, _> = driver.unlink(keys).await;
            removed.map_err(|error| classify(error, Effect::Writes))?;
        }
        Ok(())
    }
}

impl fmt::Debug for RedisCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisCache").field(&self.client).finish()
    }
}

#[async_trait]
impl CacheStore for RedisCache {
    async fn get(&self, keys: &[&str], shape: u64) -> Result<Vec<Option<Found>>> {
        let mut all = Vec::with_capacity(keys.len());
        for keys in keys.chunks(KEYS_MAX) {
            let names = keys.iter().map(|key| self.key(key)).collect();
            let mut arguments = self.context();
            arguments.push(number(shape));
            let answer = scripts::GET.run(&self.client, names, arguments).await?;
            for one in items(answer)? {
                all.push(found(&mut items(one)?.into_iter())?);
            }
        }
        Ok(all)
    }

    async fn lease(&self, request: LeaseRequest<'_>) -> Result<Leased> {
        let mut arguments = self.context();
        arguments.extend([
            number(request.shape),
            number(request.token.as_i64()),
            micros(request.lease),
            number(u8::from(request.even_if_fresh)),
        ]);
        arguments.extend(Self::tags(request.tags)?);
        let keys = vec![self.key(request.key)];
        let answer = scripts::LEASE.run(&self.client, keys, arguments).await?;
        let mut answer = items(answer)?.into_iter();
        let (verdict, wait) = (int(answer.next())?, int(answer.next())?);
        let kept = found(&mut answer)?;
        match (verdict, kept) {
            (0, Some(found)) => Ok(Leased::Fresh(found)),
            (1, kept) => Ok(Leased::Taken { kept }),
            (2, kept) => Ok(Leased::Busy {
                kept,
                wait: Duration::from_micros(wait.max(0) as u64),
            }),
            _ => Err(unexpected()),
        }
    }

    async fn fill(&self, key: &str, token: Token, entry: NewEntry) -> Result<bool> {
        let mut arguments = self.context();
        arguments.push(number(token.as_i64()));
        arguments.extend(written(entry));
        let keys = vec![self.key(key)];
        let answer = scripts::FILL.run(&self.client, keys, arguments).await?;
        Ok(int(Some(answer))? == 1)
    }

    async fn release(&self, key: &str, token: Token) -> Result<()> {
        let (keys, arguments) = (vec![self.key(key)], vec![number(token.as_i64())]);
        let released = scripts::RELEASE.run(&self.client, keys, arguments).await;
        released.map(drop)
    }

    async fn set(&self, entries: Vec<(String, NewEntry)>, tags: &[String]) -> Result<()> {
        let tags = Self::tags(tags)?;
        let mut entries = entries.into_iter().peekable();
        while entries.peek().is_some() {
            let (mut keys, mut arguments) = (Vec::new(), self.context());
            arguments.extend(tags.iter().cloned());
            for (key, entry) in entries.by_ref().take(KEYS_MAX) {
                keys.push(self.key(&key));
                arguments.extend(written(entry));
            }
            scripts::SET.run(&self.client, keys, arguments).await?;
        }
        Ok(())
    }

    async fn delete(&self, keys: &[&str]) -> Result<()> {
        let keys = keys.iter().map(|key| self.key(key)).collect();
        self.unlink(keys).await
    }

    async fn discard(&self, key: &str, value: &[u8]) -> Result<()> {
        let (keys, arguments) = (vec![self.key(key)], vec![Bytes::copy_from_slice(value)]);
        let discarded = scripts::DISCARD.run(&self.client, keys, arguments).await;
        discarded.map(drop)
    }

    async fn revoke_tags(&self, tags: &[&str]) -> Result<()> {
        // A version that is missing counts as another one.
        let tags = tags.iter().map(|tag| self.tag(tag)).collect();
        self.unlink(tags).await
    }

    async fn add(&self, key: &str, by: i64, keep: Duration) -> Result<i64> {
        let mut arguments = self.context();
        arguments.extend([number(by), micros(keep)]);
        let keys = vec![self.key(key)];
        let answer = scripts::ADD.run(&self.client, keys, arguments).await?;
        // As text: numbers of Lua are exact up to 53 bits only.
        match answer.as_str().and_then(|text| text.parse().ok()) {
            Some(count) => Ok(count),
            None => Err(Error::invalid(
                "the counter would leave the range of 64 bits; it stays as it is",
            )),
        }
    }

    async fn purge(&self, _: usize) -> Result<usize> {
        Ok(0)
    }
}

fn number(number: impl ToString) -> Bytes {
    number.to_string().into()
}

/// At most some 30 years, which doubles count exactly.
fn micros(time: Duration) -> Bytes {
    number(time.as_micros().min(1_000_000_000_000_000))
}

/// An entry as arguments.
fn written(entry: NewEntry) -> [Bytes; 4] {
    let (fresh, stale) = (micros(entry.fresh), micros(entry.stale));
    [entry.value, number(entry.shape), fresh, stale]
}

/// What a script answers of an entry: its bytes and how long they are fresh, or nothing.
fn found(answer: &mut impl Iterator<Item = Value>) -> Result<Option<Found>> {
    let Some(value) = answer.next().filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let value = value.into_bytes().ok_or_else(unexpected)?;
    let fresh = int(answer.next())?;
    let fresh_for = (fresh > 0).then(|| Duration::from_micros(fresh as u64));
    Ok(Some(Found { value, fresh_for }))
}

fn items(value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(items) => Ok(items),
        _ => Err(unexpected()),
    }
}

fn int(value: Option<Value>) -> Result<i64> {
    let value = value.and_then(|value| value.as_i64());
    value.ok_or_else(unexpected)
}

#[cold]
fn unexpected() -> Error {
    let message = "Redis answered what the script does not say: does another program use its name?";
    Error::new(ErrorKind::Corrupt, message)
}
