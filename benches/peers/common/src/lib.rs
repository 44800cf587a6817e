//! What the peers have in common: the scenarios, the data, the protocol, the clock.
//!
//! A peer is a program that implements [`Peer`] with one library and calls [`main`]. The runner
//! starts one process of each for every scenario and lets them take turns, so that whatever else
//! the machine does falls on all of them.

pub mod data;
pub mod peer;
pub mod protocol;
pub mod rounds;
pub mod scenario;

pub use data::{NewUser, Picks};
pub use peer::{Engine, Peer, Result, Seen, Target};
pub use rounds::main;
pub use scenario::Scenario;
