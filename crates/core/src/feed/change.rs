//! [`Change`]: that a row was written, and where in the feed this stands.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::values;
use crate::entity::Entity;
use crate::error::{Error, Result};
use crate::rows::OwnedRow;
use crate::schema::Table;
use crate::types::{ColumnType, Timestamp};
use crate::value::Value;
use crate::{TextEnum, rows};

/// A place in a feed of changes: printable, ordered, and good for as long as the feed keeps what
/// comes behind it.
///
/// As text it is `TRANSACTION-NUMBER`, such as `0-17`, which fits the `Last-Event-ID` of
/// server-sent events. A later change has a greater position; texts are compared by parsing them.
///
/// ```
/// use larder_core::feed::Position;
///
/// let position: Position = "731-17".parse()?;
/// assert!(Position::START < position && position.to_string() == "731-17");
/// assert!("731".parse::<Position>().is_err());
/// # Ok::<(), larder_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub(super) tx: i64,
    pub(super) id: i64,
}

impl Position {
    /// Before the first change.
    pub const START: Self = Self { tx: 0, id: 0 };

    pub(super) const fn new(tx: i64, id: i64) -> Self {
        Self { tx, id }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.tx, self.id)
    }
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = |digits: &str| {
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse::<i64>().ok()).flatten()
        };
        text.split_once('-')
            .and_then(|(tx, id)| Some(Self::new(number(tx)?, number(id)?)))
            .ok_or_else(|| {
                Error::invalid("not a position of a feed, such as 0-17").with_value(text)
            })
    }
}

impl Serialize for Position {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What happened to a row.
#[derive(TextEnum, Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// It was added.
    Insert,
    /// It was changed.
    Update,
    /// It was added or changed, by an upsert: the store does not say which.
    Upsert,
    /// It was deleted, by itself or because its parent was.
    Delete,
}

/// One row's change, in the feed's order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Change {
    /// Where it stands; what to resume from once it is dealt with.
    pub position: Position,
    /// The table's name.
    pub table: String,
    /// The row's key as a JSON array of its columns: `[17]`.
    pub key: String,
    /// What happened.
    pub operation: Operation,
    /// The row as a JSON object by column: as it was then, or of a deleted row, as it had been.
    /// `None` unless the table is recorded [with rows](super::Recording::with_rows).
    pub row: Option<String>,
    /// When, by the writer's clock. Not the feed's order: clocks differ.
    pub at: Timestamp,
}

impl Change {
    /// Its number in the feed. Of two changes of the same row the one with the greater number is the
    /// later one.
    ///
    /// Where several transactions write at a time, positions follow their beginnings, so that two
    /// changes of a row may come in the other order: whoever keeps the newest state of a row keeps
    /// its number, and leaves out a change with a smaller one.
    pub fn number(&self) -> i64 {
        self.position.id
    }

    /// Whether it is a change of this model's table.
    ///
    /// The key and the row can then be read with [`key`](Self::key) and [`row`](Self::row_of).
    pub fn is_of<E: Entity>(&self) -> bool {
        self.table == E::TABLE.name
    }

    /// The key of a row of a model whose key is one column.
    ///
    /// # Errors
    /// `Misuse` for another table's change; `Decode` if the model has changed since.
    pub fn key_of<E: Entity>(&self) -> Result<E::Key>
    where
        E::Key: ColumnType,
    {
        self.check::<E>()?;
        let values = values::key_from_json(E::TABLE, &self.key)?;
        match values.as_slice() {
            [value] => E::Key::from_value(value.as_ref()),
            _ => Err(Error::decode("the key is not of one column").with_table(E::TABLE.name)),
        }
    }

    /// The key's values, also of a model whose key is several columns.
    ///
    /// # Errors
    /// As [`key_of`](Self::key_of).
    pub fn key_values<E: Entity>(&self) -> Result<Vec<Value>> {
        self.check::<E>()?;
        values::key_from_json(E::TABLE, &self.key)
    }

    /// The row, if it was recorded.
    ///
    /// # Errors
    /// As [`key_of`](Self::key_of).
    pub fn row_of<E: Entity>(&self) -> Result<Option<E>> {
        self.check::<E>()?;
        let Some(row) = &self.row else {
            return Ok(None);
        };
        let values = values::row_from_json(E::TABLE, row)?;
        E::from_row(&Named(E::TABLE, OwnedRow::new(&values))).map(Some)
    }

    fn check<E: Entity>(&self) -> Result<()> {
        if self.is_of::<E>() {
            return Ok(());
        }
        Err(Error::misuse(format!(
            "the change is of `{}`, not of `{}`: ask `is_of` first",
            self.table,
            E::TABLE.name
        )))
    }
}

/// A row whose positions are a table's columns.
struct Named<'a>(&'static Table, OwnedRow<'a>);

impl rows::Row for Named<'_> {
    fn value(&self, at: usize, kind: crate::Kind) -> Result<crate::ValueRef<'_>> {
        self.1.value(at, kind)
    }

    fn name(&self, at: usize) -> String {
        self.0
            .columns
            .get(at)
            .map_or_else(|| self.1.name(at), |column| column.name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_ordered_by_transaction_and_number() -> Result<()> {
        let parsed = |text: &str| text.parse::<Position>();
        assert!(parsed("9-10")? < parsed("10-2")?);
        assert!(parsed("10-2")? < parsed("10-10")?);
        for wrong in [
            "",
            "-",
            "1",
            "1-",
            "-1-2",
            "1-2-3",
            "+1-2",
            "1-x",
            "99999999999999999999-1",
        ] {
            assert!(
                parsed(wrong).is_err_and(|error| error.is_invalid()),
                "{wrong}"
            );
        }
        Ok(())
    }
}
