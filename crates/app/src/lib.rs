//! Larder: a typed data layer for Rust services. You write your models once, as plain structs;
//! the same code runs on every engine.
//!
//! This crate is what a service depends on: everything of [`larder_core`] under one name, and
//! [`connect`], which picks the engine by URL.
//!
//! ```
//! use larder::models::{NewUser, User};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> larder::Result<()> {
//! let db = larder::connect("memory:").await?;
//! let ada = db.insert(NewUser::without_password("ada@example.com", "Ada")?).await?;
//! assert_eq!(db.query::<User>().filter(User::NAME.starts_with("A")).count().await?, 1);
//!
//! let again = db.insert(NewUser::without_password("ada@example.com", "Imposter")?).await;
//! assert!(again.is_err_and(|error| error.violates(User::EMAIL)));
//! # let _ = ada; Ok(()) }
//! ```
//!
//! | URL | store | feature |
//! |---|---|---|
//! | `sqlite://app.db`, `sqlite:///srv/app.db` | a SQLite file, made if there is none | `sqlite` |
//! | `sqlite::memory:` | a SQLite database that is gone when it is closed | `sqlite` |
//! | `postgres://user:password@host:5432/app`, `postgresql://..` | a PostgreSQL database | `postgres` |
//! | `redis://:password@host:6379/0?namespace=app`, `rediss://..`, `redis-cluster://..`, `redis-sentinel://..` | a namespace of a Redis server | `redis` |
//! | `memory:` | the in-memory store, for tests | always there |
//!
//! Features: `sqlite`, `postgres` and `redis` (default), `serve` (default), which is the HTTP service
//! [`service`], and `cli` (default), which only the `larder` program needs. Leave out what you have no
//! use for:
//! `larder = { version = "..", default-features = false, features = ["sqlite"] }`.

mod engines;
#[cfg(all(doctest, feature = "sqlite", feature = "postgres"))]
mod guide;
#[cfg(feature = "serve")]
pub mod service;

/// The README's code, compiled and run with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

#[cfg(feature = "postgres")]
pub use engines::postgres;
#[cfg(feature = "redis")]
pub use engines::redis;
#[cfg(feature = "sqlite")]
pub use engines::sqlite;
pub use engines::{Store, connect, connect_with};
pub use larder_core::*;
