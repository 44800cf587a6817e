//! What those ask who watch the service: whether it lives, whether it is ready, what it counts.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, StatusCode, header};
use larder_core::models::User;

use super::state::App;

/// How long the store may take to say that it is there.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// Prometheus' text format.
const METRICS_TYPE: [(HeaderName, &str); 1] = [(
    header::CONTENT_TYPE,
    "text/plain; version=0.0.4; charset=utf-8",
)];

/// `GET /healthz`: 200 as long as the process answers. It asks nobody else, so that a store that
/// is away does not get the service restarted.
pub(crate) async fn live() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: 200 if requests can be answered now; 503 while the store is away, lacks its
/// tables, or the service is stopping.
pub(crate) async fn ready(State(app): State<App>) -> (StatusCode, &'static str) {
    if app.is_stopping() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    let asked = app.db().query::<User>().limit(1).timeout(READY_WITHIN);
    match asked.exists().await {
        Ok(_) => (StatusCode::OK, "ready\n"),
        Err(error) => {
            tracing::warn!(target: "larder::service", %error, "the store is not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the store is not ready\n")
        }
    }
}

/// `GET /metrics`, if the options say so.
pub(crate) async fn metrics(State(app): State<App>) -> Response {
    if !app.options().metrics {
        return super::error::ApiError::not_found("path").into_response();
    }
    app.measure_pool();
    (METRICS_TYPE, app.metrics().render()).into_response()
}
