//! What is particular to PostgreSQL.

use chrono::{DateTime, Utc};
use peers_common::{NewUser, Result, Seen, Target};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::model::{Comment, Post, User, group, seen};

type Time = DateTime<Utc>;

pub async fn open(target: &Target) -> Result<PgPool> {
    let pool = PgPoolOptions::new()
        .max_connections(target.pool)
        .test_before_acquire(false);
    Ok(pool.connect(&target.url).await?)
}

pub async fn version(pool: &PgPool) -> Result<String> {
    let version: String = sqlx::query_scalar("SHOW server_version")
        .fetch_one(pool)
        .await?;
    Ok(format!("PostgreSQL {version}"))
}

pub async fn authors(pool: &PgPool, count: i64) -> Result<Seen> {
    let users: Vec<User<Time>> = sqlx::query_as(
        "SELECT id, email, name, is_active, bio, password_hash, created_at, updated_at
         FROM users ORDER BY id LIMIT $1",
    )
    .bind(count)
    .fetch_all(pool)
    .await?;
    let ids: Vec<i64> = users.iter().map(|user| user.id).collect();
    let posts: Vec<Post<Time>> = sqlx::query_as(
        "SELECT id, author_id, slug, title, content, status, created_at, updated_at
         FROM posts WHERE author_id = ANY($1) ORDER BY id",
    )
    .bind(ids)
    .fetch_all(pool)
    .await?;
    let ids: Vec<i64> = posts.iter().map(|post| post.id).collect();
    let comments: Vec<Comment<Time>> = sqlx::query_as(
        "SELECT id, post_id, author_id, content, created_at
         FROM comments WHERE post_id = ANY($1) ORDER BY id",
    )
    .bind(ids)
    .fetch_all(pool)
    .await?;
    Ok(seen(&group(users, posts, comments)))
}

pub async fn insert(pool: &PgPool, user: NewUser) -> Result<Seen> {
    let stored: User<Time> = sqlx::query_as(
        "INSERT INTO users (email, name, bio, created_at) VALUES ($1, $2, $3, $4)
         RETURNING id, email, name, is_active, bio, password_hash, created_at, updated_at",
    )
    .bind(user.email)
    .bind(user.name)
    .bind(user.bio)
    .bind(time(user.created_at)?)
    .fetch_one(pool)
    .await?;
    std::hint::black_box(stored);
    Ok(Seen::written(1))
}

pub async fn insert_all(pool: &PgPool, users: Vec<NewUser>) -> Result<Seen> {
    let count = users.len();
    let (mut emails, mut names) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut bios, mut times) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for user in users {
        emails.push(user.email);
        names.push(user.name);
        bios.push(user.bio);
        times.push(time(user.created_at)?);
    }
    sqlx::query(
        "INSERT INTO users (email, name, bio, created_at)
         SELECT * FROM UNNEST($1::text[], $2::text[], $3::text[], $4::timestamptz[])",
    )
    .bind(emails)
    .bind(names)
    .bind(bios)
    .bind(times)
    .execute(pool)
    .await?;
    Ok(Seen::written(count))
}

fn time(micros: i64) -> Result<Time> {
    Ok(DateTime::from_timestamp_micros(micros).ok_or("a time in range")?)
}
