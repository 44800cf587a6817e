//! [`Work`]: one write in progress, undone unless it is finished.

use super::state::State;
use super::table_data::{Key, pick};
use crate::error::{Error, ErrorKind, Result};
use crate::eval::Stored;
use crate::schema::Table;
use crate::value::Value;

/// Changes rows in place and remembers how they were. Dropping it before
/// [`finish`](Self::finish) undoes everything, also when a panic unwinds.
pub(super) struct Work<'a> {
    pub(super) state: &'a mut State,
    undo: Vec<Undo>,
    checks: Vec<Check>,
}

/// How to go one step back.
enum Undo {
    Row {
        table: &'static Table,
        key: Key,
        before: Option<Stored>,
    },
    LastKey {
        table: &'static Table,
        before: i64,
    },
}

/// What must hold when the write is through, not earlier: rows of one write may refer to each
/// other in any order.
enum Check {
    /// The parents of this row exist.
    Parents { table: &'static Table, key: Key },
    /// Nothing refers to this key, unless it is back.
    Children { table: &'static Table, value: Value },
}

impl<'a> Work<'a> {
    pub(super) fn new(state: &'a mut State) -> Self {
        Self {
            state,
            undo: Vec::new(),
            checks: Vec::new(),
        }
    }

    /// Makes the changes stay.
    pub(super) fn finish(mut self) {
        self.undo.clear();
    }

    /// Puts a row in place of the one with this key, or removes it.
    pub(super) fn put(&mut self, table: &'static Table, key: Key, row: Option<Stored>) {
        let refers = table
            .columns
            .iter()
            .any(|column| column.references.is_some());
        if row.is_some() && refers {
            self.checks.push(Check::Parents {
                table,
                key: Key::clone(&key),
            });
        }
        if let (None, [value]) = (&row, &*key) {
            self.checks.push(Check::Children {
                table,
                value: value.clone(),
            });
        }
        let before = self.state.table_mut(table).put(&key, row);
        self.undo.push(Undo::Row { table, key, before });
    }

    /// Replaces a row, whose key may change.
    ///
    /// # Errors
    /// `Unique` if another row has one of its unique keys.
    pub(super) fn replace(&mut self, table: &'static Table, key: Key, row: Stored) -> Result<()> {
        self.refuse_duplicates(table, &row, Some(&key))?;
        let new_key = pick(table.key, &row);
        if new_key != key {
            self.put(table, key, None);
            if let (true, [Value::Int(moved)]) = (table.auto_key, &*new_key) {
                self.see_key(table, *moved);
            }
        }
        self.put(table, new_key, Some(row));
        Ok(())
    }

    /// Refuses a row that has a unique key of a row other than its own.
    pub(super) fn refuse_duplicates(
        &self,
        table: &'static Table,
        row: &[Value],
        own: Option<&Key>,
    ) -> Result<()> {
        let Some(data) = self.state.table(table) else {
            return Ok(());
        };
        for columns in table.unique_keys() {
            if let Some(found) = data.find(columns, &pick(columns, row))
                && own != Some(found)
            {
                return Err(duplicate(table, columns));
            }
        }
        Ok(())
    }

    /// The store's next key. Keys of rows that are gone do not come again.
    pub(super) fn next_key(&mut self, table: &'static Table, largest: i64) -> Result<i64> {
        let last = self.state.table(table).map_or(0, |data| data.last_key);
        if last >= largest {
            return Err(Error::new(
                ErrorKind::Full,
                "the table has used up the keys of its kind",
            )
            .or_column(table.name, table.columns[table.key[0]].name));
        }
        self.see_key(table, last + 1);
        Ok(last + 1)
    }

    /// Moves the counter past a key.
    pub(super) fn see_key(&mut self, table: &'static Table, key: i64) {
        let data = self.state.table_mut(table);
        if key > data.last_key {
            self.undo.push(Undo::LastKey {
                table,
                before: data.last_key,
            });
            data.last_key = key;
        }
    }

    /// Checks what must hold at the end.
    ///
    /// # Errors
    /// `Reference`, naming the child's table and column.
    pub(super) fn check_references(&self) -> Result<()> {
        for check in &self.checks {
            match check {
                Check::Parents { table, key } => self.check_parents(table, key)?,
                Check::Children { table, value } => self.check_children(table, value)?,
            }
        }
        Ok(())
    }

    fn check_parents(&self, table: &'static Table, key: &Key) -> Result<()> {
        let Some(row) = self.state.row(table, key) else {
            return Ok(());
        };
        for (at, column) in table.columns.iter().enumerate() {
            let Some(reference) = &column.references else {
                continue;
            };
            if row[at].is_null() {
                continue;
            }
            let parent = (reference.table)();
            if self
                .state
                .row(parent, std::slice::from_ref(&row[at]))
                .is_none()
            {
                let message = format!("the row referred to is missing in `{}`", parent.name);
                return Err(broken(table, at, message));
            }
        }
        Ok(())
    }

    fn check_children(&self, table: &'static Table, value: &Value) -> Result<()> {
        if self.state.row(table, std::slice::from_ref(value)).is_some() {
            return Ok(());
        }
        for child in self.state.child_columns(table) {
            if self.state.has_children(&child, value) {
                let message = format!("rows still refer to the row of `{}`", table.name);
                return Err(broken(child.table, child.column, message));
            }
        }
        Ok(())
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        for step in self.undo.drain(..).rev() {
            match step {
                Undo::Row { table, key, before } => {
                    self.state.table_mut(table).put(&key, before);
                }
                Undo::LastKey { table, before } => self.state.table_mut(table).last_key = before,
            }
        }
    }
}

fn duplicate(table: &'static Table, columns: &'static [usize]) -> Error {
    let unique = table
        .uniques
        .iter()
        .find(|unique| unique.columns == columns);
    let constraint = match unique {
        Some(unique) => unique.name.to_owned(),
        None => format!("{}_pkey", table.name),
    };
    let error = Error::new(ErrorKind::Unique, "another row has this value already");
    name_columns(error, table, columns).with_constraint(constraint)
}

fn name_columns(error: Error, table: &'static Table, columns: &[usize]) -> Error {
    columns
        .iter()
        .fold(error.with_table(table.name), |error, &at| {
            error.with_column(table.columns[at].name)
        })
}

fn broken(table: &'static Table, column: usize, message: String) -> Error {
    name_columns(Error::new(ErrorKind::Reference, message), table, &[column])
}
