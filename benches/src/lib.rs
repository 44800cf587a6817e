//! Larder beside the raw drivers: the same data, the same settings, the same structs.
//!
//! [`sqlite::SCENARIOS`] and [`postgres::SCENARIOS`] list what is compared. A scenario opens two
//! databases with equal content and gives two functions that run it so many times and tell how
//! long that took; set-up and tidying up are not in that time. Criterion and the ratio runner in
//! `benches/` both call these functions.
//!
//! - [`data`]: the rows
//! - [`larder`]: what Larder is asked to do, whatever the engine
//! - [`run`]: how operations are run and timed
//! - [`plan`]: the loading plan that both sides build

pub mod data;
pub mod larder;
pub mod plan;
pub mod postgres;
pub mod run;
pub mod sqlite;

use std::time::Duration;

/// One operation with the driver and with Larder, on the databases that a fixture `F` opens.
#[derive(Debug)]
pub struct Scenario<F> {
    /// What it does.
    pub name: &'static str,
    /// The greatest ratio of Larder's time to the driver's that is good enough, if one was set.
    pub goal: Option<f64>,
    /// How often it is run for one measured round: some tens of milliseconds.
    pub round: u64,
    /// Opens its databases.
    pub open: fn(&F) -> Pair,
}

impl<F> Scenario<F> {
    const fn new(name: &'static str, goal: Option<f64>, round: u64, open: fn(&F) -> Pair) -> Self {
        Self {
            name,
            goal,
            round,
            open,
        }
    }
}

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
