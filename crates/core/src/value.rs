//! Values on their way to and from a store.
//!
//! [`Kind`] is what a column stores, [`Value`] an owned value on its way in, [`ValueRef`] a
//! borrowed one on its way out. A user's types meet them in
//! [`ColumnType`](crate::types::ColumnType).

use std::borrow::Cow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use jiff::civil::Date;
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::types::Timestamp;

/// What a column stores. Each engine has one representation per kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// True or false.
    Bool,
    /// A 16-bit integer.
    I16,
    /// A 32-bit integer.
    I32,
    /// A 64-bit integer.
    I64,
    /// A single-precision float; never NaN or infinite.
    F32,
    /// A double-precision float; never NaN or infinite.
    F64,
    /// UTF-8 text without NUL, ordered by code point.
    Text,
    /// Bytes, ordered bytewise.
    Bytes,
    /// An instant in UTC to the microsecond.
    Timestamp,
    /// A day of the proleptic Gregorian calendar.
    Date,
    /// A UUID, ordered bytewise.
    Uuid,
    /// An exact decimal number, compared by value (`1.0` equals `1.00`).
    Decimal,
    /// JSON text; stored and returned, not compared.
    Json,
}

impl Kind {
    /// Whether text operators (`contains`, ..) apply.
    pub const fn is_text(self) -> bool {
        matches!(self, Self::Text)
    }

    /// Whether the kind is one of the integers.
    pub const fn is_integer(self) -> bool {
        matches!(self, Self::I16 | Self::I32 | Self::I64)
    }

    /// The kind's name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::Timestamp => "timestamp",
            Self::Date => "date",
            Self::Uuid => "uuid",
            Self::Decimal => "decimal",
            Self::Json => "json",
        }
    }
}

/// An owned value to bind. `Null` is a value; which kind it belongs to is the column's matter.
#[derive(Clone, Debug)]
pub enum Value {
    /// No value.
    Null,
    /// For [`Kind::Bool`].
    Bool(bool),
    /// For the three integer kinds.
    Int(i64),
    /// For the two float kinds; finite, and never negative zero.
    Float(f64),
    /// For [`Kind::Text`]; never holds NUL.
    Text(Cow<'static, str>),
    /// For [`Kind::Bytes`].
    Bytes(Vec<u8>),
    /// For [`Kind::Timestamp`].
    Timestamp(Timestamp),
    /// For [`Kind::Date`].
    Date(Date),
    /// For [`Kind::Uuid`].
    Uuid(Uuid),
    /// For [`Kind::Decimal`].
    Decimal(Decimal),
    /// For [`Kind::Json`]: the serialised document.
    Json(String),
}

/// A value as the engine holds it, borrowed for the time of one row.
#[derive(Clone, Copy, Debug)]
pub enum ValueRef<'a> {
    /// No value.
    Null,
    /// See [`Value::Bool`].
    Bool(bool),
    /// See [`Value::Int`].
    Int(i64),
    /// See [`Value::Float`].
    Float(f64),
    /// See [`Value::Text`].
    Text(&'a str),
    /// See [`Value::Bytes`].
    Bytes(&'a [u8]),
    /// See [`Value::Timestamp`].
    Timestamp(Timestamp),
    /// See [`Value::Date`].
    Date(Date),
    /// See [`Value::Uuid`].
    Uuid(Uuid),
    /// See [`Value::Decimal`].
    Decimal(Decimal),
    /// See [`Value::Json`].
    Json(&'a str),
}

impl Value {
    /// Whether this is `Null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Borrows the value.
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Bool(v) => ValueRef::Bool(*v),
            Self::Int(v) => ValueRef::Int(*v),
            Self::Float(v) => ValueRef::Float(*v),
            Self::Text(v) => ValueRef::Text(v),
            Self::Bytes(v) => ValueRef::Bytes(v),
            Self::Timestamp(v) => ValueRef::Timestamp(*v),
            Self::Date(v) => ValueRef::Date(*v),
            Self::Uuid(v) => ValueRef::Uuid(*v),
            Self::Decimal(v) => ValueRef::Decimal(*v),
            Self::Json(v) => ValueRef::Json(v),
        }
    }

    /// The order every engine agrees on, between two values of the same kind.
    ///
    /// `None` when either is `Null`: comparing with NULL is neither true nor false.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        if self.is_null() || other.is_null() {
            None
        } else {
            Some(self.cmp(other))
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Int(_) => 2,
            Self::Float(_) => 3,
            Self::Text(_) => 4,
            Self::Bytes(_) => 5,
            Self::Timestamp(_) => 6,
            Self::Date(_) => 7,
            Self::Uuid(_) => 8,
            Self::Decimal(_) => 9,
            Self::Json(_) => 10,
        }
    }
}

/// A total order, so that values can be keys of maps: `Null` first, then by kind. Use
/// [`Value::compare`] for the semantics of queries.
impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            (Self::Timestamp(a), Self::Timestamp(b)) => a.cmp(b),
            (Self::Date(a), Self::Date(b)) => a.cmp(b),
            (Self::Uuid(a), Self::Uuid(b)) => a.cmp(b),
            (Self::Decimal(a), Self::Decimal(b)) => a.cmp(b),
            (Self::Json(a), Self::Json(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            // Most keys are: looking them up is much of what a loading plan does.
            (Self::Int(a), Self::Int(b)) => a == b,
            _ => self.cmp(other) == Ordering::Equal,
        }
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u8(self.rank());
        match self {
            Self::Null => {}
            Self::Bool(v) => v.hash(state),
            Self::Int(v) => v.hash(state),
            Self::Float(v) => v.to_bits().hash(state),
            Self::Text(v) => v.hash(state),
            Self::Bytes(v) => v.hash(state),
            Self::Timestamp(v) => v.hash(state),
            Self::Date(v) => v.hash(state),
            Self::Uuid(v) => v.hash(state),
            Self::Decimal(v) => v.hash(state),
            Self::Json(v) => v.hash(state),
        }
    }
}

impl ValueRef<'_> {
    /// An owned copy.
    pub fn to_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(v) => Value::Bool(v),
            Self::Int(v) => Value::Int(v),
            Self::Float(v) => Value::Float(v),
            Self::Text(v) => Value::Text(Cow::Owned(v.to_owned())),
            Self::Bytes(v) => Value::Bytes(v.to_vec()),
            Self::Timestamp(v) => Value::Timestamp(v),
            Self::Date(v) => Value::Date(v),
            Self::Uuid(v) => Value::Uuid(v),
            Self::Decimal(v) => Value::Decimal(v),
            Self::Json(v) => Value::Json(v.to_owned()),
        }
    }
}
