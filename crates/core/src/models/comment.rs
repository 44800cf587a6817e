//! Comments on posts.

use serde::{Deserialize, Serialize};

use super::{Post, User};
use crate::{Entity, Id, Insert, Timestamp};

/// What a user has to say about a post.
#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(table = "comments")]
pub struct Comment {
    /// The key.
    #[key(auto)]
    pub id: Id<Comment>,
    /// The post; the comment goes when it goes.
    #[index]
    #[references(Post, on_delete = cascade)]
    pub post_id: Id<Post>,
    /// Who wrote it; it goes when they go.
    #[index]
    #[references(User, on_delete = cascade)]
    pub author_id: Id<User>,
    /// The text.
    pub content: String,
    /// When it was written.
    #[created_at]
    pub created_at: Timestamp,
}

/// What a new comment needs.
#[derive(Insert, Clone, Debug, PartialEq)]
#[insert(Comment)]
pub struct NewComment {
    /// See [`Comment::post_id`].
    pub post_id: Id<Post>,
    /// See [`Comment::author_id`].
    pub author_id: Id<User>,
    /// See [`Comment::content`].
    pub content: String,
}
