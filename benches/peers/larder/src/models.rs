//! The models, with the columns that every peer has. The database is made from them.

use larder_core::{Email, Entity, Id, Insert, Table, TextEnum, Timestamp};

/// All tables, in the order in which they can be made.
pub fn tables() -> [&'static Table; 3] {
    [User::TABLE, Post::TABLE, Comment::TABLE]
}

/// Someone who writes.
#[derive(Entity, Clone)]
#[entity(table = "users")]
pub struct User {
    #[key(auto)]
    pub id: Id<User>,
    #[unique]
    pub email: Email,
    #[column(max_len = 100)]
    pub name: String,
    #[column(default = true)]
    pub is_active: bool,
    pub bio: Option<String>,
    pub password_hash: Option<String>,
    #[created_at]
    pub created_at: Timestamp,
    #[updated_at]
    pub updated_at: Option<Timestamp>,
}

/// What a new user needs.
#[derive(Insert)]
#[insert(User)]
pub struct NewUser {
    pub email: Email,
    pub name: String,
    pub bio: Option<String>,
}

/// Something a user has written.
#[derive(Entity)]
#[entity(table = "posts", index(author_id, status), index(status, created_at))]
pub struct Post {
    #[key(auto)]
    pub id: Id<Post>,
    #[references(User, on_delete = cascade)]
    pub author_id: Id<User>,
    #[unique]
    #[column(max_len = 200)]
    pub slug: String,
    #[column(max_len = 200)]
    pub title: String,
    pub content: String,
    #[column(default = PostStatus::Draft)]
    pub status: PostStatus,
    #[created_at]
    pub created_at: Timestamp,
    #[updated_at]
    pub updated_at: Option<Timestamp>,
}

/// Who may see a post.
#[derive(TextEnum, Clone, Copy, Debug, PartialEq)]
pub enum PostStatus {
    Draft,
    Published,
    Archived,
}

/// What a user has to say about a post.
#[derive(Entity)]
#[entity(table = "comments")]
pub struct Comment {
    #[key(auto)]
    pub id: Id<Comment>,
    #[index]
    #[references(Post, on_delete = cascade)]
    pub post_id: Id<Post>,
    #[index]
    #[references(User, on_delete = cascade)]
    pub author_id: Id<User>,
    pub content: String,
    #[created_at]
    pub created_at: Timestamp,
}
