//! Larder on Redis: [`Redis`], on fred.
//!
//! This crate re-exports all of `larder_core`, so that a service depends on it alone.
//!
//! Everything that a handle keeps is in one namespace, whose keys begin with `{namespace}:`. The
//! braces are Redis Cluster's: all of a namespace lies on one shard, so that scripts can change
//! it atomically, and namespaces spread over the shards.

#![allow(
    hidden_glob_reexports,
    reason = "an engine's private files are named like the core's"
)]
// What cannot be reached yet is for the storage, caches and feeds that come next.
#![allow(dead_code, unused_imports, unused_macros)]

pub mod cache;
mod client;
mod error;
mod namespace;
mod options;
mod script;
mod storage;

pub use options::RedisOptions;
pub use storage::Redis;

#[doc(no_inline)]
pub use larder_core::*;
