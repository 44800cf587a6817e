//! What is particular to SQLite.

use std::str::FromStr;

use peers_common::{NewUser, Result, Seen, Target};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{QueryBuilder, Sqlite, SqlitePool};

use crate::model::{Comment, Post, User, group, seen};

/// The rows of one statement: with four values each, well below SQLite's 32,766.
const CHUNK: usize = 5_000;

pub async fn open(target: &Target) -> Result<SqlitePool> {
    let mut options = SqliteConnectOptions::from_str(&target.url)?;
    for (name, value) in target.pragmas() {
        options = options.pragma(name, value);
    }
    let pool = SqlitePoolOptions::new()
        .max_connections(target.pool)
        .test_before_acquire(false);
    Ok(pool.connect_with(options).await?)
}

pub async fn version(pool: &SqlitePool) -> Result<String> {
    let version: String = sqlx::query_scalar("SELECT sqlite_version()")
        .fetch_one(pool)
        .await?;
    Ok(format!("SQLite {version}"))
}

pub async fn authors(pool: &SqlitePool, count: i64) -> Result<Seen> {
    let users: Vec<User<i64>> = sqlx::query_as(
        "SELECT id, email, name, is_active, bio, password_hash, created_at, updated_at
         FROM users ORDER BY id LIMIT $1",
    )
    .bind(count)
    .fetch_all(pool)
    .await?;

    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT id, author_id, slug, title, content, status, created_at, updated_at
         FROM posts WHERE author_id IN (",
    );
    let mut list = query.separated(", ");
    for user in &users {
        list.push_bind(user.id);
    }
    query.push(") ORDER BY id");
    let posts: Vec<Post<i64>> = query.build_query_as().fetch_all(pool).await?;

    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT id, post_id, author_id, content, created_at
         FROM comments WHERE post_id IN (",
    );
    let mut list = query.separated(", ");
    for post in &posts {
        list.push_bind(post.id);
    }
    query.push(") ORDER BY id");
    let comments: Vec<Comment<i64>> = query.build_query_as().fetch_all(pool).await?;

    Ok(seen(&group(users, posts, comments)))
}

pub async fn insert(pool: &SqlitePool, user: NewUser) -> Result<Seen> {
    let stored: User<i64> = sqlx::query_as(
        "INSERT INTO users (email, name, bio, created_at) VALUES ($1, $2, $3, $4)
         RETURNING id, email, name, is_active, bio, password_hash, created_at, updated_at",
    )
    .bind(user.email)
    .bind(user.name)
    .bind(user.bio)
    .bind(user.created_at)
    .fetch_one(pool)
    .await?;
    std::hint::black_box(stored);
    Ok(Seen::written(1))
}

pub async fn insert_all(pool: &SqlitePool, users: Vec<NewUser>) -> Result<Seen> {
    let count = users.len();
    // One statement is a transaction by itself.
    if count <= CHUNK {
        insert_chunk(users).build().execute(pool).await?;
        return Ok(Seen::written(count));
    }
    let mut transaction = pool.begin().await?;
    let mut users = users.into_iter().peekable();
    while users.peek().is_some() {
        let mut chunk = insert_chunk(users.by_ref().take(CHUNK));
        chunk.build().execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(Seen::written(count))
}

fn insert_chunk(users: impl IntoIterator<Item = NewUser>) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("INSERT INTO users (email, name, bio, created_at) ");
    query.push_values(users, |mut row, user| {
        row.push_bind(user.email)
            .push_bind(user.name)
            .push_bind(user.bio)
            .push_bind(user.created_at);
    });
    query
}
