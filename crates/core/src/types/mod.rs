//! Which Rust types a column can hold: [`ColumnType`] and its implementations, one file per
//! foreign type.
//!
//! A conversion that would lose data is an error that carries the value, in both directions.
//! To add a type, write one file here that maps it to a [`Kind`]; a type that is a wrapper or an
//! enum derives `Newtype` or `TextEnum` instead.

mod date;
mod decimal;
mod email;
mod id;
mod json;
mod number;
mod text;
mod timestamp;
mod uuid;

pub use email::Email;
pub use id::Id;
pub use json::Json;
pub use number::Numeric;
pub use timestamp::Timestamp;

pub(crate) use text::no_nul;

use crate::error::{Error, Result};
use crate::value::{Kind, Value, ValueRef};

/// A Rust type that a column can hold.
///
/// `from_value(into_value(x)) == x` must hold for every `x` that `into_value` accepts.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be stored in a column",
    label = "not a column type",
    note = "use a supported type (bool, i16/i32/i64, f32/f64, String, Vec<u8>, Timestamp, jiff::civil::Date, Uuid, Decimal, Json<T>, Id<E>, Option of each), or derive `Newtype` or `TextEnum` for your own"
)]
pub trait ColumnType: Sized + Send + Sync + 'static {
    /// The type without `Option`: itself, or what the `Option` holds.
    type Base: ColumnType;
    /// How the column stores it.
    const KIND: Kind;
    /// Whether it has a value that stands for NULL.
    const NULLABLE: bool = false;

    /// The value to bind. Errors name the reason and carry the value; the caller adds the column.
    fn into_value(self) -> Result<Value>;

    /// Reads a stored value back.
    fn from_value(value: ValueRef<'_>) -> Result<Self>;
}

impl<T: ColumnType> ColumnType for Option<T> {
    type Base = T::Base;
    const KIND: Kind = T::KIND;
    const NULLABLE: bool = true;

    fn into_value(self) -> Result<Value> {
        self.map_or(Ok(Value::Null), T::into_value)
    }

    #[inline]
    fn from_value(value: ValueRef<'_>) -> Result<Self> {
        match value {
            ValueRef::Null => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }
}

/// The error of a stored value that is not of the expected kind.
#[cold]
pub(crate) fn mismatch(expected: Kind, found: ValueRef<'_>) -> Error {
    match found {
        ValueRef::Null => Error::decode(format!(
            "the store holds NULL where the model says {}; make the field an Option or fix the row",
            expected.name()
        )),
        other => Error::decode(format!("the stored value is not a {}", expected.name()))
            .with_value(format!("{other:?}")),
    }
}
