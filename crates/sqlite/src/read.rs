//! Runs reads: inline on the calling task where they are short, on a blocking thread otherwise.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use larder_core::{Access, Error, ErrorKind, Flow, Result, Rows, Select};
use larder_sql::{Dialect, select_params};
use rusqlite::Connection;
use tokio::runtime::Handle;

use crate::bind::Binder;
use crate::error::{self, EngineError};
use crate::interrupt::{Budget, Cancel, Ending, Interrupt, Patience};
use crate::row::SqliteRow;
use crate::statement;

/// The most keys of a point read that runs inline.
const INLINE_KEYS_MAX: usize = 64;
/// The most rows of a bounded range that runs inline.
const INLINE_ROWS_MAX: u64 = 256;
/// The most parents of a loading plan's read that runs inline.
const INLINE_PARENTS_MAX: usize = 32;

/// Whether the read may run on the calling task, within the budget.
pub(crate) fn is_short(select: &Select, rows: &Rows) -> bool {
    if rows.may_wait() {
        return false;
    }
    match select.access() {
        Access::Point { keys } => keys <= INLINE_KEYS_MAX,
        Access::Range { rows } => match &select.link {
            Some(link) => link.parents.len() <= INLINE_PARENTS_MAX,
            None => rows.is_none_or(|rows| rows <= INLINE_ROWS_MAX),
        },
        Access::Scan => false,
    }
}

/// What became of a read on the calling task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inline {
    /// It is done.
    Done,
    /// It took too long or met a lock: it has to be run again on a blocking thread.
    Later,
}

/// Runs a short read on the calling task, within a budget of steps.
pub(crate) fn run_inline(
    connection: &Connection,
    interrupt: &Interrupt,
    budget: u32,
    select: &Select,
    rows: &mut Rows,
) -> Result<Inline> {
    interrupt.arm(Budget::Steps(budget), Patience::None);
    let outcome = run(connection, select, rows, None);
    let ending = interrupt.ending();
    // A budget that was used up would interrupt whatever runs next on the connection.
    interrupt.arm(Budget::Unlimited, Patience::None);
    match outcome {
        Ok(()) => Ok(Inline::Done),
        // While another connection holds the lock SQLite cannot notice that the schema it knows is
        // an old one.
        Err(Trouble::Engine(error))
            if error.is_busy()
                || error.is_unprepared()
                || error.is_interrupted() && ending == Ending::Budget =>
        {
            if rows.restart() {
                Ok(Inline::Later)
            } else {
                Err(error.into())
            }
        }
        Err(trouble) => Err(trouble.into_error(ending, select)),
    }
}

/// Runs a read of any length. Blocks: for blocking threads only.
pub(crate) fn run_blocking(
    connection: &Connection,
    interrupt: &Interrupt,
    cancel: Cancel,
    select: &Select,
    rows: &mut Rows,
) -> Result<()> {
    interrupt.arm_cancellable(Budget::Unlimited, Patience::BusyTimeout, cancel.clone());
    let outcome = run(connection, select, rows, Some(&cancel));
    let ending = interrupt.ending();
    // A cancellation that comes late must not end whatever runs next on the connection.
    interrupt.arm(Budget::Unlimited, Patience::BusyTimeout);
    outcome.map_err(|trouble| trouble.into_error(ending, select))
}

/// What ended a read early.
enum Trouble {
    Engine(EngineError),
    Sink(Error),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Engine(error.into())
    }
}

impl Trouble {
    #[cold]
    fn into_error(self, ending: Ending, select: &Select) -> Error {
        match self {
            Self::Sink(error) => error,
            Self::Engine(_) if ending == Ending::Cancelled => cancelled(),
            Self::Engine(error) => error::of_read(error, select),
        }
    }
}

fn run(
    connection: &Connection,
    select: &Select,
    rows: &mut Rows,
    cancel: Option<&Cancel>,
) -> Result<(), Trouble> {
    let text = statement::of_select(select);
    let mut statement = statement::prepare(connection, &text)?;
    {
        let mut binder = Binder::new(&mut statement);
        select_params(Dialect::Sqlite, select, &mut |param| binder.bind(&param))?;
    }
    let mut found = statement.raw_query();
    while let Some(row) = found.next()? {
        match rows.row(&SqliteRow::new(row)).map_err(Trouble::Sink)? {
            Flow::More => {}
            Flow::Stop => break,
            // Only sinks that may wait fill up, and those are read on blocking threads.
            Flow::Full => match Handle::current().block_on(flush(rows, cancel)) {
                None => return Err(Trouble::Sink(cancelled())),
                Some(Flow::Stop) => break,
                Some(_) => {}
            },
        }
    }
    Ok(())
}

/// Waits until the sink has room; `None` if the read is cancelled meanwhile.
async fn flush(rows: &mut Rows, cancel: Option<&Cancel>) -> Option<Flow> {
    let mut flushed = rows.flush();
    let Some(cancel) = cancel else {
        return Some(flushed.await);
    };
    let mut cancelled = pin!(cancel.cancelled());
    poll_fn(|context| match cancelled.as_mut().poll(context) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => flushed.as_mut().poll(context).map(Some),
    })
    .await
}

#[cold]
fn cancelled() -> Error {
    Error::new(ErrorKind::Timeout, "the read was cancelled")
}

/// Interrupts a blocking read when its future is dropped.
#[derive(Debug, Default)]
pub(crate) struct CancelOnDrop(pub(crate) Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
