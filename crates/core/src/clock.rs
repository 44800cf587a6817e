//! Where `created_at` and `updated_at` get the time from; tests put in their own.

use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::types::Timestamp;

/// A source of the current time. Must not block.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The current time, to the microsecond.
    fn now(&self) -> Timestamp;

    /// The current time in nanoseconds since 1970, as fine as the clock has it; up to the year 2262.
    fn unix_nanos(&self) -> i64 {
        self.now().as_micros().saturating_mul(1_000)
    }
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn unix_nanos(&self) -> i64 {
        i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
    }
}

/// A clock that stands still until a test moves it.
///
/// ```
/// use std::time::Duration;
/// use larder_core::{Clock, ManualClock, Timestamp};
///
/// let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now().as_micros(), 60_000_000);
/// ```
#[derive(Debug)]
pub struct ManualClock(Mutex<Shown>);

#[derive(Clone, Copy, Debug)]
struct Shown {
    time: Timestamp,
    /// Nanoseconds beyond that, less than 1,000.
    nanos: u32,
}

impl ManualClock {
    /// A clock that shows this time.
    pub fn at(now: Timestamp) -> Self {
        Self(Mutex::new(Shown {
            time: now,
            nanos: 0,
        }))
    }

    /// Moves the clock forward; stops at the last representable microsecond.
    pub fn advance(&self, by: Duration) {
        let mut shown = self.shown();
        let nanos = shown.nanos + by.subsec_nanos() % 1_000;
        let carried = Duration::from_micros(u64::from(nanos / 1_000));
        shown.time = shown.time.saturating_add(by).saturating_add(carried);
        shown.nanos = nanos % 1_000;
    }

    /// Sets the clock.
    pub fn set(&self, to: Timestamp) {
        *self.shown() = Shown { time: to, nanos: 0 };
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.shown().time
    }

    fn unix_nanos(&self) -> i64 {
        let shown = *self.shown();
        let micros = shown.time.as_micros().saturating_mul(1_000);
        micros.saturating_add(i64::from(shown.nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_add_up() {
        let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
        clock.advance(Duration::from_nanos(1_999));
        clock.advance(Duration::from_nanos(1));
        assert_eq!((clock.now().as_micros(), clock.unix_nanos()), (2, 2_000));
        clock.advance(Duration::from_nanos(7));
        assert_eq!((clock.now().as_micros(), clock.unix_nanos()), (2, 2_007));
    }
}
