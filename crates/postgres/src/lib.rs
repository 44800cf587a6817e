//! Larder on PostgreSQL: [`Postgres`], a [`Storage`] on tokio-postgres.
//!
//! ```text
//!   read   point ─────────────> a few shared connections, behind the reads of other tasks
//!          range, scan, stream ─> a connection of the pool; a plan's reads sent together
//!   write  ───────────────────> a connection of the pool: one statement, arrays, or COPY
//!   begin  ───────────────────> a connection of the pool, until the end
//! ```
//!
//! This crate re-exports all of `larder_core`, so that a service depends on it alone.
//!
//! # How values are kept
//!
//! | kind | in PostgreSQL |
//! |---|---|
//! | bool | boolean |
//! | i16, i32, i64 | smallint, integer, bigint |
//! | f32, f64 | real, double precision |
//! | text | text, compared by code point (`COLLATE "C"`) |
//! | bytes | bytea |
//! | timestamp | timestamptz |
//! | date | date |
//! | uuid | uuid |
//! | decimal | numeric |
//! | json | jsonb, which keeps the meaning and not the spelling |

#![allow(
    hidden_glob_reexports,
    reason = "an engine's private files are named like the core's"
)]

mod bind;
pub mod cache;
mod calendar;
mod cancel_request;
mod canceller;
mod change_log;
mod clock;
mod connection;
mod database;
mod dial;
mod encryption;
mod error;
pub mod feed;
mod held;
pub mod introspect;
mod lanes;
mod listener;
mod lock;
pub mod migrate;
mod numeric;
mod options;
mod pool;
pub mod rate_limit;
mod raw;
mod read;
mod replicated;
mod row;
pub mod session;
mod statement;
mod storage;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;
mod transaction;
mod violation;
mod write;

pub use feed::PostgresFeed;
pub use options::{PostgresOptions, PrePing};
pub use pool::PoolMetrics;
pub use replicated::Replicated;
pub use storage::Postgres;

#[doc(no_inline)]
pub use larder_core::*;
