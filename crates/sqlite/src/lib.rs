//! Larder on SQLite.

mod bind;
mod connection;
mod database;
mod decimal;
mod error;
mod functions;
mod interrupt;
pub mod introspect;
pub mod migrate;
mod options;
mod read;
mod readers;
mod row;
mod snapshot;
mod statement;
mod storage;
mod transaction;
mod violation;
mod write;
mod write_batch;
mod write_connection;
mod writer;

pub use options::{JournalMode, SqliteOptions, Synchronous};
pub use storage::Sqlite;

pub use larder_core::*;

#[cfg(test)]
mod tests;
