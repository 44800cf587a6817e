//! Rate limits: the published vectors, and how many of many at a time are let through.

use std::sync::Arc;
use std::time::Duration;

use larder_core::rate_limit::{GuardOptions, GuardedRateLimiter, OnFailure};
use larder_core::{Clock, ManualClock, Quota, RateLimiter, Result};
use tokio::sync::Barrier;

use super::{Place, tests};

/// As many requests at a time.
const TASKS: usize = 64;

fn seconds(seconds: f64) -> Duration {
    // To the nanosecond: the vectors have decimals that floats have not.
    Duration::from_nanos((seconds * 1e9).round() as u64)
}

/// A limiter by a clock that the test moves.
struct Gate {
    limiter: Arc<dyn RateLimiter>,
    clock: Arc<ManualClock>,
    started: i64,
}

impl Gate {
    async fn open(place: &Arc<dyn Place>) -> Result<Self> {
        let clock = Arc::new(ManualClock::at("2024-05-06T07:08:09Z".parse()?));
        let shared: Arc<dyn Clock> = Arc::clone(&clock) as _;
        Ok(Self {
            limiter: place.rate_limiter(Some(shared)).await?,
            started: clock.unix_nanos(),
            clock,
        })
    }

    /// Moves the clock to so long after the start.
    fn go_to(&self, at: Duration) {
        let passed = Duration::from_nanos((self.clock.unix_nanos() - self.started) as u64);
        self.clock.advance(at.saturating_sub(passed));
    }
}

/// A row of the table: when, how many, and what comes out.
type Vector = (f64, u32, bool, u32, Option<f64>, f64);

/// What throttled (Go) and redis-cell publish as their tests: five at once, one a second.
#[rustfmt::skip]
const PUBLISHED: [Vector; 16] = [
    (0.0, 6, false, 5, None,      0.0),
    (0.0, 1, true,  4, None,      1.0),
    (0.0, 1, true,  3, None,      2.0),
    (0.0, 1, true,  2, None,      3.0),
    (0.0, 1, true,  1, None,      4.0),
    (0.0, 1, true,  0, None,      5.0),
    (0.0, 1, false, 0, Some(1.0), 5.0),
    (3.0, 1, true,  2, None,      3.0),
    (3.1, 1, true,  1, None,      3.9),
    (4.0, 1, true,  1, None,      4.0),
    (8.0, 1, true,  4, None,      1.0),
    (9.5, 1, true,  4, None,      1.0),
    (9.5, 0, true,  4, None,      1.0),
    (9.5, 2, true,  2, None,      3.0),
    (9.5, 5, false, 2, Some(3.0), 3.0),
    (15.0, 6, false, 5, None,     0.0),
];

async fn the_published_vectors_come_out(place: Arc<dyn Place>) -> Result<()> {
    let gate = Gate::open(&place).await?;
    let quota = Quota::per_second(1).burst(5);
    for (row, (at, cost, allowed, remaining, retry, reset)) in PUBLISHED.into_iter().enumerate() {
        gate.go_to(seconds(at));
        let outcome = gate.limiter.check("key", &quota, cost).await?;
        let told = (outcome.allowed, outcome.remaining, outcome.retry_after, outcome.reset_after);
        let wanted = (allowed, remaining, retry.map(seconds), seconds(reset));
        assert_eq!(told, wanted, "row {row}");
        assert!(outcome.is_certain);
    }
    Ok(())
}

/// When, how many, whether it is allowed, and when to try again.
type Ask = (u64, u32, bool, Option<u64>);

async fn further_vectors_come_out_to_the_nanosecond(place: Arc<dyn Place>) -> Result<()> {
    const SECOND: u64 = 1_000_000_000;
    let third = Quota::new(3, Duration::from_secs(1))?;
    assert_eq!(third.interval(), Duration::from_nanos(333_333_333));
    let cases: [(Quota, &[Ask]); 3] = [
        (
            Quota::per_second(1),
            &[(0, 1, true, None), (SECOND - 1, 1, false, Some(1)), (SECOND, 1, true, None)],
        ),
        (
            Quota::per_minute(10),
            &[
                (0, 10, true, None),
                (0, 1, false, Some(6 * SECOND)),
                (6 * SECOND, 1, true, None),
                (6 * SECOND, 1, false, Some(6 * SECOND)),
            ],
        ),
        (third, &[(0, 3, true, None), (0, 1, false, Some(333_333_333))]),
    ];
    let mut gate = Gate::open(&place).await?;
    for (case, (quota, asks)) in cases.into_iter().enumerate() {
        gate.started = gate.clock.unix_nanos();
        for &(at, cost, allowed, retry) in asks {
            gate.go_to(Duration::from_nanos(at));
            let outcome = gate.limiter.check(&format!("case {case}"), &quota, cost).await?;
            let told = (outcome.allowed, outcome.retry_after);
            assert_eq!(told, (allowed, retry.map(Duration::from_nanos)), "{case} at {at}");
        }
    }
    Ok(())
}

async fn of_many_at_a_time_exactly_the_burst_passes(place: Arc<dyn Place>) -> Result<()> {
    let quota = Quota::per_hour(20);
    let mut limiters = Vec::new();
    for _ in 0..2 {
        limiters.push(place.rate_limiter(None).await?); // as of two processes
    }
    let barrier = Arc::new(Barrier::new(TASKS));
    let tasks = (0..TASKS).map(|at| {
        let (limiter, barrier) = (Arc::clone(&limiters[at % 2]), Arc::clone(&barrier));
        tokio::spawn(async move {
            barrier.wait().await;
            limiter.check("key", &quota, 1).await
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let mut passed = 0;
    for task in tasks {
        let outcome = task.await.expect("the check does not panic")?;
        passed += u32::from(outcome.allowed);
    }
    assert_eq!(passed, quota.burst_size());
    Ok(())
}

async fn the_stores_own_clock_goes_on(place: Arc<dyn Place>) -> Result<()> {
    let limiter = place.rate_limiter(None).await?;
    let quota = Quota::new(1, Duration::from_millis(20))?;
    let mut passed = 0;
    for _ in 0..3 {
        let outcome = limiter.check("key", &quota, 1).await?;
        passed += u32::from(outcome.allowed);
        tokio::time::sleep(outcome.retry_after.unwrap_or(Duration::from_millis(20))).await;
    }
    assert!(passed >= 2, "{passed}");
    Ok(())
}

async fn keys_are_apart_whatever_they_are(place: Arc<dyn Place>) -> Result<()> {
    let gate = Gate::open(&place).await?;
    let quota = Quota::per_hour(1);
    let long = "k".repeat(100_000);
    let other = format!("{long}l");
    let keys = ["", "a", "A", "ä", "a\0", "a'--", "a:b", "{a}", "\u{10ffff}", &long, &other];
    for key in keys {
        assert!(gate.limiter.check(key, &quota, 1).await?.allowed, "{key:.20}");
    }
    for key in keys {
        assert!(!gate.limiter.check(key, &quota, 1).await?.allowed, "{key:.20}");
    }
    Ok(())
}

async fn a_look_uses_nothing(place: Arc<dyn Place>) -> Result<()> {
    let gate = Gate::open(&place).await?;
    let quota = Quota::per_minute(3);
    for _ in 0..5 {
        let look = gate.limiter.check("key", &quota, 0).await?;
        assert_eq!((look.allowed, look.remaining), (true, 3));
    }
    gate.limiter.check("key", &quota, 2).await?;
    assert_eq!(gate.limiter.check("key", &quota, 0).await?.remaining, 1);
    Ok(())
}

async fn a_clock_set_back_locks_nobody_out(place: Arc<dyn Place>) -> Result<()> {
    let gate = Gate::open(&place).await?;
    let quota = Quota::per_second(1).burst(3);
    let start = gate.clock.now();
    gate.clock.advance(Duration::from_hours(1));
    assert!(gate.limiter.check("key", &quota, 3).await?.allowed);
    gate.clock.set(start);
    let refused = gate.limiter.check("key", &quota, 1).await?;
    assert_eq!((refused.allowed, refused.retry_after), (false, Some(seconds(1.0))));
    gate.clock.advance(seconds(1.0));
    assert!(gate.limiter.check("key", &quota, 1).await?.allowed);
    Ok(())
}

async fn a_smaller_quota_counts_what_was_used_of_a_larger_one(place: Arc<dyn Place>) -> Result<()> {
    let gate = Gate::open(&place).await?;
    assert!(gate.limiter.check("key", &Quota::per_hour(1), 1).await?.allowed);
    let small = Quota::per_second(2);
    let refused = gate.limiter.check("key", &small, 1).await?;
    assert_eq!((refused.allowed, refused.retry_after), (false, Some(seconds(0.5))));
    Ok(())
}

async fn a_reset_forgets(place: Arc<dyn Place>) -> Result<()> {
    let gate = Gate::open(&place).await?;
    let quota = Quota::per_hour(1);
    assert!(gate.limiter.check("key", &quota, 1).await?.allowed);
    gate.limiter.reset("key").await?;
    gate.limiter.reset("nobody").await?;
    assert!(gate.limiter.check("key", &quota, 1).await?.allowed);
    Ok(())
}

async fn what_is_full_again_can_be_purged(place: Arc<dyn Place>) -> Result<()> {
    let gate = Gate::open(&place).await?;
    let quota = Quota::per_minute(1);
    for number in 0..5 {
        gate.limiter.check(&number.to_string(), &quota, 1).await?;
    }
    assert_eq!(gate.limiter.purge(10).await?, 0);
    gate.clock.advance(seconds(30.0));
    gate.limiter.check("late", &quota, 1).await?;
    gate.clock.advance(seconds(30.0));
    let (first, rest) = (gate.limiter.purge(2).await?, gate.limiter.purge(10).await?);
    // Where keys have a time to live, nothing is left to do.
    assert!([(2, 3), (0, 0)].contains(&(first, rest)), "{first} {rest}");
    assert!(!gate.limiter.check("late", &quota, 1).await?.allowed);
    Ok(())
}

async fn the_extremes_are_counted(place: Arc<dyn Place>) -> Result<()> {
    let gate = Gate::open(&place).await?;
    let years = Duration::from_hours(10 * 365 * 24);
    for (case, quota) in [Quota::per_second(u32::MAX), Quota::new(1, years)?].iter().enumerate() {
        let key = format!("case {case}");
        let used = gate.limiter.check(&key, quota, quota.burst_size()).await?;
        assert_eq!((used.allowed, used.remaining), (true, 0));
        let refused = gate.limiter.check(&key, quota, 1).await?;
        assert!(!refused.allowed && refused.retry_after <= Some(years));
        assert_eq!(gate.limiter.check(&key, quota, u32::MAX).await?.retry_after.is_some(), case == 0);
    }
    Ok(())
}

async fn who_is_blocked_is_turned_away_without_asking(place: Arc<dyn Place>) -> Result<()> {
    let store = place.rate_limiter(None).await?;
    let options = GuardOptions::default().budget(Duration::from_secs(10));
    let guard = GuardedRateLimiter::from_shared(Arc::clone(&store), options);
    let quota = Quota::per_hour(2);
    assert!(guard.check("key", &quota, 1).await?.allowed);
    assert!(!guard.check("key", &quota, 2).await?.allowed);
    store.reset("key").await?; // behind its back
    let remembered = guard.check("key", &quota, 2).await?;
    assert!(!remembered.allowed && remembered.is_certain);
    assert!(guard.check("key", &quota, 1).await?.allowed, "that was not refused");
    guard.reset("key").await?;
    assert!(guard.check("key", &quota, 2).await?.allowed);
    Ok(())
}

async fn a_guard_answers_within_its_budget(place: Arc<dyn Place>) -> Result<()> {
    for (choice, allowed) in [(OnFailure::Allow, true), (OnFailure::Deny, false)] {
        let store = Arc::new(Silent(place.rate_limiter(None).await?));
        let budget = Duration::from_millis(30);
        let options = GuardOptions::default().budget(budget).on_failure(choice);
        let guard = GuardedRateLimiter::from_shared(store, options);
        let started = std::time::Instant::now();
        let outcome = guard.check("key", &Quota::per_hour(5), 1).await?;
        assert!(started.elapsed() < budget + Duration::from_secs(1));
        assert_eq!((outcome.allowed, outcome.is_certain), (allowed, false));
    }
    Ok(())
}

/// A store that carries out what it is asked and never answers.
#[derive(Debug)]
struct Silent(Arc<dyn RateLimiter>);

#[async_trait::async_trait]
impl RateLimiter for Silent {
    async fn check(
        &self,
        key: &str,
        quota: &Quota,
        cost: u32,
    ) -> Result<larder_core::rate_limit::Outcome> {
        self.0.check(key, quota, cost).await?;
        std::future::pending().await
    }

    async fn reset(&self, _: &str) -> Result<()> {
        std::future::pending().await
    }

    async fn purge(&self, _: u64) -> Result<u64> {
        std::future::pending().await
    }
}

tests![
    the_published_vectors_come_out,
    further_vectors_come_out_to_the_nanosecond,
    of_many_at_a_time_exactly_the_burst_passes,
    the_stores_own_clock_goes_on,
    keys_are_apart_whatever_they_are,
    a_look_uses_nothing,
    a_clock_set_back_locks_nobody_out,
    a_smaller_quota_counts_what_was_used_of_a_larger_one,
    a_reset_forgets,
    what_is_full_again_can_be_purged,
    the_extremes_are_counted,
    who_is_blocked_is_turned_away_without_asking,
    a_guard_answers_within_its_budget,
];
