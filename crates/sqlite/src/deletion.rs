//! Deletions that come back to their own table.
//!
//! Where deleting a row takes or changes other rows of the same table, SQLite meets those later
//! as they are then, or not at all, and says so in what it counts and returns. The contract is
//! about the rows that the filter takes, as they were. So these are read first.

use larder_core::select::OrderBy;
use larder_core::write::{DeleteWhere, WriteOp};
use larder_core::{
    Expr, Flow, Nulls, OnDelete, Output, Result, Rows, Select, Table, Write, Written,
};
use larder_sql::{Dialect, select_params};
use rusqlite::Connection;

use crate::bind::Binder;
use crate::error;
use crate::row::SqliteRow;
use crate::statement;

/// Whether the write deletes from a table that a deletion comes back to.
pub(crate) fn comes_back(write: &Write) -> bool {
    let WriteOp::Delete(delete) = &write.op else {
        return false;
    };
    let rules = [OnDelete::Cascade, OnDelete::SetNull];
    let mut seen = Vec::new();
    depends_on(delete.table, delete.table, &rules, &mut seen)
}

/// Whether a deletion from `parent` has an effect by these rules on rows of `table`, by way of
/// rows that go as well.
fn depends_on(
    table: &'static Table,
    parent: &'static Table,
    rules: &[OnDelete],
    seen: &mut Vec<&'static Table>,
) -> bool {
    let mut references = table
        .columns
        .iter()
        .filter_map(|column| column.references.as_ref());
    references.any(|reference| {
        let next = (reference.table)();
        if !rules.contains(&reference.on_delete) {
            return false;
        }
        if next.is(parent) {
            return true;
        }
        if seen.iter().any(|one| one.is(next)) {
            return false;
        }
        seen.push(next);
        depends_on(next, parent, &[OnDelete::Cascade], seen)
    })
}

/// Shows and counts the rows that the write is about to delete.
pub(crate) fn show(connection: &Connection, write: &Write, rows: &mut Rows) -> Result<Written> {
    let WriteOp::Delete(DeleteWhere { table, filter }) = &write.op else {
        return Ok(Written::rows(0));
    };
    let mut select = Select::new(table);
    select.filter = filter.clone();
    select.output = match &write.returning {
        Some(output) => output.clone(),
        None => Output::Exprs(Vec::new()),
    };
    select.order = (table.key.iter())
        .map(|&at| OrderBy {
            expr: Expr::Column(at),
            descending: false,
            nulls: Nulls::Last,
        })
        .collect();
    let mut sink = write.returning.is_some().then_some(rows);
    let mut count = 0;
    let mut read = || -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(&statement::of_select(&select).sql)?;
        let mut binder = Binder::new(&mut statement);
        select_params(Dialect::Sqlite, &select, &mut |param| binder.bind(&param))?;
        let mut found = statement.raw_query();
        while let Some(row) = found.next()? {
            count += 1;
            if let Some(rows) = &mut sink
                && rows.returned(&SqliteRow::new(row)) == Flow::Stop
            {
                sink = None;
            }
        }
        Ok(())
    };
    read().map_err(|error| error::of_write(error.into(), table))?;
    Ok(Written::rows(count))
}
