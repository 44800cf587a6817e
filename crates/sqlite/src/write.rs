//! Runs writes: as jobs of the flat-combining writer, or inside an explicit transaction.

use larder_core::write::WriteOp;
use larder_core::{Access, Expr, Flow, Kind, Output, Result, Rows, Select, Write, Written};
use larder_sql::{Dialect, chunks, write_params};
use rusqlite::Connection;

use crate::bind::Binder;
use crate::inserted::Inserted;
use crate::row::{Sorted, SqliteRow};
use crate::statement;
use crate::violation;
use crate::write_batch::{Cost, JobOptions, Statements};
use crate::{deferred, deletion};

/// The most rows of an insert or update that runs on the calling task.
const INLINE_ROWS_MAX: usize = 16;

/// How the writer should run this write.
pub(crate) fn job_options(write: &Write) -> JobOptions {
    let statements = if chunks(Dialect::Sqlite, write).nth(1).is_none() {
        Statements::One
    } else {
        Statements::Many
    };
    let cost = if is_short(write) {
        Cost::Inline
    } else {
        Cost::Blocking
    };
    JobOptions {
        cost,
        statements,
        deadline: write.deadline,
    }
}

/// Whether the write takes microseconds: a few rows found by key.
pub(crate) fn is_short(write: &Write) -> bool {
    match &write.op {
        WriteOp::Insert(insert) => insert.rows().len() <= INLINE_ROWS_MAX,
        WriteOp::UpdateRows(update) => update.rows().len() <= INLINE_ROWS_MAX,
        WriteOp::Update(update) => {
            let mut select = Select::new(update.table);
            select.filter = update.filter.clone();
            matches!(select.access(), Access::Point { keys } if keys <= INLINE_ROWS_MAX)
        }
        // What a deletion takes along is not known here.
        WriteOp::Delete(_) => false,
    }
}

/// Runs the write's statements. The caller sees to it that they are undone together.
pub(crate) fn run(connection: &Connection, mut write: Write, rows: &mut Rows) -> Result<Written> {
    if deferred::is_needed(&write) {
        let statements = || run_statements(connection, &write, rows);
        return deferred::run(connection, &write, statements);
    }
    if deletion::comes_back(&write) {
        let written = deletion::show(connection, &write, rows)?;
        write.returning = None;
        return run_statements(connection, &write, rows).map(|_| written);
    }
    if !Inserted::is_known(&write) {
        return run_statements(connection, &write, rows);
    }
    write.returning = None;
    let written = run_statements(connection, &write, rows)?;
    if let WriteOp::Insert(insert) = &write.op {
        rows.row(&Inserted::new(insert, connection.last_insert_rowid()))?;
    }
    Ok(written)
}

fn run_statements(connection: &Connection, write: &Write, rows: &mut Rows) -> Result<Written> {
    let mut written = 0;
    let mut sorted = None;
    let mut wanted = true;
    for chunk in chunks(Dialect::Sqlite, write) {
        let text = statement::of_write(write, chunk.len());
        let step = || -> rusqlite::Result<Result<u64>> {
            let mut statement = statement::prepare(connection, &text.sql)?;
            {
                let mut binder = Binder::new(&mut statement);
                write_params(Dialect::Sqlite, write, chunk, &mut |param| {
                    binder.bind(&param)
                })?;
            }
            if write.returning.is_none() {
                return statement.raw_execute().map(|rows| Ok(rows as u64));
            }
            if text.sort_keys > 0 && sorted.is_none() {
                sorted = Some(Sorted::new(kinds(write), text.sort_keys));
            }
            let mut found = statement.raw_query();
            let mut count = 0;
            // Read to the end even if nobody wants more: the statement is done only then.
            while let Some(row) = found.next()? {
                count += 1;
                let row = SqliteRow::new(row);
                let shown = match &mut sorted {
                    Some(sorted) => sorted.push(&row).map(|()| Flow::More),
                    None if wanted => rows.row(&row),
                    None => Ok(Flow::Stop),
                };
                match shown {
                    Ok(flow) => wanted &= flow != Flow::Stop,
                    Err(error) => return Ok(Err(error)),
                }
            }
            Ok(Ok(count))
        };
        let outcome = step().map_err(|error| violation::explain(connection, write, error))?;
        written += outcome?;
    }
    if let Some(sorted) = sorted {
        sorted.show(rows)?;
    }
    Ok(Written::rows(written))
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
