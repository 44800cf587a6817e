//! Runs the statements of a write, one after the other.

use std::ops::Range;
use std::rc::Rc;

use larder_core::write::WriteOp;
use larder_core::{Expr, Flow, Kind, Output, Result, Rows, Write, Written};
use larder_sql::{Dialect, Statement, chunks, write_params};
use rusqlite::{CachedStatement, Connection};

use crate::bind::Binder;
use crate::row::{Sorted, SqliteRow};
use crate::statement;
use crate::violation;

/// Runs them all. The caller sees to it that they are undone together.
pub(crate) fn run(connection: &Connection, write: &Write, rows: &mut Rows) -> Result<Written> {
    let explain = |error| violation::explain(connection, write, error);
    let mut written = 0;
    let mut returned = Returned {
        rows,
        sorted: None,
        wanted: true,
    };
    let mut prepared: Option<Prepared<'_>> = None;
    for chunk in pieces(write) {
        let step = match &mut prepared {
            Some(step) if step.rows == chunk.len() => step,
            other => other.insert(Prepared::new(connection, write, chunk.len()).map_err(explain)?),
        };
        written += step.run(write, chunk, &mut returned).map_err(explain)?;
    }
    returned.finish();
    Ok(Written::rows(written))
}

/// Whether the write takes one statement.
pub(crate) fn is_one(write: &Write) -> bool {
    pieces(write).nth(1).is_none()
}

/// The rows that one statement takes each.
fn pieces(write: &Write) -> impl Iterator<Item = Range<usize>> + use<> {
    let most = if goes_by_row(write) { 1 } else { usize::MAX };
    chunks(Dialect::Sqlite, write).flat_map(move |chunk| {
        let end = chunk.end;
        chunk
            .step_by(most)
            .map(move |start| start..start.saturating_add(most).min(end))
    })
}

/// Whether an insert is quicker row by row.
///
/// A statement that adds several rows keeps a copy of every page it changes, to undo them all.
/// With an index on a reference these are about as many pages as rows, and copying them costs
/// more than the fewer statements save. Rows that may refer to each other stay together.
fn goes_by_row(write: &Write) -> bool {
    let WriteOp::Insert(insert) = &write.op else {
        return false;
    };
    let parents = || {
        let columns = insert.table.columns.iter();
        columns.filter_map(|column| Some((column.references.as_ref()?.table)()))
    };
    write.returning.is_none()
        && parents().next().is_some()
        && parents().all(|parent| !parent.is(insert.table))
}

/// A statement for so many rows, used for as long as the number stays the same.
struct Prepared<'c> {
    rows: usize,
    text: Rc<Statement>,
    statement: CachedStatement<'c>,
}

impl<'c> Prepared<'c> {
    fn new(connection: &'c Connection, write: &Write, rows: usize) -> rusqlite::Result<Self> {
        let text = statement::of_write(write, rows);
        let statement = statement::prepare(connection, &text)?;
        Ok(Self {
            rows,
            text,
            statement,
        })
    }

    /// Runs it for these rows.
    fn run(
        &mut self,
        write: &Write,
        chunk: Range<usize>,
        returned: &mut Returned<'_>,
    ) -> rusqlite::Result<u64> {
        let mut binder = Binder::new(&mut self.statement);
        write_params(Dialect::Sqlite, write, chunk, &mut |param| {
            binder.bind(&param)
        })?;
        if write.returning.is_none() {
            return self.statement.raw_execute().map(|rows| rows as u64);
        }
        returned.sort(write, self.text.sort_keys);
        let mut found = self.statement.raw_query();
        let mut count = 0;
        // Read to the end even if nobody wants more: the statement is done only then.
        while let Some(row) = found.next()? {
            count += 1;
            returned.take(&SqliteRow::new(row));
        }
        Ok(count)
    }
}

/// The rows that come back, on their way to who asked.
struct Returned<'r> {
    rows: &'r mut Rows,
    sorted: Option<Sorted>,
    wanted: bool,
}

impl Returned<'_> {
    /// Keeps the rows until all are there, to be put in the order of the last so many values.
    fn sort(&mut self, write: &Write, keys: usize) {
        if keys > 0 {
            self.sorted
                .get_or_insert_with(|| Sorted::new(kinds(write), keys));
        }
    }

    fn take(&mut self, row: &SqliteRow<'_, '_>) {
        match &mut self.sorted {
            _ if !self.wanted => {}
            Some(sorted) => {
                if let Err(error) = sorted.push(row) {
                    self.rows.fail(error);
                    self.wanted = false;
                }
            }
            None => self.wanted = self.rows.returned(row) != Flow::Stop,
        }
    }

    fn finish(self) {
        if let (Some(sorted), true) = (self.sorted, self.wanted) {
            sorted.show(self.rows);
        }
    }
}

/// The kinds of the returned values, the sort key included.
fn kinds(write: &Write) -> Vec<Kind> {
    let table = write.table();
    let mut kinds: Vec<Kind> = match &write.returning {
        Some(Output::Exprs(exprs)) => exprs.iter().map(|expr| expr.kind(table)).collect(),
        _ => (0..table.columns.len())
            .map(|at| Expr::Column(at).kind(table))
            .collect(),
    };
    kinds.extend(table.key.iter().map(|&at| table.columns[at].kind));
    kinds
}
