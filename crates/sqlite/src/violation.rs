//! Says which constraint a write violated.
//!
//! The kind of an error comes from SQLite's extended result code. SQLite names the columns of a
//! violated unique key in its message only, and a violated reference not at all, so the keys the
//! model knows are compared with the message, and references are found by looking for the parents
//! and children in question, while the transaction is still open. A constraint that cannot be
//! named this way leaves the error with its kind and table.

use larder_core::write::{ConflictAction, InsertRows, WriteOp};
use larder_core::{
    Aggregate, Assign, ColumnDef, Error, ErrorKind, Expr, Filter, Kind, Output, Reference, Select,
    Table, Value, Write,
};
use larder_sql::{Dialect, Param, render_select, select_params};
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, ffi};

use crate::bind::Binder;
use crate::error::{self, Failure};
use crate::referrers::{self, Referrer};

/// The error of a write that SQLite refused, with the constraint's name where it can be found.
#[cold]
pub(crate) fn explain(connection: &Connection, write: &Write, cause: rusqlite::Error) -> Error {
    let table = write.table();
    let extended = cause.sqlite_error().map_or(0, |code| code.extended_code);
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
        Failure::Check | Failure::Constraint => match overflowing(connection, write, &cause) {
            Some(column) => {
                Error::invalid("the sum leaves the range of the column; nothing was changed")
                    .or_column(table.name, column.name)
                    .with_source(cause)
            }
            None if extended == ffi::SQLITE_CONSTRAINT_CHECK => check(table).with_source(cause),
            None => error::of_write(cause.into(), table),
        },
        _ => error::of_write(cause.into(), table),
    }
}

fn check(table: &'static Table) -> Error {
    Error::new(ErrorKind::Check, "a check constraint refuses the row").with_table(table.name)
}

/// The column whose range the write leaves by adding to it.
///
/// An integer that is too large for SQLite has become a float, which the column's type refuses. The
/// smaller ranges are kept by checks.
fn overflowing(
    connection: &Connection,
    write: &Write,
    cause: &rusqlite::Error,
) -> Option<&'static ColumnDef> {
    let table = write.table();
    let extended = cause.sqlite_error()?.extended_code;
    let message = cause.to_string();
    let mut adds = additions(&write.op).into_iter();
    let (at, _) = adds.find(|(at, value)| {
        let column = &table.columns[*at];
        match extended {
            // Larder's function that adds decimals names no column.
            ffi::SQLITE_CONSTRAINT_DATATYPE => {
                column.kind == Kind::Decimal
                    || message.ends_with(&format!(" {}.{}", table.name, column.name))
            }
            ffi::SQLITE_CONSTRAINT_CHECK => {
                is_range_check(&message, column) && leaves_range(connection, write, *at, value)
            }
            _ => false,
        }
    })?;
    Some(&table.columns[at])
}

/// What the write adds to columns.
fn additions(op: &WriteOp) -> Vec<(usize, &Value)> {
    let set = match op {
        WriteOp::Update(update) => &update.set,
        WriteOp::UpdateRows(update) => &update.set,
        WriteOp::Insert(InsertRows {
            on_conflict: Some(conflict),
            ..
        }) => match &conflict.action {
            ConflictAction::Update { set, .. } => set,
            ConflictAction::Ignore => return Vec::new(),
        },
        WriteOp::Insert(_) | WriteOp::Delete(_) => return Vec::new(),
    };
    let version = op_table(op).version;
    let adds = set.iter().filter(|(at, _)| Some(*at) != version);
    adds.filter_map(|(at, assign)| match assign {
        Assign::Add(value) => Some((*at, value)),
        Assign::Set(_) => None,
    })
    .collect()
}

/// Whether the message is about the check that keeps the column's range, as far as it tells:
/// SQLite cuts the text of a check that begins with a quoted name down to that name.
fn is_range_check(message: &str, column: &ColumnDef) -> bool {
    let name = column.name;
    let about = |check: &str| message.ends_with(&format!(": {check}"));
    match column.kind {
        Kind::I16 | Kind::I32 => about(name) || message.contains(&format!(": {name} BETWEEN ")),
        Kind::F32 | Kind::F64 => {
            about(&format!("abs({}) < 9e999", Dialect::Sqlite.quote(name)))
                || about(&format!("abs({name}) < 9e999"))
        }
        _ => false,
    }
}

/// Whether adding the value to the largest or the smallest of the rows leaves the range, so that it
/// is not another check on the same column that refuses. Of writes without a filter the check's
/// name must do.
fn leaves_range(connection: &Connection, write: &Write, at: usize, value: &Value) -> bool {
    let WriteOp::Update(update) = &write.op else {
        return true;
    };
    let (least, most) = match update.table.columns[at].kind {
        Kind::I16 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        Kind::I32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => return true,
    };
    let Value::Int(added) = value else {
        return true;
    };
    let function = if *added < 0 {
        Aggregate::Min
    } else {
        Aggregate::Max
    };
    let mut select = Select::new(update.table);
    select.output = Output::Exprs(vec![Expr::Aggregate(function, Some(at))]);
    select.filter = update.filter.clone();
    match values(connection, &select).as_deref() {
        Ok([SqlValue::Integer(extreme)]) => {
            !(least..=most).contains(&extreme.saturating_add(*added))
        }
        _ => false,
    }
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
        // What cannot be read is not found: this only improves an error.
        let lacks = lacks_parent(connection, reference, &values).unwrap_or(false);
        lacks.then(|| missing_parent(table, column))
    });
    missing.or_else(|| {
        let referrer = referrers::find(connection, write).ok()??;
        Some(remaining_child(referrer))
    })
}

#[cold]
fn remaining_child(referrer: Referrer) -> Error {
    Error::new(
        ErrorKind::Reference,
        "rows still refer to what was to be deleted: delete or change them first",
    )
    .with_table(referrer.table)
    .with_column(referrer.column)
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
) -> rusqlite::Result<bool> {
    let parent = (reference.table)();
    let Some(key) = parent.single_key() else {
        return Ok(false);
    };
    let Filter::In { values, .. } = Filter::in_values(key, values.to_vec()) else {
        return Ok(false);
    };
    if values.is_empty() {
        return Ok(false);
    }
    let wanted = values.len() as u64;
    let mut select = Select::new(parent);
    select.output = Output::Exprs(vec![Expr::Aggregate(Aggregate::Count, None)]);
    select.filter = Filter::In {
        column: key,
        values,
    };
    let found = self::values(connection, &select)?;
    Ok(!matches!(found[..], [SqlValue::Integer(found)] if found.unsigned_abs() >= wanted))
}

/// The first value of each row.
pub(crate) fn values(connection: &Connection, select: &Select) -> rusqlite::Result<Vec<SqlValue>> {
    let mut statement = connection.prepare(&render_select(Dialect::Sqlite, select).sql)?;
    let mut binder = Binder::new(&mut statement);
    select_params(Dialect::Sqlite, select, &mut |param: Param<'_>| {
        binder.bind(&param)
    })?;
    let mut rows = statement.raw_query();
    let mut values = Vec::new();
    while let Some(row) = rows.next()? {
        values.push(row.get(0)?);
    }
    Ok(values)
}
