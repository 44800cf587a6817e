//! [`ApiError`]: what a request is answered when it cannot be done, in the API's own form,
//! `{"errors":{"email":["has already been taken"]}}`.

use std::borrow::Cow;
use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use larder_core::{Error, ErrorKind};
use serde_json::{Map, Value};

/// What a handler returns.
pub(crate) type Outcome<T> = Result<T, ApiError>;

/// When to come back, where the service or its store is busy.
const BUSY_RETRY: Duration = Duration::from_secs(1);

/// A refusal: its status, and for each field what is wrong with it.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    errors: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    retry_after: Option<Duration>,
}

impl ApiError {
    /// A refusal for one reason.
    pub(crate) fn new(
        status: StatusCode,
        field: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            errors: vec![(field.into(), message.into())],
            retry_after: None,
        }
    }

    /// Who asks has to say who they are.
    pub(crate) fn token_missing() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "token", "is missing")
    }

    /// What they said they are is not so, or no longer.
    pub(crate) fn token_invalid() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "token", "is invalid")
    }

    /// No such email, or not its password: which of them is not told.
    pub(crate) fn credentials() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "credentials", "invalid")
    }

    /// There is no such thing.
    pub(crate) fn not_found(resource: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, resource, "not found")
    }

    /// It belongs to somebody else.
    pub(crate) fn forbidden(resource: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, resource, "forbidden")
    }

    /// One field cannot be what it is.
    pub(crate) fn invalid(
        field: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, field, message)
    }

    /// Some fields cannot be what they are.
    pub(crate) fn fields(errors: Vec<(Cow<'static, str>, Cow<'static, str>)>) -> Self {
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            errors,
            retry_after: None,
        }
    }

    /// More is asked at once than can be done.
    pub(crate) fn busy() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "service",
            "is busy; try again",
        )
        .retry_after(BUSY_RETRY)
    }

    /// Says when to come back.
    pub(crate) fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The bug or failure behind it is logged; who asked learns only that there is one.
    fn failed(error: &Error) -> Self {
        tracing::error!(target: "larder::service", kind = ?error.kind(), %error, "a request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "service",
            "failed; this is not the request's fault",
        )
    }

    fn body(&self) -> Value {
        let mut errors = Map::new();
        for (field, message) in &self.errors {
            let messages = errors
                .entry(field.clone().into_owned())
                .or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(messages) = messages {
                messages.push(Value::String(message.clone().into_owned()));
            }
        }
        let mut body = Map::new();
        body.insert("errors".to_owned(), Value::Object(errors));
        Value::Object(body)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        if let Some(wait) = self.retry_after {
            // whole seconds, rounded up: never "now"
            let seconds = wait.as_millis().div_ceil(1_000).max(1) as u64;
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// What the store says, where no handler has something better to say about it.
impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::Invalid | ErrorKind::TooLong => {
                let field = error.column().unwrap_or("request").to_owned();
                Self::invalid(field, error.message().to_owned())
            }
            ErrorKind::Busy
            | ErrorKind::Conflict
            | ErrorKind::Timeout
            | ErrorKind::Unavailable
            | ErrorKind::Closed
            | ErrorKind::Full => {
                tracing::warn!(target: "larder::service", kind = ?error.kind(), %error, "the store is busy");
                Self::busy()
            }
            ErrorKind::Unsupported => {
                tracing::error!(target: "larder::service", %error, "the engine cannot do this");
                let problem = error.message().to_owned();
                Self::new(StatusCode::NOT_IMPLEMENTED, "service", problem)
            }
            ErrorKind::Unknown => {
                tracing::error!(target: "larder::service", %error, "the outcome of a write is unknown");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "service",
                    "cannot tell whether this was done; look before trying again",
                )
            }
            _ => Self::failed(&error),
        }
    }
}
