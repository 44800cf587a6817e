//! Reads rows, from the binary format.
//!
//! Text, bytes and JSON are shown where the driver received them; nothing is copied.

use std::error::Error as StdError;

use larder_core::{Error, Kind, Result, Row, Uuid, ValueRef};
use tokio_postgres::types::{FromSql, Type};

use crate::bind::JSONB_VERSION;
use crate::calendar;
use crate::numeric::{NoNumber, Numeric};

/// A row that the driver holds.
#[derive(Debug)]
pub(crate) struct PgRow<'r> {
    row: &'r tokio_postgres::Row,
}

impl<'r> PgRow<'r> {
    pub(crate) fn new(row: &'r tokio_postgres::Row) -> Self {
        Self { row }
    }
}

impl Row for PgRow<'_> {
    #[inline]
    fn value(&self, at: usize, kind: Kind) -> Result<ValueRef<'_>> {
        match self.row.try_get::<_, Option<Raw<'_>>>(at) {
            Ok(None) => Ok(ValueRef::Null),
            Ok(Some(Raw(bytes))) => {
                let column = &self.row.columns()[at];
                let found = Found {
                    bytes,
                    ty: column.type_(),
                };
                found.read(kind)
            }
            Err(error) => {
                Err(Error::misuse(format!("the row has no position {at}")).with_source(error))
            }
        }
    }

    fn name(&self, at: usize) -> String {
        let column = self.row.columns().get(at);
        column.map_or_else(|| format!("output {at}"), |column| column.name().to_owned())
    }
}

/// A value's bytes, of whatever type.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(
        _: &Type,
        raw: &'a [u8],
    ) -> std::result::Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// A value that is not NULL, as the server sent it.
#[derive(Clone, Copy)]
struct Found<'a> {
    bytes: &'a [u8],
    ty: &'a Type,
}

impl<'a> Found<'a> {
    /// The value as this kind.
    #[inline]
    fn read(self, kind: Kind) -> Result<ValueRef<'a>> {
        match kind {
            Kind::Text if is_text(self.ty) => text(self.bytes).map(ValueRef::Text),
            Kind::I16 | Kind::I32 | Kind::I64 => self.integer(kind).map(ValueRef::Int),
            Kind::Timestamp if *self.ty == Type::TIMESTAMPTZ => self.timestamp(),
            Kind::Bool if *self.ty == Type::BOOL => match self.bytes {
                [0] => Ok(ValueRef::Bool(false)),
                [1] => Ok(ValueRef::Bool(true)),
                _ => Err(self.unreadable(kind)),
            },
            Kind::F32 | Kind::F64 => self.float(kind),
            Kind::Bytes if *self.ty == Type::BYTEA => Ok(ValueRef::Bytes(self.bytes)),
            Kind::Json => self.json(),
            Kind::Date if *self.ty == Type::DATE => self.date(),
            Kind::Uuid if *self.ty == Type::UUID => Uuid::from_slice(self.bytes)
                .map(ValueRef::Uuid)
                .map_err(|_| self.unreadable(kind)),
            Kind::Decimal if *self.ty == Type::NUMERIC => self.decimal(),
            _ => Err(self.unreadable(kind)),
        }
    }

    /// An integer of any width: what does not fit the model's is refused by its type.
    #[inline]
    fn integer(self, kind: Kind) -> Result<i64> {
        self.as_integer().ok_or_else(|| self.unreadable(kind))
    }

    #[inline]
    fn as_integer(self) -> Option<i64> {
        match *self.ty {
            Type::INT8 => self.array().map(i64::from_be_bytes),
            Type::INT4 => self.array().map(|bytes| i32::from_be_bytes(bytes).into()),
            Type::INT2 => self.array().map(|bytes| i16::from_be_bytes(bytes).into()),
            _ => None,
        }
    }

    fn float(self, kind: Kind) -> Result<ValueRef<'a>> {
        let found = match *self.ty {
            Type::FLOAT8 => self.array().map(f64::from_be_bytes),
            Type::FLOAT4 => self.array().map(|bytes| f32::from_be_bytes(bytes).into()),
            _ => None,
        };
        match found {
            Some(v) if v.is_finite() => Ok(ValueRef::Float(v + 0.0)), // no negative zero
            Some(v) => Err(self.unreadable(kind).with_value(v)),
            None => Err(self.unreadable(kind)),
        }
    }

    fn timestamp(self) -> Result<ValueRef<'a>> {
        let micros = self.array().map(i64::from_be_bytes);
        let at = micros.and_then(calendar::timestamp);
        at.map(ValueRef::Timestamp).ok_or_else(|| {
            let error = self.unreadable(Kind::Timestamp);
            match micros {
                Some(i64::MAX) => error.with_value("infinity"),
                Some(i64::MIN) => error.with_value("-infinity"),
                Some(micros) => error.with_value(format!("{micros} microseconds from 2000 on")),
                None => error,
            }
        })
    }

    fn date(self) -> Result<ValueRef<'a>> {
        let days = self.array().map(i32::from_be_bytes);
        let day = days.and_then(calendar::date);
        day.map(ValueRef::Date).ok_or_else(|| {
            let error = self.unreadable(Kind::Date);
            match days {
                Some(i32::MAX) => error.with_value("infinity"),
                Some(i32::MIN) => error.with_value("-infinity"),
                Some(days) => error.with_value(format!("{days} days from 2000 on")),
                None => error,
            }
        })
    }

    fn json(self) -> Result<ValueRef<'a>> {
        let (([JSONB_VERSION, json @ ..], &Type::JSONB) | (json, &Type::JSON)) =
            (self.bytes, self.ty)
        else {
            return Err(self.unreadable(Kind::Json));
        };
        text(json).map(ValueRef::Json)
    }

    /// A decimal is read exactly or not at all; the statement has made sums and averages fit.
    fn decimal(self) -> Result<ValueRef<'a>> {
        let numeric = match Numeric::parse(self.bytes) {
            Ok(numeric) => numeric,
            Err(NoNumber::Special(name)) => {
                return Err(self.unreadable(Kind::Decimal).with_value(name));
            }
            Err(NoNumber::Malformed) => return Err(self.unreadable(Kind::Decimal)),
        };
        (numeric.exact().map(ValueRef::Decimal))
            .ok_or_else(|| self.unreadable(Kind::Decimal).with_value(numeric))
    }

    #[inline]
    fn array<const N: usize>(self) -> Option<[u8; N]> {
        self.bytes.try_into().ok()
    }

    #[cold]
    fn unreadable(self, kind: Kind) -> Error {
        let error = Error::decode(format!(
            "the stored {} cannot be read as {}",
            self.ty.name(),
            kind.name()
        ));
        match std::str::from_utf8(self.bytes) {
            Ok(text) if is_text(self.ty) => error.with_value(text),
            _ => match self.as_integer() {
                Some(number) => error.with_value(number),
                None => error,
            },
        }
    }
}

fn is_text(ty: &Type) -> bool {
    matches!(*ty, Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME)
}

#[inline]
fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| {
        Error::decode("the stored text is not UTF-8; it was not written by Larder")
            .with_source(error)
    })
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use larder_core::{ErrorKind, Value};
    use tokio_postgres::types::ToSql;

    use super::*;

    fn sent(value: impl ToSql, ty: &Type) -> BytesMut {
        let mut out = BytesMut::new();
        value.to_sql(ty, &mut out).expect("the driver writes it");
        out
    }

    fn read(bytes: &[u8], ty: &Type, kind: Kind) -> Result<Value> {
        Found { bytes, ty }.read(kind).map(ValueRef::to_value)
    }

    #[test]
    fn what_the_driver_writes_is_read() {
        let text = |text: &'static str| Value::Text(text.into());
        let uuid = Uuid::from_u128(7);
        for (bytes, ty, kind, expected) in [
            (
                sent(true, &Type::BOOL),
                Type::BOOL,
                Kind::Bool,
                Value::Bool(true),
            ),
            (
                sent(-7_i16, &Type::INT2),
                Type::INT2,
                Kind::I16,
                Value::Int(-7),
            ),
            (
                sent(-7_i16, &Type::INT2),
                Type::INT2,
                Kind::I64,
                Value::Int(-7),
            ),
            (
                sent(i32::MIN, &Type::INT4),
                Type::INT4,
                Kind::I32,
                Value::Int(i32::MIN.into()),
            ),
            (
                sent(i64::MAX, &Type::INT8),
                Type::INT8,
                Kind::I64,
                Value::Int(i64::MAX),
            ),
            (
                sent(0.1_f32, &Type::FLOAT4),
                Type::FLOAT4,
                Kind::F32,
                Value::Float(0.1_f32.into()),
            ),
            (
                sent(5e-324, &Type::FLOAT8),
                Type::FLOAT8,
                Kind::F64,
                Value::Float(5e-324),
            ),
            (
                sent(-0.0, &Type::FLOAT8),
                Type::FLOAT8,
                Kind::F64,
                Value::Float(0.0),
            ),
            (sent("é", &Type::TEXT), Type::TEXT, Kind::Text, text("é")),
            (
                sent("", &Type::VARCHAR),
                Type::VARCHAR,
                Kind::Text,
                text(""),
            ),
            (
                sent(&[0_u8, 255][..], &Type::BYTEA),
                Type::BYTEA,
                Kind::Bytes,
                Value::Bytes(vec![0, 255]),
            ),
            (
                BytesMut::from(&uuid.as_bytes()[..]),
                Type::UUID,
                Kind::Uuid,
                Value::Uuid(uuid),
            ),
            (
                BytesMut::from(&b"\x01[1]"[..]),
                Type::JSONB,
                Kind::Json,
                Value::Json("[1]".into()),
            ),
            (
                BytesMut::from(&b"[1]"[..]),
                Type::JSON,
                Kind::Json,
                Value::Json("[1]".into()),
            ),
        ] {
            assert_eq!(
                read(&bytes, &ty, kind).expect("it is of the kind"),
                expected,
                "{ty}"
            );
        }
    }

    #[test]
    fn text_is_not_copied() {
        let bytes = b"larder";
        let found = Found {
            bytes,
            ty: &Type::TEXT,
        };
        let Ok(ValueRef::Text(text)) = found.read(Kind::Text) else {
            panic!("it is text");
        };
        assert_eq!(text.as_ptr(), bytes.as_ptr());
    }

    #[test]
    fn what_is_not_of_the_kind_is_an_error_with_the_value() {
        let nan = [0, 0, 0, 0, 0xC0, 0, 0, 0];
        let infinity = i64::MAX.to_be_bytes();
        for (bytes, ty, kind, value) in [
            (&b"abc"[..], Type::TEXT, Kind::I64, Some("abc")),
            (&[0, 7], Type::INT2, Kind::Text, Some("7")),
            (&[0, 7, 7], Type::INT2, Kind::I16, None),
            (
                &f64::NAN.to_be_bytes(),
                Type::FLOAT8,
                Kind::F64,
                Some("NaN"),
            ),
            (
                &f32::INFINITY.to_be_bytes(),
                Type::FLOAT4,
                Kind::F32,
                Some("inf"),
            ),
            (&nan, Type::NUMERIC, Kind::Decimal, Some("NaN")),
            (&nan[1..], Type::NUMERIC, Kind::Decimal, None),
            (
                &infinity,
                Type::TIMESTAMPTZ,
                Kind::Timestamp,
                Some("infinity"),
            ),
            (&infinity, Type::TIMESTAMP, Kind::Timestamp, None),
            (
                &i32::MIN.to_be_bytes(),
                Type::DATE,
                Kind::Date,
                Some("-infinity"),
            ),
            (
                &[1, 0, 0, 0],
                Type::DATE,
                Kind::Date,
                Some("16777216 days from 2000 on"),
            ),
            (&[2], Type::BOOL, Kind::Bool, None),
            (&[2, b'1'], Type::JSONB, Kind::Json, None),
            (&[0; 15], Type::UUID, Kind::Uuid, None),
            (&[0xff], Type::TEXT, Kind::Text, None),
            (&[0xff], Type::BYTEA, Kind::Text, None),
        ] {
            let error = read(bytes, &ty, kind).expect_err("it is not of the kind");
            assert_eq!(
                (error.kind(), error.value()),
                (ErrorKind::Decode, value),
                "{ty}"
            );
        }
    }
}
