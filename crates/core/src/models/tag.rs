//! Tags, and which posts have them.

use serde::{Deserialize, Serialize};

use super::Post;
use crate::{Entity, Id, Insert};

/// A word that posts can be found by.
#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(table = "tags")]
pub struct Tag {
    /// The key.
    #[key(auto)]
    pub id: Id<Tag>,
    /// The word.
    #[unique]
    #[column(max_len = 64)]
    pub name: String,
}

/// What a new tag needs.
#[derive(Insert, Clone, Debug, PartialEq)]
#[insert(Tag)]
pub struct NewTag {
    /// See [`Tag::name`].
    pub name: String,
}

impl NewTag {
    /// A tag of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }
}

/// That a post has a tag.
#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(table = "post_tags")]
pub struct PostTag {
    /// The post; what it was tagged with goes when it goes.
    #[key]
    #[references(Post, on_delete = cascade)]
    pub post_id: Id<Post>,
    /// The tag.
    #[key]
    #[index]
    #[references(Tag, on_delete = cascade)]
    pub tag_id: Id<Tag>,
    /// Where it stands among the post's tags, from 0; those at one place come by key.
    #[column(default = 0)]
    #[serde(default)]
    pub position: i64,
}
