//! The loading plan: users, their posts, the posts' comments.

use larder_core::models::{Comment, Post, User};
use larder_core::{Id, Load};

/// A user with posts.
#[derive(Load, Clone, Debug, PartialEq)]
#[load(User)]
pub struct Author {
    /// The key.
    pub id: Id<User>,
    /// See [`User::name`].
    pub name: String,
    /// By key.
    #[load(via = Post::AUTHOR_ID)]
    pub posts: Vec<Article>,
}

/// A post with comments.
#[derive(Load, Clone, Debug, PartialEq)]
#[load(Post)]
pub struct Article {
    /// The key.
    pub id: Id<Post>,
    /// See [`Post::title`].
    pub title: String,
    /// By key.
    #[load(via = Comment::POST_ID)]
    pub comments: Vec<Remark>,
}

/// A comment.
#[derive(Load, Clone, Debug, PartialEq)]
#[load(Comment)]
pub struct Remark {
    /// The key.
    pub id: Id<Comment>,
    /// See [`Comment::content`].
    pub content: String,
}
