//! [`LocalRateLimiter`]: rate limits within one process.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use async_trait::async_trait;

use super::{Arrival, Outcome, Quota, RateLimiter, stored_key};
use crate::clock::Clock;
use crate::error::Result;

/// How many parts the keys are in, each with a lock of its own.
const PARTS: usize = 16;
/// Of a part that is full, one of so many keys goes.
const GOING: usize = 8;

/// Counts requests within this process. Clones count together.
///
/// A check takes a lock for some nanoseconds and never waits for anything else. By default it tells
/// the time by a clock that is never set.
///
/// It keeps a bounded number of keys ([`keys_max`](Self::keys_max)). When they are too many, those go
/// whose quota is full again, which changes nothing; if these do not suffice, those that have used
/// least. So a flood of new keys costs no memory, and forgets those last who are blocked.
#[derive(Clone, Debug)]
pub struct LocalRateLimiter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    parts: [Mutex<Part>; PARTS],
    hasher: RandomState,
    part_max: usize,
    time: Time,
}

type Part = HashMap<Box<[u8]>, Arrival>;

#[derive(Debug)]
enum Time {
    /// Since then, which no setting of the system's clock changes.
    Passed(Instant),
    Told(Arc<dyn Clock>),
}

impl Default for LocalRateLimiter {
    fn default() -> Self {
        Self::new()
    }
}

impl LocalRateLimiter {
    /// A limiter of at most 100,000 keys.
    pub fn new() -> Self {
        Self::with(100_000, Time::Passed(Instant::now()))
    }

    /// A limiter of at most so many keys, at least 16. A key takes about 100 bytes.
    pub fn keys_max(keys: usize) -> Self {
        Self::with(keys, Time::Passed(Instant::now()))
    }

    /// A limiter of at most so many keys by another clock: a test's.
    pub fn with_clock(keys_max: usize, clock: Arc<dyn Clock>) -> Self {
        Self::with(keys_max, Time::Told(clock))
    }

    fn with(keys_max: usize, time: Time) -> Self {
        Self {
            shared: Arc::new(Shared {
                parts: Default::default(),
                hasher: RandomState::new(),
                part_max: (keys_max / PARTS).max(1),
                time,
            }),
        }
    }

    /// How many keys are kept.
    pub fn len(&self) -> usize {
        let parts = self.shared.parts.iter();
        parts.map(|part| lock(part).len()).sum()
    }

    /// Whether no key is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn part(&self, key: &[u8]) -> MutexGuard<'_, Part> {
        let hash = self.shared.hasher.hash_one(key) as usize;
        lock(&self.shared.parts[hash % PARTS])
    }

    /// [`check`](RateLimiter::check), without a future.
    pub fn check_now(&self, key: &str, quota: &Quota, cost: u32) -> Outcome {
        let key = stored_key(key);
        let mut part = self.part(&key);
        // Behind the lock, so that time does not run backwards for a key.
        let now = self.shared.time.nanos();
        let step = Arrival::step(part.get(&*key).copied(), quota, cost, now);
        if let Some(keep) = step.keep {
            if let Some(kept) = part.get_mut(&*key) {
                *kept = keep;
            } else {
                make_room(&mut part, self.shared.part_max, now);
                part.insert(key.into(), keep);
            }
        }
        step.outcome
    }
}

#[async_trait]
impl RateLimiter for LocalRateLimiter {
    async fn check(&self, key: &str, quota: &Quota, cost: u32) -> Result<Outcome> {
        Ok(self.check_now(key, quota, cost))
    }

    async fn reset(&self, key: &str) -> Result<()> {
        let key = stored_key(key);
        self.part(&key).remove(&*key);
        Ok(())
    }

    async fn purge(&self, limit: u64) -> Result<u64> {
        let now = self.shared.time.nanos();
        let mut left = limit;
        for part in &self.shared.parts {
            lock(part).retain(|_, kept| {
                let goes = left > 0 && kept.0 <= now;
                left -= u64::from(goes);
                !goes
            });
        }
        Ok(limit - left)
    }
}

impl Time {
    fn nanos(&self) -> i64 {
        match self {
            Self::Passed(since) => since.elapsed().as_nanos() as i64, // 292 years
            Self::Told(clock) => clock.unix_nanos(),
        }
    }
}

/// Makes room for one more key, if the part is full: looking at all its keys pays for the next
/// eighth of them.
fn make_room(part: &mut Part, keys_max: usize, now: i64) {
    if part.len() < keys_max {
        return;
    }
    part.retain(|_, kept| kept.0 > now);
    let room = keys_max.div_ceil(GOING);
    let Some(over) = (part.len() + room)
        .checked_sub(keys_max)
        .filter(|&over| over > 0)
    else {
        return;
    };
    let mut arrivals: Vec<_> = part.values().copied().collect();
    let (_, &mut last, _) = arrivals.select_nth_unstable(over - 1);
    let mut left = over;
    part.retain(|_, kept| {
        let goes = left > 0 && *kept <= last;
        left -= usize::from(goes);
        !goes
    });
}

fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ManualClock, Timestamp};
    use std::time::Duration;

    fn limiter(keys_max: usize) -> (LocalRateLimiter, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(Timestamp::UNIX_EPOCH));
        let limiter = LocalRateLimiter::with_clock(keys_max, Arc::clone(&clock) as _);
        (limiter, clock)
    }

    #[test]
    fn a_flood_of_keys_costs_no_memory_and_frees_nobody() {
        let (limiter, _) = limiter(1_600);
        let quota = Quota::per_hour(5);
        for _ in 0..5 {
            assert!(limiter.check_now("attacker", &quota, 1).allowed);
        }
        for number in 0..20_000 {
            limiter.check_now(&number.to_string(), &quota, 1);
            assert!(limiter.len() <= 1_600);
        }
        assert!(!limiter.check_now("attacker", &quota, 1).allowed);
    }

    #[tokio::test]
    async fn what_is_full_again_goes() -> Result<()> {
        let (limiter, clock) = limiter(1_000);
        let quota = Quota::per_second(1);
        for number in 0..10 {
            limiter.check_now(&number.to_string(), &quota, 1);
        }
        assert_eq!(limiter.purge(100).await?, 0);
        clock.advance(Duration::from_secs(1));
        assert_eq!(limiter.purge(4).await?, 4);
        assert_eq!(limiter.purge(100).await?, 6);
        assert!(limiter.is_empty());
        Ok(())
    }
}
