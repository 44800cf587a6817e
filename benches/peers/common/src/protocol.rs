//! What a peer and the runner tell each other, one JSON object a line.
//!
//! The peer says [`Ready`]. For every line that it then reads, a round's number, it runs one round
//! and says [`Round`]. It ends with its input.

use serde::{Deserialize, Serialize};

/// The peer has opened its connections.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ready {
    /// Name and version of the library.
    pub peer: String,
    /// See [`Peer::engine_version`](crate::Peer::engine_version).
    pub engine: String,
}

/// One round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Round {
    /// See [`Scenario::key`](crate::Scenario::key).
    pub scenario: String,
    /// How often it was done.
    pub n: u64,
    /// How long all of it took, in microseconds.
    pub micros: f64,
    /// Rows seen.
    pub rows: u64,
    /// Their checksum.
    pub sum: u64,
}
