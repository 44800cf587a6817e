//! [`Digest`]: what tells whether two tables hold the same rows.

use std::fmt;
use std::hash::Hasher as _;

use larder::Value;
use siphasher::sip128::{Hasher128 as _, SipHasher13};

/// The number of rows and the sum of their 128-bit hashes, in whatever order they come.
///
/// A row's hash is SipHash-1-3 over its values in the order of the columns, each in one form
/// whatever the engine: the same on every machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest {
    /// How many rows.
    pub(super) rows: u64,
    sum: u128,
}

impl Digest {
    /// Adds a row.
    pub(super) fn add(&mut self, row: &[Value]) {
        self.rows += 1;
        self.sum = self.sum.wrapping_add(hash(row));
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.sum)
    }
}

/// The hash of one row.
pub(super) fn hash(row: &[Value]) -> u128 {
    let mut hasher = SipHasher13::new();
    for value in row {
        add(&mut hasher, value);
    }
    hasher.finish128().as_u128()
}

/// Feeds one value: a byte for its kind, then its bytes; their number first where it varies.
fn add(to: &mut SipHasher13, value: &Value) {
    match value {
        Value::Null => to.write(&[0]),
        Value::Bool(v) => to.write(&[1, u8::from(*v)]),
        Value::Int(v) => fixed(to, 2, &v.to_le_bytes()),
        Value::Float(v) => fixed(to, 3, &v.to_bits().to_le_bytes()),
        Value::Text(v) => sized(to, 4, v.as_bytes()),
        Value::Bytes(v) => sized(to, 5, v),
        Value::Timestamp(v) => fixed(to, 6, &v.as_micros().to_le_bytes()),
        Value::Date(v) => sized(to, 7, v.to_string().as_bytes()),
        Value::Uuid(v) => fixed(to, 8, v.as_bytes()),
        // Engines keep the zeros at the end, so they count.
        Value::Decimal(v) => sized(to, 9, v.to_string().as_bytes()),
        Value::Json(v) => sized(to, 10, sorted_json(v).as_bytes()),
    }
}

fn fixed(to: &mut SipHasher13, kind: u8, bytes: &[u8]) {
    to.write(&[kind]);
    to.write(bytes);
}

fn sized(to: &mut SipHasher13, kind: u8, bytes: &[u8]) {
    fixed(to, kind, &(bytes.len() as u64).to_le_bytes());
    to.write(bytes);
}

/// The document without spaces and with its keys in order: engines write both in their own way.
fn sorted_json(text: &str) -> String {
    // A map of serde_json is ordered by key.
    serde_json::from_str::<serde_json::Value>(text)
        .map_or_else(|_| text.to_owned(), |document| document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(rows: &[&[Value]]) -> Digest {
        let mut digest = Digest::default();
        for row in rows {
            digest.add(row);
        }
        digest
    }

    #[test]
    fn the_order_of_rows_does_not_count_and_all_else_does() {
        let text = |text: &'static str| Value::Text(text.into());
        let (one, two) = ([Value::Int(1), text("a")], [Value::Int(2), text("b")]);
        let digest_of_both = digest(&[&one, &two]);
        assert_eq!(digest_of_both, digest(&[&two, &one]));
        let (crossed, over) = ([Value::Int(1), text("b")], [Value::Int(2), text("a")]);
        for other in [
            digest(&[&crossed, &over]),
            digest(&[&one]),
            digest(&[&one, &one]),
        ] {
            assert_ne!(digest_of_both, other);
        }
        assert_ne!(
            hash(&[text("ab"), text("c")]),
            hash(&[text("a"), text("bc")])
        );
        assert_ne!(hash(&[text("")]), hash(&[Value::Null]));
    }

    #[test]
    fn json_counts_by_its_meaning() {
        let json = |text: &str| [Value::Json(text.to_owned())];
        assert_eq!(
            hash(&json(r#"{"b": 1, "a": [1, 2]}"#)),
            hash(&json(r#"{"a":[1,2],"b":1}"#))
        );
    }
}
