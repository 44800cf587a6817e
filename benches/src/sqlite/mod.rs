//! SQLite: what is compared with rusqlite.
//!
//! - this file: the list of scenarios
//! - [`fixture`]: the databases
//! - [`raw`]: the baseline
//! - `reads`, `writes`: the scenarios

pub mod fixture;
pub mod raw;
mod reads;
mod writes;

use crate::Scenario;
pub use fixture::Fixture;

/// What a commit survives, on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// `synchronous = NORMAL`: a crash of the process.
    Normal,
    /// `synchronous = FULL`: a loss of power.
    Full,
}

/// Everything that is compared.
pub const SCENARIOS: &[Scenario<Fixture>] = &[
    Scenario::new("read by key, one by one", Some(0.75), 5_000, reads::by_key),
    Scenario::new(
        "read by key, snapshots not parked",
        Some(1.25),
        5_000,
        reads::by_key_unparked,
    ),
    Scenario::new(
        "read by unique column, one by one",
        None,
        5_000,
        reads::by_email,
    ),
    Scenario::new(
        "read by key, 64 tasks",
        Some(0.75),
        12_800,
        reads::by_key_tasks,
    ),
    Scenario::new(
        "read by unique column, 64 tasks",
        None,
        12_800,
        reads::by_email_tasks,
    ),
    Scenario::new("page of 20", None, 500, reads::page),
    Scenario::new("scan of 10,000 rows", Some(1.15), 4, reads::scan),
    Scenario::new(
        "100 users, their posts, their comments",
        None,
        8,
        reads::loading_plan,
    ),
    Scenario::new(
        "insert one by one, NORMAL",
        None,
        1_000,
        writes::insert_normal,
    ),
    Scenario::new("insert one by one, FULL", None, 100, writes::insert_full),
    Scenario::new(
        "insert, 64 tasks, NORMAL",
        Some(1.0 / 4.0),
        6_400,
        writes::insert_tasks_normal,
    ),
    Scenario::new(
        "insert, 64 tasks, FULL",
        Some(1.0 / 15.0),
        1_920,
        writes::insert_tasks_full,
    ),
    Scenario::new(
        "bulk insert of 100,000 users",
        Some(1.0),
        1,
        writes::bulk_insert_users,
    ),
    Scenario::new(
        "bulk insert of 100,000 comments",
        Some(1.0),
        1,
        writes::bulk_insert_comments,
    ),
    Scenario::new("bulk update of 10,000", None, 1, writes::bulk_update),
];
