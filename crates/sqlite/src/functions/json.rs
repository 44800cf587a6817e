//! The SQL functions by which conditions look inside JSON columns.

use larder_core::Value;
use larder_core::json_path::{JsonStep, compare, look};
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, Result, ffi};

/// Adds `larder_json_look(document, step, ..)`, which is 1 for `null`, 0 for anything else and NULL
/// for nothing, and `larder_json_compare(document, value, step, ..)` and its `_bool`, which are -1,
/// 0 or 1, and NULL where there is nothing of the value's type. A step is a text or an integer.
pub(super) fn register(connection: &Connection, flags: FunctionFlags) -> Result<()> {
    connection.create_scalar_function("larder_json_look", -1, flags, |context| {
        let Some(document) = text(context, 0)? else {
            return Ok(None);
        };
        Ok(look(document, &steps(context, 1)?))
    })?;
    for (name, is_bool) in [
        ("larder_json_compare", false),
        ("larder_json_compare_bool", true),
    ] {
        connection.create_scalar_function(name, -1, flags, move |context| {
            let Some(document) = text(context, 0)? else {
                return Ok(None);
            };
            let with = value(context, is_bool)?;
            let order = compare(document, &steps(context, 2)?, &with);
            Ok(order.map(|order| order as i64))
        })?;
    }
    Ok(())
}

fn text<'c>(context: &'c Context<'_>, at: usize) -> Result<Option<&'c str>> {
    if at >= context.len() {
        return Err(misused());
    }
    match context.get_raw(at) {
        ValueRef::Null => Ok(None),
        ValueRef::Text(text) => std::str::from_utf8(text).map(Some).map_err(|_| misused()),
        _ => Err(misused()),
    }
}

fn value(context: &Context<'_>, is_bool: bool) -> Result<Value> {
    if context.len() < 2 {
        return Err(misused());
    }
    match context.get_raw(1) {
        ValueRef::Integer(v) if is_bool => Ok(Value::Bool(v != 0)),
        ValueRef::Integer(v) => Ok(Value::Int(v)),
        ValueRef::Real(v) => Ok(Value::Float(v)),
        ValueRef::Text(v) => match std::str::from_utf8(v) {
            Ok(text) => Ok(Value::Text(text.to_owned().into())),
            Err(_) => Err(misused()),
        },
        ValueRef::Null | ValueRef::Blob(_) => Ok(Value::Null),
    }
}

fn steps(context: &Context<'_>, from: usize) -> Result<Vec<JsonStep>> {
    let step = |at| match context.get_raw(at) {
        ValueRef::Integer(at) => u32::try_from(at)
            .map(JsonStep::Index)
            .map_err(|_| misused()),
        ValueRef::Text(_) => Ok(JsonStep::Key(
            text(context, at)?.unwrap_or_default().to_owned(),
        )),
        _ => Err(misused()),
    };
    (from..context.len()).map(step).collect()
}

fn misused() -> Error {
    Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_MISMATCH), None)
}
