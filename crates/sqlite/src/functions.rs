//! The SQL functions by which columns are added to, so that leaving a type's range is an error.

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, Result, ffi};
use rust_decimal::Decimal;

use crate::decimal::add_exactly;

mod json;

/// Adds `larder_decimal_add(a, b)` and `larder_f32_add(a, b)` to a connection: NULL for NULL, and
/// the error of a value of the wrong type where the sum cannot be kept.
pub(crate) fn register(connection: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function("larder_decimal_add", 2, flags, decimal_add)?;
    connection.create_scalar_function("larder_f32_add", 2, flags, f32_add)?;
    json::register(connection, flags)
}

fn decimal_add(context: &Context<'_>) -> Result<Option<String>> {
    let read = |at| match context.get_raw(at) {
        ValueRef::Null => Ok(None),
        ValueRef::Text(text) => std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse::<Decimal>().ok())
            .map(Some)
            .ok_or_else(out_of_range),
        _ => Err(out_of_range()),
    };
    match (read(0)?, read(1)?) {
        (Some(a), Some(b)) => Ok(Some(
            add_exactly(a, b).ok_or_else(out_of_range)?.to_string(),
        )),
        _ => Ok(None),
    }
}

fn f32_add(context: &Context<'_>) -> Result<Option<f64>> {
    let read = |at| context.get::<Option<f64>>(at);
    match (read(0)?, read(1)?) {
        (Some(a), Some(b)) => {
            let sum = a as f32 + b as f32;
            if sum.is_finite() {
                Ok(Some(f64::from(sum)))
            } else {
                Err(out_of_range())
            }
        }
        _ => Ok(None),
    }
}

/// The error that a STRICT table gives for a value it cannot keep, so that both read the same.
fn out_of_range() -> Error {
    Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CONSTRAINT_DATATYPE), None)
}
