//! Text and bytes.

use std::borrow::Cow;

use super::{ColumnType, mismatch};
use crate::error::{Error, Result};
use crate::value::{Kind, Value, ValueRef};

impl ColumnType for String {
    type Base = Self;
    const KIND: Kind = Kind::Text;

    fn into_value(self) -> Result<Value> {
        no_nul(&self)?;
        Ok(Value::Text(Cow::Owned(self)))
    }

    #[inline]
    fn from_value(value: ValueRef<'_>) -> Result<Self> {
        match value {
            ValueRef::Text(v) => Ok(v.to_owned()),
            other => Err(mismatch(Self::KIND, other)),
        }
    }
}

impl ColumnType for Vec<u8> {
    type Base = Self;
    const KIND: Kind = Kind::Bytes;

    fn into_value(self) -> Result<Value> {
        Ok(Value::Bytes(self))
    }

    #[inline]
    fn from_value(value: ValueRef<'_>) -> Result<Self> {
        match value {
            ValueRef::Bytes(v) => Ok(v.to_vec()),
            other => Err(mismatch(Self::KIND, other)),
        }
    }
}

/// Refuses text that holds NUL: PostgreSQL cannot store it and C string functions cut it off.
pub(crate) fn no_nul(text: &str) -> Result<()> {
    // This is the quick search of the standard library; `position` looks byte by byte.
    if text.as_bytes().contains(&0) {
        return Err(holds_nul(text));
    }
    Ok(())
}

#[cold]
fn holds_nul(text: &str) -> Error {
    let at = text.bytes().position(|byte| byte == 0).unwrap_or_default();
    Error::invalid(format!(
        "the text holds a NUL character at byte {at}; remove it, or store bytes instead"
    ))
    .with_value(text.escape_default())
}
