//! Deleting rows, and what becomes of the rows that refer to them.

use super::{Key, Target, Work};
use crate::error::Result;
use crate::eval::{Stored, check_fits};
use crate::schema::{OnDelete, Table};
use crate::value::Value;

impl<T: Target> Work<'_, T> {
    /// Deletes rows, cascades first come first served, and sets NULL where models say so.
    ///
    /// Whether rows with a restricting reference are left is checked at the end of the write.
    pub(super) fn delete(&mut self, table: &'static Table, keys: Vec<Key>) -> Result<()> {
        let mut doomed: Vec<(&'static Table, Key)> =
            keys.into_iter().map(|key| (table, key)).collect();
        while let Some((table, key)) = doomed.pop() {
            if self.state.row(table, &key).is_none() {
                continue; // a cascade came by before
            }
            self.put(table, Key::clone(&key), None);
            let [value] = &*key else { continue };
            for child in self.state.child_columns(table) {
                match child.on_delete {
                    OnDelete::Restrict => {}
                    OnDelete::Cascade => {
                        let keys = self.state.children(&child, value).into_iter();
                        doomed.extend(keys.map(|key| (child.table, key)));
                    }
                    OnDelete::SetNull => {
                        for key in self.state.children(&child, value) {
                            self.set_null(child.table, key, child.column)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn set_null(&mut self, table: &'static Table, key: Key, column: usize) -> Result<()> {
        check_fits(table, column, &Value::Null)?;
        if let Some(row) = self.state.row(table, &key) {
            let mut row = row.to_vec();
            row[column] = Value::Null;
            self.put(table, key, Some(Stored::from(row)));
        }
        Ok(())
    }
}
