//! The arithmetic of the rate limits, in whole nanoseconds: [`Arrival`].

use std::time::Duration;

use super::{Outcome, Quota};

/// What is kept of a key: when its quota is full again, in nanoseconds of some clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival(pub i64);

/// What a check makes of an [`Arrival`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is to be kept instead, if it is another.
    pub keep: Option<Arrival>,
    /// The answer.
    pub outcome: Outcome,
}

impl Arrival {
    /// Carries out a check at this time; `kept` is `None` of a key that nothing is known of.
    ///
    /// ```
    /// use larder_core::rate_limit::{Arrival, Quota};
    ///
    /// let quota = Quota::per_second(1);
    /// let first = Arrival::step(None, &quota, 1, 0);
    /// assert_eq!(first.keep, Some(Arrival(1_000_000_000)));
    /// assert!(!Arrival::step(first.keep, &quota, 1, 999_999_999).outcome.allowed);
    /// assert!(Arrival::step(first.keep, &quota, 1, 1_000_000_000).outcome.allowed);
    /// ```
    pub fn step(kept: Option<Self>, quota: &Quota, cost: u32, now: i64) -> Step {
        let whole = quota.whole();
        // Not further ahead than a whole quota: it may be of a clock that was set back, or of a
        // larger quota.
        let latest = now.saturating_add(whole);
        let capped = kept.map(|Self(tat)| tat.min(latest));
        let used = capped.map_or(0, |tat| tat.saturating_sub(now).max(0));
        let allowed = quota.price(cost).is_some_and(|price| used + price <= whole);
        let keep = match quota.price(cost) {
            Some(price @ 1..) if allowed => Some(Self(now.saturating_add(used + price))),
            Some(1..) => capped.map(Self).filter(|capped| Some(*capped) != kept),
            _ => None,
        };
        let used = match keep {
            Some(Self(tat)) if allowed => tat - now,
            _ => used,
        };
        Step {
            keep,
            outcome: Outcome::of_use(quota, cost, allowed, used),
        }
    }
}

impl Quota {
    /// What the requests cost, in nanoseconds; `None` if they never fit.
    pub(super) fn price(&self, cost: u32) -> Option<i64> {
        (cost <= self.burst).then(|| self.interval as i64 * i64::from(cost))
    }

    /// The numbers by which a store steps: the price (`None` if it never fits) and the whole burst,
    /// in nanoseconds.
    pub fn nanos(&self, cost: u32) -> (Option<i64>, i64) {
        (self.price(cost), self.whole())
    }
}

impl Outcome {
    /// The answer to a check behind which so much is used, in nanoseconds.
    pub fn of_use(quota: &Quota, cost: u32, allowed: bool, used: i64) -> Self {
        let whole = quota.whole();
        let used = used.clamp(0, whole);
        let retry = |price: i64| nanos(used + price - whole);
        Self {
            allowed,
            quota: *quota,
            remaining: ((whole - used) / quota.interval as i64) as u32,
            retry_after: quota.price(cost).filter(|_| !allowed).map(retry),
            reset_after: nanos(used),
            is_certain: true,
        }
    }
}

fn nanos(nanos: i64) -> Duration {
    Duration::from_nanos(nanos.max(0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_700_000_000_000_000_000;

    #[test]
    fn a_clock_set_back_locks_nobody_out() {
        let quota = Quota::per_second(1).burst(5);
        let hour = 3_600_000_000_000;
        let ahead = Some(Arrival(NOW + hour));
        let first = Arrival::step(ahead, &quota, 1, NOW);
        assert!(!first.outcome.allowed);
        assert_eq!(first.outcome.retry_after, Some(Duration::from_secs(1)));
        assert_eq!(first.keep, Some(Arrival(NOW + quota.whole())));
        let later = Arrival::step(first.keep, &quota, 1, NOW + 1_000_000_000);
        assert!(later.outcome.allowed);
    }

    #[test]
    fn a_look_keeps_nothing() {
        let quota = Quota::per_second(1).burst(5);
        for kept in [None, Some(Arrival(0)), Some(Arrival(i64::MAX))] {
            let look = Arrival::step(kept, &quota, 0, NOW);
            assert!(look.keep.is_none() && look.outcome.allowed);
        }
    }

    proptest! {
        /// In no time are more let through than the burst and what came back in it.
        #[test]
        fn no_more_than_the_quota_passes(
            requests in 1_u32..50,
            burst in 1_u32..50,
            waits in prop::collection::vec((0_i64..200_000_000, 0_u32..5), 1..200),
        ) {
            let quota = Quota::per_second(requests).burst(burst);
            let (mut kept, mut now, mut passed) = (None, NOW, 0_i64);
            for (wait, cost) in waits {
                now += wait;
                let step = Arrival::step(kept, &quota, cost, now);
                if step.outcome.allowed {
                    passed += i64::from(cost);
                }
                kept = step.keep.or(kept);
                let back = (now - NOW) / quota.interval as i64;
                prop_assert!(passed <= i64::from(burst) + back);
            }
        }

        /// Who waits as long as told is let through, and not a nanosecond earlier.
        #[test]
        fn the_wait_told_is_exact(
            requests in 1_u32..1_000_000,
            burst in 1_u32..1_000,
            used in 0_i64..10_000_000_000,
            cost in 1_u32..1_000,
        ) {
            let quota = Quota::per_second(requests).burst(burst);
            let kept = Some(Arrival(NOW + used.min(quota.whole())));
            let first = Arrival::step(kept, &quota, cost, NOW);
            if let Some(wait) = first.outcome.retry_after {
                let at = NOW + wait.as_nanos() as i64;
                prop_assert!(Arrival::step(kept, &quota, cost, at).outcome.allowed);
                prop_assert!(!Arrival::step(kept, &quota, cost, at - 1).outcome.allowed);
            } else {
                prop_assert!(first.outcome.allowed || cost > burst);
            }
        }
    }
}
