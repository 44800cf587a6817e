//! Profiles: what others see of a user, and following them.

use axum::Json;
use axum::extract::State;
use larder_core::models::{Follow, NewFollow, User};
use larder_core::{Db, Id, Load};
use serde::Serialize;

use super::auth::{SignedIn, Viewer};
use super::error::{ApiError, Outcome};
use super::extract::Named;
use super::state::App;

/// What is read of a user whom others see.
#[derive(Load, Clone, Debug)]
#[load(User)]
pub(crate) struct Author {
    pub(crate) id: Id<User>,
    name: String,
    username: Option<String>,
    bio: Option<String>,
    image: Option<String>,
}

/// A profile as the API shows it.
#[derive(Serialize, Clone, Debug)]
pub(crate) struct Profile {
    username: String,
    bio: Option<String>,
    image: Option<String>,
    following: bool,
}

/// `{"profile":{..}}`
#[derive(Serialize, Debug)]
pub(crate) struct ProfileBody {
    profile: Profile,
}

impl Author {
    /// The profile, to somebody who follows them or not. Who has no username is shown by name, and
    /// has no page.
    pub(crate) fn into_profile(self, following: bool) -> Profile {
        Profile {
            username: self.username.unwrap_or(self.name),
            bio: self.bio,
            image: self.image,
            following,
        }
    }
}

/// `GET /profiles/{username}`
pub(crate) async fn show(
    State(app): State<App>,
    viewer: Viewer,
    Named([username]): Named<1>,
) -> Outcome<Json<ProfileBody>> {
    let author = find(app.db(), &username).await?;
    let following = match viewer.id() {
        Some(viewer) => {
            let key = (viewer, author.id);
            app.db().get::<Follow>(key).await?.is_some()
        }
        None => false,
    };
    Ok(answer(author, following))
}

/// `POST /profiles/{username}/follow`: once more changes nothing.
pub(crate) async fn follow(
    State(app): State<App>,
    user: SignedIn,
    Named([username]): Named<1>,
) -> Outcome<Json<ProfileBody>> {
    let author = find(app.db(), &username).await?;
    let new = NewFollow {
        follower_id: user.id,
        followed_id: author.id,
    };
    let follow = app.db().upsert([new]).on(Follow::KEY).ignore();
    match follow.run().await {
        Err(error) if error.violates(Follow::FOLLOWER_ID) => Err(ApiError::token_invalid()),
        Err(error) if error.violates(Follow::FOLLOWED_ID) => Err(ApiError::not_found("profile")),
        done => {
            done?;
            Ok(answer(author, true))
        }
    }
}

/// `DELETE /profiles/{username}/follow`: once more changes nothing.
pub(crate) async fn unfollow(
    State(app): State<App>,
    user: SignedIn,
    Named([username]): Named<1>,
) -> Outcome<Json<ProfileBody>> {
    let author = find(app.db(), &username).await?;
    app.db().delete::<Follow>((user.id, author.id)).await?;
    Ok(answer(author, false))
}

fn answer(author: Author, following: bool) -> Json<ProfileBody> {
    Json(ProfileBody {
        profile: author.into_profile(following),
    })
}

/// The user with this username.
async fn find(db: &Db, username: &str) -> Outcome<Author> {
    let found = db.query::<User>().filter(User::USERNAME.eq(username));
    let found = found.limit(1).load::<Author>().await?.pop();
    found.ok_or_else(|| ApiError::not_found("profile"))
}
