//! What the code written by the derives calls. Not for people: no promises are made about it.

use std::borrow::Cow;

pub use crate::cache::attribute as cached;
pub use crate::column::{Column, UniqueKey};
pub use crate::entity::{Changes, Entity, Insert, Patch, encode};
pub use crate::error::{Error, Result};
pub use crate::load::{Load, Loader, Relation, links, own_key};
pub use crate::raw::{SqlColumn, SqlRow};
pub use crate::rows::{BoxFuture, Row, get};
pub use crate::schema::{
    ColumnDef, DefaultValue, Index, OnDelete, Reference, Table, assert_insert_covers,
    assert_set_once,
};
pub use crate::search::Search;
pub use crate::types::ColumnType;
pub use crate::value::{Kind, Value, ValueRef};

/// Fails the build with the message unless the condition holds.
#[track_caller]
pub const fn must(condition: bool, message: &'static str) {
    assert!(condition, "{}", message);
}

/// Fails the build when a constant default cannot be stored in a column of this kind.
#[track_caller]
pub const fn assert_default_fits(kind: Kind, default: &DefaultValue) {
    match (kind, default) {
        (Kind::Bool, DefaultValue::Bool(_))
        | (Kind::I64, DefaultValue::Int(_))
        | (Kind::F32 | Kind::F64, DefaultValue::Float(_))
        | (Kind::Text, DefaultValue::Text(_)) => {}
        (Kind::I16, DefaultValue::Int(number)) => {
            assert!(
                *number >= i16::MIN as i64 && *number <= i16::MAX as i64,
                "{}",
                OUT_OF_RANGE
            );
        }
        (Kind::I32, DefaultValue::Int(number)) => {
            assert!(
                *number >= i32::MIN as i64 && *number <= i32::MAX as i64,
                "{}",
                OUT_OF_RANGE
            );
        }
        (Kind::F32 | Kind::F64, DefaultValue::Int(_)) => {
            panic!("the column holds a float: write the default with a point, such as `0.0`")
        }
        (Kind::Bool, _) => panic!("the column holds a bool: its default is `true` or `false`"),
        (Kind::I16 | Kind::I32 | Kind::I64, _) => {
            panic!("the column holds an integer: write a whole number as its default")
        }
        (Kind::Text, _) => panic!("the column holds text: write its default as \"..\""),
        _ => panic!("only bool, number, text and enum columns can have a default"),
    }
}

const OUT_OF_RANGE: &str = "the default is out of the range of the column's type";

/// Fails the build when a loading plan takes a nullable reference for granted.
#[track_caller]
pub const fn assert_reference_set(table: &Table, column: usize) {
    assert!(
        !table.columns[column].nullable,
        "the reference may be NULL: make the field an Option"
    );
}

/// The key of a parent, or the column that refers to it.
#[diagnostic::on_unimplemented(
    message = "this column refers to a model whose key is `{K}`, but it holds a `{Self}`",
    label = "expected a model whose key is `{Self}`",
    note = "make the field a `{K}`, or an Option of it"
)]
pub trait RefersTo<K> {}

impl<K> RefersTo<K> for K {}

/// Does not compile unless a column that holds `T` can refer to the key `K`.
pub const fn assert_refers<T: RefersTo<K>, K>() {}

/// Does not compile unless the plan `L` loads from `E`.
pub const fn assert_loads<E: Entity, L: Load<Entity = E>>() {}

/// What a newtype's `validate` function may fail with.
#[diagnostic::on_unimplemented(
    message = "a `validate` function cannot fail with `{Self}`",
    note = "return Result<(), larder::Error>, or a message as Result<(), &'static str> or Result<(), String>"
)]
pub trait IntoInvalid {
    /// The error a caller sees.
    fn into_invalid(self) -> Error;
}

impl IntoInvalid for Error {
    fn into_invalid(self) -> Error {
        self
    }
}

impl IntoInvalid for &'static str {
    fn into_invalid(self) -> Error {
        Error::invalid(self)
    }
}

impl IntoInvalid for String {
    fn into_invalid(self) -> Error {
        Error::invalid(self)
    }
}

/// The outcome of a newtype's `validate` function.
pub fn validated<E: IntoInvalid>(outcome: Result<(), E>) -> Result<()> {
    outcome.map_err(E::into_invalid)
}

/// The value of a text enum's variant.
pub fn static_text(text: &'static str) -> Value {
    Value::Text(Cow::Borrowed(text))
}

/// The stored text of a text enum.
pub fn text(value: ValueRef<'_>) -> Result<&str> {
    match value {
        ValueRef::Text(text) => Ok(text),
        other => Err(crate::types::mismatch(Kind::Text, other)),
    }
}

/// The error of a stored text that is no variant of an enum.
#[cold]
pub fn unknown_variant(enumeration: &str, known: &str, found: &str) -> Error {
    Error::decode(format!(
        "the stored text is no `{enumeration}`; those are {known}"
    ))
    .with_value(found)
}

/// The error of an input that is no variant of an enum.
#[cold]
pub fn no_variant(known: &str, found: &str) -> Error {
    Error::invalid(format!("must be one of {known}")).with_value(found)
}
