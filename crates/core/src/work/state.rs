//! [`State`]: tables at one moment; cheap to copy.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ChildColumn, Key, TableData, Target};
use crate::error::{Error, ErrorKind, Result};
use crate::eval::{RowIter, Source, Stored, evaluate, tables};
use crate::filter::Filter;
use crate::schema::Table;
use crate::select::Select;
use crate::value::Value;

/// The tables by name. A copy shares them until one side changes a table.
#[derive(Clone, Debug, Default)]
pub struct State {
    tables: BTreeMap<&'static str, Arc<TableData>>,
}

impl State {
    /// Makes a table known, which has no rows yet.
    pub fn register(&mut self, table: &'static Table) {
        self.tables
            .entry(table.name)
            .or_insert_with(|| Arc::new(TableData::new(table)));
    }

    /// The table, if it is known.
    pub fn table(&self, table: &Table) -> Option<&TableData> {
        self.tables.get(table.name).map(Arc::as_ref)
    }

    /// The table, to change it: made if it is new, copied if someone else looks at it.
    pub fn table_mut(&mut self, table: &'static Table) -> &mut TableData {
        let data = self.tables.entry(table.name);
        Arc::make_mut(data.or_insert_with(|| Arc::new(TableData::new(table))))
    }

    /// How many rows the table has.
    pub fn len(&self, table: &Table) -> usize {
        self.table(table).map_or(0, TableData::len)
    }

    /// Answers a read.
    ///
    /// # Errors
    /// As [`evaluate`], and `Schema` if models disagree.
    pub fn answer(&self, query: Select) -> Result<Vec<Stored>> {
        self.check_tables(&tables(&query))?;
        evaluate(query, self)
    }
}

impl Target for State {
    fn row(&self, table: &'static Table, key: &[Value]) -> Option<&Stored> {
        self.table(table)?.get(key)
    }

    fn find(
        &self,
        table: &'static Table,
        columns: &'static [usize],
        values: &[Value],
    ) -> Option<&Key> {
        self.table(table)?.find(columns, values)
    }

    /// Those of known tables.
    fn child_columns(&self, parent: &'static Table) -> Vec<ChildColumn> {
        let tables = self.tables.values().map(|data| data.table());
        tables
            .flat_map(|table| ChildColumn::between(table, parent))
            .collect()
    }

    fn children(&self, child: &ChildColumn, value: &Value) -> Vec<Key> {
        let data = self.table(child.table);
        let keys = data.and_then(|data| data.referring(child.column, value));
        keys.into_iter().flatten().cloned().collect()
    }

    fn has_children(&self, child: &ChildColumn, value: &Value) -> bool {
        self.table(child.table)
            .is_some_and(|data| data.referring(child.column, value).is_some())
    }

    fn put(&mut self, table: &'static Table, key: &Key, row: Option<Stored>) -> Option<Stored> {
        self.table_mut(table).put(key, row)
    }

    fn last_key(&self, table: &'static Table) -> i64 {
        self.table(table).map_or(0, TableData::last_key)
    }

    fn set_last_key(&mut self, table: &'static Table, key: i64) {
        self.table_mut(table).set_last_key(key);
    }

    fn check_tables(&self, tables: &[&'static Table]) -> Result<()> {
        for table in tables {
            if let Some(known) = self.table(table).map(TableData::table) {
                check_same(known, table)?;
            }
        }
        Ok(())
    }
}

impl Source for State {
    fn rows(&self, table: &'static Table) -> RowIter<'_> {
        self.table(table).map_or_else(none, TableData::rows)
    }

    fn rows_where<'a>(
        &'a self,
        table: &'static Table,
        column: usize,
        value: &'a Value,
    ) -> RowIter<'a> {
        self.table(table)
            .map_or_else(none, |data| data.rows_where(column, value))
    }

    fn candidates<'a>(&'a self, table: &'static Table, filter: &Filter) -> RowIter<'a> {
        self.table(table)
            .map_or_else(none, |data| data.candidates(filter))
    }
}

fn none<'a>() -> RowIter<'a> {
    Box::new(std::iter::empty())
}

/// Refuses a model that means a known table and has other columns.
///
/// # Errors
/// `Schema`, naming the table.
pub fn check_same(known: &'static Table, table: &'static Table) -> Result<()> {
    if same_columns(known, table) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Schema,
        "another model with other columns uses this table",
    )
    .with_table(table.name))
}

fn same_columns(one: &Table, other: &Table) -> bool {
    let columns = |table: &Table| {
        table
            .columns
            .iter()
            .map(|column| (column.name, column.kind))
    };
    std::ptr::eq(one, other)
        || (one.columns.len() == other.columns.len()
            && one.key == other.key
            && columns(one).eq(columns(other)))
}
