//! Larder on SQLite: [`Sqlite`], a [`Storage`] on rusqlite.
//!
//! ```text
//!   read   point or bounded range ──> inline, on a parked snapshot, within a budget of steps
//!          scan, stream ────────────> a blocking thread, on a reader of its own
//!   write  ─────────────────────────> the combining writer: many writes, one commit
//!   begin  ─────────────────────────> the writer's connection (or a reader's), until the end
//! ```
//!
//! This crate re-exports all of `larder_core`, so that a service depends on it alone.
//!
//! # How values are kept
//!
//! Tables are STRICT.
//!
//! | kind | in SQLite |
//! |---|---|
//! | bool | INTEGER, 0 or 1 |
//! | i16, i32, i64 | INTEGER |
//! | f32, f64 | REAL |
//! | text | TEXT, compared by code point |
//! | bytes | BLOB |
//! | timestamp | INTEGER, microseconds since 1970-01-01T00:00:00Z |
//! | date | INTEGER, days since 1970-01-01 |
//! | uuid | BLOB of 16 bytes |
//! | decimal | TEXT with the collation `LARDER_DECIMAL`, which compares by value |
//! | json | TEXT |
//!
//! # Statements in SQL
//!
//! [`Db::sql`](larder_core::Db::sql) takes SQLite's SQL. A value has the type that SQLite gives it:
//! `avg(number)` is an `f64`, `count(*)` an `i64`, and the sum of decimals is
//! `larder_decimal_sum(price)`. A list is bound as one value, `IN rarray($1)`. What reads runs on a
//! thread of its own beside the writer; what writes goes through it like any write.
//!
//! ```
//! use larder_sqlite::models::{self, NewTag};
//! use larder_sqlite::{Db, Sqlite, SqlRow};
//!
//! #[derive(SqlRow, Debug, PartialEq)]
//! struct Initial {
//!     letter: String,
//!     tags: i64,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_sqlite::Result<()> {
//! let sqlite = Sqlite::in_memory().await?;
//! sqlite.create_tables(&models::tables()).await?;
//! let db = Db::new(sqlite);
//! db.insert_all(["rust", "ruby", "sql"].map(NewTag::new)).await?;
//!
//! let found = db
//!     .sql("SELECT substr(name, 1, 1) AS letter, count(*) AS tags FROM tags
//!           GROUP BY letter HAVING count(*) >= $1")
//!     .bind(2_i64)
//!     .rows::<Initial>()
//!     .await?;
//! assert_eq!(found, [Initial { letter: "r".to_owned(), tags: 2 }]);
//! # Ok(()) }
//! ```

#![allow(
    hidden_glob_reexports,
    reason = "an engine's private files are named like the core's"
)]

mod backup;
mod bind;
pub mod cache;
mod change_log;
mod connection;
mod database;
mod decimal;
mod deferred;
mod deletion;
mod error;
pub mod feed;
mod functions;
mod held;
mod inserted;
mod interrupt;
pub mod introspect;
mod messages;
pub mod migrate;
mod opening;
mod options;
pub mod rate_limit;
mod raw;
mod read;
mod read_ahead;
mod readers;
mod referrers;
mod row;
pub mod session;
mod snapshot;
mod statement;
mod storage;
mod transaction;
mod violation;
mod write;
mod write_batch;
mod write_connection;
mod write_steps;
mod writer;

pub use feed::SqliteFeed;
pub use options::{JournalMode, SqliteOptions, Synchronous};
pub use storage::Sqlite;

#[doc(no_inline)]
pub use larder_core::*;

#[cfg(test)]
mod tests;
