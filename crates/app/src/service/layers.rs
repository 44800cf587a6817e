//! What happens around every request: ids, traces, metrics, limits, headers.

use std::any::Any;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderName, HeaderValue, Method, header};
use larder_core::Uuid;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowOrigin, Any as AnyOrigin, CorsLayer};
use tracing::Instrument as _;

use super::error::ApiError;
use super::options::ServiceOptions;
use super::state::App;

/// How long a browser may remember what other origins may do, in seconds.
const CORS_AGE_SECONDS: u64 = 3_600;

/// What names a request, in its head and its answer's.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest name that is taken over, in bytes.
const REQUEST_ID_MAX: usize = 64;

/// Puts the layers around the routes; what is added last sees a request first.
pub(crate) fn around(router: Router<App>, app: &App) -> Router<App> {
    router
        .layer(middleware::from_fn_with_state(app.clone(), in_time))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(CompressionLayer::new())
        .layer(middleware::map_response(with_security_headers))
        .layer(cors(app.options()))
        .layer(middleware::from_fn_with_state(app.clone(), observed))
}

/// Names the request, counts it, times it, and logs how it was answered.
async fn observed(State(app): State<App>, request: Request, next: Next) -> Response {
    let id = id_of(&request);
    let method = method_of(&request);
    // What was asked could be anything; the routes are few.
    let path = request.extensions().get::<MatchedPath>();
    let path = path.map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let span = tracing::info_span!(target: "larder::request", "request", id, method, path);
    let started = Instant::now();
    let in_flight = app.metrics().request();
    let mut response = next.run(request).instrument(span.clone()).await;
    drop(in_flight);
    let (status, took) = (response.status().as_u16(), started.elapsed());
    app.metrics().answered(method, &path, status, took);
    let ms = took.as_secs_f64() * 1_000.0;
    span.in_scope(|| tracing::info!(target: "larder::request", status, ms, "answered"));
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The name that a proxy gave the request, if it is one that can be logged; else a new one.
fn id_of(request: &Request) -> String {
    let given = request.headers().get(REQUEST_ID);
    let given = given.and_then(|id| id.to_str().ok()).filter(|id| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        (1..=REQUEST_ID_MAX).contains(&id.len()) && id.bytes().all(plain)
    });
    given.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

/// The method, if it is one of those there are: others would be labels without an end.
fn method_of(request: &Request) -> &'static str {
    match *request.method() {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::HEAD => "HEAD",
        _ => "other",
    }
}

/// Drops a request that takes too long. What it had begun is undone, or done to its end.
async fn in_time(State(app): State<App>, request: Request, next: Next) -> Response {
    let limit = app.options().request_timeout;
    let answered = tokio::time::timeout(limit, next.run(request)).await;
    answered.unwrap_or_else(|_| {
        tracing::warn!(target: "larder::service", ?limit, "a request took too long");
        ApiError::busy().into_response()
    })
}

/// Nothing here is a page: no script, frame or guess of a type has any business with it.
async fn with_security_headers(mut response: Response) -> Response {
    const HEADERS: [(HeaderName, &str); 4] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
    ];
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Most answers depend on who asks, and tokens are in some of them.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

fn cors(options: &ServiceOptions) -> CorsLayer {
    let cors = CorsLayer::new()
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE])
        .max_age(std::time::Duration::from_secs(CORS_AGE_SECONDS));
    if options.origins.is_empty() {
        return cors.allow_origin(AnyOrigin);
    }
    cors.allow_origin(AllowOrigin::list(options.origins.iter().cloned()))
}

/// A bug; the connection and the others' requests live on.
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let what = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    tracing::error!(target: "larder::service", panic = what, "a request panicked");
    ApiError::new(
        http::StatusCode::INTERNAL_SERVER_ERROR,
        "service",
        "failed; this is not the request's fault",
    )
    .into_response()
}
