//! What handlers take out of a request, refused in the API's form where it cannot be had.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::error::{ApiError, Outcome};
use super::state::App;

/// The bytes of a JSON body, bounded by [`ServiceOptions::body_bytes_max`](super::ServiceOptions).
#[derive(Debug)]
pub(crate) struct JsonBody(pub(crate) Bytes);

impl FromRequest<App> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Outcome<Self> {
        check_content_type(request.headers())?;
        let most = app.options().body_bytes_max;
        let too_large = || {
            ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body",
                format!("is too large (maximum is {most} bytes)"),
            )
        };
        if content_length(request.headers()).is_some_and(|length| length > most as u64) {
            return Err(too_large()); // without reading it
        }
        match Limited::new(request.into_body(), most).collect().await {
            Ok(body) => Ok(Self(body.to_bytes())),
            Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
            Err(_) => Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "body",
                "ended before it was complete",
            )),
        }
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// Refuses bodies that say they are something else than JSON, or do not say what they are.
fn check_content_type(headers: &HeaderMap) -> Outcome<()> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let is_json = match (types.next(), types.next()) {
        (Some(only), None) => only.to_str().is_ok_and(|text| {
            let kind = text.split(';').next().unwrap_or_default();
            kind.trim().eq_ignore_ascii_case("application/json")
        }),
        _ => false,
    };
    if is_json {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "content-type",
        "must be application/json",
    ))
}

/// What the path names, part by part. Nothing has a name with a NUL in it, or one that is not UTF-8.
#[derive(Debug)]
pub(crate) struct Named<const PARTS: usize>(pub(crate) [String; PARTS]);

impl<const PARTS: usize> FromRequestParts<App> for Named<PARTS> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Outcome<Self> {
        let nothing = || ApiError::not_found("path");
        let names = Path::<Vec<String>>::from_request_parts(parts, &()).await;
        let Path(names) = names.map_err(|_| nothing())?;
        if names.iter().any(|name| name.contains('\0')) {
            return Err(nothing());
        }
        names.try_into().map(Self).map_err(|_| nothing())
    }
}

/// The parameters of a query, each at most once.
#[derive(Debug, Default)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl FromRequestParts<App> for Parameters {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Outcome<Self> {
        let all = Query::<Vec<(String, String)>>::from_request_parts(parts, &()).await;
        let Ok(Query(all)) = all else {
            return Err(ApiError::invalid("query", "cannot be read"));
        };
        Ok(Self(all))
    }
}

impl Parameters {
    /// The parameter, if it is there.
    ///
    /// # Errors
    /// 422 if it stands there twice, or holds a NUL.
    pub(crate) fn text(&self, name: &'static str) -> Outcome<Option<&str>> {
        let mut found = self.0.iter().filter(|(key, _)| key == name);
        match (found.next(), found.next()) {
            (None, _) => Ok(None),
            (Some((_, value)), None) if value.contains('\0') => {
                Err(ApiError::invalid(name, "must not hold NUL characters"))
            }
            (Some((_, value)), None) => Ok(Some(value)),
            (Some(_), Some(_)) => Err(ApiError::invalid(name, "stands there twice")),
        }
    }

    /// The parameter as a number within these bounds.
    ///
    /// # Errors
    /// 422 if it is none.
    pub(crate) fn number(
        &self,
        name: &'static str,
        bounds: std::ops::RangeInclusive<u64>,
        default: u64,
    ) -> Outcome<u64> {
        let Some(text) = self.text(name)? else {
            return Ok(default);
        };
        match text.parse::<u64>() {
            Ok(number) if bounds.contains(&number) => Ok(number),
            _ => {
                let (least, most) = (bounds.start(), bounds.end());
                let problem = format!("must be a whole number from {least} to {most}");
                Err(ApiError::invalid(name, problem))
            }
        }
    }
}
