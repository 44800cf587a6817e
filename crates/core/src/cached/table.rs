//! [`CachedTable`]: how one table's rows are cached, and what they are in the cache.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::codec::{self, FNV_OFFSET, fnv1a};
use crate::entity::Entity;
use crate::eval::Stored;
use crate::schema::{Index, Table};
use crate::value::Value;

/// A table whose rows are cached, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct CachedTable {
    pub(super) table: &'static Table,
    pub(super) ttl: Duration,
    pub(super) absent: Duration,
    pub(super) shape: u64,
}

impl CachedTable {
    /// The rows of a model.
    pub fn of<E: Entity>() -> Self {
        Self::of_table(E::TABLE)
    }

    /// The rows of a table.
    pub fn of_table(table: &'static Table) -> Self {
        Self {
            table,
            ttl: Duration::from_mins(5),
            absent: Duration::from_secs(5),
            shape: shape(table),
        }
    }

    /// How long a row is kept. It bounds how long a row can be old that something else changes, which
    /// does not write through a [`Cached`](super::Cached). Default: 5 minutes.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// How long it is remembered that there is no such row; zero: not at all. Default: 5 seconds.
    ///
    /// Of tables whose store makes the keys it is not remembered for the key, because an insert does
    /// not say which key it will get.
    pub fn absent(mut self, absent: Duration) -> Self {
        self.absent = absent;
        self
    }

    pub(super) fn absent_by_key(&self) -> Duration {
        if self.table.auto_key {
            Duration::ZERO
        } else {
            self.absent
        }
    }

    /// What is cached of these values of these columns.
    pub(super) fn seal(&self, columns: impl Iterator<Item = usize>, row: &Stored) -> Sealed {
        let mut bytes = Vec::new();
        for at in columns {
            codec::write(&mut bytes, &row[at]);
        }
        Sealed {
            shape: self.shape,
            bytes,
        }
    }

    /// The values again; `None` if they are not of these columns.
    pub(super) fn open(
        &self,
        mut columns: impl Iterator<Item = usize>,
        sealed: &Sealed,
    ) -> Option<Stored> {
        let mut rest = sealed.bytes.as_slice();
        if sealed.shape != self.shape {
            return None;
        }
        let mut read = |at: usize| codec::read(&mut rest, self.table.columns[at].kind);
        let values: Option<Stored> = columns.by_ref().map(&mut read).collect();
        values.filter(|_| rest.is_empty())
    }
}

/// Values of a row as they are cached.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Sealed {
    /// Of the table: the near cache does not look at the entry's.
    shape: u64,
    bytes: Vec<u8>,
}

/// Tells versions of a table apart: the names and the kinds of its columns, and which are its key.
fn shape(table: &Table) -> u64 {
    let mut shape = fnv1a(FNV_OFFSET, b"row 1");
    let mut note = |text: &str| shape = fnv1a(fnv1a(shape, text.as_bytes()), &[0xff]);
    for column in table.columns {
        note(column.name);
        note(column.kind.name());
    }
    for &at in table.key {
        note(table.columns[at].name);
    }
    shape
}

/// What a row is called in the cache, by its primary key. The shape of the table is no part of it: a
/// process of another version must be able to invalidate it.
pub(super) fn row_name<'v>(table: &Table, key: impl IntoIterator<Item = &'v Value>) -> String {
    name(&["row:", table.name, ":"], key)
}

/// What is called who has these values of a unique constraint.
pub(super) fn unique_name<'v>(
    unique: &Index,
    values: impl IntoIterator<Item = &'v Value>,
) -> String {
    name(&["unique:", unique.name, ":"], values)
}

/// The tag of all that is cached of a table.
pub(super) fn tag(table: &str) -> String {
    ["table:", table].concat()
}

fn name<'v>(parts: &[&str], values: impl IntoIterator<Item = &'v Value>) -> String {
    let mut bytes = Vec::new();
    for value in values {
        match value {
            // 1.0 and 1.00 are one key.
            Value::Decimal(v) => codec::write(&mut bytes, &Value::Decimal(v.normalize())),
            value => codec::write(&mut bytes, value),
        }
    }
    let mut name = parts.concat();
    name.reserve(bytes.len() * 2);
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            name.extend(char::from_digit(u32::from(digit), 16));
        }
    }
    name
}
