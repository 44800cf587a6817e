//! The reads whose SQL is the same for both engines; only the types of pool and time differ.

macro_rules! reads {
    ($engine:ident, $pool:ty, $time:ty) => {
        pub mod $engine {
            use peers_common::{Result, Seen};

            use crate::model::{Comment, PostWithAuthor, User};

            pub async fn users(pool: &$pool, count: i64) -> Result<Seen> {
                let users: Vec<User<$time>> = sqlx::query_as(
                    "SELECT id, email, name, is_active, bio, password_hash, created_at, updated_at
                     FROM users ORDER BY id LIMIT $1",
                )
                .bind(count)
                .fetch_all(pool)
                .await?;
                let mut seen = Seen::default();
                for user in &users {
                    seen.row(user.id, user.name.len());
                }
                Ok(seen)
            }

            pub async fn user(pool: &$pool, id: i64) -> Result<Seen> {
                let user: Option<User<$time>> = sqlx::query_as(
                    "SELECT id, email, name, is_active, bio, password_hash, created_at, updated_at
                     FROM users WHERE id = $1",
                )
                .bind(id)
                .fetch_optional(pool)
                .await?;
                let mut seen = Seen::default();
                if let Some(user) = &user {
                    seen.row(user.id, user.name.len());
                }
                Ok(seen)
            }

            pub async fn newest(pool: &$pool, count: i64) -> Result<Seen> {
                let posts: Vec<PostWithAuthor<$time>> = sqlx::query_as(
                    "SELECT posts.id, posts.author_id, posts.slug, posts.title, posts.content,
                            posts.status, posts.created_at, posts.updated_at,
                            users.id AS user_id, users.email AS user_email,
                            users.name AS user_name, users.is_active AS user_is_active,
                            users.bio AS user_bio, users.password_hash AS user_password_hash,
                            users.created_at AS user_created_at,
                            users.updated_at AS user_updated_at
                     FROM posts JOIN users ON users.id = posts.author_id
                     WHERE posts.status = $1 AND users.is_active = $2
                     ORDER BY posts.created_at DESC, posts.id DESC LIMIT $3",
                )
                .bind(crate::model::PostStatus::Published)
                .bind(true)
                .bind(count)
                .fetch_all(pool)
                .await?;
                let mut seen = Seen::default();
                for both in &posts {
                    seen.row(both.post.id, both.post.title.len());
                    seen.row(both.author.id, both.author.name.len());
                }
                Ok(seen)
            }

            pub async fn comments(pool: &$pool) -> Result<Seen> {
                let comments: Vec<Comment<$time>> = sqlx::query_as(
                    "SELECT id, post_id, author_id, content, created_at FROM comments",
                )
                .fetch_all(pool)
                .await?;
                let mut seen = Seen::default();
                for comment in &comments {
                    seen.row(comment.id, comment.content.len());
                }
                Ok(seen)
            }
        }
    };
}

reads!(sqlite, sqlx::SqlitePool, i64);
reads!(postgres, sqlx::PgPool, chrono::DateTime<chrono::Utc>);
