//! Runs reads: points on the shared connections, the rest on a connection of their own.

use std::pin::pin;

use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt};
use larder_core::{Access, Error, Filter, Flow, Result, Rows, Select, Table, TextMatch};
use larder_sql::{Dialect, render_select};
use tokio::task::{AbortHandle, JoinHandle};

use crate::bind;
use crate::connection::{Connection, Failure};
use crate::database::Database;
use crate::error::{self, StoppedBy};
use crate::pool::Lease;
use crate::row::PgRow;

/// The most keys of a read that travels with those of other tasks.
const SHARED_KEYS_MAX: usize = 8;

/// Whether the read is quick for certain, and so may travel with those of other tasks.
pub(crate) fn is_shared(select: &Select, rows: &Rows) -> bool {
    !rows.may_wait()
        && select.lock.is_none()
        && matches!(select.access(), Access::Point { keys } if keys <= SHARED_KEYS_MAX)
        && is_light(&select.filter)
}

/// Whether the filter is quick to decide, whatever the row holds and however large it is.
fn is_light(filter: &Filter) -> bool {
    match filter {
        Filter::Related(_) | Filter::Json { .. } | Filter::Matches { .. } => false,
        Filter::Text { op, .. } => matches!(op, TextMatch::Equals | TextMatch::StartsWith),
        Filter::And(all) | Filter::Or(all) => all.iter().all(is_light),
        Filter::Not(filter) => is_light(filter),
        _ => true,
    }
}

/// Runs one read outside of a transaction.
pub(crate) async fn run(database: &Database, select: &Select, rows: &mut Rows) -> Result<()> {
    let shared = is_shared(select, rows) && !database.lanes().shuns(select.table);
    if shared && run_shared(database, select, rows).await? {
        return Ok(());
    }
    // In a box of its own, to keep the future of a point read small.
    Box::pin(run_alone(database, select, rows)).await
}

/// Runs a read on a connection of its own.
async fn run_alone(database: &Database, select: &Select, rows: &mut Rows) -> Result<()> {
    let mut repeated = false;
    loop {
        let mut lease = database.acquire(None).await?;
        let outcome = if rows.may_wait() {
            run_streamed(lease, select, rows).await?
        } else {
            let outcome = on_lease(&mut lease, select, rows).await;
            drop(lease);
            outcome
        };
        match outcome {
            Err(failure) if !repeated && failure.is_lost() && starts_over(rows) => repeated = true,
            outcome => return outcome.map_err(|failure| failure.of_read(select.table)),
        }
    }
}

/// Runs a read whose rows are taken while it goes on. In a task of its own: whoever takes them may
/// stop polling, and the connection must come back all the same.
async fn run_streamed(
    mut lease: Lease,
    select: &Select,
    rows: &mut Rows,
) -> Result<Result<(), Failure>> {
    let (select, mut given) = (select.clone(), std::mem::replace(rows, Rows::discard()));
    let reading = Task::spawn(async move {
        let outcome = on_lease(&mut lease, &select, &mut given).await;
        (given, outcome)
    });
    let (given, outcome) = reading.join().await?;
    *rows = given;
    Ok(outcome)
}

/// A task that ends when it is dropped.
pub(crate) struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    pub(crate) fn spawn(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }

    /// What ends it from elsewhere.
    pub(crate) fn abort_handle(&self) -> AbortHandle {
        self.0.abort_handle()
    }

    /// What it answers.
    ///
    /// # Errors
    /// `Closed` if it was ended from elsewhere.
    pub(crate) async fn join(mut self) -> Result<T> {
        match (&mut self.0).await {
            Ok(answer) => Ok(answer),
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(error::closed()),
            },
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs a quick read behind those of other tasks. False if it is not quick after all: it waits for
/// a lock, or was stopped with its connection.
async fn run_shared(database: &Database, select: &Select, rows: &mut Rows) -> Result<bool> {
    let mut repeated = false;
    loop {
        let lane = database.lanes().enter().await?;
        let outcome = show_planned(&lane, select, rows).await;
        let retired = lane.is_retired();
        lane.answered();
        let Err(failure) = outcome else {
            return Ok(true);
        };
        let elsewhere = match failure.stopped_by() {
            Some(StoppedBy::Lock) => {
                database.lanes().shun(select.table);
                true
            }
            Some(StoppedBy::Cancel) => retired,
            None => false,
        };
        if elsewhere && starts_over(rows) {
            return Ok(false);
        }
        if repeated || !failure.is_lost() || !starts_over(rows) {
            return Err(failure.of_read(select.table));
        }
        repeated = true;
    }
}

/// Runs reads on one connection, sent together.
pub(crate) async fn run_all(database: &Database, queries: &mut [(Select, Rows)]) -> Result<()> {
    let alone = queries.len() == 1;
    // One that waits for its receiver would hold up those behind it.
    if alone || queries.iter().any(|(_, rows)| rows.may_wait()) {
        for (select, rows) in queries {
            run(database, select, rows).await?;
        }
        return Ok(());
    }
    let mut lease = database.acquire(None).await?;
    let mut repeated = false;
    loop {
        lease.begin();
        let Err((failure, table)) = all_on(&lease, queries).await else {
            lease.end();
            return Ok(());
        };
        let (stale, lost) = (failure.is_stale(), failure.is_lost());
        if stale {
            lease.forget_statements();
        }
        if lost {
            lease.retire();
        }
        let again = !repeated && (stale || lost);
        if !again || !queries.iter_mut().all(|(_, rows)| starts_over(rows)) {
            return Err(failure.of_read(table));
        }
        repeated = true;
        if lost {
            drop(lease);
            lease = database.acquire(None).await?;
        }
    }
}

/// Runs reads on this connection, sent together. Their rows come one read after the other. Any
/// error leaves rows on their way.
pub(crate) async fn all_on(
    connection: &Connection,
    queries: &mut [(Select, Rows)],
) -> Result<(), (Failure, &'static Table)> {
    let reads = queries.iter_mut().map(|(select, rows)| async move {
        let shown = show(connection, select, rows).await;
        shown.map_err(|failure| (failure, select.table))
    });
    try_join_all(reads).await.map(drop)
}

/// Says how the read would be executed.
pub(crate) async fn explain(connection: &Connection, select: &Select) -> Result<String, Failure> {
    let sql = format!("EXPLAIN {}", render_select(Dialect::Postgres, select).sql);
    let bound = bind::of_select(select);
    let found = connection.once(&sql, &bound).await?;
    let lines: Vec<String> = (found.and_then(async |row| row.try_get(0)))
        .try_collect()
        .await?;
    Ok(lines.join("\n"))
}

/// Runs a read of any length on a connection of its own.
async fn on_lease(lease: &mut Lease, select: &Select, rows: &mut Rows) -> Result<(), Failure> {
    lease.begin();
    let outcome = show_planned(lease, select, rows).await;
    // A receiver that wants no more leaves rows on their way.
    if !matches!(outcome, Ok(Flow::Stop) | Err(Failure::Own(_))) {
        lease.end_after(&outcome);
    }
    outcome.map(drop)
}

/// Whether a statement may be sent again whose rows go here: none was shown, or they can be taken
/// back.
pub(crate) fn starts_over(rows: &mut Rows) -> bool {
    rows.count() == 0 || rows.restart()
}

/// As [`show`]; prepares the statement anew if its table has changed since. On the same
/// connection: another one may have an old statement as well.
async fn show_planned(
    connection: &Connection,
    select: &Select,
    rows: &mut Rows,
) -> Result<Flow, Failure> {
    match show(connection, select, rows).await {
        Err(failure) if failure.is_stale() => {
            connection.forget_statements();
            if !starts_over(rows) {
                return Err(failure);
            }
            show(connection, select, rows).await
        }
        outcome => outcome,
    }
}

/// Sends the read and shows its rows. Answers `Stop` if some were left on their way.
pub(crate) async fn show(
    connection: &Connection,
    select: &Select,
    rows: &mut Rows,
) -> Result<Flow, Failure> {
    let bound = bind::of_select(select);
    let found = connection.select(select, &bound).await?;
    drop(bound);
    let mut found = pin!(found);
    while let Some(row) = found.next().await {
        let mut flow = rows.row(&PgRow::new(&row?)).map_err(Failure::Own)?;
        if flow == Flow::Full {
            flow = rows.flush().await;
        }
        if flow == Flow::Stop {
            // A stream may have left millions of rows; anything else was asked for with a limit.
            if rows.may_wait() && select.lock.is_none() {
                return Ok(Flow::Stop);
            }
            while let Some(row) = found.next().await {
                row?;
            }
            break;
        }
    }
    Ok(Flow::More)
}

impl Failure {
    /// The failure as the error of a read.
    pub(crate) fn of_read(self, table: &'static Table) -> Error {
        match self {
            Self::Driver(cause) => error::read_failed(cause, table),
            Self::Own(error) => error,
        }
    }
}
