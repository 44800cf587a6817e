//! Named locks: PostgreSQL's advisory locks, each held by a connection of the pool.
//!
//! Waiting is polling. A session that waits inside the server keeps its connection meanwhile, and
//! its snapshot makes others wait who wait for all snapshots (`CREATE INDEX CONCURRENTLY`).

use std::time::Duration;

use async_trait::async_trait;
use larder_core::{Error, NamedLock, Result};
use tokio::time::sleep;
use tokio_postgres::types::Type;

use crate::database::Database;
use crate::error;
use crate::pool::Lease;

/// How long to wait before the lock is asked for again, at first and at most.
const POLL_MIN: Duration = Duration::from_millis(5);
const POLL_MAX: Duration = Duration::from_millis(250);

/// The number that stands for a name. The seed tells Larder's from other users' hashes of names.
const KEY: &str = "hashtextextended($1, 7809647)";

/// Takes the lock; without waiting, `None` if somebody holds it.
pub(crate) async fn take(
    database: &Database,
    name: &str,
    wait: bool,
) -> Result<Option<Box<dyn NamedLock>>> {
    if !database.capabilities().named_locks {
        return Err(Error::unsupported(
            "postgres without prepared statements",
            "named locks (`db.lock`): behind a pooler the next transaction has another session",
        ));
    }
    let mut pause = POLL_MIN;
    loop {
        let mut lease = database.acquire(None).await?;
        // Dropped from here on, the connection is closed, and the server lets go of the lock.
        lease.retire();
        if ask(&lease, "pg_try_advisory_lock", name).await? {
            let name = name.to_owned();
            return Ok(Some(Box::new(Held { lease, name })));
        }
        lease.end();
        drop(lease);
        if !wait {
            return Ok(None);
        }
        sleep(pause).await;
        pause = (pause * 2).min(POLL_MAX);
    }
}

async fn ask(lease: &Lease, function: &str, name: &str) -> Result<bool> {
    let sql = format!("SELECT {function}({KEY})");
    let row = lease.query_typed_one(&sql, &[(&name, Type::TEXT)]).await;
    row.and_then(|row| row.try_get(0))
        .map_err(error::begin_failed)
}

/// A lock that is held.
#[derive(Debug)]
struct Held {
    lease: Lease,
    name: String,
}

#[async_trait]
impl NamedLock for Held {
    async fn release(mut self: Box<Self>) -> Result<()> {
        if ask(&self.lease, "pg_advisory_unlock", &self.name).await? {
            self.lease.end();
        }
        Ok(())
    }
}
