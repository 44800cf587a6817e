//! What an update does to a row, and whether a value may stand in a column.

use super::aggregate::add_decimals;
use crate::column::Assign;
use crate::error::{Error, ErrorKind, Result};
use crate::schema::Table;
use crate::value::{Kind, Value};

/// Applies changes to a row. The columns changed must exist.
///
/// # Errors
/// `Invalid` if an addition leaves the range of the column's kind; what [`check_fits`] refuses.
/// Each names the column.
pub fn assign(table: &'static Table, row: &mut [Value], set: &[(usize, Assign)]) -> Result<()> {
    for (at, change) in set {
        let value = match change {
            Assign::Set(value) => value.clone(),
            Assign::Add(value) => add(table, *at, &row[*at], value)?,
        };
        check_fits(table, *at, &value)?;
        row[*at] = value;
    }
    Ok(())
}

/// Checks that a column can hold a value: its kind, its range, and NULL only where allowed.
///
/// # Errors
/// `NotNull`, or `Invalid` with the value; each names the column.
pub fn check_fits(table: &'static Table, at: usize, value: &Value) -> Result<()> {
    let column = &table.columns[at];
    let fits = match (column.kind, value) {
        (_, Value::Null) if !column.nullable || table.key.contains(&at) => {
            return Err(
                Error::new(ErrorKind::NotNull, "the column must have a value")
                    .or_column(table.name, column.name),
            );
        }
        (_, Value::Null) => true,
        (Kind::I16, Value::Int(v)) => i16::try_from(*v).is_ok(),
        (Kind::I32, Value::Int(v)) => i32::try_from(*v).is_ok(),
        (Kind::I64, Value::Int(_)) => true,
        #[allow(clippy::float_cmp)] // the round trip must be exact: that is the check
        (Kind::F32, Value::Float(v)) => v.is_finite() && f64::from(*v as f32) == *v,
        (Kind::F64, Value::Float(v)) => v.is_finite(),
        (Kind::Bool, Value::Bool(_))
        | (Kind::Text, Value::Text(_))
        | (Kind::Bytes, Value::Bytes(_))
        | (Kind::Timestamp, Value::Timestamp(_))
        | (Kind::Date, Value::Date(_))
        | (Kind::Uuid, Value::Uuid(_))
        | (Kind::Decimal, Value::Decimal(_))
        | (Kind::Json, Value::Json(_)) => true,
        _ => false,
    };
    if fits {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the value does not fit a column of kind {}",
        column.kind.name()
    ))
    .or_column(table.name, column.name)
    .with_value(format!("{value:?}")))
}

fn add(table: &'static Table, at: usize, old: &Value, by: &Value) -> Result<Value> {
    let column = &table.columns[at];
    let sum = match (old, by) {
        (Value::Null, _) | (_, Value::Null) => Some(Value::Null),
        (Value::Int(a), Value::Int(b)) => a
            .checked_add(*b)
            .filter(|sum| in_range(column.kind, *sum))
            .map(Value::Int),
        (Value::Float(a), Value::Float(b)) if column.kind == Kind::F32 => {
            finite(f64::from((a + b) as f32))
        }
        (Value::Float(a), Value::Float(b)) => finite(a + b),
        (Value::Decimal(a), Value::Decimal(b)) => add_decimals(*a, *b).map(Value::Decimal),
        _ => {
            return Err(
                Error::misuse("only numbers of the column's kind can be added to it")
                    .or_column(table.name, column.name),
            );
        }
    };
    sum.ok_or_else(|| {
        Error::invalid(format!(
            "the sum leaves the range of {}",
            column.kind.name()
        ))
        .or_column(table.name, column.name)
    })
}

fn in_range(kind: Kind, v: i64) -> bool {
    match kind {
        Kind::I16 => i16::try_from(v).is_ok(),
        Kind::I32 => i32::try_from(v).is_ok(),
        _ => true,
    }
}

fn finite(v: f64) -> Option<Value> {
    v.is_finite().then_some(Value::Float(v + 0.0)) // no negative zero
}
