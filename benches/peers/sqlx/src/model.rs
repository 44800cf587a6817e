//! The rows. `T` is the engine's timestamp: microseconds on SQLite, a date and time on PostgreSQL.

use std::collections::HashMap;

use peers_common::Seen;
use sqlx::FromRow;

#[derive(FromRow)]
#[allow(dead_code, reason = "rows are read in full")]
pub struct User<T> {
    pub id: i64,
    pub email: String,
    pub name: String,
    pub is_active: bool,
    pub bio: Option<String>,
    pub password_hash: Option<String>,
    pub created_at: T,
    pub updated_at: Option<T>,
}

#[derive(Clone, Copy, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum PostStatus {
    Draft,
    Published,
    Archived,
}

#[derive(FromRow)]
#[allow(dead_code, reason = "rows are read in full")]
pub struct Post<T> {
    pub id: i64,
    pub author_id: i64,
    pub slug: String,
    pub title: String,
    pub content: String,
    pub status: PostStatus,
    pub created_at: T,
    pub updated_at: Option<T>,
}

#[derive(FromRow)]
#[allow(dead_code, reason = "rows are read in full")]
pub struct Comment<T> {
    pub id: i64,
    pub post_id: i64,
    pub author_id: i64,
    pub content: String,
    pub created_at: T,
}

/// A post with its author, out of one row.
#[derive(FromRow)]
pub struct PostWithAuthor<T> {
    #[sqlx(flatten)]
    pub post: Post<T>,
    #[sqlx(flatten)]
    pub author: Author<T>,
}

/// A user under names that a post's columns do not have.
#[derive(FromRow)]
#[allow(dead_code, reason = "rows are read in full")]
pub struct Author<T> {
    #[sqlx(rename = "user_id")]
    pub id: i64,
    #[sqlx(rename = "user_email")]
    pub email: String,
    #[sqlx(rename = "user_name")]
    pub name: String,
    #[sqlx(rename = "user_is_active")]
    pub is_active: bool,
    #[sqlx(rename = "user_bio")]
    pub bio: Option<String>,
    #[sqlx(rename = "user_password_hash")]
    pub password_hash: Option<String>,
    #[sqlx(rename = "user_created_at")]
    pub created_at: T,
    #[sqlx(rename = "user_updated_at")]
    pub updated_at: Option<T>,
}

/// A user, their posts, and the posts' comments.
pub type Loaded<T> = (User<T>, Vec<(Post<T>, Vec<Comment<T>>)>);

/// Puts children where they belong.
pub fn group<T>(
    users: Vec<User<T>>,
    posts: Vec<Post<T>>,
    comments: Vec<Comment<T>>,
) -> Vec<Loaded<T>> {
    let mut by_post: HashMap<i64, Vec<Comment<T>>> = HashMap::with_capacity(posts.len());
    for comment in comments {
        by_post.entry(comment.post_id).or_default().push(comment);
    }
    let mut by_author: HashMap<i64, Vec<_>> = HashMap::with_capacity(users.len());
    for post in posts {
        let comments = by_post.remove(&post.id).unwrap_or_default();
        let own = by_author.entry(post.author_id).or_default();
        own.push((post, comments));
    }
    let with_posts = |user: User<T>| {
        let posts = by_author.remove(&user.id).unwrap_or_default();
        (user, posts)
    };
    users.into_iter().map(with_posts).collect()
}

pub fn seen<T>(loaded: &[Loaded<T>]) -> Seen {
    let mut seen = Seen::default();
    for (user, posts) in loaded {
        seen.row(user.id, user.name.len());
        for (post, comments) in posts {
            seen.row(post.id, post.title.len());
            for comment in comments {
                seen.row(comment.id, comment.content.len());
            }
        }
    }
    seen
}
