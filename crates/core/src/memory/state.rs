//! [`State`]: all tables at one moment; cheap to copy.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::table_data::{Key, TableData};
use crate::error::{Error, ErrorKind, Result};
use crate::eval::{RowIter, Source, Stored, evaluate, tables};
use crate::filter::Filter;
use crate::schema::{OnDelete, Table};
use crate::select::Select;
use crate::value::Value;

/// The tables by name. A copy shares them until one side changes a table.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    tables: BTreeMap<&'static str, Arc<TableData>>,
}

/// A column that refers to a table.
pub(super) struct ChildColumn {
    pub(super) table: &'static Table,
    pub(super) column: usize,
    pub(super) on_delete: OnDelete,
}

impl State {
    pub(super) fn register(&mut self, table: &'static Table) {
        self.tables
            .entry(table.name)
            .or_insert_with(|| Arc::new(TableData::new(table)));
    }

    pub(super) fn table(&self, table: &Table) -> Option<&TableData> {
        self.tables.get(table.name).map(Arc::as_ref)
    }

    /// The table, to change it: made if it is new, copied if someone else looks at it.
    pub(super) fn table_mut(&mut self, table: &'static Table) -> &mut TableData {
        let data = self.tables.entry(table.name);
        Arc::make_mut(data.or_insert_with(|| Arc::new(TableData::new(table))))
    }

    pub(super) fn len(&self, table: &Table) -> usize {
        self.table(table).map_or(0, TableData::len)
    }

    pub(super) fn row(&self, table: &Table, key: &[Value]) -> Option<&Stored> {
        self.table(table)?.get(key)
    }

    pub(super) fn answer(&self, query: Select) -> Result<Vec<Stored>> {
        self.check_tables(&tables(&query))?;
        evaluate(query, self)
    }

    /// Refuses models that disagree about a table's columns, which would misread each other's rows.
    pub(super) fn check_tables(&self, tables: &[&'static Table]) -> Result<()> {
        for table in tables {
            if let Some(known) = self.table(table).map(TableData::table)
                && !same_columns(known, table)
            {
                return Err(Error::new(
                    ErrorKind::Schema,
                    "another model with other columns uses this table",
                )
                .with_table(table.name));
            }
        }
        Ok(())
    }

    /// The columns of known tables that refer to this one.
    pub(super) fn child_columns(&self, parent: &Table) -> Vec<ChildColumn> {
        let mut found = Vec::new();
        for table in self.tables.values().map(|data| data.table()) {
            for (column, def) in table.columns.iter().enumerate() {
                if let Some(reference) = &def.references
                    && (reference.table)().is(parent)
                {
                    found.push(ChildColumn {
                        table,
                        column,
                        on_delete: reference.on_delete,
                    });
                }
            }
        }
        found
    }

    /// The keys of the rows that refer to this value.
    pub(super) fn children(&self, child: &ChildColumn, value: &Value) -> Vec<Key> {
        let data = self.table(child.table);
        let keys = data.and_then(|data| data.referring(child.column, value));
        keys.into_iter().flatten().cloned().collect()
    }

    pub(super) fn has_children(&self, child: &ChildColumn, value: &Value) -> bool {
        self.table(child.table)
            .is_some_and(|data| data.referring(child.column, value).is_some())
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
