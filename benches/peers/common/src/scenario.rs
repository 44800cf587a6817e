//! [`Scenario`]: what is measured.

use crate::data;

/// One thing that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Its name on the command line.
    pub key: &'static str,
    /// Its name in the table.
    pub title: &'static str,
    /// What is done.
    pub work: Work,
    /// How often it is done in a round; the time is divided by it.
    pub times: u64,
    /// Whether a commit survives a loss of power on SQLite.
    pub durable: bool,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// [`Peer::user`](crate::Peer::user), one after the other.
    Points,
    /// The same by many tasks.
    PointTasks,
    /// [`Peer::users`](crate::Peer::users).
    Users(i64),
    /// [`Peer::newest`](crate::Peer::newest).
    Newest,
    /// [`Peer::authors`](crate::Peer::authors).
    Authors,
    /// [`Peer::comments`](crate::Peer::comments).
    Comments,
    /// [`Peer::insert`](crate::Peer::insert), one after the other.
    Insert,
    /// The same by many tasks.
    InsertTasks,
    /// [`Peer::insert_all`](crate::Peer::insert_all), one after the other.
    InsertAll(u64),
    /// [`Peer::insert_all`](crate::Peer::insert_all) of many rows, then
    /// [`Peer::insert`](crate::Peer::insert) of one, so that what the first left to be done later
    /// is measured too.
    Bulk(u64),
}

impl Work {
    /// Whether it writes.
    pub const fn writes(self) -> bool {
        matches!(
            self,
            Self::Insert | Self::InsertTasks | Self::InsertAll(_) | Self::Bulk(_)
        )
    }

    /// Whether many tasks do it.
    pub const fn has_tasks(self) -> bool {
        matches!(self, Self::PointTasks | Self::InsertTasks)
    }
}

const fn scenario(key: &'static str, title: &'static str, work: Work, times: u64) -> Scenario {
    Scenario {
        key,
        title,
        work,
        times,
        durable: matches!(work, Work::InsertTasks),
    }
}

/// Everything that is measured, in the order of the table.
pub const SCENARIOS: &[Scenario] = &[
    scenario("point", "read by key, one by one", Work::Points, 1_000),
    scenario(
        "point-tasks",
        "read by key, 64 tasks",
        Work::PointTasks,
        6_400,
    ),
    scenario("trivial-1", "trivial query, 1 row", Work::Users(1), 400),
    scenario(
        "trivial-100",
        "trivial query, 100 rows",
        Work::Users(100),
        100,
    ),
    scenario(
        "trivial-10000",
        "trivial query, 10,000 rows",
        Work::Users(10_000),
        3,
    ),
    scenario(
        "medium",
        "medium complex query, 50 posts with authors",
        Work::Newest,
        100,
    ),
    scenario(
        "plan",
        "100 users, their posts, their comments",
        Work::Authors,
        8,
    ),
    scenario("scan", "scan of 40,000 comments", Work::Comments, 1),
    scenario("insert-1", "insert 1 row", Work::Insert, 100),
    scenario("insert-25", "insert 25 rows", Work::InsertAll(25), 40),
    scenario("insert-100", "insert 100 rows", Work::InsertAll(100), 20),
    scenario(
        "insert-tasks",
        "insert 1 row, 64 tasks, durable",
        Work::InsertTasks,
        640,
    ),
    scenario(
        "bulk",
        "bulk insert of 10,000 rows",
        Work::Bulk(data::BULK),
        1,
    ),
];

impl Scenario {
    /// The scenario with this name.
    pub fn find(key: &str) -> Option<&'static Self> {
        SCENARIOS.iter().find(|scenario| scenario.key == key)
    }
}
