//! Rows as they come from Redis.

use std::str::{self, FromStr};

use bytes::Bytes;
use larder_core::eval::Stored;
use larder_core::{Error, ErrorKind, Kind, Result, Table, Timestamp, Value};

use crate::error::unreadable;
use crate::pack::Unpack;

/// A row and the commit that wrote it last.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) row: Stored,
    pub(crate) version: Bytes,
}

impl Found {
    /// Reads a row: its version, then these columns; the others are NULL.
    ///
    /// # Errors
    /// `Corrupt`, naming the column, if a field does not hold a value of its kind.
    pub(crate) fn unpack(
        table: &'static Table,
        columns: &[usize],
        reply: &mut Unpack,
    ) -> Result<Self> {
        if reply.list()? != columns.len() + 1 {
            return Err(unreadable());
        }
        let version = reply.text()?.ok_or_else(unreadable)?;
        let mut row = vec![Value::Null; table.columns.len()];
        for &at in columns {
            if let Some(field) = reply.text()? {
                let column = &table.columns[at];
                row[at] = value(column.kind, &field).ok_or_else(|| {
                    damaged(column.kind, &field).or_column(table.name, column.name)
                })?;
            }
        }
        // Its own memory, so that it does not keep that of the whole answer.
        let version = Bytes::copy_from_slice(&version);
        Ok(Self {
            row: row.into(),
            version,
        })
    }
}

#[cold]
fn damaged(kind: Kind, bytes: &[u8]) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!(
            "the field in Redis does not hold a value of kind {}",
            kind.name()
        ),
    )
    .with_value(String::from_utf8_lossy(bytes))
}

/// What [`bind::field`](crate::bind::field) has written.
pub(crate) fn value(kind: Kind, bytes: &[u8]) -> Option<Value> {
    Some(match kind {
        Kind::Bool => Value::Bool(match bytes {
            b"0" => false,
            b"1" => true,
            _ => return None,
        }),
        Kind::I16 | Kind::I32 | Kind::I64 => Value::Int(parsed(bytes)?),
        Kind::F32 | Kind::F64 => {
            Value::Float(parsed::<f64>(bytes).filter(|number| number.is_finite())?)
        }
        Kind::Text => Value::Text(str::from_utf8(bytes).ok()?.to_owned().into()),
        Kind::Json => Value::Json(str::from_utf8(bytes).ok()?.to_owned()),
        Kind::Bytes => Value::Bytes(bytes.to_vec()),
        Kind::Timestamp => Value::Timestamp(Timestamp::from_micros(parsed(bytes)?).ok()?),
        Kind::Date => Value::Date(parsed(bytes)?),
        Kind::Uuid => Value::Uuid(parsed(bytes)?),
        Kind::Decimal => Value::Decimal(parsed(bytes)?),
    })
}

fn parsed<T: FromStr>(bytes: &[u8]) -> Option<T> {
    str::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use larder_core::{Date, Decimal, Uuid};
    use proptest::prelude::*;

    use super::*;
    use crate::bind;

    fn any_value() -> impl Strategy<Value = (Value, Kind)> {
        prop_oneof![
            any::<bool>().prop_map(|v| (Value::Bool(v), Kind::Bool)),
            any::<i64>().prop_map(|v| (Value::Int(v), Kind::I64)),
            any::<f64>()
                .prop_filter("finite", |v| v.is_finite())
                .prop_map(|v| (Value::Float(v), Kind::F64)),
            ".*".prop_map(|v| (Value::Text(v.into()), Kind::Text)),
            ".*".prop_map(|v| (Value::Json(v), Kind::Json)),
            any::<Vec<u8>>().prop_map(|v| (Value::Bytes(v), Kind::Bytes)),
            any::<[u8; 16]>().prop_map(|v| (Value::Uuid(Uuid::from_bytes(v)), Kind::Uuid)),
            (-9_999..=9_999_i16, 1..=12_i8, 1..=28_i8).prop_map(|(y, m, d)| (
                Value::Date(Date::new(y, m, d).expect("a day")),
                Kind::Date
            )),
            (any::<i64>(), 0..28_u32)
                .prop_map(|(v, scale)| (Value::Decimal(Decimal::new(v, scale)), Kind::Decimal)),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_comes_back((before, kind) in any_value()) {
            let bytes = bind::field(&before).expect("not NULL");
            let after = value(kind, &bytes).expect("readable");
            // Decimals that are equal may differ in their digits.
            prop_assert_eq!(format!("{after:?}"), format!("{before:?}"));
        }

        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>(), (_, kind) in any_value()) {
            let _ = value(kind, &bytes);
        }
    }
}
