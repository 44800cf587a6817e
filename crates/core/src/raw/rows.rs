//! What the rows of a statement are read as: [`SqlRow`].

use std::fmt;

use crate::entity::Entity;
use crate::error::Result;
use crate::rows::{Row, get};
use crate::types::ColumnType;
use crate::value::Kind;

/// What a row of a statement in SQL is read as.
///
/// A model, or a struct with `#[derive(SqlRow)]`, takes its columns by their names, in whatever
/// order and among others. A tuple of up to eight takes all of them by position.
#[diagnostic::on_unimplemented(
    message = "a row of a statement cannot be read as `{Self}`",
    note = "read it as a tuple such as `(i64, String)`, as a model, or add #[derive(SqlRow)]"
)]
pub trait SqlRow: Sized + Send + 'static {
    /// The columns it wants: all with names, or none.
    fn columns() -> Vec<SqlColumn>;

    /// Reads a row of these columns, in this order.
    fn read(row: &dyn Row) -> Result<Self>;
}

/// A column that is wanted of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SqlColumn {
    /// Its name; `None` if it is told by its position.
    pub name: Option<&'static str>,
    /// What its values are read as.
    pub kind: Kind,
}

impl SqlColumn {
    /// The column with this name, read as a `T`.
    pub const fn named<T: ColumnType>(name: &'static str) -> Self {
        Self {
            name: Some(name),
            kind: T::KIND,
        }
    }

    /// The column at this place of a tuple, read as a `T`.
    const fn placed<T: ColumnType>() -> Self {
        Self {
            name: None,
            kind: T::KIND,
        }
    }
}

impl fmt::Display for SqlColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => write!(f, "`{name}` {}", self.kind.name()),
            None => f.write_str(self.kind.name()),
        }
    }
}

impl<E: Entity> SqlRow for E {
    fn columns() -> Vec<SqlColumn> {
        let columns = E::TABLE.columns.iter();
        let wanted = columns.map(|column| SqlColumn {
            name: Some(column.name),
            kind: column.kind,
        });
        wanted.collect()
    }

    fn read(row: &dyn Row) -> Result<Self> {
        E::from_row(row)
    }
}

macro_rules! tuples {
    ($(($($name:ident $at:tt),+)),+ $(,)?) => {$(
        impl<$($name: ColumnType),+> SqlRow for ($($name,)+) {
            fn columns() -> Vec<SqlColumn> {
                vec![$(SqlColumn::placed::<$name>()),+]
            }

            fn read(row: &dyn Row) -> Result<Self> {
                Ok(($(get::<$name>(row, $at)?,)+))
            }
        }
    )+};
}

tuples!(
    (A 0),
    (A 0, B 1),
    (A 0, B 1, C 2),
    (A 0, B 1, C 2, D 3),
    (A 0, B 1, C 2, D 3, F 4),
    (A 0, B 1, C 2, D 3, F 4, G 5),
    (A 0, B 1, C 2, D 3, F 4, G 5, H 6),
    (A 0, B 1, C 2, D 3, F 4, G 5, H 6, I 7),
);
