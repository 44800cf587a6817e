//! Booleans, integers and floats.

use rust_decimal::Decimal;

use super::{ColumnType, mismatch};
use crate::error::{Error, Result};
use crate::value::{Kind, Value, ValueRef};

/// A type that can be added up: its sum has the type's widest form.
pub trait Numeric: ColumnType {
    /// What a sum comes back as; integer sums that leave the range of `i64` are an error.
    type Sum: ColumnType;
    /// What an average comes back as.
    type Avg: ColumnType;
}

impl<T: Numeric> Numeric for Option<T> {
    type Sum = T::Sum;
    type Avg = T::Avg;
}

impl ColumnType for bool {
    type Base = Self;
    const KIND: Kind = Kind::Bool;

    fn into_value(self) -> Result<Value> {
        Ok(Value::Bool(self))
    }

    #[inline]
    fn from_value(value: ValueRef<'_>) -> Result<Self> {
        match value {
            ValueRef::Bool(v) => Ok(v),
            other => Err(mismatch(Self::KIND, other)),
        }
    }
}

macro_rules! integers {
    ($($type:ty => $kind:ident),*) => {$(
        impl ColumnType for $type {
            type Base = Self;
            const KIND: Kind = Kind::$kind;

            fn into_value(self) -> Result<Value> {
                Ok(Value::Int(i64::from(self)))
            }

            #[inline]
            fn from_value(value: ValueRef<'_>) -> Result<Self> {
                match value {
                    ValueRef::Int(v) => Self::try_from(v).map_err(|_| {
                        Error::decode(concat!("the stored integer does not fit ", stringify!($type)))
                            .with_value(v)
                    }),
                    other => Err(mismatch(Self::KIND, other)),
                }
            }
        }

        impl Numeric for $type {
            type Sum = i64;
            type Avg = f64;
        }
    )*};
}

integers!(i16 => I16, i32 => I32, i64 => I64);

impl ColumnType for f64 {
    type Base = Self;
    const KIND: Kind = Kind::F64;

    fn into_value(self) -> Result<Value> {
        finite(self)
    }

    #[inline]
    fn from_value(value: ValueRef<'_>) -> Result<Self> {
        match value {
            ValueRef::Float(v) => Ok(v),
            other => Err(mismatch(Self::KIND, other)),
        }
    }
}

impl ColumnType for f32 {
    type Base = Self;
    const KIND: Kind = Kind::F32;

    fn into_value(self) -> Result<Value> {
        finite(f64::from(self))
    }

    #[inline]
    fn from_value(value: ValueRef<'_>) -> Result<Self> {
        match value {
            #[allow(clippy::float_cmp)] // the round trip must be exact: that is the check
            ValueRef::Float(v) if f64::from(v as Self) == v => Ok(v as Self),
            ValueRef::Float(v) => {
                Err(Error::decode("the stored float does not fit f32").with_value(v))
            }
            other => Err(mismatch(Self::KIND, other)),
        }
    }
}

/// Refuses NaN and the infinities; negative zero, which no engine keeps apart, becomes zero.
fn finite(v: f64) -> Result<Value> {
    if v.is_finite() {
        return Ok(Value::Float(v + 0.0));
    }
    let name = if v.is_nan() { "NaN" } else { "an infinity" };
    Err(Error::invalid(format!(
        "{name} cannot be stored: no engine compares it the same way"
    ))
    .with_value(v))
}

impl Numeric for f32 {
    type Sum = f64;
    type Avg = f64;
}

impl Numeric for f64 {
    type Sum = f64;
    type Avg = f64;
}

impl Numeric for Decimal {
    type Sum = Decimal;
    type Avg = Decimal;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_floats_cannot_be_stored_is_named() {
        for (bad, name) in [(f64::NAN, "NaN"), (f64::INFINITY, "infinity")] {
            let error = bad.into_value().expect_err("refused");
            assert!(
                error.is_invalid() && error.to_string().contains(name),
                "{error}"
            );
        }
        assert!(matches!((-0.0_f64).into_value(), Ok(Value::Float(z)) if z.is_sign_positive()));
    }

    #[test]
    fn integers_out_of_range_are_refused_with_the_value() {
        let error = i16::from_value(ValueRef::Int(40_000)).expect_err("too large");
        assert_eq!(
            (error.kind(), error.value()),
            (crate::ErrorKind::Decode, Some("40000"))
        );
    }
}
