//! [`Breaker`]: asks what fails only now and then.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Failures in a row from which on it is left alone.
const FAILURES_MAX: u32 = 5;
/// For how long at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Counts failures in a row. After some, calls are refused for a while; then one is let through to
/// see, and if it fails, the pause is twice as long.
#[derive(Debug)]
pub(crate) struct Breaker {
    failures: AtomicU32,
    /// When the next call may go, in milliseconds from `started`.
    closed_until: AtomicU64,
    started: Instant,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures: AtomicU32::new(0),
            closed_until: AtomicU64::new(0),
            started: Instant::now(),
        }
    }
}

impl Breaker {
    /// Whether a call may be made. The first one after a pause extends it, so that one goes alone.
    pub(crate) fn allows(&self) -> bool {
        let failures = self.failures.load(Ordering::Relaxed);
        if failures < FAILURES_MAX {
            return true;
        }
        let (now, until) = (self.now(), self.closed_until.load(Ordering::Relaxed));
        if now < until {
            return false;
        }
        let next = now + millis(pause(failures));
        let exchange =
            self.closed_until
                .compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed);
        exchange.is_ok()
    }

    /// Takes note of how a call went.
    pub(crate) fn note(&self, well: bool) {
        if well {
            if self.failures.load(Ordering::Relaxed) != 0 {
                self.failures.store(0, Ordering::Relaxed);
            }
            return;
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if failures >= FAILURES_MAX {
            let until = self.now() + millis(pause(failures));
            self.closed_until.store(until, Ordering::Relaxed);
        }
    }

    fn now(&self) -> u64 {
        millis(self.started.elapsed())
    }
}

fn pause(failures: u32) -> Duration {
    let doubled = failures.saturating_sub(FAILURES_MAX).min(16);
    PAUSES.0.saturating_mul(1 << doubled).min(PAUSES.1)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_failures_in_a_row_close_it_and_one_success_opens_it() {
        let breaker = Breaker::default();
        for _ in 1..FAILURES_MAX {
            breaker.note(false);
            assert!(breaker.allows());
        }
        breaker.note(false);
        assert!(!breaker.allows());
        breaker.note(true);
        assert!(breaker.allows());
    }

    #[test]
    fn after_a_pause_one_call_goes_alone() {
        let breaker = Breaker::default();
        for _ in 0..FAILURES_MAX {
            breaker.note(false);
        }
        breaker.closed_until.store(0, Ordering::Relaxed);
        assert!(breaker.allows());
        assert!(!breaker.allows());
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        let pauses = [5, 6, 9, 10, u32::MAX].map(pause);
        assert_eq!(pauses, [1, 2, 16, 30, 30].map(Duration::from_secs));
    }
}
