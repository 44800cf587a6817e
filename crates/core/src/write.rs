//! Writes, as data: [`Write`] and its parts.

use std::time::Instant;

use crate::column::Assign;
use crate::filter::Filter;
use crate::schema::Table;
use crate::select::Output;
use crate::value::Value;

/// One write of one table, applied whole or not at all.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Write {
    /// What to do.
    pub op: WriteOp,
    /// What comes back of every row written: in the order given for inserts, in the order of the
    /// primary key for the rest. Nothing by default. Only columns, no aggregates.
    pub returning: Option<Output>,
    /// When to give up. The store answers `Timeout` if nothing was applied and `Unknown` if it
    /// cannot tell.
    pub deadline: Option<Instant>,
}

/// What a write does.
#[derive(Clone, Debug)]
pub enum WriteOp {
    /// Adds rows.
    Insert(InsertRows),
    /// Changes the rows a filter takes.
    Update(UpdateWhere),
    /// Changes rows by key, each to values of its own.
    UpdateRows(UpdateRows),
    /// Deletes the rows a filter takes.
    Delete(DeleteWhere),
}

/// Adds rows; all get values for the same columns.
#[derive(Clone, Debug)]
pub struct InsertRows {
    /// The table.
    pub table: &'static Table,
    /// The columns that get values; the others get NULL, or the store's key.
    pub columns: Vec<usize>,
    /// The values, row after row. Its length is a multiple of the columns'.
    pub values: Vec<Value>,
    /// What to do where a unique key is taken; a `Unique` error by default.
    pub on_conflict: Option<OnConflict>,
}

/// What an insert does where a unique key is taken.
#[derive(Clone, Debug)]
pub struct OnConflict {
    /// The unique key's columns; conflicts on other keys stay errors.
    pub target: Vec<usize>,
    /// What to do.
    pub action: ConflictAction,
}

/// What to do with a row whose unique key is taken.
#[derive(Clone, Debug)]
pub enum ConflictAction {
    /// Keeps the old row; the new one is dropped, not counted and not returned.
    Ignore,
    /// Sets these columns of the old row to the new row's values, and further ones as given.
    Update {
        /// Columns to take from the new row.
        columns: Vec<usize>,
        /// Further changes (`updated_at`, `version`).
        set: Vec<(usize, Assign)>,
        /// Which old rows: where it is not true, the old row is kept as by
        /// [`Ignore`](Self::Ignore). May compare with the new row
        /// ([`Filter::CompareNew`]), looks at no related ones.
        filter: Filter,
    },
}

/// Changes the rows a filter takes.
#[derive(Clone, Debug)]
pub struct UpdateWhere {
    /// The table.
    pub table: &'static Table,
    /// The changes; not empty, each column once.
    pub set: Vec<(usize, Assign)>,
    /// Which rows.
    pub filter: Filter,
}

/// Changes rows by key. Keys are distinct; rows that do not exist are not counted.
#[derive(Clone, Debug)]
pub struct UpdateRows {
    /// The table.
    pub table: &'static Table,
    /// The columns each row brings: first those that select the row (the key, and the version if
    /// the table has one), then those that change.
    pub columns: Vec<usize>,
    /// How many of the columns select the row.
    pub by: usize,
    /// The values, row after row.
    pub values: Vec<Value>,
    /// Further changes, the same for every row.
    pub set: Vec<(usize, Assign)>,
}

/// Deletes the rows a filter takes.
#[derive(Clone, Debug)]
pub struct DeleteWhere {
    /// The table.
    pub table: &'static Table,
    /// Which rows.
    pub filter: Filter,
}

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// How many rows were inserted, changed or deleted (those a cascade took not counted).
    pub rows: u64,
}

impl Written {
    /// This many rows.
    pub const fn rows(rows: u64) -> Self {
        Self { rows }
    }
}

impl Write {
    /// A write that returns no rows and has no deadline.
    pub const fn new(op: WriteOp) -> Self {
        Self {
            op,
            returning: None,
            deadline: None,
        }
    }

    /// The table written to.
    pub fn table(&self) -> &'static Table {
        match &self.op {
            WriteOp::Insert(insert) => insert.table,
            WriteOp::Update(update) => update.table,
            WriteOp::UpdateRows(update) => update.table,
            WriteOp::Delete(delete) => delete.table,
        }
    }
}

impl InsertRows {
    /// The rows' values, a slice each.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[Value]> {
        self.values.chunks_exact(self.columns.len().max(1))
    }
}

impl UpdateRows {
    /// The rows' values, a slice each.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[Value]> {
        self.values.chunks_exact(self.columns.len().max(1))
    }
}
