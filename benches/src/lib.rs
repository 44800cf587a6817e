//! Larder beside the raw driver: the same data, the same file format, the same pragmas, the same
//! structs.
//!
//! [`sqlite::SCENARIOS`] lists what is compared. A scenario opens two databases with equal
//! content and gives two functions that run it so many times and tell how long that took; set-up
//! and tidying up are not in that time. Criterion and the ratio runner in `benches/` both call
//! these functions.

pub mod data;
pub mod sqlite;

use std::time::Duration;

/// Runs a scenario so many times and tells how long that took.
pub type Side = Box<dyn FnMut(u64) -> Duration>;

/// One operation in two forms.
pub struct Pair {
    /// With the driver alone.
    pub raw: Side,
    /// With Larder.
    pub larder: Side,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pair")
    }
}
