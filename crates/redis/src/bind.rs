//! Values as fields of a row's hash. NULL is no field.

use std::fmt::Write as _;

use bytes::Bytes;
use larder_core::Value;

/// What the field holds; `None` for NULL.
pub(crate) fn field(value: &Value) -> Option<Bytes> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(v) => Bytes::from_static(if *v { b"1" } else { b"0" }),
        Value::Int(v) => text(v),
        Value::Float(v) => Bytes::from(format!("{v:?}")), // the shortest that comes back
        Value::Text(v) => Bytes::copy_from_slice(v.as_bytes()),
        Value::Bytes(v) => Bytes::copy_from_slice(v),
        Value::Timestamp(v) => text(&v.as_micros()),
        Value::Date(v) => text(v),
        Value::Uuid(v) => text(v),
        Value::Decimal(v) => text(v),
        Value::Json(v) => Bytes::copy_from_slice(v.as_bytes()),
    })
}

fn text(value: &impl std::fmt::Display) -> Bytes {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write!(text, "{value}");
    text.into()
}
