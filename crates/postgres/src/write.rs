//! Runs writes: each one statement where that is possible, else several in a transaction.

use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::{Either, select};
use futures_util::{SinkExt, StreamExt};
use larder_core::write::WriteOp;
use larder_core::{Error, Flow, Result, Rows, Write, Written};
use larder_sql::{Dialect, asks_keys, chunks, copy_in, largest_key, move_sequence};
use tokio::time::{timeout, timeout_at};

use crate::bind::{self, CopyEncoder};
use crate::connection::{Connection, Failure};
use crate::database::Database;
use crate::error;
use crate::read::starts_over;
use crate::row::PgRow;

/// From how many rows on an insert that returns none goes by COPY. Fewer are quicker in one
/// prepared statement, which COPY cannot be.
const COPY_ROWS_MIN: usize = 200;
/// How long the server may take to say what became of a write that was cancelled, at most.
const GRACE_MAX: Duration = Duration::from_secs(1);
/// The same, at least.
const GRACE_MIN: Duration = Duration::from_millis(250);

/// Runs a write outside of a transaction.
pub(crate) async fn run(
    database: &Database,
    write: Write,
    mut rows: Rows,
) -> Result<(Written, Rows)> {
    let started = Instant::now();
    let mut lease = database.acquire(write.deadline).await?;
    lease.begin();
    let running = alone(&lease, &write, &mut rows);
    match by_deadline(&lease, started, write.deadline, running).await {
        Some(outcome) => {
            lease.end_after(&outcome);
            let written = outcome.map_err(|failure| failure.of_write(&write));
            if let Err(error) = &written {
                lease.heed(error);
            }
            Ok((written?, rows))
        }
        None => Err(error::unknown_outcome()),
    }
}

/// Waits until the deadline, then has the statement cancelled and waits a little longer for what
/// became of it. `None` if that is not known.
pub(crate) async fn by_deadline<T>(
    connection: &Connection,
    started: Instant,
    deadline: Option<Instant>,
    work: impl Future<Output = T>,
) -> Option<T> {
    let Some(deadline) = deadline else {
        return Some(work.await);
    };
    let mut work = pin!(work);
    if let Ok(answer) = timeout_at(deadline.into(), &mut work).await {
        return Some(answer);
    }
    let limit = deadline.saturating_duration_since(started);
    let grace = (limit / 10).clamp(GRACE_MIN, GRACE_MAX);
    let cancelled = async {
        match select(pin!(connection.cancel()), work).await {
            Either::Left(((), work)) => work.await,
            // It came by itself. The request may still arrive: the connection stays tainted.
            Either::Right((answer, _)) => answer,
        }
    };
    timeout(grace, cancelled).await.ok()
}

/// Runs the write as a transaction of its own.
async fn alone(
    connection: &Connection,
    write: &Write,
    rows: &mut Rows,
) -> Result<Written, Failure> {
    if connection.is_closed() {
        // Seen now, nothing was sent; later, nobody can tell.
        return Err(Failure::Own(error::connection_lost()));
    }
    match try_alone(connection, write, rows).await {
        // Refused before anything was done, and not the next time.
        Err(failure) if failure.is_stale() && starts_over(rows) => {
            connection.forget_statements();
            try_alone(connection, write, rows).await
        }
        outcome => outcome,
    }
}

async fn try_alone(
    connection: &Connection,
    write: &Write,
    rows: &mut Rows,
) -> Result<Written, Failure> {
    let statements = statements(connection, write, rows);
    if is_one(connection, write) {
        return statements.await;
    }
    in_transaction(connection, "BEGIN", statements).await
}

/// Runs statements as a transaction that begins like this. A connection on which it cannot be
/// ended is not used again.
pub(crate) async fn in_transaction<T>(
    connection: &Connection,
    begin: &str,
    statements: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    if let Err(cause) = connection.batch_execute(begin).await {
        connection.taint(); // the driver may not have seen yet that it is closed
        return Err(Failure::Own(error::begin_failed(cause)));
    }
    let outcome = match statements.await {
        Ok(done) => commit(connection)
            .await
            .map(|()| done)
            .map_err(Failure::Own),
        failed => failed,
    };
    if outcome.is_err() && connection.batch_execute("ROLLBACK").await.is_err() {
        connection.taint();
    }
    outcome
}

/// Commits, and makes sure that it was not a rollback.
///
/// Of a transaction that a failed statement has aborted, PostgreSQL answers COMMIT with success
/// and the tag ROLLBACK, which the driver does not show. The savepoint before it fails then.
pub(crate) async fn commit(connection: &Connection) -> Result<()> {
    let committed = connection.batch_execute("SAVEPOINT larder_end; COMMIT");
    committed.await.map_err(error::commit_failed)
}

/// Whether the write is one statement, which is a transaction by itself.
///
/// COPY is none: the driver answers it before the server has committed.
fn is_one(connection: &Connection, write: &Write) -> bool {
    largest_key(write).is_none()
        && !goes_by_copy(connection, write)
        && chunks(Dialect::Postgres, write).nth(1).is_none()
}

/// Runs the write's statements. The caller sees to it that they are undone together.
pub(crate) async fn statements(
    connection: &Connection,
    write: &Write,
    rows: &mut Rows,
) -> Result<Written, Failure> {
    if let Some(statement) = move_sequence(write) {
        let bound = bind::of_sequence(write);
        let mut moved = pin!(connection.once(&statement.sql, &bound).await?);
        while let Some(row) = moved.next().await {
            row?;
        }
    }
    let mut written = 0;
    if goes_by_copy(connection, write) {
        written = copy(connection, write).await?;
    } else {
        let mut wanted = true;
        for chunk in chunks(Dialect::Postgres, write) {
            let bound = bind::of_write(write, chunk.clone());
            let found = connection.write(write, chunk.len(), &bound).await?;
            drop(bound);
            let mut found = pin!(found);
            let mut returned = 0;
            while let Some(row) = found.next().await {
                let row = row?;
                returned += 1;
                wanted = wanted && rows.returned(&PgRow::new(&row)) != Flow::Stop;
            }
            written += match write.returning {
                Some(_) => returned,
                None => found.rows_affected().unwrap_or(0),
            };
        }
    }
    Ok(Written::rows(written))
}

/// Whether the rows go by COPY: many, none comes back, and none needs the server's own key.
fn goes_by_copy(connection: &Connection, write: &Write) -> bool {
    let WriteOp::Insert(insert) = &write.op else {
        return false;
    };
    connection.is_named()
        && write.returning.is_none()
        && insert.on_conflict.is_none()
        && insert.rows().len() >= COPY_ROWS_MIN
        && !asks_keys(write)
}

/// Sends the rows by binary COPY, a piece at a time.
async fn copy(connection: &Connection, write: &Write) -> Result<u64, Failure> {
    let WriteOp::Insert(insert) = &write.op else {
        return Ok(0);
    };
    let sql = copy_in(insert);
    let sink = connection.copy_in::<_, Bytes>(sql.as_str()).await?;
    let mut sink = pin!(sink);
    let mut encoder = CopyEncoder::new(insert);
    while let Some(piece) = encoder.next_piece().map_err(Failure::Own)? {
        sink.send(piece).await?;
    }
    Ok(sink.finish().await?)
}

impl Failure {
    /// The failure as the error of a write.
    pub(crate) fn of_write(self, write: &Write) -> Error {
        match self {
            Self::Driver(cause) => error::write_failed(cause, write),
            Self::Own(error) => error,
        }
    }
}
