//! What surrounds every call of the store: its deadline, its event, its observer.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::event::Event;
use super::{Db, Site};
use crate::describe;
use crate::error::{Error, ErrorKind, Result};
use crate::raw::{RawAccess, RawStatement};
use crate::rows::{BoxFuture, Rows};
use crate::select::{Output, Select};
use crate::storage::{Transaction, TxOptions};
use crate::write::{Write, WriteOp, Written};

/// How much longer than its deadline a call may take before the layer stops waiting for a store
/// that knows the deadline and should have answered by itself.
const GRACE: Duration = Duration::from_secs(1);

impl Db {
    /// How long a call may take: this, or what the handle says.
    pub(crate) fn limit(&self, own: Option<Duration>) -> Duration {
        own.unwrap_or(self.settings.timeout)
    }

    /// Runs one read, with a deadline of its own or the handle's. Begins when it is called: the
    /// query goes to the store at once, and not along with the futures of all who wait for it,
    /// where copying it would cost as much as a point read takes.
    pub(crate) fn read(
        &self,
        timeout: Option<Duration>,
        select: Select,
        rows: Rows,
        site: Site,
    ) -> impl Future<Output = Result<Rows>> + Send {
        let event = Event::read(self, &select, site);
        let read = self.storage.read(select, rows);
        async move {
            let answer = within(self.limit(timeout), read, late_read).await;
            event.end(answer.as_ref().map(|rows| Some(rows.count())));
            answer
        }
    }

    /// Runs one read whose rows are taken while it goes on. `paced` puts it under a deadline.
    pub(crate) async fn read_paced<'a, F>(
        &'a self,
        select: Select,
        rows: Rows,
        site: Site,
        paced: impl FnOnce(BoxFuture<'a, Result<Rows>>) -> F,
    ) -> Result<Rows>
    where
        F: Future<Output = Result<Rows>>,
    {
        let mut event = Event::read(self, &select, site);
        event.paced();
        let answer = paced(self.storage.read(select, rows)).await;
        if let Ok(rows) = &answer {
            event.waited(rows.waited());
        }
        event.end(answer.as_ref().map(|rows| Some(rows.count())));
        answer
    }

    /// Runs independent reads together.
    pub(crate) async fn read_all(
        &self,
        timeout: Option<Duration>,
        queries: Vec<(Select, Rows)>,
        site: Site,
    ) -> Result<Vec<Rows>> {
        let Some((first, _)) = queries.first() else {
            return Ok(Vec::new());
        };
        let event = Event::reads(self, first.table.name, site, |values| {
            let selects = queries.iter().map(|(select, _)| select);
            selects
                .map(|select| describe::select(select, values))
                .collect()
        });
        let reads = self.storage.read_all(queries);
        let answer = within(self.limit(timeout), reads, late_read).await;
        let count = |all: &Vec<Rows>| Some(all.iter().map(Rows::count).sum());
        event.end(answer.as_ref().map(count));
        answer
    }

    /// Runs one write.
    pub(crate) async fn write(
        &self,
        op: WriteOp,
        returning: Option<Output>,
        rows: Rows,
        site: Site,
    ) -> Result<(Written, Rows)> {
        self.write_within(None, op, returning, rows, site).await
    }

    /// Runs one write, with a deadline of its own or the handle's.
    pub(crate) async fn write_within(
        &self,
        timeout: Option<Duration>,
        op: WriteOp,
        returning: Option<Output>,
        rows: Rows,
        site: Site,
    ) -> Result<(Written, Rows)> {
        let limit = self.limit(timeout);
        let mut write = Write::new(op);
        write.returning = returning;
        let event = Event::write(self, &write, site);
        write.deadline = event.started().checked_add(limit); // beyond the clock's reach is none
        let answer = self.wrote(limit, self.storage.write(write, rows)).await;
        event.end(answer.as_ref().map(|(written, _)| Some(written.rows)));
        answer
    }

    /// Runs one statement in the engine's own SQL.
    pub(super) async fn run_sql(
        &self,
        timeout: Option<Duration>,
        mut statement: RawStatement,
        rows: Rows,
        site: Site,
    ) -> Result<(Written, Rows)> {
        let limit = self.limit(timeout);
        let event = Event::sql(self, &statement, site);
        if statement.access == RawAccess::Read {
            let read = self.storage.sql(statement, rows);
            let answer = within(limit, read, late_read).await;
            event.end(answer.as_ref().map(|(_, rows)| Some(rows.count())));
            return answer;
        }
        statement.deadline = event.started().checked_add(limit);
        let answer = self.wrote(limit, self.storage.sql(statement, rows)).await;
        event.end(answer.as_ref().map(|(written, _)| Some(written.rows)));
        answer
    }

    /// Waits for a write that knows its deadline, and says what of its rows could not be read.
    async fn wrote(
        &self,
        limit: Duration,
        writing: impl Future<Output = Result<(Written, Rows)>>,
    ) -> Result<(Written, Rows)> {
        let answer = if self.storage.capabilities().keeps_deadlines {
            writing.await
        } else {
            within(limit.saturating_add(GRACE), writing, late_write).await
        };
        answer.and_then(|(written, mut rows)| match rows.take_failure() {
            Some(error) => Err(error.of_applied_write()),
            None => Ok((written, rows)),
        })
    }

    /// Begins a transaction under this handle's deadline, unless the options have their own.
    pub(crate) async fn begin_at(
        &self,
        mut options: TxOptions,
        site: Site,
    ) -> Result<Box<dyn Transaction>> {
        let now = Instant::now();
        let own = || now.checked_add(self.settings.timeout);
        options.deadline = options.deadline.or_else(own);
        let limit = options.deadline.map_or(Duration::MAX, |deadline| {
            deadline
                .saturating_duration_since(now)
                .saturating_add(GRACE)
        });
        let begin = self.storage.begin(options);
        self.control_within(limit, Control::Begin, site, begin)
            .await
    }

    /// Asks the store for something that is no statement, under this handle's deadline.
    pub(crate) async fn control<T>(
        &self,
        what: Control,
        site: Site,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.control_within(self.settings.timeout, what, site, work)
            .await
    }

    /// [`control`](Self::control) with a deadline of its own.
    pub(crate) async fn control_within<T>(
        &self,
        limit: Duration,
        what: Control,
        site: Site,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let event = Event::control(self, what.verb(), site);
        let answer = within(limit, work, |limit| what.late(limit)).await;
        event.end(answer.as_ref().map(|_| None));
        answer
    }
}

/// What is asked of a store besides reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Begin,
    Commit,
    Rollback,
    Explain,
    Lock,
    Close,
}

impl Control {
    const fn verb(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Commit => "commit",
            Self::Rollback => "rollback",
            Self::Explain => "explain",
            Self::Lock => "lock",
            Self::Close => "close",
        }
    }

    #[cold]
    pub(super) fn late(self, limit: Duration) -> Error {
        let verb = self.verb();
        match self {
            Self::Commit => Error::new(
                ErrorKind::Unknown,
                format!(
                    "the store did not answer the commit within {limit:?}: the transaction may or \
                     may not be applied"
                ),
            ),
            Self::Lock => Error::new(
                ErrorKind::Timeout,
                format!("somebody else held the lock for longer than {limit:?}"),
            ),
            _ => Error::new(
                ErrorKind::Timeout,
                format!("the store did not answer `{verb}` within {limit:?}"),
            ),
        }
    }
}

/// Waits for the future, but not longer than this. The timer is only made if the future is not
/// ready at once, so that inline reads do not pay for it.
async fn within<T>(
    limit: Duration,
    future: impl Future<Output = Result<T>>,
    late: impl FnOnce(Duration) -> Error,
) -> Result<T> {
    let mut future = pin!(future);
    if let Poll::Ready(answer) =
        std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
    {
        return answer;
    }
    match tokio::time::timeout(limit, future).await {
        Ok(answer) => answer,
        Err(_) => Err(late(limit)),
    }
}

#[cold]
pub(crate) fn late_read(limit: Duration) -> Error {
    Error::new(
        ErrorKind::Timeout,
        format!("the read did not finish within {limit:?} and was stopped"),
    )
}

#[cold]
fn late_write(limit: Duration) -> Error {
    Error::new(
        ErrorKind::Unknown,
        format!("the store did not answer within {limit:?}: the write may or may not be applied"),
    )
}
