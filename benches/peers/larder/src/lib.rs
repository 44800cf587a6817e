//! Larder among the peers: its models are also the schema of the database that all of them use.

pub mod models;
