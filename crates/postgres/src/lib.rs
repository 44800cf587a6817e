//! Larder on PostgreSQL: a [`Storage`] on tokio-postgres.

#![allow(
    hidden_glob_reexports,
    reason = "an engine's private files are named like the core's"
)]

mod bind;
mod error;
mod row;
mod violation;

#[doc(no_inline)]
pub use larder_core::*;
