//! Runs writes: as jobs of the flat-combining writer, or inside an explicit transaction.

use larder_core::write::WriteOp;
use larder_core::{Access, Assign, Result, Rows, Select, Value, Write, Written};
use rusqlite::Connection;

use crate::inserted::Inserted;
use crate::write_batch::{Cost, JobOptions, Statements};
use crate::{deferred, deletion, write_steps};

/// The most rows of an insert or update that runs on the calling task.
const INLINE_ROWS_MAX: usize = 16;

/// The most bytes of text and blobs that are written on the calling task.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// How the writer should run this write.
pub(crate) fn job_options(write: &Write) -> JobOptions {
    let statements = if write_steps::is_one(write) {
        Statements::One
    } else {
        Statements::Many
    };
    let cost = if is_short(write) {
        Cost::Inline
    } else {
        Cost::Blocking
    };
    JobOptions {
        cost,
        statements,
        deadline: write.deadline,
    }
}

/// Whether the write takes microseconds: a few rows found by key.
pub(crate) fn is_short(write: &Write) -> bool {
    match &write.op {
        WriteOp::Insert(insert) => {
            insert.rows().len() <= INLINE_ROWS_MAX && are_small(&insert.values)
        }
        WriteOp::UpdateRows(update) => {
            update.rows().len() <= INLINE_ROWS_MAX && are_small(&update.values)
        }
        WriteOp::Update(update) => {
            let mut select = Select::new(update.table);
            select.filter = update.filter.clone();
            let set = update.set.iter().map(|(_, assign)| match assign {
                Assign::Set(value) | Assign::Add(value) => value,
            });
            matches!(select.access(), Access::Point { keys } if keys <= INLINE_ROWS_MAX)
                && are_small(set)
        }
        // What a deletion takes along is not known here.
        WriteOp::Delete(_) => false,
    }
}

/// Whether the values together are short enough to be written on the calling task.
fn are_small<'v>(values: impl IntoIterator<Item = &'v Value>) -> bool {
    let bytes = values.into_iter().map(|value| match value {
        Value::Text(text) => text.len(),
        Value::Json(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => 0,
    });
    bytes.sum::<usize>() <= INLINE_BYTES_MAX
}

/// What a write did.
pub(crate) struct Ran {
    written: Written,
    /// The row that is still to be shown.
    inserted: Option<Inserted>,
}

impl Ran {
    fn shown(written: Written) -> Self {
        Self {
            written,
            inserted: None,
        }
    }

    /// Shows what has not been shown yet. To be called where the row is wanted rather than where
    /// it was written, which others wait for.
    pub(crate) fn finish(self, rows: &mut Rows) -> Written {
        if let Some(inserted) = self.inserted {
            rows.returned(&inserted);
        }
        self.written
    }
}

/// Runs the write's statements. The caller sees to it that they are undone together.
pub(crate) fn run(connection: &Connection, mut write: Write, rows: &mut Rows) -> Result<Ran> {
    if deferred::is_needed(&write) {
        let statements = || write_steps::run(connection, &write, rows);
        return deferred::run(connection, &write, statements).map(Ran::shown);
    }
    if deletion::comes_back(&write) {
        let written = deletion::show(connection, &write, rows)?;
        write.returning = None;
        return write_steps::run(connection, &write, rows).map(|_| Ran::shown(written));
    }
    let is_known = Inserted::is_known(&write);
    if is_known {
        write.returning = None;
    }
    let written = write_steps::run(connection, &write, rows)?;
    let inserted = match write.op {
        WriteOp::Insert(insert) if is_known => {
            Some(Inserted::new(insert, connection.last_insert_rowid()))
        }
        _ => None,
    };
    Ok(Ran { written, inserted })
}
