//! Values as compact bytes, for cursors: a tag, then the value, self-delimiting.

use jiff::civil::Date;
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::types::Timestamp;
use crate::value::{Kind, Value};

/// The offset basis of 64-bit FNV-1a (Fowler, Noll, Vo).
pub(crate) const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// 64-bit FNV-1a, continued from `state`: stable across builds and machines.
pub(crate) fn fnv1a(state: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(state, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME)
    })
}

/// Appends the value.
pub(crate) fn write(out: &mut Vec<u8>, value: &Value) {
    out.push(u8::from(!value.is_null()));
    match value {
        Value::Null => {}
        Value::Bool(v) => out.push(u8::from(*v)),
        Value::Int(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::Float(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::Text(v) => write_bytes(out, v.as_bytes()),
        Value::Bytes(v) => write_bytes(out, v),
        Value::Timestamp(v) => out.extend_from_slice(&v.as_micros().to_le_bytes()),
        Value::Date(v) => {
            out.extend_from_slice(&v.year().to_le_bytes());
            out.extend_from_slice(&[v.month() as u8, v.day() as u8]);
        }
        Value::Uuid(v) => out.extend_from_slice(v.as_bytes()),
        Value::Decimal(v) => out.extend_from_slice(&v.serialize()),
        Value::Json(v) => write_bytes(out, v.as_bytes()),
    }
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Takes a value of this kind off the front; `None` if the bytes are not one.
pub(crate) fn read(bytes: &mut &[u8], kind: Kind) -> Option<Value> {
    match take::<1>(bytes)? {
        [0] => return Some(Value::Null),
        [1] => {}
        _ => return None,
    }
    Some(match kind {
        Kind::Bool => Value::Bool(take::<1>(bytes)? != [0]),
        Kind::I16 | Kind::I32 | Kind::I64 => Value::Int(i64::from_le_bytes(take(bytes)?)),
        Kind::F32 | Kind::F64 => Value::Float(f64::from_le_bytes(take(bytes)?)).take_if_finite()?,
        Kind::Text => Value::Text(read_text(bytes)?.into()),
        Kind::Json => Value::Json(read_text(bytes)?),
        Kind::Bytes => Value::Bytes(read_bytes(bytes)?.to_vec()),
        Kind::Timestamp => {
            Value::Timestamp(Timestamp::from_micros(i64::from_le_bytes(take(bytes)?)).ok()?)
        }
        Kind::Date => {
            let year = i16::from_le_bytes(take(bytes)?);
            let [month, day] = take::<2>(bytes)?;
            Value::Date(Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?)
        }
        Kind::Uuid => Value::Uuid(Uuid::from_bytes(take(bytes)?)),
        Kind::Decimal => Value::Decimal(Decimal::deserialize(take(bytes)?)),
    })
}

impl Value {
    fn take_if_finite(self) -> Option<Self> {
        match self {
            Self::Float(v) if !v.is_finite() => None,
            other => Some(other),
        }
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

fn read_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = u32::from_le_bytes(take(bytes)?) as usize;
    let (head, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(head)
}

fn read_text(bytes: &mut &[u8]) -> Option<String> {
    String::from_utf8(read_bytes(bytes)?.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = (Value, Kind)> {
        prop_oneof![
            any::<bool>().prop_map(|v| (Value::Bool(v), Kind::Bool)),
            any::<i64>().prop_map(|v| (Value::Int(v), Kind::I64)),
            (-1e300..1e300_f64).prop_map(|v| (Value::Float(v), Kind::F64)),
            ".*".prop_map(|v| (Value::Text(v.into()), Kind::Text)),
            any::<Vec<u8>>().prop_map(|v| (Value::Bytes(v), Kind::Bytes)),
            any::<[u8; 16]>().prop_map(|v| (Value::Uuid(Uuid::from_bytes(v)), Kind::Uuid)),
            (any::<i64>(), 0..28_u32)
                .prop_map(|(v, scale)| (Value::Decimal(Decimal::new(v, scale)), Kind::Decimal)),
            Just((Value::Null, Kind::Date)),
        ]
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding((value, kind) in value(), rest in any::<Vec<u8>>()) {
            let mut bytes = Vec::new();
            write(&mut bytes, &value);
            bytes.extend_from_slice(&rest);
            let mut left = bytes.as_slice();
            prop_assert_eq!(read(&mut left, kind), Some(value));
            prop_assert_eq!(left, rest.as_slice());
        }

        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>(), (_, kind) in value()) {
            let _ = read(&mut bytes.as_slice(), kind);
        }
    }
}
