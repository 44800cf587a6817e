//! Larder on Redis: [`Redis`], a [`Storage`] on fred.
//!
//! ```text
//!   read   point, page ──> one call of a script (an index, then its rows)
//!          others ───────> the candidates, a thousand rows a call; the core evaluates the rest
//!   write  ──────────────> computed here, applied by one script that checks everything first
//!   begin  ──────────────> nothing: reads are remembered, writes kept; the commit is one script
//! ```
//!
//! This crate re-exports all of `larder_core`, so that a service depends on it alone. The server is
//! Redis 6.2 or later, or what speaks as it does.
//!
//! Everything that a handle keeps is in one namespace, whose keys begin with `{namespace}:`. The
//! braces are Redis Cluster's: all of a namespace lies on one shard, so that scripts can change
//! it atomically, and namespaces spread over the shards.
//!
//! # How values are kept
//!
//! A row is a hash with a field for each column that is not NULL, and one without a name for its
//! version.
//!
//! | kind | in the field |
//! |---|---|
//! | bool | `0` or `1` |
//! | i16, i32, i64 | decimal digits |
//! | f32, f64 | the shortest decimal number that comes back |
//! | text, bytes, json | as they are |
//! | timestamp | microseconds since 1970-01-01T00:00:00Z |
//! | date | `2024-05-06` |
//! | uuid | with hyphens |
//! | decimal | with all its digits |
//!
//! # What it does not do
//!
//! - Redis keeps its data in memory and must not evict it: `maxmemory-policy noeviction`. How much
//!   a crash loses is up to its `appendonly` settings, and a failover can lose acknowledged writes.
//! - A transaction holds no rows (`for_update` is refused): it is answered `Conflict` when others got
//!   in its way, and run again by [`Db::transaction`].
//! - A stream of more than 10,000 rows ends with `Conflict` if its table is written to meanwhile.
//! - What no index serves is read whole, and sorted, grouped and joined in this process.
//! - A write is one script, and keeps the server from all else until it is done: 10,000 rows take
//!   it some tenths of a second.
//! - It keeps no feed of changes ([`ChangeFeed`](feed::ChangeFeed) refuses it): transactions commit in
//!   another order than they draw their keys in, so that a reader would skip some. Messages are
//!   carried by [`RedisFeed`].
//! - A key that a dropped transaction has taken is not given again.

#![allow(
    hidden_glob_reexports,
    reason = "an engine's private files are named like the core's"
)]

mod bind;
pub mod cache;
mod client;
mod columns;
mod commit;
mod draft;
mod encode;
mod error;
pub mod feed;
mod fetch;
mod handle;
mod layout;
mod migrate;
mod namespace;
mod options;
mod pack;
mod plan;
pub mod rate_limit;
mod read;
mod row;
mod schema;
mod script;
pub mod session;
mod storage;
mod transaction;
mod walk;
mod write;

pub use feed::RedisFeed;
pub use migrate::IndexDrift;
pub use options::RedisOptions;
pub use storage::Redis;

#[doc(no_inline)]
pub use larder_core::*;
