//! One suite of behaviours, run on every engine.
//!
//! ```text
//!   tests/memory.rs, tests/sqlite.rs, ..   only name the profiles of an [`Engine`] each
//!   src/engines.rs                         how a fresh database of each engine is made
//!   src/suite/*.rs                         one file per behaviour; the same for all engines
//!   src/schema.rs                          models beside the shared ones: every column type, ..
//! ```
//!
//! Every test gets a fresh, empty database of its own. What an engine may lack is asked of its
//! [`Capabilities`](larder_core::Capabilities), never of its name.
//!
//! To add a behaviour, write a file in `suite/` that ends with `tests![..]`, and name it in
//! `suite/mod.rs`.

pub mod cluster;
pub mod databases;
pub mod engines;
mod fixtures;
mod harness;
pub mod hot;
pub mod pgbouncer;
pub mod proxy;
pub mod redis_server;
pub mod schema;
mod shell;
mod suite;

pub use harness::{Again, Engine, Fresh, TestDb, run, run_within};
