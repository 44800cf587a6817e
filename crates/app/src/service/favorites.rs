//! Favourites: the articles that a user likes.

use axum::Json;
use axum::extract::State;
use larder_core::models::{Favorite, NewFavorite};

use super::articles::{self, view::ArticleBody};
use super::auth::SignedIn;
use super::error::{ApiError, Outcome};
use super::extract::Named;
use super::state::App;

/// `POST /articles/{slug}/favorite`: once more changes nothing.
pub(crate) async fn add(
    State(app): State<App>,
    user: SignedIn,
    Named([slug]): Named<1>,
) -> Outcome<Json<ArticleBody>> {
    let post_id = articles::find(app.db(), &slug, Some(user.id)).await?;
    let new = NewFavorite {
        user_id: user.id,
        post_id,
    };
    match app
        .db()
        .upsert([new])
        .on(Favorite::KEY)
        .ignore()
        .run()
        .await
    {
        Err(error) if error.violates(Favorite::USER_ID) => return Err(ApiError::token_invalid()),
        Err(error) if error.violates(Favorite::POST_ID) => {
            return Err(ApiError::not_found("article"));
        }
        done => done?,
    };
    articles::shown(&app, post_id, user.id).await
}

/// `DELETE /articles/{slug}/favorite`: once more changes nothing.
pub(crate) async fn remove(
    State(app): State<App>,
    user: SignedIn,
    Named([slug]): Named<1>,
) -> Outcome<Json<ArticleBody>> {
    let post_id = articles::find(app.db(), &slug, Some(user.id)).await?;
    app.db().delete::<Favorite>((user.id, post_id)).await?;
    articles::shown(&app, post_id, user.id).await
}
