//! What users do with posts and with each other.

use serde::{Deserialize, Serialize};

use super::{Post, User};
use crate::{Entity, Id, Insert, Timestamp};

/// That a user likes a post.
#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(table = "favorites")]
pub struct Favorite {
    /// Who.
    #[key]
    #[references(User, on_delete = cascade)]
    pub user_id: Id<User>,
    /// What.
    #[key]
    #[index]
    #[references(Post, on_delete = cascade)]
    pub post_id: Id<Post>,
    /// Since when.
    #[created_at]
    pub created_at: Timestamp,
}

/// What a new favorite needs.
#[derive(Insert, Clone, Debug, PartialEq)]
#[insert(Favorite)]
pub struct NewFavorite {
    /// See [`Favorite::user_id`].
    pub user_id: Id<User>,
    /// See [`Favorite::post_id`].
    pub post_id: Id<Post>,
}

/// That a user follows another one.
#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(table = "follows")]
pub struct Follow {
    /// Who follows.
    #[key]
    #[references(User, on_delete = cascade)]
    pub follower_id: Id<User>,
    /// Who is followed.
    #[key]
    #[index]
    #[references(User, on_delete = cascade)]
    pub followed_id: Id<User>,
    /// Since when.
    #[created_at]
    pub created_at: Timestamp,
}

/// What a new follow needs.
#[derive(Insert, Clone, Debug, PartialEq)]
#[insert(Follow)]
pub struct NewFollow {
    /// See [`Follow::follower_id`].
    pub follower_id: Id<User>,
    /// See [`Follow::followed_id`].
    pub followed_id: Id<User>,
}
