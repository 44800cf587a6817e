//! The description of what is served, for people and tools: an OpenAPI 3.1 document.

use http::{HeaderName, header};

/// The document. A test holds it against the router.
pub(crate) const OPENAPI: &str = include_str!("openapi.json");

/// `GET /docs`
pub(crate) async fn show() -> ([(HeaderName, &'static str); 2], &'static str) {
    let json = (header::CONTENT_TYPE, "application/json");
    let keep = (header::CACHE_CONTROL, "public, max-age=3600");
    ([json, keep], OPENAPI)
}
