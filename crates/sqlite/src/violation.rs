//! Says which constraint a write violated.
//!
//! The kind of an error comes from SQLite's extended result code. SQLite names the columns of a
//! violated unique key in its message only, and a violated reference not at all, so the keys the
//! model knows are compared with the message, and references are found by looking for the parents
//! and children in question, while the transaction is still open. A constraint that cannot be
//! named this way leaves the error with its kind and table.

use std::rc::Rc;

use larder_core::write::{ConflictAction, InsertRows, WriteOp};
use larder_core::{
    Assign, ColumnDef, Error, ErrorKind, Expr, Filter, Output, Reference, Select, Table, Value,
    Write,
};
use larder_sql::{Dialect, Param, render_select, select_params};
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, ffi};

use crate::bind::Binder;
use crate::error::{self, Failure};

/// The most keys of a refused write that are looked at.
const KEYS_MAX: u64 = 10_000;

/// The error of a write that SQLite refused, with the constraint's name where it can be found.
#[cold]
pub(crate) fn explain(connection: &Connection, write: &Write, cause: rusqlite::Error) -> Error {
    let table = write.table();
    let extended = cause.sqlite_error().map_or(0, |code| code.extended_code);
    let adds = added_column(&write.op);
    match error::failure(&cause) {
        Failure::Unique => unique(table, &cause).with_source(cause),
        Failure::NotNull => not_null(table, &cause).with_source(cause),
        Failure::ForeignKey => reference(connection, write).with_source(cause),
        // RESTRICT is enforced by a trigger of SQLite's own.
        Failure::Constraint if extended == ffi::SQLITE_CONSTRAINT_TRIGGER => {
            match find_reference(connection, write) {
                Some(error) => error.with_source(cause),
                None => check(table).with_source(cause),
            }
        }
        Failure::Check | Failure::Constraint if adds.is_some() => {
            let column = adds.map_or("", |at| table.columns[at].name);
            Error::invalid("the sum leaves the range of the column; nothing was changed")
                .or_column(table.name, column)
                .with_source(cause)
        }
        Failure::Check => check(table).with_source(cause),
        _ => error::of_write(cause.into(), table),
    }
}

fn check(table: &'static Table) -> Error {
    Error::new(ErrorKind::Check, "a check constraint refuses the row").with_table(table.name)
}

/// The column that the write adds to; the first, if they are several.
fn added_column(op: &WriteOp) -> Option<usize> {
    let set = match op {
        WriteOp::Update(update) => &update.set,
        WriteOp::UpdateRows(update) => &update.set,
        WriteOp::Insert(InsertRows {
            on_conflict: Some(conflict),
            ..
        }) => match &conflict.action {
            ConflictAction::Update { set, .. } => set,
            ConflictAction::Ignore => return None,
        },
        WriteOp::Insert(_) | WriteOp::Delete(_) => return None,
    };
    let version = op_table(op).version;
    let mut adds = set
        .iter()
        .filter(|(at, assign)| matches!(assign, Assign::Add(_)) && Some(*at) != version);
    adds.next().map(|(at, _)| *at)
}

fn op_table(op: &WriteOp) -> &'static Table {
    Write::new(op.clone()).table()
}

/// Which unique key: the one whose columns the message lists, as `table.a, table.b`.
fn unique(table: &'static Table, cause: &rusqlite::Error) -> Error {
    let listed = |columns: &[usize]| {
        let names: Vec<String> = columns
            .iter()
            .map(|&at| format!("{}.{}", table.name, table.columns[at].name))
            .collect();
        names.join(", ")
    };
    let error = Error::new(ErrorKind::Unique, "a row with this value exists already")
        .with_table(table.name);
    let message = cause.to_string();
    let named = |columns: &[usize]| message.ends_with(&format!(": {}", listed(columns)));
    let keys = table
        .uniques
        .iter()
        .map(|unique| (unique.name, unique.columns));
    let violated = keys
        .chain([("", table.key)])
        .find(|(_, columns)| named(columns));
    let Some((name, columns)) = violated else {
        return error;
    };
    let name = if name.is_empty() {
        format!("{}_pkey", table.name)
    } else {
        name.to_owned()
    };
    columns
        .iter()
        .fold(error, |error, &at| {
            error.with_column(table.columns[at].name)
        })
        .with_constraint(name)
}

fn not_null(table: &'static Table, cause: &rusqlite::Error) -> Error {
    let message = cause.to_string();
    let error =
        Error::new(ErrorKind::NotNull, "the column must have a value").with_table(table.name);
    let named = table
        .columns
        .iter()
        .find(|column| message.ends_with(&format!(": {}.{}", table.name, column.name)));
    match named {
        Some(column) => error.with_column(column.name),
        None => error,
    }
}

fn reference(connection: &Connection, write: &Write) -> Error {
    find_reference(connection, write).unwrap_or_else(|| {
        Error::new(
            ErrorKind::Reference,
            "a reference to another table refuses the write",
        )
        .with_table(write.table().name)
    })
}

/// Looks for the missing parent of a written row, then for the remaining child of a deleted one.
fn find_reference(connection: &Connection, write: &Write) -> Option<Error> {
    let table = write.table();
    let missing = table.columns.iter().enumerate().find_map(|(at, column)| {
        let reference = column.references.as_ref()?;
        let values = written_values(&write.op, at);
        lacks_parent(connection, reference, &values).then(|| missing_parent(table, column))
    });
    missing.or_else(|| find_child(connection, write))
}

/// The error of a row whose parent is missing.
#[cold]
pub(crate) fn missing_parent(table: &'static Table, column: &'static ColumnDef) -> Error {
    Error::new(
        ErrorKind::Reference,
        "the row that this refers to does not exist",
    )
    .with_table(table.name)
    .with_column(column.name)
}

/// The values that the write gives to a column.
fn written_values(op: &WriteOp, column: usize) -> Vec<Value> {
    let of_rows = |columns: &[usize], values: &[Value], column: usize| -> Vec<Value> {
        let Some(at) = columns.iter().position(|&written| written == column) else {
            return Vec::new();
        };
        values
            .chunks_exact(columns.len())
            .map(|row| row[at].clone())
            .collect()
    };
    let of_set = |set: &[(usize, Assign)]| -> Vec<Value> {
        set.iter()
            .filter_map(|(at, assign)| match assign {
                Assign::Set(value) if *at == column => Some(value.clone()),
                _ => None,
            })
            .collect()
    };
    match op {
        WriteOp::Insert(InsertRows {
            columns,
            values,
            table,
            on_conflict,
        }) => {
            let mut written = of_rows(columns, values, column);
            let reference = table.columns[column].references.as_ref();
            if let Some(key) = table.single_key()
                && reference.is_some_and(|to| (to.table)().is(table))
            {
                // Rows of one statement may refer to each other.
                let keys = of_rows(columns, values, key);
                written.retain(|value| !keys.contains(value));
            }
            if let Some(ConflictAction::Update { set, .. }) =
                on_conflict.as_ref().map(|conflict| &conflict.action)
            {
                written.extend(of_set(set));
            }
            written
        }
        WriteOp::UpdateRows(update) => {
            let mut written = of_rows(&update.columns, &update.values, column);
            written.extend(of_set(&update.set));
            written
        }
        WriteOp::Update(update) => of_set(&update.set),
        WriteOp::Delete(_) => Vec::new(),
    }
}

/// Whether one of the values is no parent's key.
pub(crate) fn lacks_parent(
    connection: &Connection,
    reference: &Reference,
    values: &[Value],
) -> bool {
    let parent = (reference.table)();
    let Some(key) = parent.single_key() else {
        return false;
    };
    let Filter::In { values, .. } = Filter::in_values(key, values.to_vec()) else {
        return false;
    };
    if values.is_empty() {
        return false;
    }
    let wanted = values.len() as u64;
    let mut select = Select::new(parent);
    select.output = Output::Exprs(vec![Expr::Aggregate(larder_core::Aggregate::Count, None)]);
    select.filter = Filter::In {
        column: key,
        values,
    };
    numbers(connection, &select)
        .first()
        .is_some_and(|&found| (found.unsigned_abs()) < wanted)
}

/// A row of another table, or of this one, that refers to a row the write deletes or renames.
fn find_child(connection: &Connection, write: &Write) -> Option<Error> {
    let table = write.table();
    let filter = match &write.op {
        WriteOp::Delete(delete) => delete.filter.clone(),
        WriteOp::Update(update) => update.filter.clone(),
        _ => return None,
    };
    let mut select = Select::new(table);
    select.output = Output::Exprs(vec![Expr::Column(table.single_key()?)]);
    select.filter = filter;
    select.limit = Some(KEYS_MAX);
    let keys = Rc::new(values(connection, &select));
    children(connection, table.name, &write.op)
        .into_iter()
        .find_map(|(child, column)| {
            let sql = format!(
                "SELECT 1 FROM {} WHERE {} IN rarray(?1) LIMIT 1",
                Dialect::Sqlite.quote(&child),
                Dialect::Sqlite.quote(&column),
            );
            let found = connection.query_row(&sql, [Rc::clone(&keys)], |_| Ok(()));
            found.ok().map(|()| {
                Error::new(
                    ErrorKind::Reference,
                    "rows still refer to what was to be deleted: delete or change them first",
                )
                .with_table(child)
                .with_column(column)
            })
        })
}

/// The columns of the database that refer to this table, and stand in the way of deleting its
/// rows or of changing their keys.
fn children(connection: &Connection, parent: &str, op: &WriteOp) -> Vec<(String, String)> {
    // No reference follows a key that changes.
    let deletes = matches!(op, WriteOp::Delete(_));
    let sql = "SELECT t.name, f.\"from\" FROM pragma_table_list AS t, \
               pragma_foreign_key_list(t.name) AS f \
               WHERE f.\"table\" = ?1 COLLATE NOCASE \
               AND (NOT ?2 OR f.on_delete IN ('RESTRICT', 'NO ACTION'))";
    let list = || -> rusqlite::Result<Vec<(String, String)>> {
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map((parent, deletes), |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    };
    list().unwrap_or_default()
}

fn numbers(connection: &Connection, select: &Select) -> Vec<i64> {
    let integer = |value: SqlValue| match value {
        SqlValue::Integer(number) => Some(number),
        _ => None,
    };
    values(connection, select)
        .into_iter()
        .filter_map(integer)
        .collect()
}

/// The first value of each row. What cannot be read is not found: this only improves an error.
fn values(connection: &Connection, select: &Select) -> Vec<SqlValue> {
    let run = || -> rusqlite::Result<Vec<SqlValue>> {
        let mut statement = connection.prepare(&render_select(Dialect::Sqlite, select).sql)?;
        let mut binder = Binder::new(&mut statement);
        select_params(select, &mut |param: Param<'_>| binder.bind(&param))?;
        let mut rows = statement.raw_query();
        let mut values = Vec::new();
        while let Some(row) = rows.next()? {
            values.push(row.get(0)?);
        }
        Ok(values)
    };
    run().unwrap_or_default()
}
