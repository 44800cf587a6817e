//! Inserts whose rows may refer to each other across statements.
//!
//! SQLite checks references at the end of each statement, and a long insert takes several. The
//! contract is that of one: a row may refer to another of the same write, wherever it stands. So
//! the checks are put off, and made here when all rows are in.

use larder_core::write::{ConflictAction, InsertRows, WriteOp};
use larder_core::{ColumnDef, Reference, Result, Table, Write, Written};
use larder_sql::{Dialect, chunks};
use rusqlite::Connection;

use crate::error::EngineError;
use crate::violation;

/// Whether the write inserts rows by several statements into a table that refers to itself.
pub(crate) fn is_needed(write: &Write) -> bool {
    let WriteOp::Insert(insert) = &write.op else {
        return false;
    };
    references(insert.table).any(|(_, _, to)| (to.table)().is(insert.table))
        && !moves_keys(insert)
        && chunks(Dialect::Sqlite, write).nth(1).is_some()
}

/// Runs the statements with the checks of references put off, and then makes them.
pub(crate) fn run(
    connection: &Connection,
    write: &Write,
    statements: impl FnOnce() -> Result<Written>,
) -> Result<Written> {
    let deferring = Deferring::begin(connection)?;
    let written = statements()?;
    check(connection, write)?;
    deferring.end()?;
    Ok(written)
}

/// The checks are put off; on drop no longer, whatever ended the write: the next one of the
/// transaction counts on them. What a failed one put off goes with it.
struct Deferring<'c> {
    connection: &'c Connection,
    ended: bool,
}

impl<'c> Deferring<'c> {
    fn begin(connection: &'c Connection) -> Result<Self> {
        let deferring = Self {
            connection,
            ended: false,
        };
        deferring.set(true)?;
        Ok(deferring)
    }

    fn end(mut self) -> Result<()> {
        self.ended = true;
        self.set(false)
    }

    fn set(&self, on: bool) -> Result<()> {
        let set = self
            .connection
            .pragma_update(None, "defer_foreign_keys", on);
        set.map_err(|error| EngineError::from(error).into())
    }
}

impl Drop for Deferring<'_> {
    fn drop(&mut self) {
        if !self.ended
            && let Err(error) = self.set(false)
        {
            tracing::error!(%error, "references are still checked at the commit only");
        }
    }
}

fn references(
    table: &'static Table,
) -> impl Iterator<Item = (usize, &'static ColumnDef, &'static Reference)> {
    let columns = table.columns.iter().enumerate();
    columns.filter_map(|(at, column)| Some((at, column, column.references.as_ref()?)))
}

/// Whether an upsert changes keys, which rows of other tables may refer to.
fn moves_keys(insert: &InsertRows) -> bool {
    match insert.on_conflict.as_ref().map(|conflict| &conflict.action) {
        Some(ConflictAction::Update { columns, set, .. }) => (columns.iter())
            .chain(set.iter().map(|(at, _)| at))
            .any(|at| insert.table.key.contains(at)),
        _ => false,
    }
}

/// Looks for a row whose parent is missing.
fn check(connection: &Connection, write: &Write) -> Result<()> {
    let WriteOp::Insert(insert) = &write.op else {
        return Ok(());
    };
    for (at, column, reference) in references(insert.table) {
        if may_lack_parent(connection, insert, at, reference)?
            && lacks_parent(connection, insert.table, column, reference)?
        {
            return Err(violation::missing_parent(insert.table, column));
        }
    }
    Ok(())
}

/// Rules most inserts out by the keys of the parents alone.
fn may_lack_parent(
    connection: &Connection,
    insert: &InsertRows,
    column: usize,
    reference: &Reference,
) -> Result<bool> {
    let updates = matches!(
        insert.on_conflict.as_ref().map(|conflict| &conflict.action),
        Some(ConflictAction::Update { .. })
    );
    if updates {
        return Ok(true);
    }
    let at = insert.columns.iter().position(|&one| one == column);
    let values = at.map_or_else(Vec::new, |at| {
        insert.rows().map(|row| row[at].clone()).collect()
    });
    let lacks = violation::lacks_parent(connection, reference, &values);
    lacks.map_err(|error| EngineError::from(error).into())
}

/// Looks through the table, because rows that an upsert dropped do not count.
fn lacks_parent(
    connection: &Connection,
    table: &Table,
    column: &ColumnDef,
    reference: &Reference,
) -> Result<bool> {
    let parent = (reference.table)();
    let Some(key) = parent.single_key() else {
        return Ok(false);
    };
    let quote = |name: &str| Dialect::Sqlite.quote(name);
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM {} AS c WHERE c.{column} IS NOT NULL AND NOT EXISTS \
         (SELECT 1 FROM {} AS p WHERE p.{} = c.{column}))",
        quote(table.name),
        quote(parent.name),
        quote(parent.columns[key].name),
        column = quote(column.name),
    );
    let found: rusqlite::Result<bool> = connection.query_row(&sql, [], |row| row.get(0));
    found.map_err(|error| EngineError::from(error).into())
}
