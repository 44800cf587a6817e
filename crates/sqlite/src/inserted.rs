//! The row of a plain insert, known without asking SQLite for it.

use larder_core::write::{InsertRows, WriteOp};
use larder_core::{Error, Kind, Output, Result, Row, ValueRef, Write};

/// One row as an insert has just stored it: the values it was given, the key SQLite made, and NULL
/// for the rest.
///
/// This is what RETURNING would answer, which would have SQLite build and drop a temporary table:
/// as much work as the insert itself.
pub(crate) struct Inserted {
    insert: InsertRows,
    rowid: i64,
}

impl Inserted {
    /// The row that is to be returned, if all of it is known. To be asked before the write.
    pub(crate) fn is_known(write: &Write) -> bool {
        match (&write.op, &write.returning) {
            (WriteOp::Insert(insert), Some(Output::Entity)) => {
                insert.on_conflict.is_none() && insert.rows().len() == 1 && gives_defaults(insert)
            }
            _ => false,
        }
    }

    /// The row of an insert that has just been stored under this rowid.
    pub(crate) fn new(insert: InsertRows, rowid: i64) -> Self {
        Self { insert, rowid }
    }
}

/// Whether no column is left to a default of the database.
fn gives_defaults(insert: &InsertRows) -> bool {
    let columns = insert.table.columns.iter().enumerate();
    columns
        .filter(|(_, column)| column.default.is_some())
        .all(|(at, _)| insert.columns.contains(&at))
}

impl Row for Inserted {
    fn value(&self, at: usize, _: Kind) -> Result<ValueRef<'_>> {
        let table = self.insert.table;
        if at >= table.columns.len() {
            return Err(Error::misuse(format!("the row has no position {at}")));
        }
        Ok(
            match self.insert.columns.iter().position(|&column| column == at) {
                Some(given) => self.insert.values[given].as_ref(),
                None if table.auto_key && table.key == [at] => ValueRef::Int(self.rowid),
                None => ValueRef::Null,
            },
        )
    }

    fn name(&self, at: usize) -> String {
        let column = self.insert.table.columns.get(at);
        column.map_or_else(|| format!("output {at}"), |column| column.name.to_owned())
    }
}
