//! SQLx, as its documentation recommends:
//!
//! - a pool, `query_as` with `FromRow`, prepared statements cached by the connection
//!   (<https://docs.rs/sqlx/0.9.0/sqlx/#quickstart>);
//! - lists and bulk inserts: `= ANY($1)` and `UNNEST` on PostgreSQL, `QueryBuilder` on SQLite
//!   (<https://github.com/launchbadge/sqlx/blob/main/FAQ.md>, "How can I do a `SELECT ... WHERE
//!   foo IN (...)` query?" and "How can I bind an array to a `VALUES()` clause?",
//!   <https://docs.rs/sqlx/0.9.0/sqlx/struct.QueryBuilder.html#method.push_values>);
//! - relations: a query each and grouping by hand, since it has none of its own.
//!
//! Switched off, to its advantage: the ping before each use of a connection.

mod model;
mod postgres;
mod reads;
mod sqlite;

use std::process::ExitCode;

use peers_common::{Engine, NewUser, Peer, Result, Seen, Target};
use sqlx::{PgPool, SqlitePool};

/// The pool of the engine that was asked for.
#[derive(Clone)]
enum Sqlx {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Peer for Sqlx {
    type New = NewUser;

    const NAME: &'static str = "SQLx 0.9.0";

    async fn open(target: &Target) -> Result<Self> {
        Ok(match target.engine {
            Engine::Sqlite => Self::Sqlite(sqlite::open(target).await?),
            Engine::Postgres => Self::Postgres(postgres::open(target).await?),
        })
    }

    async fn engine_version(&self) -> Result<String> {
        Ok(match self {
            Self::Sqlite(pool) => sqlite::version(pool).await?,
            Self::Postgres(pool) => postgres::version(pool).await?,
        })
    }

    async fn users(&self, count: i64) -> Result<Seen> {
        match self {
            Self::Sqlite(pool) => reads::sqlite::users(pool, count).await,
            Self::Postgres(pool) => reads::postgres::users(pool, count).await,
        }
    }

    async fn newest(&self, count: i64) -> Result<Seen> {
        match self {
            Self::Sqlite(pool) => reads::sqlite::newest(pool, count).await,
            Self::Postgres(pool) => reads::postgres::newest(pool, count).await,
        }
    }

    async fn authors(&self, count: i64) -> Result<Seen> {
        match self {
            Self::Sqlite(pool) => sqlite::authors(pool, count).await,
            Self::Postgres(pool) => postgres::authors(pool, count).await,
        }
    }

    async fn comments(&self) -> Result<Seen> {
        match self {
            Self::Sqlite(pool) => reads::sqlite::comments(pool).await,
            Self::Postgres(pool) => reads::postgres::comments(pool).await,
        }
    }

    async fn user(&self, id: i64) -> Result<Seen> {
        match self {
            Self::Sqlite(pool) => reads::sqlite::user(pool, id).await,
            Self::Postgres(pool) => reads::postgres::user(pool, id).await,
        }
    }

    fn prepare(user: NewUser) -> NewUser {
        user
    }

    async fn insert(&self, user: NewUser) -> Result<Seen> {
        match self {
            Self::Sqlite(pool) => sqlite::insert(pool, user).await,
            Self::Postgres(pool) => postgres::insert(pool, user).await,
        }
    }

    async fn insert_all(&self, users: Vec<NewUser>) -> Result<Seen> {
        match self {
            Self::Sqlite(pool) => sqlite::insert_all(pool, users).await,
            Self::Postgres(pool) => postgres::insert_all(pool, users).await,
        }
    }
}

fn main() -> ExitCode {
    peers_common::main::<Sqlx>()
}
