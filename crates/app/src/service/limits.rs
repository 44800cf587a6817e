//! [`Limits`]: how often somebody may sign in, register and write.
//!
//! | what | whose quota | |
//! |---|---|---|
//! | `POST /users/login` | the email's, and the address's | guessing one password, or one of many |
//! | `POST /users` | the address's | registering a crowd |
//! | whatever else writes | the user's | |
//!
//! An email's quota is full again once somebody has signed in with it. The address is that of the
//! connection: behind a proxy it is the proxy's, so let the proxy limit addresses, or turn this off.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use http::StatusCode;
use http::request::Parts;
use larder_core::models::User;
use larder_core::rate_limit::{GuardOptions, GuardedRateLimiter, Quota, RateLimiter};
use larder_core::{Id, Result};

use super::error::{ApiError, Outcome};
use super::state::App;

/// Of one email.
const SIGN_INS: Quota = Quota::per_minute(10);
/// Of one address: several people may share it.
const SIGN_INS_FROM: Quota = Quota::per_minute(60);
/// Of one address.
const REGISTRATIONS_FROM: Quota = Quota::per_minute(30);
/// Of one user.
const WRITES: Quota = Quota::per_minute(120).burst(60);
/// How many quotas that are full again are forgotten at a time.
const PURGE_BATCH: u64 = 1_000;

/// The limits, if there are any. A limiter that fails or is slow lets requests through.
#[derive(Clone, Debug)]
pub(crate) struct Limits(Option<Arc<GuardedRateLimiter>>);

impl Limits {
    /// By this limiter.
    pub(crate) fn by(limiter: Arc<dyn RateLimiter>) -> Self {
        // Whoever is refused is told by the limiter's clock, not by a note of this process.
        let options = GuardOptions::default().blocked_max(0);
        let guarded = GuardedRateLimiter::from_shared(limiter, options);
        Self(Some(Arc::new(guarded)))
    }

    /// None at all.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Somebody wants to sign in.
    pub(crate) async fn sign_in(&self, email: &str, from: Caller) -> Outcome<()> {
        self.check(&from.key("sign-in"), &SIGN_INS_FROM).await?;
        self.check(&email_key(email), &SIGN_INS).await
    }

    /// They have.
    pub(crate) async fn signed_in(&self, email: &str) {
        if let Some(limiter) = &self.0
            && let Err(error) = limiter.reset(&email_key(email)).await
        {
            tracing::warn!(target: "larder::service", %error, "a quota was not reset");
        }
    }

    /// Somebody wants to register.
    pub(crate) async fn register(&self, from: Caller) -> Outcome<()> {
        self.check(&from.key("register"), &REGISTRATIONS_FROM).await
    }

    /// A user wants to write.
    pub(crate) async fn write(&self, user: Id<User>) -> Outcome<()> {
        self.check(&format!("write:{user}"), &WRITES).await
    }

    /// Forgets quotas that are full again.
    pub(crate) async fn purge(&self) -> Result<()> {
        if let Some(limiter) = &self.0 {
            while limiter.purge(PURGE_BATCH).await? == PURGE_BATCH {}
        }
        Ok(())
    }

    async fn check(&self, key: &str, quota: &Quota) -> Outcome<()> {
        let Some(limiter) = &self.0 else {
            return Ok(());
        };
        let outcome = limiter.check(key, quota, 1).await?;
        if outcome.allowed {
            return Ok(());
        }
        let refusal = ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "requests",
            "too many; try again later",
        );
        Err(refusal.retry_after(outcome.retry_after.unwrap_or_default()))
    }
}

/// Letter case opens no second quota.
fn email_key(email: &str) -> String {
    format!("email:{}", email.to_lowercase())
}

/// The address of the connection; none where the router is called without one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller(Option<IpAddr>);

impl Caller {
    fn key(self, what: &str) -> String {
        match self.0 {
            Some(address) => format!("{what}:{address}"),
            None => format!("{what}:unknown"),
        }
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Outcome<Self> {
        let info = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        Ok(Self(info.map(|ConnectInfo(address)| address.ip())))
    }
}
