//! [`RateLimitLayer`]: a limit in front of an HTTP service.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use tower_layer::Layer;
use tower_service::Service;

use super::{Outcome, Quota, RateLimiter};
use crate::error::{Error, Result};
use crate::rows::BoxFuture;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// The longest name of a limit, in bytes.
const NAME_LEN_MAX: usize = 50;

type KeyOf = dyn Fn(&Parts) -> Option<String> + Send + Sync;
type CostOf = dyn Fn(&Parts) -> u32 + Send + Sync;

/// A tower layer that turns requests away which come too often. Cheap to clone.
///
/// | the limiter says | the client gets |
/// |---|---|
/// | allowed | the service's answer, with `RateLimit-Policy` and `RateLimit` |
/// | refused | 429, both headers, `Retry-After` in whole seconds, at least 1, rounded up |
/// | nothing, and its [guard](super::GuardedRateLimiter) allows it | the service's answer, with `RateLimit-Policy` |
/// | nothing, and its guard denies it; or an error | 503 with `Retry-After: 1` |
///
/// Refusals are `application/problem+json` ([RFC 9457]); the headers are those of
/// [draft-ietf-httpapi-ratelimit-headers]. Layers may be stacked (a limit per client around one per
/// user): each adds its own to the headers.
///
/// A limiter that others share belongs into a [guard](super::GuardedRateLimiter), which answers within
/// a budget of time whatever happens. Needs the feature `tower`.
///
/// ```
/// use larder_core::rate_limit::{LocalRateLimiter, Quota, RateLimitLayer};
/// use http::request::Parts;
///
/// #[derive(Clone)]
/// struct User { key: i64 } // as whoever authenticates the request puts it into its extensions
///
/// # fn layer() -> larder_core::Result<()> {
/// let by_user = |request: &Parts| {
///     let user = request.extensions.get::<User>()?; // who is not signed in is not limited by it
///     Some(user.key.to_string())
/// };
/// let limiter = LocalRateLimiter::new(); // or the guarded one of a store
/// let layer = RateLimitLayer::new("api", Quota::per_minute(100), limiter, by_user)?;
/// // Router::new().route(..).layer(layer)
/// # Ok(()) }
/// ```
///
/// By clients' addresses, see [`TrustedProxies::key_by`](super::TrustedProxies::key_by).
///
/// [RFC 9457]: https://www.rfc-editor.org/rfc/rfc9457
/// [draft-ietf-httpapi-ratelimit-headers]: https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/
#[derive(Clone)]
pub struct RateLimitLayer {
    limit: Arc<Limit>,
}

/// What the layer's services share.
#[derive(Clone)]
struct Limit {
    name: String,
    quota: Quota,
    policy: HeaderValue,
    limiter: Arc<dyn RateLimiter>,
    key: Arc<KeyOf>,
    cost: Arc<CostOf>,
}

impl RateLimitLayer {
    /// A limit of this name. `key` says under what a request counts; one of which it says `None` is
    /// not limited.
    ///
    /// Keys of different names do not meet in the limiter: each is preceded by the name. They are kept
    /// as they are: name a user, not their token.
    ///
    /// # Errors
    /// `Misuse` for a name that is empty, longer than 50 bytes or has other characters than letters,
    /// digits, `-`, `_` and `.`.
    pub fn new(
        name: &str,
        quota: Quota,
        limiter: impl RateLimiter,
        key: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::from_shared(name, quota, Arc::new(limiter), key)
    }

    /// [`new`](Self::new), with a limiter that others hold too.
    pub fn from_shared(
        name: &str,
        quota: Quota,
        limiter: Arc<dyn RateLimiter>,
        key: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    ) -> Result<Self> {
        let limit = Limit {
            policy: policy(name, quota)?,
            name: name.to_owned(),
            quota,
            limiter,
            key: Arc::new(key),
            cost: Arc::new(|_| 1),
        };
        Ok(Self {
            limit: Arc::new(limit),
        })
    }

    /// How much a request costs. Default: 1. One of 0 is let through.
    #[must_use]
    pub fn cost(mut self, cost: impl Fn(&Parts) -> u32 + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.limit).cost = Arc::new(cost);
        self
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimited<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimited {
            inner,
            limit: Arc::clone(&self.limit),
        }
    }
}

/// A service behind a [`RateLimitLayer`].
#[derive(Clone, Debug)]
pub struct RateLimited<S> {
    inner: S,
    limit: Arc<Limit>,
}

impl<S, B, R> Service<Request<B>> for RateLimited<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: From<String>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = BoxFuture<'static, std::result::Result<Response<R>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<std::result::Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that is ready goes with the request; its clone may not be.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let limit = Arc::clone(&self.limit);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let verdict = limit.judge(&parts).await;
            if let Verdict::Refuse(status, outcome) = verdict {
                return Ok(limit.refusal(status, outcome));
            }
            let request = Request::from_parts(parts, body);
            let mut response = inner.call(request).await?;
            if let Verdict::Serve(outcome) = verdict {
                limit.announce(response.headers_mut(), outcome.as_ref());
            }
            Ok(response)
        })
    }
}

/// What becomes of a request.
enum Verdict {
    /// The limit does not apply.
    Ignore,
    /// It is served; what the limiter said, if it is sure.
    Serve(Option<Outcome>),
    /// It is not.
    Refuse(StatusCode, Option<Outcome>),
}

impl Limit {
    async fn judge(&self, request: &Parts) -> Verdict {
        let Some(key) = (self.key)(request) else {
            return Verdict::Ignore;
        };
        let key = format!("{}:{key}", self.name);
        let cost = (self.cost)(request);
        match self.limiter.check(&key, &self.quota, cost).await {
            Ok(outcome) => {
                let known = outcome.is_certain.then_some(outcome);
                match (outcome.allowed, known) {
                    (true, known) => Verdict::Serve(known),
                    (false, Some(_)) => Verdict::Refuse(StatusCode::TOO_MANY_REQUESTS, known),
                    (false, None) => Verdict::Refuse(StatusCode::SERVICE_UNAVAILABLE, None),
                }
            }
            Err(error) => {
                tracing::error!(%error, limit = self.name, "a request could not be checked");
                Verdict::Refuse(StatusCode::SERVICE_UNAVAILABLE, None)
            }
        }
    }

    fn announce(&self, headers: &mut HeaderMap, outcome: Option<&Outcome>) {
        headers.append(POLICY, self.policy.clone());
        let Some(outcome) = outcome else { return };
        let more = match whole_seconds(outcome.more_after()) {
            0 => String::new(), // nothing was used
            seconds => format!(";t={seconds}"),
        };
        let text = format!("\"{}\";r={}{more}", self.name, outcome.remaining);
        headers.extend(HeaderValue::try_from(text).map(|value| (LIMIT, value)));
    }

    fn refusal<R: From<String>>(
        &self,
        status: StatusCode,
        outcome: Option<Outcome>,
    ) -> Response<R> {
        let mut response = Response::new(R::from(self.problem(status)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let problem = HeaderValue::from_static("application/problem+json");
        headers.insert(CONTENT_TYPE, problem);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // Who asks for more than the burst need not come again.
        let retry = match outcome {
            Some(outcome) => outcome.retry_after,
            None => Some(Duration::from_secs(1)),
        };
        headers.extend(retry.map(|wait| (RETRY_AFTER, whole_seconds(wait).max(1).into())));
        self.announce(headers, outcome.as_ref());
        response
    }

    fn problem(&self, status: StatusCode) -> String {
        let refused = status == StatusCode::TOO_MANY_REQUESTS;
        let problem = if refused {
            serde_json::json!({
                "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
                "title": "Too many requests",
                "status": status.as_u16(),
                "detail": "You have used up the quota for now. Try again later.",
                "violated-policies": [self.name],
            })
        } else {
            serde_json::json!({
                "type": "about:blank",
                "title": "Service unavailable",
                "status": status.as_u16(),
                "detail": "The request could not be checked against its quota. Try again.",
            })
        };
        problem.to_string()
    }
}

/// What the limit is, for `RateLimit-Policy`.
fn policy(name: &str, quota: Quota) -> Result<HeaderValue> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let window = whole_seconds(quota.window()).max(1);
    let text = format!("\"{name}\";q={};w={window}", quota.burst_size());
    let named = !name.is_empty() && name.len() <= NAME_LEN_MAX && name.bytes().all(fits);
    let value = named.then(|| HeaderValue::try_from(text).ok()).flatten();
    value.ok_or_else(|| {
        Error::misuse("a limit has a name of 1 to 50 letters, digits, `-`, `_` and `.`")
            .with_value(name)
    })
}

/// The seconds, rounded up.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

impl fmt::Debug for RateLimitLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.limit.fmt(f)
    }
}

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer")
            .field("name", &self.name)
            .field("quota", &self.quota)
            .field("limiter", &self.limiter)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "layer/tests.rs"]
mod tests;
