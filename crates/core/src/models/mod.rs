//! The models that the command line, the suite and the benchmarks share, written exactly as you
//! would write your own.
//!
//! ```text
//!   User ──< Post ──< Comment >── User       ──<  one to many
//!              │
//!              └─< PostTag >── Tag           User ──< Favorite >── Post
//!                                            User ──< Follow >──── User
//! ```
//!
//! ```
//! use larder_core::models::{PostStatus, Post, User};
//! use larder_core::Entity;
//!
//! assert_eq!(Post::TABLE.name, "posts");
//! let active_authors = Post::AUTHOR_ID.whose(User::IS_ACTIVE.eq(true));
//! let _ = Post::STATUS.eq(PostStatus::Published).and(active_authors);
//! ```

// What the derives write is documented too.
#![deny(missing_docs)]

mod comment;
mod password;
mod post;
mod social;
mod tag;
mod user;

pub use comment::{Comment, NewComment};
pub use password::PasswordHash;
pub use post::{NewPost, Post, PostPatch, PostStatus};
pub use social::{Favorite, Follow, NewFavorite, NewFollow};
pub use tag::{NewTag, PostTag, Tag};
pub use user::{NewUser, User, UserPatch};

use crate::{Entity, Table};

/// The tables of all the models, parents before their children.
pub fn tables() -> [&'static Table; 7] {
    [
        User::TABLE,
        Post::TABLE,
        Comment::TABLE,
        Tag::TABLE,
        PostTag::TABLE,
        Favorite::TABLE,
        Follow::TABLE,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_first() {
        let tables = tables();
        for (at, table) in tables.iter().enumerate() {
            for reference in table
                .columns
                .iter()
                .filter_map(|column| column.references.as_ref())
            {
                let parent = (reference.table)();
                assert!(
                    tables[..=at].iter().any(|earlier| earlier.is(parent)),
                    "{}",
                    table.name
                );
            }
        }
    }
}
