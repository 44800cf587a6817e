//! SQLite: what is compared with rusqlite.
//!
//! - this file: the list of scenarios
//! - [`fixture`]: the databases
//! - [`raw`]: the baseline
//! - [`plan`]: the loading plan that both sides build
//! - `reads`, `writes`: the scenarios

pub mod fixture;
pub mod plan;
pub mod raw;
mod reads;
mod writes;

use crate::Pair;
pub use fixture::Fixture;

/// What a commit survives, on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// `synchronous = NORMAL`: a crash of the process.
    Normal,
    /// `synchronous = FULL`: a loss of power.
    Full,
}

/// A scenario: one operation with the driver and with Larder.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// What it does.
    pub name: &'static str,
    /// The greatest ratio of Larder's time to the driver's that is good enough, if one was set.
    pub goal: Option<f64>,
    /// How often it is run for one measured round: some tens of milliseconds.
    pub round: u64,
    /// Opens its databases.
    pub open: fn(&Fixture) -> Pair,
}

const fn scenario(
    name: &'static str,
    goal: Option<f64>,
    round: u64,
    open: fn(&Fixture) -> Pair,
) -> Scenario {
    Scenario {
        name,
        goal,
        round,
        open,
    }
}

/// Everything that is compared.
pub const SCENARIOS: &[Scenario] = &[
    scenario("read by key, one by one", Some(0.75), 5_000, reads::by_key),
    scenario(
        "read by key, snapshots not parked",
        Some(1.25),
        5_000,
        reads::by_key_unparked,
    ),
    scenario(
        "read by unique column, one by one",
        None,
        5_000,
        reads::by_email,
    ),
    scenario(
        "read by key, 64 tasks",
        Some(0.75),
        12_800,
        reads::by_key_tasks,
    ),
    scenario(
        "read by unique column, 64 tasks",
        None,
        12_800,
        reads::by_email_tasks,
    ),
    scenario("page of 20", None, 500, reads::page),
    scenario("scan of 10,000 rows", Some(1.15), 4, reads::scan),
    scenario(
        "100 users, their posts, their comments",
        None,
        8,
        reads::loading_plan,
    ),
    scenario(
        "insert one by one, NORMAL",
        None,
        1_000,
        writes::insert_normal,
    ),
    scenario("insert one by one, FULL", None, 100, writes::insert_full),
    scenario(
        "insert, 64 tasks, NORMAL",
        Some(1.0 / 4.0),
        6_400,
        writes::insert_tasks_normal,
    ),
    scenario(
        "insert, 64 tasks, FULL",
        Some(1.0 / 15.0),
        1_920,
        writes::insert_tasks_full,
    ),
    scenario(
        "bulk insert of 100,000 users",
        Some(1.0),
        1,
        writes::bulk_insert_users,
    ),
    scenario(
        "bulk insert of 100,000 comments",
        Some(1.0),
        1,
        writes::bulk_insert_comments,
    ),
    scenario("bulk update of 10,000", None, 1, writes::bulk_update),
];
