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

#![allow(
    hidden_glob_reexports,
    reason = "an engine's private files are named like the core's"
)]

mod backup;
mod bind;
mod connection;
mod database;
mod decimal;
mod deferred;
mod deletion;
mod error;
mod functions;
mod held;
mod inserted;
mod interrupt;
pub mod introspect;
pub mod migrate;
mod opening;
mod options;
mod read;
mod read_ahead;
mod readers;
mod referrers;
mod row;
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

pub use options::{JournalMode, SqliteOptions, Synchronous};
pub use storage::Sqlite;

#[doc(no_inline)]
pub use larder_core::*;

#[cfg(test)]
mod tests;
