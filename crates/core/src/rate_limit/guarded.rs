//! [`GuardedRateLimiter`]: what stands between requests and a shared store of rate limits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::{Arrival, Outcome, Quota, RateLimiter, stored_key};
use crate::breaker::Breaker;
use crate::error::{Error, ErrorKind, Result};

/// How long a sweep of the keys that are blocked no more lasts, in nanoseconds: under a flood of
/// keys each refusal would look at all of them.
const SWEEP_EVERY: i64 = 1_000_000_000;

/// What to do with a request when the store does not answer in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Let it through: the service matters more than the limit.
    Allow,
    /// Turn it away: the limit protects something, such as passwords from being guessed.
    Deny,
}

/// How a store is guarded. Start from `GuardOptions::default()`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GuardOptions {
    /// See [`budget`](Self::budget).
    pub budget: Duration,
    /// See [`on_failure`](Self::on_failure).
    pub on_failure: OnFailure,
    /// See [`blocked_max`](Self::blocked_max).
    pub blocked_max: usize,
    /// See [`blocked_for`](Self::blocked_for).
    pub blocked_for: Duration,
}

impl Default for GuardOptions {
    fn default() -> Self {
        Self {
            budget: Duration::from_millis(50),
            on_failure: OnFailure::Allow,
            blocked_max: 10_000,
            blocked_for: Duration::from_secs(10),
        }
    }
}

impl GuardOptions {
    /// How long a check may take. Default: 50 ms.
    #[must_use]
    pub fn budget(mut self, budget: Duration) -> Self {
        self.budget = budget;
        self
    }

    /// What to do with a request when the store does not answer in time. Default: allow it.
    #[must_use]
    pub fn on_failure(mut self, choice: OnFailure) -> Self {
        self.on_failure = choice;
        self
    }

    /// How many blocked keys are remembered, so that they are turned away without asking the
    /// store; 0 for none. Default: 10,000.
    #[must_use]
    pub fn blocked_max(mut self, keys: usize) -> Self {
        self.blocked_max = keys;
        self
    }

    /// For how long at most a key is turned away without asking: so much later a
    /// [reset](RateLimiter::reset) by another process is noticed. Default: 10 s.
    #[must_use]
    pub fn blocked_for(mut self, time: Duration) -> Self {
        self.blocked_for = time;
        self
    }
}

/// A rate limiter around a shared one, for services whose store may be slow, down or attacked.
///
/// - A check takes at most its budget. After that, and when the store fails, the request is
///   allowed or denied as [`OnFailure`] says; the outcome [says so](Outcome::is_certain). After some
///   failures in a row the store is left alone for a while, and checks cost nothing.
/// - Who was turned away is turned away again without asking until the time told has passed. Only
///   who was: as what is kept grows with every request, that answer is the store's.
///
/// ```
/// use larder_core::rate_limit::{GuardOptions, GuardedRateLimiter, LocalRateLimiter, OnFailure};
/// use larder_core::rate_limit::{Quota, RateLimiter};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// let store = LocalRateLimiter::new(); // a shared one, in truth
/// let options = GuardOptions::default().on_failure(OnFailure::Deny);
/// let logins = GuardedRateLimiter::with_options(store, options);
/// assert!(logins.check("ada", &Quota::per_hour(10), 1).await?.is_certain);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct GuardedRateLimiter {
    store: Arc<dyn RateLimiter>,
    options: GuardOptions,
    breaker: Breaker,
    started: Instant,
    blocked: Mutex<BlockedKeys>,
}

#[derive(Debug, Default)]
struct BlockedKeys {
    keys: HashMap<Box<[u8]>, Blocked>,
    /// Not to be swept again before.
    sweep_at: i64,
}

/// What is known of a key that was turned away, by this process's time.
#[derive(Clone, Copy, Debug)]
struct Blocked {
    quota: Quota,
    /// When its quota is full again; not later than by the store.
    arrival: Arrival,
    until: i64,
}

impl GuardedRateLimiter {
    /// A guard with the default options.
    pub fn new(store: impl RateLimiter) -> Self {
        Self::with_options(store, GuardOptions::default())
    }

    /// A guard with these options.
    pub fn with_options(store: impl RateLimiter, options: GuardOptions) -> Self {
        Self::from_shared(Arc::new(store), options)
    }

    /// A guard of a store that others hold too.
    pub fn from_shared(store: Arc<dyn RateLimiter>, options: GuardOptions) -> Self {
        Self {
            store,
            options,
            breaker: Breaker::default(),
            started: Instant::now(),
            blocked: Mutex::default(),
        }
    }

    fn now(&self) -> i64 {
        self.started.elapsed().as_nanos() as i64 // 292 years
    }

    fn blocked(&self) -> MutexGuard<'_, BlockedKeys> {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to a key of which it is known without asking.
    fn refused(&self, key: &str, quota: &Quota, cost: u32) -> Option<Outcome> {
        let now = self.now();
        let blocked = *self.blocked().keys.get(&*stored_key(key))?;
        if blocked.quota != *quota || blocked.until <= now || cost == 0 {
            return None;
        }
        let outcome = Arrival::step(Some(blocked.arrival), quota, cost, now).outcome;
        (!outcome.allowed).then_some(outcome)
    }

    /// Remembers who was turned away. `asked` is before the store told the time.
    fn remember(&self, key: &str, outcome: &Outcome, asked: i64) {
        let Some(retry) = outcome.retry_after else {
            return; // costs more than the burst, whoever asks
        };
        let lasts = retry.min(self.options.blocked_for);
        let new = Blocked {
            quota: outcome.quota,
            arrival: Arrival(asked.saturating_add(nanos(outcome.reset_after))),
            until: asked.saturating_add(nanos(lasts)),
        };
        let (now, keys_max) = (self.now(), self.options.blocked_max);
        self.blocked()
            .insert(stored_key(key).into(), new, now, keys_max);
    }

    /// Asks the store within the budget.
    async fn ask<T>(&self, question: impl Future<Output = Result<T>>) -> Result<T> {
        if !self.breaker.allows() {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "the store of the rate limits has failed several times and is left alone for a while",
            ));
        }
        let answer = match tokio::time::timeout(self.options.budget, question).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::new(
                ErrorKind::Timeout,
                "the store of the rate limits did not answer within the budget",
            )),
        };
        self.breaker.note(answer.is_ok());
        answer.inspect_err(|error| {
            let choice = self.options.on_failure;
            tracing::warn!(%error, ?choice, "the store of the rate limits failed");
        })
    }

    /// The answer when there is none.
    fn choose(&self, quota: &Quota, cost: u32) -> Outcome {
        let allowed = self.options.on_failure == OnFailure::Allow;
        let used = if allowed { 0 } else { quota.whole() };
        Outcome {
            is_certain: false,
            ..Outcome::of_use(quota, cost.min(quota.burst), allowed, used)
        }
    }
}

impl BlockedKeys {
    /// Remembers a key, if there is room. The others are asked for again and again, which costs them
    /// no more than it did before.
    fn insert(&mut self, key: Box<[u8]>, new: Blocked, now: i64, keys_max: usize) {
        if self.keys.len() >= keys_max && self.sweep_at <= now {
            self.keys.retain(|_, one| one.until > now);
            self.sweep_at = now.saturating_add(SWEEP_EVERY);
        }
        if self.keys.len() < keys_max || self.keys.contains_key(&key) {
            self.keys.insert(key, new);
        }
    }
}

#[async_trait]
impl RateLimiter for GuardedRateLimiter {
    /// Never an error.
    async fn check(&self, key: &str, quota: &Quota, cost: u32) -> Result<Outcome> {
        if let Some(outcome) = self.refused(key, quota, cost) {
            return Ok(outcome);
        }
        let asked = self.now();
        match self.ask(self.store.check(key, quota, cost)).await {
            Ok(outcome) => {
                if !outcome.allowed {
                    self.remember(key, &outcome, asked);
                }
                Ok(outcome)
            }
            Err(_) => Ok(self.choose(quota, cost)),
        }
    }

    async fn reset(&self, key: &str) -> Result<()> {
        let reset = self.ask(self.store.reset(key)).await;
        self.blocked().keys.remove(&*stored_key(key));
        reset
    }

    async fn purge(&self, limit: u64) -> Result<u64> {
        self.store.purge(limit).await
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocked_keys_are_bounded_and_swept_once_in_a_while() {
        let mut blocked = BlockedKeys::default();
        let until = |until| Blocked {
            quota: Quota::per_hour(1),
            arrival: Arrival(until),
            until,
        };
        let key = |number: u8| -> Box<[u8]> { [number].into() };
        for number in 0..10 {
            blocked.insert(key(number), until(5), 0, 3);
        }
        assert_eq!(blocked.keys.len(), 3);
        blocked.insert(key(0), until(7), 6, 3);
        assert_eq!(blocked.keys[&key(0)].until, 7, "it has its place");
        blocked.insert(key(8), until(9), 6, 3);
        assert_eq!(blocked.keys.len(), 3, "not swept again so soon");
        blocked.insert(key(8), until(SWEEP_EVERY + 9), SWEEP_EVERY, 3);
        assert_eq!(blocked.keys.len(), 1);
    }
}
