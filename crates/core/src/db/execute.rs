//! What surrounds every call of the store: its deadline, its event, its observer.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::{Db, DbOptions, Site};
use crate::describe::{self, Values};
use crate::error::{Error, ErrorKind, Result};
use crate::observe;
use crate::rows::Rows;
use crate::select::{Output, Select};
use crate::storage::TxOptions;
use crate::write::{Write, WriteOp, Written};

/// How much longer than its deadline a write may take before the layer stops waiting for the
/// store, which should have answered by itself.
const GRACE: Duration = Duration::from_secs(1);

impl Db {
    /// Runs one read.
    pub(crate) async fn read(&self, select: Select, rows: Rows, site: Site) -> Result<Rows> {
        let timeout = self.settings.timeout;
        self.read_within(timeout, select, rows, site).await
    }

    /// Runs one read with a deadline of its own.
    pub(crate) async fn read_within(
        &self,
        timeout: Duration,
        select: Select,
        rows: Rows,
        site: Site,
    ) -> Result<Rows> {
        let statement = Statement::begin(self, "read", select.table.name, site, |values| {
            vec![describe::select(&select, values)]
        });
        let answer = within(timeout, self.storage.read(select, rows), late_read).await;
        statement.end(&self.settings, answer.as_ref().err(), None);
        answer
    }

    /// Runs independent reads together.
    pub(crate) async fn read_all(
        &self,
        queries: Vec<(Select, Rows)>,
        site: Site,
    ) -> Result<Vec<Rows>> {
        let Some((first, _)) = queries.first() else {
            return Ok(Vec::new());
        };
        let statement = Statement::begin(self, "read", first.table.name, site, |values| {
            queries
                .iter()
                .map(|(select, _)| describe::select(select, values))
                .collect()
        });
        let reads = self.storage.read_all(queries);
        let answer = within(self.settings.timeout, reads, late_read).await;
        statement.end(&self.settings, answer.as_ref().err(), None);
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
        let timeout = self.settings.timeout;
        let mut write = Write::new(op);
        write.returning = returning;
        write.deadline = Instant::now().checked_add(timeout);
        let statement = Statement::begin(self, "write", write.table().name, site, |values| {
            vec![describe::write(&write, values)]
        });
        let answer = within(
            timeout.saturating_add(GRACE),
            self.storage.write(write, rows),
            late_write,
        )
        .await;
        let written = answer.as_ref().ok().map(|(written, _)| written.rows);
        statement.end(&self.settings, answer.as_ref().err(), written);
        answer
    }

    /// Transaction options with this handle's deadline, unless they have their own.
    pub(crate) fn tx_options(&self, mut options: TxOptions) -> TxOptions {
        // A timeout that no clock can reach is none.
        let own = || Instant::now().checked_add(self.settings.timeout);
        options.deadline = options.deadline.or_else(own);
        options
    }
}

/// One call on its way, for its event.
struct Statement {
    engine: &'static str,
    verb: &'static str,
    table: &'static str,
    site: Site,
    shape: Option<String>,
    started: Instant,
}

impl Statement {
    /// Notes the call; makes its words only if somebody listens.
    fn begin(
        db: &Db,
        verb: &'static str,
        table: &'static str,
        site: Site,
        shapes: impl Fn(Values) -> Vec<String>,
    ) -> Self {
        if observe::is_active() {
            observe::record(shapes(Values::Hidden), site);
        }
        let listening = tracing::enabled!(target: "larder::statement", tracing::Level::DEBUG);
        let values = if db.settings.log_values {
            Values::Shown
        } else {
            Values::Hidden
        };
        Self {
            engine: db.storage.capabilities().engine,
            verb,
            table,
            site,
            shape: listening.then(|| shapes(values).join("; ")),
            started: Instant::now(),
        }
    }

    fn end(self, settings: &DbOptions, error: Option<&Error>, rows: Option<u64>) {
        let elapsed = self.started.elapsed();
        if self.shape.is_some() {
            tracing::debug!(
                target: "larder::statement",
                engine = self.engine,
                shape = self.shape.as_deref(),
                site = %self.site,
                rows,
                elapsed_us = elapsed.as_micros() as u64,
                error = error.map(tracing::field::display),
            );
        }
        if elapsed >= settings.slow {
            tracing::warn!(
                target: "larder::slow",
                engine = self.engine,
                verb = self.verb,
                table = self.table,
                shape = self.shape.as_deref(),
                site = %self.site,
                elapsed_ms = elapsed.as_millis() as u64,
                "slow statement"
            );
        }
    }
}

/// Waits for the future, but not longer than this. The timer is only made if the future is not
/// ready at once, so that inline reads do not pay for it.
pub(crate) async fn within<T>(
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
fn late_read(limit: Duration) -> Error {
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
