//! Rows and keys as JSON, and back.
//!
//! | kind | in JSON |
//! |---|---|
//! | bool, integers, floats | `true`, `17`, `0.5` |
//! | text, enums | a string |
//! | bytes | a string in base64 (RFC 4648, with padding) |
//! | timestamp, date | a string in RFC 3339: `"2024-05-06T07:08:09Z"`, `"2024-05-06"` |
//! | uuid, decimal | a string |
//! | json | the document itself |

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

use crate::error::{Error, Result};
use crate::schema::{ColumnDef, Table};
use crate::value::{Kind, Value};

/// The row as an object, its columns in the table's order, without those that are to be left out.
pub(super) fn row_to_json(table: &Table, row: &[Value], omitted: &[usize]) -> String {
    let mut text = String::from("{");
    let columns = table.columns.iter().zip(row).enumerate();
    for (_, (column, value)) in columns.filter(|(at, _)| !omitted.contains(at)) {
        if text.len() > 1 {
            text.push(',');
        }
        push_text(&mut text, column.name);
        text.push(':');
        push(&mut text, value);
    }
    text.push('}');
    text
}

/// The row's key as an array.
pub(super) fn key_to_json(table: &Table, row: &[Value]) -> String {
    let mut text = String::from("[");
    for &at in table.key {
        if text.len() > 1 {
            text.push(',');
        }
        push(&mut text, &row[at]);
    }
    text.push(']');
    text
}

fn push(text: &mut String, value: &Value) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(v) => text.push_str(if *v { "true" } else { "false" }),
        Value::Int(v) => text.push_str(&v.to_string()),
        Value::Float(v) => text.push_str(&Json::from(*v).to_string()),
        Value::Text(v) => push_text(text, v),
        Value::Bytes(v) => push_text(text, &STANDARD.encode(v)),
        Value::Timestamp(v) => push_text(text, &v.to_string()),
        Value::Date(v) => push_text(text, &v.to_string()),
        Value::Uuid(v) => push_text(text, &v.to_string()),
        Value::Decimal(v) => push_text(text, &v.to_string()),
        Value::Json(v) => text.push_str(v),
    }
}

fn push_text(text: &mut String, value: &str) {
    text.push_str(&Json::from(value).to_string());
}

/// All columns of a row, in order.
pub(super) fn row_from_json(table: &'static Table, text: &str) -> Result<Vec<Value>> {
    let Json::Object(mut object) = parse(table, text)? else {
        return Err(changed(table, None));
    };
    let column = |at: usize| {
        let column = &table.columns[at];
        let found = object.remove(column.name);
        let found = found.or(column.nullable.then_some(Json::Null));
        found
            .and_then(|json| read(json, column))
            .ok_or_else(|| changed(table, Some(at)))
    };
    (0..table.columns.len()).map(column).collect()
}

/// The values of a key, in the order of its columns.
pub(super) fn key_from_json(table: &'static Table, text: &str) -> Result<Vec<Value>> {
    let Json::Array(values) = parse(table, text)? else {
        return Err(changed(table, None));
    };
    if values.len() != table.key.len() {
        return Err(changed(table, None));
    }
    let typed =
        table.key.iter().zip(values).map(|(&at, json)| {
            read(json, &table.columns[at]).ok_or_else(|| changed(table, Some(at)))
        });
    typed.collect()
}

fn parse(table: &'static Table, text: &str) -> Result<Json> {
    serde_json::from_str(text).map_err(|source| changed(table, None).with_source(source))
}

/// The value, if the JSON is one that the column can hold.
fn read(json: Json, column: &ColumnDef) -> Option<Value> {
    // Where a document may be missing, that and a document that is null are written alike.
    if json.is_null() && (column.nullable || column.kind != Kind::Json) {
        return Some(Value::Null);
    }
    Some(match (column.kind, json) {
        (Kind::Bool, Json::Bool(v)) => Value::Bool(v),
        (Kind::I16 | Kind::I32 | Kind::I64, Json::Number(v)) => Value::Int(v.as_i64()?),
        (Kind::F32 | Kind::F64, Json::Number(v)) => Value::Float(v.as_f64()?),
        (Kind::Text, Json::String(v)) => Value::Text(v.into()),
        (Kind::Bytes, Json::String(v)) => Value::Bytes(STANDARD.decode(v).ok()?),
        (Kind::Timestamp, Json::String(v)) => Value::Timestamp(v.parse().ok()?),
        (Kind::Date, Json::String(v)) => Value::Date(v.parse().ok()?),
        (Kind::Uuid, Json::String(v)) => Value::Uuid(v.parse().ok()?),
        (Kind::Decimal, Json::String(v)) => Value::Decimal(v.parse().ok()?),
        (Kind::Json, json) => Value::Json(json.to_string()),
        _ => return None,
    })
}

#[cold]
fn changed(table: &'static Table, at: Option<usize>) -> Error {
    let error =
        Error::decode("the recorded change is not of this model: it may be of an older one");
    match at {
        Some(at) => error.or_column(table.name, table.columns[at].name),
        None => error.with_table(table.name),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::Timestamp;

    const fn column(name: &'static str, kind: Kind) -> ColumnDef {
        ColumnDef {
            name,
            kind,
            nullable: true,
            max_len: None,
            default: None,
            references: None,
            missing: "",
        }
    }

    static TABLE: Table = Table {
        name: "things",
        columns: &[
            column("a", Kind::I64),
            column("b\"", Kind::Text),
            column("c", Kind::Bytes),
            column("d", Kind::F64),
            column("e", Kind::Timestamp),
            column("f", Kind::Decimal),
            column("g", Kind::Uuid),
            column("h", Kind::Bool),
            column("i", Kind::Json),
        ],
        key: &[0, 1],
        auto_key: false,
        uniques: &[],
        indexes: &[],
        search: None,
        created_at: None,
        updated_at: None,
        version: None,
    };

    proptest! {
        #[test]
        fn reading_undoes_writing(
            a: i64,
            b in ".*",
            c: Vec<u8>,
            d in -1e300..1e300_f64,
            e in -1_000_000_000_000_000..1_000_000_000_000_000_i64,
            (f, scale) in (any::<i64>(), 0..28_u32),
            g: [u8; 16],
            h: bool,
            null in 0..9_usize,
        ) {
            let mut row = vec![
                Value::Int(a),
                Value::Text(b.into()),
                Value::Bytes(c),
                Value::Float(d),
                Value::Timestamp(Timestamp::from_micros(e).expect("in range")),
                Value::Decimal(crate::Decimal::new(f, scale)),
                Value::Uuid(crate::Uuid::from_bytes(g)),
                Value::Bool(h),
                Value::Json("{\"x\":[1,null]}".to_owned()),
            ];
            row[null] = Value::Null;
            let text = row_to_json(&TABLE, &row, &[]);
            prop_assert_eq!(row_from_json(&TABLE, &text).expect("just written"), row.clone());
            let key = key_to_json(&TABLE, &row);
            prop_assert_eq!(key_from_json(&TABLE, &key).expect("just written"), &row[..2]);
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = row_from_json(&TABLE, &text);
            let _ = key_from_json(&TABLE, &text);
        }
    }
}
