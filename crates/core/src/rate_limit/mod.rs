//! Rate limits: so many requests for each key in a time, in bursts of so many.
//!
//! ```text
//!   RateLimitLayer (tower) or your code
//!        │  check(key, quota, cost)
//!        v
//!   GuardedRateLimiter   a time budget, allow or deny when the store fails, who is blocked is
//!        │               turned away without asking
//!        v
//!   RateLimiter ──> LocalRateLimiter | SQLite, PostgreSQL: one statement | Redis: one script
//! ```
//!
//! The algorithm is GCRA, the leaky bucket of ATM networks (ITU-T I.371), in whole nanoseconds on every
//! engine. Of each key one number is kept, the *theoretical arrival time*: when its quota will be full
//! again. So a check costs the same however much was used, nothing happens at the end of a window,
//! and no clock has to tick:
//!
//! ```text
//!   base = max(tat, now)         new = base + cost × interval
//!   allowed if new - burst × interval <= now, and then tat = new
//! ```
//!
//! Check and use are one atomic step: of any number of requests at a time, exactly the burst is let
//! through. A clock that is set back locks nobody out: what is kept never lies further ahead than a
//! whole quota.
//!
//! ```
//! use larder_core::rate_limit::{LocalRateLimiter, Quota, RateLimiter};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
//! let limiter = LocalRateLimiter::new(); // or sqlite.rate_limiter(), postgres.., redis..
//! let quota = Quota::per_minute(60).burst(2); // one a second, two at once
//! assert!(limiter.check("login:ada", &quota, 1).await?.allowed);
//! assert!(limiter.check("login:ada", &quota, 1).await?.allowed);
//!
//! let refused = limiter.check("login:ada", &quota, 1).await?;
//! assert!(!refused.allowed);
//! assert!(refused.retry_after.is_some_and(|wait| wait.as_millis() <= 1_000));
//! assert!(limiter.check("login:grace", &quota, 1).await?.allowed);
//! # Ok(()) }
//! ```

#[cfg(feature = "tower")]
mod client;
mod gcra;
mod guarded;
mod key;
#[cfg(feature = "tower")]
mod layer;
mod local;
mod quota;

#[cfg(feature = "tower")]
pub use client::TrustedProxies;
pub use gcra::{Arrival, Step};
pub use guarded::{GuardOptions, GuardedRateLimiter, OnFailure};
pub use key::stored_key;
#[cfg(feature = "tower")]
pub use layer::{RateLimitLayer, RateLimited};
pub use local::LocalRateLimiter;
pub use quota::Quota;

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::Result;

/// What counts requests. Object safe.
///
/// Duties of an implementation: a check is one atomic step by [`Arrival::step`]'s rules, never
/// carried out twice; a key is any text, kept as [`stored_key`] says; one clock decides for all who
/// share the store. The same key under two quotas counts for both.
#[async_trait]
pub trait RateLimiter: Debug + Send + Sync + 'static {
    /// Asks for `cost` requests at once, and uses them up if they are allowed. A cost of 0 only
    /// looks, and writes nothing.
    async fn check(&self, key: &str, quota: &Quota, cost: u32) -> Result<Outcome>;

    /// Forgets what a key has used: after a sign-in that went well, say.
    async fn reset(&self, key: &str) -> Result<()>;

    /// Forgets keys whose quota is full again, at most `limit`, and says how many. Changes no
    /// answer; call it now and then. Where keys go by themselves it does nothing.
    async fn purge(&self, limit: u64) -> Result<u64>;
}

/// What a check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// Whether the request may be served.
    pub allowed: bool,
    /// The quota it was checked against.
    pub quota: Quota,
    /// How many more requests would be allowed at this moment.
    pub remaining: u32,
    /// When the same request would be allowed, if it was refused; `None` for one that costs more
    /// than the burst, which never is.
    pub retry_after: Option<Duration>,
    /// When the whole burst is there again.
    pub reset_after: Duration,
    /// Whether the store was asked and has answered; if not, the [guard](GuardedRateLimiter) chose.
    pub is_certain: bool,
}

impl Outcome {
    /// When one more request than [`remaining`](Self::remaining) is there; zero if all are.
    pub fn more_after(&self) -> Duration {
        let missing = self.quota.burst.saturating_sub(self.remaining);
        if missing == 0 {
            return Duration::ZERO;
        }
        let later = self.quota.interval().saturating_mul(missing - 1);
        self.reset_after.saturating_sub(later)
    }
}
