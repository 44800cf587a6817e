//! UUIDs, ordered bytewise.

use uuid::Uuid;

use super::{ColumnType, mismatch};
use crate::error::Result;
use crate::value::{Kind, Value, ValueRef};

impl ColumnType for Uuid {
    type Base = Self;
    const KIND: Kind = Kind::Uuid;

    fn into_value(self) -> Result<Value> {
        Ok(Value::Uuid(self))
    }

    #[inline]
    fn from_value(value: ValueRef<'_>) -> Result<Self> {
        match value {
            ValueRef::Uuid(v) => Ok(v),
            other => Err(mismatch(Self::KIND, other)),
        }
    }
}
