use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use serde_json::Value;

use super::*;
use crate::clock::ManualClock;
use crate::error::ErrorKind;
use crate::rate_limit::{GuardOptions, GuardedRateLimiter, LocalRateLimiter, OnFailure};
use crate::types::Timestamp;

/// A service that counts the requests it serves.
#[derive(Clone, Default)]
struct Counted(Arc<AtomicU32>);

impl Service<Request<()>> for Counted {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<std::result::Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        self.0.fetch_add(1, Ordering::Relaxed);
        ready(Ok(Response::new("served".to_owned())))
    }
}

impl Counted {
    fn served(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::UNIX_EPOCH))
}

/// By the header `who`, without which a request is not limited.
fn who(request: &Parts) -> Option<String> {
    let who = request.headers.get("who")?;
    who.to_str().ok().map(str::to_owned)
}

async fn ask<S>(service: &mut S, who: &str) -> Response<String>
where
    S: Service<Request<()>, Response = Response<String>, Error = Infallible>,
{
    let mut request = Request::builder();
    if !who.is_empty() {
        request = request.header("who", who);
    }
    let request = request.body(()).expect("a request");
    service
        .call(request)
        .await
        .unwrap_or_else(|never| match never {})
}

fn header<'a>(response: &'a Response<String>, name: &str) -> Option<&'a str> {
    response
        .headers()
        .get(name)
        .map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn headers_tell_what_is_left_and_when_there_is_more() -> Result<()> {
    let clock = clock();
    let limiter = LocalRateLimiter::with_clock(1_000, clock.clone());
    let quota = Quota::per_minute(40).burst(2); // one every 1.5 s
    let served = Counted::default();
    let mut service = RateLimitLayer::new("api", quota, limiter, who)?.layer(served.clone());
    let first = ask(&mut service, "ada").await;
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(header(&first, "ratelimit-policy"), Some("\"api\";q=2;w=3"));
    assert_eq!(header(&first, "ratelimit"), Some("\"api\";r=1;t=2"));
    assert_eq!(header(&first, "retry-after"), None);
    ask(&mut service, "ada").await;
    let refused = ask(&mut service, "ada").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(header(&refused, "ratelimit"), Some("\"api\";r=0;t=2"));
    assert_eq!(header(&refused, "retry-after"), Some("2"));
    assert_eq!(
        header(&refused, "content-type"),
        Some("application/problem+json")
    );
    let problem: Value = serde_json::from_str(refused.body()).unwrap();
    assert_eq!(problem["status"], 429);
    assert_eq!(problem["violated-policies"][0], "api");
    assert_eq!(served.served(), 2);
    clock.advance(Duration::from_millis(1_499));
    let refused = ask(&mut service, "ada").await;
    assert_eq!(header(&refused, "retry-after"), Some("1"), "never 0");
    clock.advance(Duration::from_millis(1));
    assert_eq!(ask(&mut service, "ada").await.status(), StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn each_key_has_its_own_and_no_key_is_no_limit() -> Result<()> {
    let limiter = LocalRateLimiter::with_clock(1_000, clock());
    let layer = RateLimitLayer::new("api", Quota::per_hour(1), limiter, who)?;
    let mut service = layer.layer(Counted::default());
    for key in ["ada", "grace"] {
        assert_eq!(ask(&mut service, key).await.status(), StatusCode::OK);
        let again = ask(&mut service, key).await.status();
        assert_eq!(again, StatusCode::TOO_MANY_REQUESTS);
    }
    for _ in 0..3 {
        let free = ask(&mut service, "").await;
        assert!(free.status() == StatusCode::OK && free.headers().is_empty());
    }
    Ok(())
}

#[tokio::test]
async fn limits_of_two_names_share_a_limiter_and_not_their_keys() -> Result<()> {
    let limiter: Arc<dyn RateLimiter> = Arc::new(LocalRateLimiter::with_clock(1_000, clock()));
    let layer =
        |name| RateLimitLayer::from_shared(name, Quota::per_hour(1), Arc::clone(&limiter), who);
    let inner = layer("inner")?.layer(Counted::default());
    let mut service = layer("outer")?.layer(inner);
    let response = ask(&mut service, "ada").await;
    assert_eq!(response.status(), StatusCode::OK);
    let told = response.headers().get_all("ratelimit").iter();
    let told: Vec<_> = told.map(|value| value.to_str().unwrap()).collect();
    assert_eq!(told, ["\"inner\";r=0;t=3600", "\"outer\";r=0;t=3600"]);
    Ok(())
}

#[tokio::test]
async fn costs_are_per_request() -> Result<()> {
    let limiter = LocalRateLimiter::with_clock(1_000, clock());
    let layer = RateLimitLayer::new("api", Quota::per_hour(5), limiter, who)?;
    let by_length = |request: &Parts| who(request).map_or(0, |who| who.len() as u32);
    let mut service = layer.cost(by_length).layer(Counted::default());
    assert_eq!(ask(&mut service, "four").await.status(), StatusCode::OK);
    let whole = ask(&mut service, "longer than five").await;
    assert_eq!(whole.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(header(&whole, "retry-after"), None, "it will never do");
    Ok(())
}

/// A limiter whose store is down.
#[derive(Debug)]
struct Down;

#[async_trait]
impl RateLimiter for Down {
    async fn check(&self, _: &str, _: &Quota, _: u32) -> Result<Outcome> {
        Err(Error::new(ErrorKind::Unavailable, "it is down"))
    }

    async fn reset(&self, _: &str) -> Result<()> {
        Err(Error::new(ErrorKind::Unavailable, "it is down"))
    }

    async fn purge(&self, _: u64) -> Result<u64> {
        Err(Error::new(ErrorKind::Unavailable, "it is down"))
    }
}

async fn with_no_store(limiter: impl RateLimiter) -> Result<(Response<String>, u32)> {
    let served = Counted::default();
    let layer = RateLimitLayer::new("api", Quota::per_hour(5), limiter, who)?;
    let mut service = layer.layer(served.clone());
    Ok((ask(&mut service, "ada").await, served.served()))
}

#[tokio::test]
async fn a_store_that_is_down_serves_or_refuses_by_choice() -> Result<()> {
    let (open, served) = with_no_store(GuardedRateLimiter::new(Down)).await?;
    assert_eq!((open.status(), served), (StatusCode::OK, 1));
    assert!(header(&open, "ratelimit-policy").is_some());
    assert_eq!(header(&open, "ratelimit"), None, "nobody knows");

    let deny = GuardOptions::default().on_failure(OnFailure::Deny);
    let guarded = GuardedRateLimiter::with_options(Down, deny);
    for (refused, served) in [with_no_store(guarded).await?, with_no_store(Down).await?] {
        assert_eq!(
            (refused.status(), served),
            (StatusCode::SERVICE_UNAVAILABLE, 0)
        );
        assert_eq!(header(&refused, "retry-after"), Some("1"));
    }
    Ok(())
}

#[test]
fn names_fit_into_headers() {
    let layer = |name| RateLimitLayer::new(name, Quota::per_second(1), Down, who);
    assert!(layer("per-client_v2.1").is_ok());
    for name in ["", "a b", "a\"b", "ä", "a\r\nb", &"x".repeat(51)] {
        assert!(layer(name).is_err_and(|error| error.is_misuse()), "{name}");
    }
}
