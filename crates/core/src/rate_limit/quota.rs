//! [`Quota`]: how many requests in a time.

use std::time::Duration;

use crate::error::{Error, Result};

/// The longest time in which a burst comes back: ten years of 365 days, in nanoseconds. So no sum of a
/// time and a quota leaves 64 bits before 2262.
const WHOLE_NANOS_MAX: u128 = 10 * 365 * 24 * 3_600 * 1_000_000_000;
const SECOND: u64 = 1_000_000_000;

/// How many requests in a time, and how many at once.
///
/// ```
/// use std::time::Duration;
/// use larder_core::Quota;
///
/// let quota = Quota::per_minute(120).burst(10);
/// assert_eq!(quota.interval(), Duration::from_millis(500));
/// let weekly = Quota::new(3, Duration::from_secs(7 * 24 * 3600))?;
/// assert_eq!(weekly.burst_size(), 3); // all at once, unless said otherwise
/// # Ok::<(), larder_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    /// From one request to the next, in nanoseconds; at least 1.
    pub(super) interval: u64,
    /// At least 1.
    pub(super) burst: u32,
}

impl Quota {
    /// So many requests every second, all of which may come at once. None is taken for one, and more
    /// than one a nanosecond for that.
    pub const fn per_second(requests: u32) -> Self {
        Self::over(requests, SECOND)
    }

    /// So many requests every minute, all of which may come at once. None is taken for one.
    pub const fn per_minute(requests: u32) -> Self {
        Self::over(requests, 60 * SECOND)
    }

    /// So many requests every hour, all of which may come at once. None is taken for one.
    pub const fn per_hour(requests: u32) -> Self {
        Self::over(requests, 3_600 * SECOND)
    }

    const fn over(requests: u32, nanos: u64) -> Self {
        let requests = if requests == 0 { 1 } else { requests };
        let interval = nanos / requests as u64;
        Self {
            interval: if interval == 0 { 1 } else { interval },
            burst: requests,
        }
        .bounded()
    }

    /// So many requests in any such time, all of which may come at once. The time between two is
    /// rounded down to whole nanoseconds.
    ///
    /// # Errors
    /// `Misuse` for no requests, more than one a nanosecond, or a time of more than ten years.
    pub fn new(requests: u32, time: Duration) -> Result<Self> {
        let interval = time.as_nanos().checked_div(u128::from(requests));
        match interval {
            Some(interval @ 1..) if time.as_nanos() <= WHOLE_NANOS_MAX => Ok(Self {
                interval: interval as u64,
                burst: requests,
            }),
            _ => Err(Error::misuse(
                "a quota is of 1 request or more, at most one a nanosecond, in at most ten years",
            )),
        }
    }

    /// How many may come at once; at least 1. What would take longer than ten years to come back is
    /// cut.
    #[must_use]
    pub const fn burst(mut self, requests: u32) -> Self {
        self.burst = if requests == 0 { 1 } else { requests };
        self.bounded()
    }

    const fn bounded(mut self) -> Self {
        let most = WHOLE_NANOS_MAX / self.interval as u128;
        if self.burst as u128 > most {
            self.burst = most as u32; // less than the burst, and 1 at least by `new`
        }
        self
    }

    /// How many may come at once.
    pub const fn burst_size(&self) -> u32 {
        self.burst
    }

    /// How long it takes until one more is there.
    pub const fn interval(&self) -> Duration {
        Duration::from_nanos(self.interval)
    }

    /// How long it takes until the whole burst is there again.
    pub const fn window(&self) -> Duration {
        Duration::from_nanos(self.whole() as u64)
    }

    /// The same in nanoseconds.
    pub(super) const fn whole(&self) -> i64 {
        self.interval as i64 * self.burst as i64 // at most ten years
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_bounded() -> Result<()> {
        assert!(Quota::new(0, Duration::from_secs(1)).is_err());
        assert!(Quota::new(2, Duration::from_nanos(1)).is_err());
        assert!(Quota::new(1, Duration::MAX).is_err());
        let slow = Quota::new(1, Duration::from_nanos(WHOLE_NANOS_MAX as u64))?;
        assert_eq!(slow.burst(7), slow);
        assert_eq!(Quota::per_second(u32::MAX).interval, 1);
        assert_eq!(Quota::per_second(0), Quota::per_second(1));
        Ok(())
    }
}
