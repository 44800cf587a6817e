//! [`Json`]: any serde type in one column.

use std::ops::{Deref, DerefMut};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{ColumnType, mismatch};
use crate::error::{Error, Result};
use crate::value::{Kind, Value, ValueRef};

/// A column that holds `T` as JSON. Stored and returned, not compared.
///
/// A document that serialises to text with a NUL character is refused, like any text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json<T>(pub T);

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
        let text = serde_json::to_string(&self.0).map_err(|source| {
            Error::invalid("the value cannot be written as JSON").with_source(source)
        })?;
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
    use super::*;

    #[test]
    fn only_a_real_nul_is_refused() {
        assert!(Json("a\u{0}b".to_owned()).into_value().is_err());
        assert!(Json("a\\u0000b".to_owned()).into_value().is_ok());
    }
}
