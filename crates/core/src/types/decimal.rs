//! Exact decimals; the scale is kept (`1.50` stays `1.50`), comparison is by value.

use rust_decimal::Decimal;

use super::{ColumnType, mismatch};
use crate::error::Result;
use crate::value::{Kind, Value, ValueRef};

impl ColumnType for Decimal {
    type Base = Self;
    const KIND: Kind = Kind::Decimal;

    fn into_value(mut self) -> Result<Value> {
        if self.is_zero() {
            self.set_sign_positive(true); // no engine keeps a negative zero
        }
        Ok(Value::Decimal(self))
    }

    #[inline]
    fn from_value(value: ValueRef<'_>) -> Result<Self> {
        match value {
            ValueRef::Decimal(v) => Ok(v),
            other => Err(mismatch(Self::KIND, other)),
        }
    }
}
