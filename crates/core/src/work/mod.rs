//! Writes carried out over rows in hand: [`apply`].
//!
//! The in-memory store runs every write here. An engine whose own language is too weak fetches the
//! rows that a write looks at, runs it here, and sends the rows that are different then. What this
//! module says is what every engine must say: keys, references, cascades and NULLs included.
//!
//! It performs no I/O: a [`Target`] has the rows at hand.

mod delete;
mod state;
mod table_data;
mod write;

use crate::error::{Error, ErrorKind, Result};
use crate::eval::{Source, Stored};
use crate::schema::{OnDelete, Table};
use crate::value::Value;

pub use state::{State, check_same};
pub use table_data::{Key, TableData, pick};
pub use write::{Returned, apply};

/// Rows that a write can change. Looked at in the order in which the write proceeds, so that a
/// target which knows only some of the rows can note what it was asked in vain.
pub trait Target: Source {
    /// The row with this key.
    fn row(&self, table: &'static Table, key: &[Value]) -> Option<&Stored>;

    /// Whether a row has this key; all that a reference to it asks.
    fn holds(&self, table: &'static Table, key: &[Value]) -> bool {
        self.row(table, key).is_some()
    }

    /// The key of the row that has these values in a unique key's columns; no row if one of them
    /// is NULL.
    fn find(
        &self,
        table: &'static Table,
        columns: &'static [usize],
        values: &[Value],
    ) -> Option<&Key>;

    /// The columns that refer to this table.
    fn child_columns(&self, parent: &'static Table) -> Vec<ChildColumn>;

    /// The keys of the rows that refer to this value.
    fn children(&self, child: &ChildColumn, value: &Value) -> Vec<Key>;

    /// Whether a row refers to this value.
    fn has_children(&self, child: &ChildColumn, value: &Value) -> bool {
        !self.children(child, value).is_empty()
    }

    /// Puts a row in place of the one with this key, or removes it; answers the old one. Its other
    /// unique keys are free.
    fn put(&mut self, table: &'static Table, key: &Key, row: Option<Stored>) -> Option<Stored>;

    /// The largest key that the store has made or seen.
    fn last_key(&self, table: &'static Table) -> i64;

    /// Sets [`last_key`](Self::last_key): forward, or back where a write is undone.
    fn set_last_key(&mut self, table: &'static Table, key: i64);

    /// Called when everything else about a write holds, before it stays: refuses it if the answers
    /// were not all known.
    fn settle(&self) -> Result<()> {
        Ok(())
    }

    /// The next key that the store makes, which is then [`last_key`](Self::last_key).
    fn next_key(&self, table: &'static Table) -> i64 {
        self.last_key(table).saturating_add(1)
    }

    /// Refuses models that disagree about a table's columns, which would misread each other's rows.
    fn check_tables(&self, tables: &[&'static Table]) -> Result<()>;
}

/// A column that refers to a table.
#[derive(Clone, Copy, Debug)]
pub struct ChildColumn {
    /// The table it is of.
    pub table: &'static Table,
    /// The column.
    pub column: usize,
    /// What becomes of its rows when the parent goes.
    pub on_delete: OnDelete,
}

impl ChildColumn {
    /// The columns of `child` that refer to `parent`.
    pub fn between(child: &'static Table, parent: &'static Table) -> impl Iterator<Item = Self> {
        let columns = child.columns.iter().enumerate();
        columns.filter_map(move |(column, def)| {
            let reference = def.references.as_ref()?;
            (reference.table)().is(parent).then_some(Self {
                table: child,
                column,
                on_delete: reference.on_delete,
            })
        })
    }
}

/// One write in progress: changes rows in place and remembers how they were. Dropping it before
/// [`finish`](Self::finish) undoes everything, also when a panic unwinds.
struct Work<'a, T: Target> {
    state: &'a mut T,
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

impl<'a, T: Target> Work<'a, T> {
    fn new(state: &'a mut T) -> Self {
        Self {
            state,
            undo: Vec::new(),
            checks: Vec::new(),
        }
    }

    /// Makes the changes stay.
    fn finish(mut self) {
        self.undo.clear();
    }

    /// Puts a row in place of the one with this key, or removes it.
    fn put(&mut self, table: &'static Table, key: Key, row: Option<Stored>) {
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
        let before = self.state.put(table, &key, row);
        self.undo.push(Undo::Row { table, key, before });
    }

    /// Replaces a row, whose key may change.
    ///
    /// # Errors
    /// `Unique` if another row has one of its unique keys.
    fn replace(&mut self, table: &'static Table, key: Key, row: Stored) -> Result<()> {
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
    fn refuse_duplicates(
        &self,
        table: &'static Table,
        row: &[Value],
        own: Option<&Key>,
    ) -> Result<()> {
        for columns in table.unique_keys() {
            if let Some(found) = self.state.find(table, columns, &pick(columns, row))
                && own != Some(found)
            {
                return Err(duplicate(table, columns));
            }
        }
        Ok(())
    }

    /// The store's next key. Keys of rows that are gone do not come again.
    fn next_key(&mut self, table: &'static Table, largest: i64) -> Result<i64> {
        let last = self.state.last_key(table);
        if last >= largest {
            return Err(Error::new(
                ErrorKind::Full,
                "the table has used up the keys of its kind",
            )
            .or_column(table.name, table.columns[table.key[0]].name));
        }
        let next = self.state.next_key(table);
        self.see_key(table, next);
        Ok(next)
    }

    /// Moves the counter past a key.
    fn see_key(&mut self, table: &'static Table, key: i64) {
        let before = self.state.last_key(table);
        if key > before {
            self.undo.push(Undo::LastKey { table, before });
            self.state.set_last_key(table, key);
        }
    }

    /// Checks what must hold at the end.
    ///
    /// # Errors
    /// `Reference`, naming the child's table and column.
    fn check_references(&self) -> Result<()> {
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
            if !self.state.holds(parent, std::slice::from_ref(&row[at])) {
                let message = format!("the row referred to is missing in `{}`", parent.name);
                return Err(broken(table, at, message));
            }
        }
        Ok(())
    }

    fn check_children(&self, table: &'static Table, value: &Value) -> Result<()> {
        if self.state.holds(table, std::slice::from_ref(value)) {
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

impl<T: Target> Drop for Work<'_, T> {
    fn drop(&mut self) {
        for step in self.undo.drain(..).rev() {
            match step {
                Undo::Row { table, key, before } => {
                    self.state.put(table, &key, before);
                }
                Undo::LastKey { table, before } => self.state.set_last_key(table, before),
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
