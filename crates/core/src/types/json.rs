//! [`Json`]: any serde type in one column.

mod finite;

use std::ops::{Deref, DerefMut};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use self::finite::Finite;
use super::{ColumnType, mismatch};
use crate::error::{Error, Result};
use crate::value::{Kind, Value, ValueRef};

/// A column that holds `T` as JSON. Stored and returned, not compared: comparing, ordering or
/// grouping by it does not compile. What stands inside can be compared:
/// [`Column::path`](crate::Column::path).
///
/// A float comes back to the last bit. Refused with `Invalid` is what JSON would lose: an
/// infinite float or NaN, at any depth, and a document nested deeper than 127 levels. So is a
/// text with a NUL character, like any text.
///
/// ```
/// # use larder_core::{Entity, Id, Json};
/// #[derive(Entity)]
/// #[entity(table = "notes")]
/// struct Note {
///     #[key(auto)]
///     id: Id<Note>,
///     words: Option<Json<Vec<String>>>,
/// }
/// let _ = Note::WORDS.is_null();
/// ```
///
/// ```compile_fail
/// # use larder_core::{Entity, Id, Json};
/// # #[derive(Entity)]
/// # #[entity(table = "notes")]
/// # struct Note {
/// #     #[key(auto)]
/// #     id: Id<Note>,
/// #     words: Option<Json<Vec<String>>>,
/// # }
/// let _ = Note::WORDS.asc(); // in which order?
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json<T>(pub T);

/// The deepest document that serde_json reads.
const NESTING_MAX: usize = 127;

impl<T> Deref for Json<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Json<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> ColumnType for Json<T>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    type Base = Self;
    const KIND: Kind = Kind::Json;

    fn into_value(self) -> Result<Value> {
        let text = serde_json::to_string(&self.0).map_err(unwritable)?;
        // A float that is no number is among the `null`s, so that most values are written once.
        if text.contains("null") {
            self.0.serialize(Finite).map_err(unwritable)?;
        }
        if nesting(&text) > NESTING_MAX {
            return Err(Error::invalid(format!(
                "the JSON is nested deeper than {NESTING_MAX} levels"
            )));
        }
        if text.contains("\\u0000") && holds_nul(&text) {
            return Err(
                Error::invalid("the JSON holds a NUL character; remove it").with_value(text)
            );
        }
        Ok(Value::Json(text))
    }

    fn from_value(value: ValueRef<'_>) -> Result<Self> {
        match value {
            ValueRef::Json(text) => serde_json::from_str(text).map(Json).map_err(|source| {
                Error::decode("the stored JSON is not what the model says")
                    .with_value(text)
                    .with_source(source)
            }),
            other => Err(mismatch(Self::KIND, other)),
        }
    }
}

#[cold]
fn unwritable(source: serde_json::Error) -> Error {
    Error::invalid("the value cannot be written as JSON").with_source(source)
}

/// How many lists and objects stand within each other, at most.
fn nesting(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut quoted, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true, // there is none outside of strings
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Whether a `\u0000` in the text is an escape of its own, not the tail of an escaped backslash.
fn holds_nul(json: &str) -> bool {
    json.match_indices("\\u0000").any(|(at, _)| {
        json.as_bytes()[..at]
            .iter()
            .rev()
            .take_while(|&&byte| byte == b'\\')
            .count()
            % 2
            == 0
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Shape {
        Point,
        Circle(f32),
        Line(f64, f64),
        Box { width: f64, note: Option<String> },
    }

    fn refused<T: Serialize + DeserializeOwned + Send + Sync + 'static>(value: T) -> bool {
        Json(value)
            .into_value()
            .is_err_and(|e| e.kind() == ErrorKind::Invalid)
    }

    #[test]
    fn floats_that_json_lacks_are_refused_wherever_they_are() {
        assert!(refused(f64::NAN));
        assert!(refused(f64::INFINITY));
        assert!(refused(f32::NEG_INFINITY));
        assert!(refused(Some(f64::NAN)));
        assert!(refused(vec![(1, 0.5), (2, f64::NAN)]));
        assert!(refused(Shape::Circle(f32::NAN)));
        assert!(refused(Shape::Line(0.0, f64::NAN)));
        let note = None;
        assert!(refused(vec![Shape::Box {
            width: f64::NAN,
            note
        }]));
        assert!(refused(HashMap::from(
            [("k", f64::NAN)].map(|(k, v)| (k.to_owned(), v))
        )));
    }

    #[test]
    fn serde_json_refuses_such_a_key_itself() {
        struct Keyed;
        impl Serialize for Keyed {
            fn serialize<S: serde::Serializer>(
                &self,
                to: S,
            ) -> std::result::Result<S::Ok, S::Error> {
                to.collect_map([(f64::NAN, 1)])
            }
        }
        assert!(serde_json::to_string(&Keyed).is_err());
    }

    #[test]
    fn null_is_not_a_float() {
        assert!(!refused(None::<f64>));
        assert!(!refused(((), "null".to_owned(), 1_u128)));
        let document = serde_json::json!({"null": [null, 1.5, {"a": null}]});
        assert!(!refused(document));
        let note = Some("null".to_owned());
        assert!(!refused(Shape::Box { width: 0.1, note }));
        assert!(!refused((Shape::Point, None::<bool>)));
    }

    #[test]
    fn what_could_not_be_read_again_is_not_written() {
        let mut document = serde_json::json!("[[\\\"[[");
        for _ in 0..NESTING_MAX {
            document = serde_json::json!([document]);
        }
        let stored = Json(document.clone()).into_value().expect("deep enough");
        let found = Json::<serde_json::Value>::from_value(stored.as_ref());
        assert_eq!(found.expect("as written").0, document);
        assert!(refused(vec![document]));
    }

    proptest! {
        #[test]
        fn floats_come_back_to_the_last_bit(bits: u64, small: u32) {
            let (wide, narrow) = (f64::from_bits(bits), f32::from_bits(small));
            prop_assume!(wide.is_finite() && narrow.is_finite());
            let stored = Json((wide, narrow)).into_value().expect("finite");
            let found = Json::<(f64, f32)>::from_value(stored.as_ref()).expect("as written");
            prop_assert_eq!(found.0.0.to_bits(), wide.to_bits());
            prop_assert_eq!(found.0.1.to_bits(), narrow.to_bits());
        }
    }

    #[test]
    fn only_a_real_nul_is_refused() {
        assert!(Json("a\u{0}b".to_owned()).into_value().is_err());
        assert!(Json("a\\u0000b".to_owned()).into_value().is_ok());
    }
}
