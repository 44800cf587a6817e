//! Values as bytes whose order is the values' order, for the members of sorted sets.
//!
//! | kind | bytes, after a tag |
//! |---|---|
//! | bool | 0 or 1 |
//! | integers, timestamps | 8, big-endian, the sign bit flipped |
//! | floats | 8, big-endian; of negative ones all bits flipped, of others the sign bit |
//! | text, bytes, json | `00` written as `00 FF`, then the end `00 01` |
//! | date | the year as 2 bytes, sign bit flipped; month; day |
//! | uuid | its 16 |
//! | decimal | the sign; 25, the number in units of 10⁻²⁸; of negative ones all bits flipped |
//!
//! The tag puts NULL behind all values. No encoding is the beginning of another, so that several
//! stand one behind the other: columns of an index, then the key. (Bounds of ranges are cut in
//! front of the end, and nothing else is.)

use larder_core::{Decimal, Kind, Value};

/// The tag of a value.
pub(crate) const VALUE: u8 = 0x02;
/// The first byte that is greater than every value's.
pub(crate) const BEYOND_VALUES: u8 = 0x03;
/// The tag of NULL, and all there is of it.
pub(crate) const NULL: u8 = 0xFF;

/// How a text ends.
const END: [u8; 2] = [0x00, 0x01];
/// How a zero byte stands within a text.
const ZERO: [u8; 2] = [0x00, 0xFF];
/// The most digits behind a decimal's point.
const SCALE_MAX: u32 = 28;

/// Appends a value.
pub(crate) fn value(out: &mut Vec<u8>, value: &Value) {
    if value.is_null() {
        out.push(NULL);
        return;
    }
    out.push(VALUE);
    match value {
        Value::Null => {}
        Value::Bool(v) => out.push(u8::from(*v)),
        Value::Int(v) => integer(out, *v),
        Value::Float(v) => out.extend_from_slice(&float(*v).to_be_bytes()),
        Value::Text(v) => text(out, v.as_bytes()),
        Value::Bytes(v) => text(out, v),
        Value::Json(v) => text(out, v.as_bytes()),
        Value::Timestamp(v) => integer(out, v.as_micros()),
        Value::Date(v) => {
            out.extend_from_slice(&(v.year().cast_unsigned() ^ (1 << 15)).to_be_bytes());
            out.extend_from_slice(&[v.month().cast_unsigned(), v.day().cast_unsigned()]);
        }
        Value::Uuid(v) => out.extend_from_slice(v.as_bytes()),
        Value::Decimal(v) => decimal(out, *v),
    }
}

/// Several values, one behind the other: a key.
pub(crate) fn values<'a>(list: impl IntoIterator<Item = &'a Value>) -> Vec<u8> {
    let mut out = Vec::with_capacity(16);
    for one in list {
        value(&mut out, one);
    }
    out
}

/// The beginning that all texts with this beginning have.
pub(crate) fn text_prefix(out: &mut Vec<u8>, prefix: &str) {
    out.push(VALUE);
    escaped(out, prefix.as_bytes());
}

/// The first bytes that are greater than all that begin with these; `None` if nothing is.
pub(crate) fn successor(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    while let Some(last) = bytes.pop() {
        if last < u8::MAX {
            bytes.push(last + 1);
            return Some(bytes);
        }
    }
    None
}

/// Whether a column of this kind can hold the value, so that their encodings compare.
pub(crate) fn is_of(kind: Kind, value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(_) => kind == Kind::Bool,
        Value::Int(_) => kind.is_integer(),
        Value::Float(_) => matches!(kind, Kind::F32 | Kind::F64),
        Value::Text(_) => kind == Kind::Text,
        Value::Bytes(_) => kind == Kind::Bytes,
        Value::Timestamp(_) => kind == Kind::Timestamp,
        Value::Date(_) => kind == Kind::Date,
        Value::Uuid(_) => kind == Kind::Uuid,
        Value::Decimal(_) => kind == Kind::Decimal,
        Value::Json(_) => kind == Kind::Json,
    }
}

fn integer(out: &mut Vec<u8>, v: i64) {
    out.extend_from_slice(&(v.cast_unsigned() ^ (1 << 63)).to_be_bytes());
}

fn float(v: f64) -> u64 {
    let bits = (v + 0.0).to_bits(); // one zero
    if bits >> 63 == 1 {
        !bits
    } else {
        bits ^ (1 << 63)
    }
}

fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    escaped(out, bytes);
    out.extend_from_slice(&END);
}

fn escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        if byte == 0 {
            out.extend_from_slice(&ZERO);
        } else {
            out.push(byte);
        }
    }
}

/// A mantissa of 96 bits times at most 10²⁸ fits 192.
fn decimal(out: &mut Vec<u8>, v: Decimal) {
    let mut limbs = [0_u64; 3]; // the least significant first
    let mantissa = v.mantissa().unsigned_abs();
    limbs[0] = mantissa as u64;
    limbs[1] = (mantissa >> 64) as u64;
    for _ in v.scale()..SCALE_MAX {
        times_ten(&mut limbs);
    }
    let negative = v.is_sign_negative() && !v.is_zero();
    let flip = if negative { u64::MAX } else { 0 };
    out.push(u8::from(!negative));
    for limb in limbs.iter().rev() {
        out.extend_from_slice(&(limb ^ flip).to_be_bytes());
    }
}

fn times_ten(limbs: &mut [u64; 3]) {
    let mut carry = 0_u128;
    for limb in limbs {
        let product = u128::from(*limb) * 10 + carry;
        *limb = product as u64;
        carry = product >> 64;
    }
}

#[cfg(test)]
mod tests {
    use larder_core::{Date, Timestamp, Uuid};
    use proptest::prelude::*;

    use super::*;

    fn encoded(one: &Value) -> Vec<u8> {
        values([one])
    }

    /// Two values of one kind, often close to each other.
    fn pair() -> impl Strategy<Value = (Value, Value)> {
        fn both<T: std::fmt::Debug + 'static>(
            one: impl Strategy<Value = T> + Clone + 'static,
            to: fn(T) -> Value,
        ) -> BoxedStrategy<(Value, Value)> {
            (one.clone().prop_map(to), one.prop_map(to)).boxed()
        }
        let decimal = || {
            let mantissa = prop_oneof![-50..50_i128, -(1_i128 << 96) + 1..(1_i128 << 96)];
            (mantissa, 0..=28_u32)
                .prop_map(|(mantissa, scale)| Decimal::from_i128_with_scale(mantissa, scale))
        };
        let int = || prop_oneof![any::<i64>(), -3..3_i64];
        let bytes = || prop::collection::vec(prop_oneof![0..3_u8, 254..=255_u8], 0..5);
        prop_oneof![
            both(any::<bool>(), Value::Bool),
            both(int(), Value::Int),
            both(
                prop_oneof![
                    any::<f64>().prop_filter("finite", |v| v.is_finite()),
                    -2.0..2.0_f64
                ],
                |v| Value::Float(v + 0.0)
            ),
            both("[\u{1}a\u{7f}é\u{10ffff}]{0,4}", |v| Value::Text(v.into())),
            both(bytes(), Value::Bytes),
            both(-9_000_000_000_000_000..9_000_000_000_000_000_i64, |v| {
                Value::Timestamp(Timestamp::from_micros(v).expect("in range"))
            }),
            both((-9_999..=9_999_i16, 1..=12_i8, 1..=28_i8), |(y, m, d)| {
                Value::Date(Date::new(y, m, d).expect("a day"))
            }),
            both(any::<[u8; 16]>(), |v| Value::Uuid(Uuid::from_bytes(v))),
            both(decimal(), Value::Decimal),
        ]
    }

    proptest! {
        #[test]
        fn the_order_of_bytes_is_that_of_values((one, other) in pair()) {
            prop_assert_eq!(encoded(&one).cmp(&encoded(&other)), one.cmp(&other));
        }

        #[test]
        fn several_compare_like_their_lists((a, b) in pair(), (c, d) in pair()) {
            let order = values([&a, &c]).cmp(&values([&b, &d]));
            prop_assert_eq!(order, (&a, &c).cmp(&(&b, &d)));
        }

        #[test]
        fn null_is_behind_all_values((one, _) in pair()) {
            prop_assert!(encoded(&one) < encoded(&Value::Null));
            prop_assert!(encoded(&one) < vec![BEYOND_VALUES]);
        }

        #[test]
        fn no_encoding_begins_another((one, other) in pair()) {
            let (one, other) = (encoded(&one), encoded(&other));
            prop_assert!(one == other || !other.starts_with(&one));
        }

        #[test]
        fn a_prefix_and_its_successor_enclose_what_begins_with_it(
            prefix in "[\u{1}aé\u{10ffff}]{0,3}", rest in "[\u{1}aé]{0,3}", other in "[\u{1}aé\u{10ffff}]{0,4}"
        ) {
            let mut low = Vec::new();
            text_prefix(&mut low, &prefix);
            let high = successor(low.clone()).expect("the tag is no 0xFF");
            let within = |text: &str| {
                let text = encoded(&Value::Text(text.to_owned().into()));
                low <= text && text < high
            };
            let whole = format!("{prefix}{rest}");
            prop_assert!(within(&whole));
            prop_assert_eq!(within(&other), other.starts_with(&prefix));
        }
    }

    #[test]
    fn equal_decimals_are_one_and_there_is_one_zero() {
        let of = |text: &str| encoded(&Value::Decimal(text.parse().expect("a decimal")));
        assert_eq!(of("1.0"), of("1.00"));
        assert_eq!(of("0"), of("-0.00"));
        assert_eq!(encoded(&Value::Float(0.0)), encoded(&Value::Float(-0.0)));
        assert_eq!(successor(vec![1, 0xFF, 0xFF]), Some(vec![2]));
        assert_eq!(successor(vec![0xFF]), None);
    }
}
