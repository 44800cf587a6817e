//! One migrating program per database.
//!
//! The lock is an advisory one of the session: it goes when the program dies and its session ends.
//! It is asked for again and again instead of waited for, because a waiting statement is a
//! transaction, and `CREATE INDEX CONCURRENTLY` of the program that migrates waits for all of
//! those: the two would wait for each other.

use std::time::{Duration, Instant};

use larder_core::{Error, ErrorKind, Result};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::failure::{DriverError, engine_error};

/// The lock's number, "larder" in ASCII. PostgreSQL keeps such locks per database.
const KEY: i64 = 0x6c61_7264_6572;

/// The first and the longest wait between two attempts.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(1));

/// Waits for the lock, and makes sure that this session has it.
pub(super) async fn acquire(client: &Client, timeout: Duration) -> Result<()> {
    let unlockable = |error| engine_error("the migration lock cannot be taken", error);
    let since = Instant::now();
    let mut pause = PAUSE.0;
    let ask = format!("SELECT pg_try_advisory_lock({KEY})");
    while !is_true(client, &ask).await.map_err(unlockable)? {
        let left = timeout.saturating_sub(since.elapsed());
        if left.is_zero() {
            return Err(taken(client, timeout).await.map_err(unlockable)?);
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 2).min(PAUSE.1);
    }
    verify(client).await
}

/// Makes sure that the server's process behind this connection has the lock. Within a
/// transaction, it then holds for all of the transaction.
///
/// `Unsupported` otherwise: a pooler lends another process for each transaction.
pub(super) async fn verify(client: &Client) -> Result<()> {
    let held = is_true(client, &holders("true", "AND l.pid = pg_backend_pid()")).await;
    if held.map_err(|error| engine_error("the migration lock cannot be checked", error))? {
        return Ok(());
    }
    Err(Error::unsupported(
        "PostgreSQL behind a transaction pooler",
        "this session does not have the migration lock that it was given; connect to the server \
         itself to migrate",
    ))
}

/// Gives the lock back. The session's end would, too.
pub(super) async fn release(client: &Client) {
    match is_true(client, &format!("SELECT pg_advisory_unlock({KEY})")).await {
        Ok(true) => {}
        Ok(false) => tracing::warn!("the migration lock was gone before the migrations' end"),
        Err(error) => tracing::warn!(%error, "the migration lock goes with its connection"),
    }
}

/// The error that tells who has the lock.
async fn taken(client: &Client, timeout: Duration) -> Result<Error, DriverError> {
    let who = "format('process %s (%s)', l.pid, \
        coalesce(nullif(a.application_name, ''), 'without application_name'))";
    let holder = first(client, &holders(who, "")).await?;
    let holder = holder.unwrap_or_else(|| "another session".to_owned());
    Ok(Error::new(
        ErrorKind::Busy,
        format!(
            "another program has been migrating this database for {timeout:?} (the lock is with \
             {holder}); wait for it to finish, or end it"
        ),
    ))
}

/// The query that shows something of each session that has the lock.
fn holders(what: &str, and: &str) -> String {
    format!(
        "SELECT {what}
        FROM pg_locks AS l
        LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
        WHERE l.locktype = 'advisory'
          AND l.granted
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND l.classid::bigint = {}
          AND l.objid::bigint = {}
          AND l.objsubid = 1
          {and}",
        KEY >> 32,
        KEY & 0xffff_ffff
    )
}

/// Whether the first value of the answer is true.
pub(super) async fn is_true(client: &Client, sql: &str) -> Result<bool, DriverError> {
    Ok(first(client, sql).await?.as_deref() == Some("t"))
}

/// The first value of the answer, if there is one. Prepares nothing, so that it works, and tells
/// the truth, behind a pooler.
async fn first(client: &Client, sql: &str) -> Result<Option<String>, DriverError> {
    let messages = client.simple_query(sql).await?;
    Ok(messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}
