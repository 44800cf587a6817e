//! Posts, which users write.

use serde::{Deserialize, Serialize};

use super::User;
use crate::{Entity, Id, Insert, Patch, TextEnum, Timestamp};

/// Something a user has written.
#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(
    table = "posts",
    index(author_id, status),
    index(status, created_at),
    search(title, content)
)]
pub struct Post {
    /// The key.
    #[key(auto)]
    pub id: Id<Post>,
    /// Who wrote it; it goes when they go.
    #[references(User, on_delete = cascade)]
    pub author_id: Id<User>,
    /// The part of the address that names it.
    #[unique]
    #[column(max_len = 200)]
    pub slug: String,
    /// One line.
    #[column(max_len = 200)]
    pub title: String,
    /// What it is about, in a sentence or two.
    #[column(max_len = 1000, default = "")]
    #[serde(default)]
    pub summary: String,
    /// The text.
    pub content: String,
    /// Who may see it.
    #[column(default = PostStatus::Draft)]
    pub status: PostStatus,
    /// When it was first saved.
    #[created_at]
    pub created_at: Timestamp,
    /// When it was last changed, if ever.
    #[updated_at]
    pub updated_at: Option<Timestamp>,
}

/// Who may see a post. Stored as `draft`, `published` or `archived`.
#[derive(
    TextEnum,
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum PostStatus {
    /// Its author.
    #[default]
    Draft,
    /// Everyone.
    Published,
    /// Whoever has the address; it is in no list.
    Archived,
}

/// What a new post needs.
#[derive(Insert, Clone, Debug, PartialEq)]
#[insert(Post)]
pub struct NewPost {
    /// See [`Post::author_id`].
    pub author_id: Id<User>,
    /// See [`Post::slug`].
    pub slug: String,
    /// See [`Post::title`].
    pub title: String,
    /// See [`Post::content`].
    pub content: String,
    /// See [`Post::status`].
    pub status: PostStatus,
}

/// What can be changed about a post.
#[derive(Patch, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[patch(Post)]
#[serde(default, deny_unknown_fields)]
pub struct PostPatch {
    /// See [`Post::slug`].
    pub slug: Option<String>,
    /// See [`Post::title`].
    pub title: Option<String>,
    /// See [`Post::summary`].
    pub summary: Option<String>,
    /// See [`Post::content`].
    pub content: Option<String>,
    /// See [`Post::status`].
    pub status: Option<PostStatus>,
}
