//! Rate limits in Redis: [`RedisRateLimiter`].
//!
//! ```text
//!   {namespace}:limit:KEY   "SECONDS:NANOSECONDS", when the quota is full again; lives until then
//! ```
//!
//! It is kept ten seconds longer, for a clock that is set back a little or, in a test, stands still.
//!
//! A check is one script, hence one round trip, and never sent twice. Numbers of Lua are exact up to
//! 2^53, which nanoseconds since 1970 exceed: so times are kept in two parts, and what is computed
//! with is their difference to now. That is exact for quotas that come back within 104 days, and
//! within 64 nanoseconds beyond.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use fred::interfaces::KeysInterface;
use fred::types::{Key, Value};
use larder_core::{Clock, Result};

#[doc(no_inline)]
pub use larder_core::rate_limit::*;

use crate::client::Client;
use crate::error::{Effect, classify, unreadable};
use crate::script::script;
use crate::storage::Redis;

script!(static CHECK: Writes = r"
local price, whole = tonumber(ARGV[1]), tonumber(ARGV[2])
local seconds, nanos
if ARGV[3] then
  seconds, nanos = tonumber(ARGV[3]), tonumber(ARGV[4])
else
  local time = redis.call('TIME')
  seconds, nanos = tonumber(time[1]), tonumber(time[2]) * 1000
end
local used = 0
local kept = redis.call('GET', KEYS[1])
if kept then
  local s, n = string.match(kept, '^(%-?%d+):(%d+)$')
  used = math.max((s - seconds) * 1e9 + (n - nanos), 0)
end
if price == 0 then
  return {1, math.min(used, whole)}
end
local allowed, keep = 1, math.min(used, whole) + price
if keep > whole then
  allowed, keep = 0, math.min(used, whole)
  if used <= whole then
    return {0, keep}
  end
end
local total = nanos + keep
local text = string.format('%.0f:%.0f', seconds + math.floor(total / 1e9), total % 1e9)
redis.call('SET', KEYS[1], text, 'PX', string.format('%.0f', math.ceil(keep / 1e6) + 10000))
return {allowed, keep}
");

impl Redis {
    /// Rate limits in this namespace, by the server's clock. Sends nothing.
    ///
    /// ```no_run
    /// use larder_redis::Redis;
    /// use larder_redis::rate_limit::{Quota, RateLimiter};
    ///
    /// # async fn open() -> larder_redis::Result<()> {
    /// let redis = Redis::connect("redis://localhost:6379?namespace=shop").await?;
    /// let outcome = redis.rate_limiter().check("ada", &Quota::per_minute(60), 1).await?;
    /// # Ok(()) }
    /// ```
    pub fn rate_limiter(&self) -> RedisRateLimiter {
        RedisRateLimiter {
            client: self.client().clone(),
            clock: None,
        }
    }
}

/// A [`RateLimiter`] in a Redis namespace. Cheap to clone.
///
/// Keys go by themselves when their quota is full again. A failover may forget the last checks.
#[derive(Clone)]
pub struct RedisRateLimiter {
    client: Client,
    clock: Option<Arc<dyn Clock>>,
}

impl RedisRateLimiter {
    /// The same with a clock that a test moves, in place of the server's.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    fn key(&self, key: &str) -> Bytes {
        self.client.namespace().key(&[b"limit", &stored_key(key)])
    }
}

#[async_trait]
impl RateLimiter for RedisRateLimiter {
    async fn check(&self, key: &str, quota: &Quota, cost: u32) -> Result<Outcome> {
        let (price, whole) = quota.nanos(cost);
        let mut arguments = vec![number(price.unwrap_or(0)), number(whole)];
        if let Some(clock) = &self.clock {
            let now = clock.unix_nanos();
            arguments.push(number(now.div_euclid(1_000_000_000)));
            arguments.push(number(now.rem_euclid(1_000_000_000)));
        }
        let answer = CHECK
            .run(&self.client, vec![self.key(key)], arguments)
            .await?;
        let (allowed, used) = answered(answer)?;
        let allowed = allowed && price.is_some();
        Ok(Outcome::of_use(quota, cost, allowed, used))
    }

    async fn reset(&self, key: &str) -> Result<()> {
        let driver = self.client.ready().await?;
        let removed: std::result::Result<i64, _> = driver.unlink(Key::from(self.key(key))).await;
        removed.map_err(|error| classify(error, Effect::Writes))?;
        Ok(())
    }

    /// Nothing is left to do: keys have a time to live.
    async fn purge(&self, _: u64) -> Result<u64> {
        Ok(0)
    }
}

impl fmt::Debug for RedisRateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisRateLimiter")
            .field(&self.client)
            .finish()
    }
}

fn number(number: i64) -> Bytes {
    number.to_string().into()
}

fn answered(answer: Value) -> Result<(bool, i64)> {
    let Value::Array(items) = answer else {
        return Err(unreadable());
    };
    match (
        items.first().and_then(Value::as_i64),
        items.get(1).and_then(Value::as_i64),
    ) {
        (Some(allowed), Some(used)) => Ok((allowed == 1, used)),
        _ => Err(unreadable()),
    }
}
