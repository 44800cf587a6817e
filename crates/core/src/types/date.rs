//! Civil dates of jiff.

use jiff::civil::Date;

use super::{ColumnType, mismatch};
use crate::error::Result;
use crate::value::{Kind, Value, ValueRef};

impl ColumnType for Date {
    type Base = Self;
    const KIND: Kind = Kind::Date;

    fn into_value(self) -> Result<Value> {
        Ok(Value::Date(self))
    }

    #[inline]
    fn from_value(value: ValueRef<'_>) -> Result<Self> {
        match value {
            ValueRef::Date(v) => Ok(v),
            other => Err(mismatch(Self::KIND, other)),
        }
    }
}
