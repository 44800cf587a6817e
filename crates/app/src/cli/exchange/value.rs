//! Values from and to JSON, cells of CSV, and words of the command line.

use std::io::{self, Write};

use larder::{ColumnDef, Date, Kind, Timestamp, Value};
use serde_json::Value as Json;

/// The value of a JSON field; the reason in words where it does not fit the column.
pub(crate) fn from_json(column: &ColumnDef, json: Json) -> Result<Value, String> {
    let expected =
        |what: &str, found: &Json| Err(format!("{what} is expected, found {}", name(found)));
    match (column.kind, json) {
        (_, Json::Null) => Ok(Value::Null),
        (Kind::Bool, Json::Bool(v)) => Ok(Value::Bool(v)),
        (Kind::Bool, other) => expected("true or false", &other),
        (Kind::I16 | Kind::I32 | Kind::I64, Json::Number(number)) => match number.as_i64() {
            Some(v) => fit_integer(column.kind, v),
            None => Err(format!("{number} is not a whole number of 64 bits")),
        },
        (Kind::I16 | Kind::I32 | Kind::I64, other) => expected("a whole number", &other),
        (Kind::F32 | Kind::F64, Json::Number(number)) => match number.as_f64() {
            Some(v) if v.is_finite() => Ok(Value::Float(v)),
            _ => Err(format!("{number} is out of range")),
        },
        (Kind::F32 | Kind::F64, other) => expected("a number", &other),
        (Kind::Text, Json::String(text)) => Ok(Value::Text(text.into())),
        (Kind::Text, other) => expected("a text", &other),
        (Kind::Json, other) => Ok(Value::Json(other.to_string())),
        (_, Json::String(text)) => from_text(column, &text),
        (kind, other) => expected(&format!("a {} as text", kind.name()), &other),
    }
}

fn name(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "true or false",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

fn fit_integer(kind: Kind, v: i64) -> Result<Value, String> {
    let fits = match kind {
        Kind::I16 => i16::try_from(v).is_ok(),
        Kind::I32 => i32::try_from(v).is_ok(),
        _ => true,
    };
    if fits {
        Ok(Value::Int(v))
    } else {
        Err(format!("{v} does not fit {}", kind.name()))
    }
}

/// The value of a word or a CSV cell; the reason in words where it does not fit the column.
/// Never NULL.
pub(crate) fn from_text(column: &ColumnDef, text: &str) -> Result<Value, String> {
    let shown = super::quoted(text);
    let wrong = |what: &str| format!("{shown} is not {what}");
    match column.kind {
        Kind::Bool => match text {
            "true" | "1" | "yes" => Ok(Value::Bool(true)),
            "false" | "0" | "no" => Ok(Value::Bool(false)),
            _ => Err(wrong("true or false")),
        },
        Kind::I16 | Kind::I32 | Kind::I64 => {
            let v = text
                .parse()
                .map_err(|_| wrong("a whole number of 64 bits"))?;
            fit_integer(column.kind, v)
        }
        Kind::F32 | Kind::F64 => match text.parse::<f64>() {
            Ok(v) if v.is_finite() => Ok(Value::Float(v)),
            _ => Err(wrong("a number")),
        },
        Kind::Text => Ok(Value::Text(text.to_owned().into())),
        Kind::Timestamp => instant(text).map(Value::Timestamp),
        Kind::Date => text
            .parse()
            .map(Value::Date)
            .map_err(|_| wrong("a day such as 2024-05-06")),
        Kind::Uuid => text.parse().map(Value::Uuid).map_err(|_| wrong("a UUID")),
        Kind::Decimal => text
            .parse()
            .map(Value::Decimal)
            .map_err(|_| wrong("a decimal number")),
        kind => Err(format!(
            "values of kind {} cannot be written as text here",
            kind.name()
        )),
    }
}

/// An instant, or the midnight (UTC) at which a day begins.
fn instant(text: &str) -> Result<Timestamp, String> {
    if let Ok(day) = text.parse::<Date>()
        && text.len() == 10
    {
        return format!("{day}T00:00:00Z")
            .parse()
            .map_err(|_| format!("{text} is out of range"));
    }
    text.parse::<Timestamp>()
        .map_err(|error| format!("{} is {}", super::quoted(text), error.message()))
}

/// RFC 3339 with milliseconds, or with microseconds where there are any: always as many digits
/// as the widely used formats have, so that files compare.
fn timestamp(at: Timestamp) -> String {
    let digits = if at.as_micros() % 1_000 == 0 { 3 } else { 6 };
    format!("{:.digits$}", at.to_jiff())
}

/// The value as a cell or a word; NULL is empty.
#[allow(
    clippy::match_wildcard_for_single_variants,
    reason = "the enum may grow"
)]
pub(crate) fn to_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(v) => v.to_string(),
        Value::Int(v) => v.to_string(),
        Value::Float(v) => v.to_string(),
        Value::Text(v) => v.clone().into_owned(),
        Value::Timestamp(v) => timestamp(*v),
        Value::Date(v) => v.to_string(),
        Value::Uuid(v) => v.to_string(),
        Value::Decimal(v) => v.to_string(),
        Value::Json(v) => v.clone(),
        // Bytes have no text of their own; a kind added later is shown like them.
        other => format!("{other:?}"),
    }
}

/// Writes the fields as one JSON object, in their order, without spaces.
pub(crate) fn write_json<'a>(
    out: &mut impl Write,
    fields: impl Iterator<Item = (&'a str, &'a Value)>,
) -> io::Result<()> {
    let mut before = b"{";
    for (name, value) in fields {
        out.write_all(before)?;
        before = b",";
        serde_json::to_writer(&mut *out, name)?;
        out.write_all(b":")?;
        match value {
            Value::Null => out.write_all(b"null")?,
            Value::Bool(_) | Value::Int(_) | Value::Json(_) => {
                out.write_all(to_text(value).as_bytes())?;
            }
            Value::Float(v) => serde_json::to_writer(&mut *out, v)?,
            Value::Text(text) => serde_json::to_writer(&mut *out, text.as_ref())?,
            other => serde_json::to_writer(&mut *out, &to_text(other))?,
        }
    }
    out.write_all(b"}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder::Entity as _;
    use larder::models::User;

    fn column(name: &str) -> &'static ColumnDef {
        &User::TABLE.columns[User::TABLE.column(name).expect("a column")]
    }

    #[test]
    fn instants_keep_their_digits() {
        for text in [
            "2018-03-09T18:48:09.000Z",
            "2018-03-09T18:48:09.477Z",
            "2018-03-09T18:48:09.477001Z",
        ] {
            assert_eq!(timestamp(text.parse().expect("valid")), text);
        }
        let midnight = from_text(column("created_at"), "2018-03-09").expect("a day");
        assert_eq!(to_text(&midnight), "2018-03-09T00:00:00.000Z");
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let json = |name, json| from_json(column(name), json).expect_err("does not fit");
        assert_eq!(
            json("id", Json::from("7")),
            "a whole number is expected, found a text"
        );
        assert_eq!(
            json("id", Json::from(1.5)),
            "1.5 is not a whole number of 64 bits"
        );
        assert_eq!(
            json("is_active", Json::from(1)),
            "true or false is expected, found a number"
        );
        assert!(json("created_at", Json::from("yesterday")).contains("not a timestamp"));
    }
}
