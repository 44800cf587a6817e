//! The addresses, and what happens around every request.
//!
//! ```text
//!   observed ─ CORS ─ headers ─ compression ─ panics ─ time limit ─ handler
//! ```

use axum::Router;
use axum::routing::{delete, get, post};

use super::error::ApiError;
use super::state::App;
use super::{articles, comments, docs, favorites, health, layers, live, profiles, tags, users};

/// Where the API's addresses begin.
pub(crate) const PREFIX: &str = "/api";

/// Everything the service answers.
pub(crate) fn router(app: &App) -> Router {
    let router = Router::new()
        .nest(PREFIX, api())
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_so);
    layers::around(router, app).with_state(app.clone())
}

fn api() -> Router<App> {
    Router::new()
        .route("/users", post(users::register))
        .route("/users/login", post(users::login))
        .route("/user", get(users::show).put(users::update))
        .route("/profiles/{username}", get(profiles::show))
        .route(
            "/profiles/{username}/follow",
            post(profiles::follow).delete(profiles::unfollow),
        )
        .route("/articles", get(articles::list::all).post(articles::create))
        .route("/articles/feed", get(articles::list::feed))
        .route(
            "/articles/{slug}",
            get(articles::show)
                .put(articles::update)
                .delete(articles::delete),
        )
        .route(
            "/articles/{slug}/comments",
            get(comments::list).post(comments::create),
        )
        .route("/articles/{slug}/comments/{id}", delete(comments::delete))
        .route(
            "/articles/{slug}/favorite",
            post(favorites::add).delete(favorites::remove),
        )
        .route("/tags", get(tags::list))
        .route("/live", get(live::follow))
        .route("/docs", get(docs::show))
}

async fn nothing_here() -> ApiError {
    ApiError::not_found("path")
}

async fn not_so() -> ApiError {
    ApiError::new(
        http::StatusCode::METHOD_NOT_ALLOWED,
        "method",
        "not allowed",
    )
}
