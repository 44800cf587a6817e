//! PostgreSQL: what is compared with tokio-postgres.
//!
//! - this file: the list of scenarios
//! - [`fixture`]: the server and the databases
//! - [`raw`]: the baseline; `at`: its instants
//! - `reads`, `writes`: the scenarios

mod at;
pub mod fixture;
pub mod raw;
mod reads;
mod writes;

use crate::Scenario;
pub use fixture::Fixture;

/// One at a time, a read may cost a fifth more than the driver's.
const POINT: Option<f64> = Some(1.2);
/// Many at a time reach 0.85 of the driver's throughput.
const POINTS: Option<f64> = Some(1.0 / 0.85);
const COPY: Option<f64> = Some(1.2);

/// Everything that is compared.
pub const SCENARIOS: &[Scenario<Fixture>] = &[
    Scenario::new("read by key, one by one", POINT, 500, reads::by_key),
    Scenario::new(
        "read by unique column, one by one",
        POINT,
        500,
        reads::by_email,
    ),
    Scenario::new("read by key, 64 tasks", POINTS, 6_400, reads::by_key_tasks),
    Scenario::new(
        "read by unique column, 64 tasks",
        POINTS,
        6_400,
        reads::by_email_tasks,
    ),
    Scenario::new("page of 20", None, 200, reads::page),
    Scenario::new("scan of 10,000 rows", None, 4, reads::scan),
    Scenario::new(
        "100 users, their posts, their comments",
        None,
        8,
        reads::loading_plan,
    ),
    Scenario::new("insert one by one", None, 200, writes::insert),
    Scenario::new("insert, 64 tasks", None, 1_280, writes::insert_tasks),
    Scenario::new(
        "bulk insert of 100,000 users",
        COPY,
        1,
        writes::bulk_insert_users,
    ),
    Scenario::new(
        "bulk insert of 100,000 comments",
        COPY,
        1,
        writes::bulk_insert_comments,
    ),
    Scenario::new("bulk update of 10,000", None, 1, writes::bulk_update),
];
