//! What a model's structs promise: [`Entity`], [`Insert`] and [`Patch`].
//!
//! All three are derived; nothing here needs to be written by hand.

use std::fmt::Debug;

use crate::column::Assign;
use crate::error::{Error, Result};
use crate::rows::Row;
use crate::schema::{DefaultValue, Table};
use crate::types::{ColumnType, Timestamp};
use crate::value::{Kind, Value};

/// A struct that is one row of a table, and holds columns only. Derived.
///
/// An entity is also its own [`Insert`]: inserted as it is, key and timestamps included, which is
/// what imports and fixtures need.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a model",
    note = "add #[derive(Entity)] and #[entity(table = \"..\")] to it"
)]
pub trait Entity: Sized + Send + Sync + 'static {
    /// The table.
    const TABLE: &'static Table;
    /// The primary key: a column's type, or a tuple of them.
    type Key: Key;

    /// Builds the struct from a row of all the table's columns.
    fn from_row(row: &dyn Row) -> Result<Self>;

    /// The row's key.
    fn key(&self) -> Self::Key;

    /// All columns' values, in order. Errors name the column.
    fn into_values(self) -> Result<Vec<Value>>;
}

/// A primary key: one column's type, or a tuple of up to four.
pub trait Key: Clone + Send + Sync + 'static {
    /// The key's values in the order of the key's columns.
    fn into_values(self) -> Result<Vec<Value>>;
}

impl<T: ColumnType + Clone> Key for T {
    fn into_values(self) -> Result<Vec<Value>> {
        Ok(vec![self.into_value()?])
    }
}

macro_rules! tuple_keys {
    ($(($($name:ident $at:tt),+)),+) => {$(
        impl<$($name: ColumnType + Clone),+> Key for ($($name,)+) {
            fn into_values(self) -> Result<Vec<Value>> {
                Ok(vec![$(self.$at.into_value()?),+])
            }
        }
    )+};
}

tuple_keys!((A 0, B 1), (A 0, B 1, C 2), (A 0, B 1, C 2, D 3));

/// A struct that brings what a new row of its entity needs. Derived with `#[insert(Entity)]`.
///
/// Columns it leaves out get their default, the store's key, the layer's timestamps, or NULL;
/// leaving out one that has none of these does not compile.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be inserted",
    note = "add #[derive(Insert)] and #[insert(Model)] to it, or insert a model itself"
)]
pub trait Insert: Sized + Send + 'static {
    /// The model.
    type Entity: Entity;
    /// The positions of the columns this struct sets, in the order of
    /// [`into_values`](Self::into_values).
    const COLUMNS: &'static [usize];
    /// The columns' values, pushed in the order of [`COLUMNS`](Self::COLUMNS).
    fn into_values(self, values: &mut Vec<Value>) -> Result<()>;
}

/// A struct of optional changes to an entity. Derived with `#[patch(Entity)]`.
///
/// Each field is an `Option` of the column's type: `None` leaves the column as it is. A nullable
/// column's field is an `Option<Option<T>>`; `Some(None)` makes it NULL.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a patch",
    note = "add #[derive(Patch)] and #[patch(Model)] to it"
)]
pub trait Patch: Sized + Send + 'static {
    /// The model.
    type Entity: Entity;

    /// Records the changes.
    fn into_changes(self, changes: &mut Changes) -> Result<()>;
}

/// The changes of an update, one per column, the last one counting.
#[derive(Clone, Debug, Default)]
pub struct Changes(pub(crate) Vec<(usize, Assign)>);

impl Changes {
    /// Sets a column.
    pub fn set(&mut self, column: usize, value: Value) {
        self.assign(column, Assign::Set(value));
    }

    /// Adds a change.
    pub fn assign(&mut self, column: usize, assign: Assign) {
        self.0.retain(|(at, _)| *at != column);
        self.0.push((column, assign));
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl DefaultValue {
    /// The default as a value to bind.
    pub fn to_value(self) -> Value {
        match self {
            Self::Bool(v) => Value::Bool(v),
            Self::Int(v) => Value::Int(v),
            Self::Float(v) => Value::Float(v),
            Self::Text(v) => Value::Text(v.into()),
        }
    }
}

/// Encodes one field for `#[derive(Insert)]` and `#[derive(Entity)]`: the field's type decides
/// that it fits, the column's name goes into the error.
#[doc(hidden)]
pub fn encode<E: Entity, T: ColumnType>(
    column: crate::column::Column<E, T>,
    value: T,
    values: &mut Vec<Value>,
) -> Result<()> {
    match value.into_value() {
        Ok(value) => {
            values.push(value);
            Ok(())
        }
        Err(error) => Err(error.or_column(E::TABLE.name, column.name())),
    }
}

/// The columns that the layer fills in for an insert struct, and with what.
#[derive(Debug)]
pub(crate) struct Filling {
    /// All columns of the statement: the struct's, then the filled ones.
    pub(crate) columns: Vec<usize>,
    /// The values of the filled ones.
    pub(crate) values: Vec<Value>,
}

/// Works out what the layer adds to the columns of an insert struct.
pub(crate) fn filling<I: Insert>(now: impl Fn() -> Timestamp) -> Filling {
    let table = I::Entity::TABLE;
    let stamped = [table.created_at, table.updated_at].into_iter().flatten();
    // One look at the clock, so that a new row's timestamps are equal.
    let now = stamped
        .into_iter()
        .any(|at| !I::COLUMNS.contains(&at))
        .then(now);
    let now = || now.map_or(Value::Null, Value::Timestamp);
    let mut filling = Filling {
        columns: I::COLUMNS.to_vec(),
        values: Vec::new(),
    };
    for (at, column) in table.columns.iter().enumerate() {
        if I::COLUMNS.contains(&at) {
            continue;
        }
        let value = if table.created_at == Some(at) {
            now()
        } else if table.updated_at == Some(at) {
            if column.nullable { Value::Null } else { now() }
        } else if table.version == Some(at) {
            Value::Int(1)
        } else if let Some(default) = column.default {
            default.to_value()
        } else {
            continue; // an auto key, or a nullable column
        };
        filling.columns.push(at);
        filling.values.push(value);
    }
    filling
}

/// Checks the lengths of one row's texts, in characters, before anything is sent.
pub(crate) fn check_lengths(table: &'static Table, columns: &[usize], row: &[Value]) -> Result<()> {
    for (&at, value) in columns.iter().zip(row) {
        check_value(table, at, value)?;
    }
    Ok(())
}

/// Checks the length of one value against its column.
pub(crate) fn check_value(table: &'static Table, at: usize, value: &Value) -> Result<()> {
    let column = &table.columns[at];
    match (value, column.max_len) {
        (Value::Text(text), Some(max)) if column.kind == Kind::Text => {
            // Fewer bytes than the limit cannot be more characters than the limit.
            if text.len() > max as usize && text.chars().count() > max as usize {
                return Err(Error::new(
                    crate::ErrorKind::TooLong,
                    format!(
                        "the text is {} characters long; at most {max} are allowed",
                        text.chars().count()
                    ),
                )
                .or_column(table.name, column.name)
                .with_value(text));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A model's struct by another name, for bounds that need `Debug` and `Clone` too.
pub trait Model: Entity + Clone + Debug {}

impl<E: Entity + Clone + Debug> Model for E {}
