//! [`Id`]: an integer key that knows whose key it is.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ColumnType;
use crate::error::{Error, Result};
use crate::value::{Kind, Value, ValueRef};

/// The integer key of an `E`: an `Id<User>` is no `Id<Post>`.
///
/// ```
/// use larder_core::Id;
/// use larder_core::models::User;
///
/// let id = Id::<User>::new(7);
/// assert_eq!((id.get(), id.to_string()), (7, "7".to_owned()));
/// ```
pub struct Id<E>(i64, PhantomData<fn() -> E>);

impl<E> Id<E> {
    /// The key with this number.
    pub const fn new(id: i64) -> Self {
        Self(id, PhantomData)
    }

    /// The key's number.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl<E> Clone for Id<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Id<E> {}

impl<E> PartialEq for Id<E> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<E> Eq for Id<E> {}

impl<E> PartialOrd for Id<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Id<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl<E> Hash for Id<E> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<E> fmt::Debug for Id<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl<E> fmt::Display for Id<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<E> From<i64> for Id<E> {
    fn from(id: i64) -> Self {
        Self::new(id)
    }
}

impl<E> FromStr for Id<E> {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.parse()
            .map(Self::new)
            .map_err(|_| Error::invalid("an id is a whole number").with_value(text))
    }
}

impl<E> Serialize for Id<E> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}

impl<'de, E> Deserialize<'de> for Id<E> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        i64::deserialize(deserializer).map(Self::new)
    }
}

impl<E: 'static> ColumnType for Id<E> {
    type Base = Self;
    const KIND: Kind = Kind::I64;

    fn into_value(self) -> Result<Value> {
        Ok(Value::Int(self.0))
    }

    #[inline]
    fn from_value(value: ValueRef<'_>) -> Result<Self> {
        i64::from_value(value).map(Self::new)
    }
}
