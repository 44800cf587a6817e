//! [`SqlRateLimiter`]: rate limits in a table of a SQL database, by one statement a check.
//!
//! ```text
//!   INSERT (name, now + price, true, now)
//!   ON CONFLICT: if tat + price > now + burst   refused: the row keeps tat, at most now + burst
//!                else                           allowed: max(tat, now) + price
//!   RETURNING tat, allowed, now
//! ```
//!
//! The statement writes the row of a request that it refuses, too: so it answers from what it decided
//! by, in one round trip. [`GuardedRateLimiter`](larder_core::rate_limit::GuardedRateLimiter) keeps
//! most of those away.

use std::sync::Arc;

use async_trait::async_trait;
use larder_core::rate_limit::{Outcome, Quota, RateLimiter, stored_key};
use larder_core::{Clock, Db, Entity, Error, ErrorKind, Result, SystemClock, Table};

/// Rate limits in the table `larder_rate_limits` of a SQL database, for all who use it.
///
/// Made by the engine (`sqlite.rate_limiter()`, `postgres.rate_limiter()`). A check is one atomic
/// statement. Rows of keys that are full again stay until they are
/// [purged](RateLimiter::purge).
#[derive(Clone, Debug)]
pub struct SqlRateLimiter {
    db: Db,
    time: Time,
}

#[derive(Clone, Debug)]
enum Time {
    /// The PostgreSQL server's.
    Server,
    Told(Arc<dyn Clock>),
}

/// One key.
#[derive(Entity)]
#[entity(table = "larder_rate_limits")]
struct Row {
    #[key]
    name: Vec<u8>,
    /// When its quota is full again, in nanoseconds since 1970.
    tat: i64,
    /// What was decided last, and when.
    allowed: bool,
    decided_at: i64,
}

/// A check; what comes where the time is told, and where the server tells it.
macro_rules! check {
    ($now:literal) => {
        concat!(
            "INSERT INTO larder_rate_limits AS kept (name, tat, allowed, decided_at)
             SELECT $1, now.at + $2, true, now.at FROM (SELECT ",
            $now,
            " AS at) AS now WHERE true
             ON CONFLICT (name) DO UPDATE SET
               tat = CASE
                 WHEN kept.tat > excluded.decided_at + $3 THEN excluded.decided_at + $3
                 WHEN kept.tat + $2 > excluded.decided_at + $3 THEN kept.tat
                 WHEN kept.tat > excluded.decided_at THEN kept.tat + $2
                 ELSE excluded.tat
               END,
               allowed = (kept.tat + $2 <= excluded.decided_at + $3),
               decided_at = excluded.decided_at
             RETURNING tat, allowed, decided_at"
        )
    };
}

macro_rules! look {
    ($now:literal) => {
        concat!(
            "SELECT tat, ",
            $now,
            " AS at FROM larder_rate_limits WHERE name = $1"
        )
    };
}

macro_rules! purge {
    ($now:literal) => {
        concat!(
            "DELETE FROM larder_rate_limits
             WHERE tat <= ",
            $now,
            " AND name IN (SELECT name FROM larder_rate_limits WHERE tat <= ",
            $now,
            " LIMIT $1)"
        )
    };
}

/// By the server's clock.
const SERVER: [&str; 3] = [
    check!("(extract(epoch FROM clock_timestamp()) * 1000000000)::bigint"),
    look!("(extract(epoch FROM clock_timestamp()) * 1000000000)::bigint"),
    purge!("(extract(epoch FROM clock_timestamp()) * 1000000000)::bigint"),
];
/// By a clock of the process.
const TOLD: [&str; 3] = [
    check!("CAST($4 AS bigint)"),
    look!("CAST($2 AS bigint)"),
    purge!("CAST($2 AS bigint)"),
];
const CHECK: usize = 0;
const LOOK: usize = 1;
const PURGE: usize = 2;

impl SqlRateLimiter {
    /// The table.
    pub const TABLE: &'static Table = Row::TABLE;

    /// Rate limits in a database that has the [table](Self::TABLE), by this machine's clock: for
    /// SQLite.
    pub fn new(db: Db) -> Self {
        Self::with_clock(db, Arc::new(SystemClock))
    }

    /// The same by the clock of a PostgreSQL server, which is one for all its clients.
    pub fn by_server(db: Db) -> Self {
        Self {
            db,
            time: Time::Server,
        }
    }

    /// The same by another clock: a test's.
    pub fn with_clock(db: Db, clock: Arc<dyn Clock>) -> Self {
        Self {
            db,
            time: Time::Told(clock),
        }
    }

    /// The statement's text, with the time as its last value if it is told.
    fn statement(&self, which: usize) -> (&'static str, Option<i64>) {
        match &self.time {
            Time::Server => (SERVER[which], None),
            Time::Told(clock) => (TOLD[which], Some(clock.unix_nanos())),
        }
    }

    /// Looks without a write, for a request that costs nothing or can never be allowed.
    async fn look(&self, key: &str, quota: &Quota, cost: u32) -> Result<Outcome> {
        let (text, now) = self.statement(LOOK);
        let mut look = self.db.sql(text).bind(stored_key(key).into_owned());
        if let Some(now) = now {
            look = look.bind(now);
        }
        let used = look.first::<(i64, i64)>().await?;
        let used = used.map_or(0, |(tat, now)| tat.saturating_sub(now));
        let never = cost > quota.burst_size();
        Ok(Outcome::of_use(quota, cost, !never, used))
    }
}

#[async_trait]
impl RateLimiter for SqlRateLimiter {
    async fn check(&self, key: &str, quota: &Quota, cost: u32) -> Result<Outcome> {
        let (Some(price @ 1..), whole) = quota.nanos(cost) else {
            return self.look(key, quota, cost).await;
        };
        let (text, now) = self.statement(CHECK);
        let mut check = self.db.sql(text).bind(stored_key(key).into_owned());
        check = check.bind(price).bind(whole);
        if let Some(now) = now {
            check = check.bind(now);
        }
        let mut rows = check.returning::<(i64, bool, i64)>().await?;
        let (tat, allowed, now) = rows.pop().ok_or_else(no_answer)?;
        Ok(Outcome::of_use(quota, cost, allowed, tat - now))
    }

    async fn reset(&self, key: &str) -> Result<()> {
        self.db.delete::<Row>(stored_key(key).into_owned()).await?;
        Ok(())
    }

    async fn purge(&self, limit: u64) -> Result<u64> {
        let (text, now) = self.statement(PURGE);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut purge = self.db.sql(text).bind(limit);
        if let Some(now) = now {
            purge = purge.bind(now);
        }
        purge.execute().await
    }
}

#[cold]
fn no_answer() -> Error {
    Error::new(
        ErrorKind::Engine,
        "the statement of a rate limit brought no row: has somebody put a trigger or a rule on its table?",
    )
}
