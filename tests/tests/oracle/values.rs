//! Random values: mostly from a small pool, so that they meet each other.

use std::borrow::Cow;

use fastrand::Rng;
use larder_core::{Date, Decimal, Kind, Timestamp, Uuid, Value};

/// Texts that engines like to tell apart differently.
const TEXTS: [&str; 22] = [
    "a",
    "A",
    "ab",
    "aB",
    "Ab",
    "b",
    "",
    "%",
    "_",
    "a%b",
    "a_b",
    "é",
    "É",
    "e\u{301}",
    "ß",
    "İ",
    "😀",
    "\u{10FFFF}",
    "a\u{10FFFF}",
    "it's",
    "\\",
    " a ",
];

/// A value of the kind. The further behind in the pool, the rarer.
pub(crate) fn value(rng: &mut Rng, kind: Kind) -> Value {
    let pool = pool(kind);
    pool[rng.usize(..pool.len()).min(rng.usize(..pool.len()))].clone()
}

/// A value that hardly any row has yet, where the kind has so many.
pub(crate) fn fresh(rng: &mut Rng, kind: Kind) -> Value {
    match kind {
        Kind::I16 => Value::Int(i64::from(rng.i16(..))),
        Kind::I32 => Value::Int(i64::from(rng.i32(..))),
        Kind::I64 => Value::Int(rng.i64(-1_000_000..1_000_000)),
        Kind::F32 => Value::Float(f64::from(rng.i32(-4096..4096)) / 8.0),
        Kind::F64 => Value::Float(f64::from(rng.i32(..)) / 8.0),
        Kind::Text => text(rng),
        Kind::Bytes => Value::Bytes((0..rng.usize(..5)).map(|_| rng.u8(..)).collect()),
        Kind::Timestamp => timestamp(rng.i64(-2_000_000_000_000..2_000_000_000_000_000)),
        Kind::Date => date(rng.i16(-200..2_200), rng.i8(1..=12), rng.i8(1..=28)),
        Kind::Uuid => Value::Uuid(Uuid::from_u128(rng.u128(..))),
        Kind::Decimal => Value::Decimal(Decimal::new(rng.i64(-99_999..99_999), rng.u32(..5))),
        _ => value(rng, kind),
    }
}

fn text(rng: &mut Rng) -> Value {
    let parts = (0..rng.usize(1..4)).map(|_| TEXTS[rng.usize(..TEXTS.len())]);
    Value::Text(Cow::Owned(parts.collect()))
}

/// A pattern to look for in texts.
pub(crate) fn pattern(rng: &mut Rng) -> String {
    TEXTS[rng.usize(..TEXTS.len())].to_owned()
}

fn pool(kind: Kind) -> Vec<Value> {
    let ints = |values: &[i64]| values.iter().copied().map(Value::Int).collect();
    let floats = |values: &[f64]| values.iter().copied().map(Value::Float).collect();
    match kind {
        Kind::Bool => vec![Value::Bool(true), Value::Bool(false)],
        Kind::I16 => ints(&[1, 2, 3, 0, -1, 7, i16::MAX.into(), i16::MIN.into()]),
        Kind::I32 => ints(&[1, 2, 3, 0, -1, 7, i32::MAX.into(), i32::MIN.into()]),
        Kind::I64 => ints(&[
            1,
            2,
            3,
            4,
            5,
            6,
            0,
            -1,
            9,
            -7,
            1 << 53,
            (1 << 53) + 1,
            i64::MAX,
            i64::MIN,
        ]),
        Kind::F32 => floats(&[0.5, 1.0, -1.5, 0.0, 2.0, 1e10, f64::from(f32::MAX)]),
        Kind::F64 => floats(&[0.5, 1.0, -1.5, 0.0, 2.0, 1e10, 0.1, 1e-300, 1e308, f64::MAX]),
        Kind::Text => TEXTS
            .iter()
            .map(|text| Value::Text(Cow::Borrowed(text)))
            .collect(),
        Kind::Bytes => {
            let bytes: [&[u8]; 6] = [&[1], &[], &[0], &[1, 0], &[255], b"a"];
            bytes
                .iter()
                .map(|bytes| Value::Bytes(bytes.to_vec()))
                .collect()
        }
        Kind::Timestamp => [0, 1, -1, 1_700_000_000_000_000, -62_135_596_800_000_000]
            .map(timestamp)
            .to_vec(),
        Kind::Date => vec![
            date(1970, 1, 1),
            date(2000, 2, 29),
            date(1969, 12, 31),
            date(-44, 3, 15),
        ],
        Kind::Uuid => [1_u128, 2, 3, 1 << 120, u128::MAX]
            .map(|bits| Value::Uuid(Uuid::from_u128(bits)))
            .to_vec(),
        Kind::Decimal => [
            (10, 1),
            (1, 0),
            (100, 2),
            (-5, 1),
            (0, 0),
            (9, 0),
            (10, 0),
            (25, 1),
            (1, 28),
            (123_456, 3),
        ]
        .map(|(digits, scale)| Value::Decimal(Decimal::new(digits, scale)))
        .into_iter()
        .chain([Value::Decimal(Decimal::MAX)])
        .collect(),
        Kind::Json => [
            "{}",
            "[1, 2]",
            "null",
            "\"a\"",
            "1.5",
            "true",
            "{\"a\": {\"b\": 1, \"0\": \"B\", \"l\": [0, 0.5, null, false]}}",
            "{\"a\": [2.0, {\"b\": null}], \"$.a\": \"a\", \"-1\": true, \"b\": 18446744073709551615}",
            "[[1.5, \"\"], {\"a\": \"a\"}, -1, 2]",
        ]
            .map(|text| Value::Json(text.to_owned()))
            .to_vec(),
    }
}

fn timestamp(micros: i64) -> Value {
    Value::Timestamp(Timestamp::from_micros(micros).expect("all of these are in range"))
}

fn date(year: i16, month: i8, day: i8) -> Value {
    Value::Date(Date::new(year, month, day).expect("all of these exist"))
}
