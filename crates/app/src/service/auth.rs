//! Who asks: [`SignedIn`], or a [`Viewer`] who may be nobody. Tokens are opaque names of sessions.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, Method, header};
use larder_core::models::User;
use larder_core::session::{self, SessionOptions, SessionStore};
use larder_core::{Id, Result};

use super::error::{ApiError, Outcome};
use super::state::App;

/// Before the token, in the header `Authorization`.
const SCHEME: &str = "Token";

/// The sessions of users, by the name that is their token. Ids nobody can guess, of which only the
/// hashes are kept; they end when they are not used for a while, and after a while anyhow.
#[derive(Clone, Debug)]
pub(crate) struct Sessions(session::Sessions);

impl Sessions {
    /// In this store.
    pub(crate) fn new(store: Arc<dyn SessionStore>, options: SessionOptions) -> Self {
        Self(session::Sessions::from_shared(store, options))
    }

    /// Begins a session of a user who has just proved who they are, and answers its token.
    pub(crate) async fn open(&self, user: Id<User>) -> Result<String> {
        Ok(self.0.create_for(user, ()).await?.id().expose())
    }

    /// Whose session it is, if it has not ended. A text that is no token is nobody's.
    pub(crate) async fn user_of(&self, token: &str) -> Result<Option<Id<User>>> {
        let session = self.0.load(token).await?;
        Ok(session.and_then(|session| session.user()?.parse().ok()))
    }

    /// Ends all sessions of a user.
    pub(crate) async fn end_all(&self, user: Id<User>) -> Result<()> {
        self.0.revoke_all(user).await.map(drop)
    }

    /// Ends one.
    pub(crate) async fn end(&self, token: &str) -> Result<()> {
        self.0.revoke(&token.parse()?).await.map(drop)
    }

    /// Deletes those that have ended by themselves.
    pub(crate) async fn purge(&self) -> Result<u64> {
        self.0.purge().await
    }
}

/// A user who has signed in. One who writes does so within their limit.
#[derive(Clone, Debug)]
pub(crate) struct SignedIn {
    pub(crate) id: Id<User>,
    /// What they sign their requests with.
    pub(crate) token: String,
}

/// Who looks, if they have signed in. A token that is no good is refused all the same, so that
/// nobody takes the answer for what they would see.
#[derive(Clone, Debug)]
pub(crate) struct Viewer(Option<SignedIn>);

impl Viewer {
    /// The user.
    pub(crate) fn id(&self) -> Option<Id<User>> {
        self.0.as_ref().map(|user| user.id)
    }
}

impl FromRequestParts<App> for Viewer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Outcome<Self> {
        let Some(token) = token(&parts.headers)? else {
            return Ok(Self(None));
        };
        match app.sessions().user_of(token).await? {
            Some(id) => Ok(Self(Some(SignedIn {
                id,
                token: token.to_owned(),
            }))),
            None => Err(ApiError::token_invalid()),
        }
    }
}

impl FromRequestParts<App> for SignedIn {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Outcome<Self> {
        let Viewer(user) = Viewer::from_request_parts(parts, app).await?;
        let user = user.ok_or_else(ApiError::token_missing)?;
        if parts.method != Method::GET {
            app.limits().write(user.id).await?;
        }
        Ok(user)
    }
}

/// The token of a request, if it brings one.
fn token(headers: &HeaderMap) -> Outcome<Option<&str>> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (first, second) = (given.next(), given.next());
    let Some(first) = first else {
        return Ok(None);
    };
    let token = first.to_str().ok().and_then(|text| {
        let (scheme, token) = text.trim().split_once(' ')?;
        scheme.eq_ignore_ascii_case(SCHEME).then(|| token.trim())
    });
    match (token, second) {
        (Some(token), None) if !token.is_empty() => Ok(Some(token)),
        _ => Err(ApiError::token_invalid()),
    }
}
