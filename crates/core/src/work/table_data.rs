//! [`TableData`]: one table's rows and the maps that find them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::eval::{RowIter, Stored};
use crate::filter::{Comparison, Filter};
use crate::schema::Table;
use crate::select::Expr;
use crate::value::Value;

/// A key's values, shared among the maps that name the row.
pub type Key = Arc<[Value]>;

/// The rows of one table. Every change goes through [`put`](Self::put), which keeps the maps true.
#[derive(Clone, Debug)]
pub struct TableData {
    table: &'static Table,
    rows: BTreeMap<Key, Stored>,
    /// For each of the table's unique constraints, the row that has the values. Values with a
    /// NULL among them are not in it: NULLs are distinct.
    uniques: Vec<FxHashMap<Key, Key>>,
    /// For each column that refers to another table, the rows by what they refer to.
    references: Vec<(usize, BTreeMap<Value, BTreeSet<Key>>)>,
    /// The largest key that the store has made or seen; it never makes a smaller one again.
    last_key: i64,
}

impl TableData {
    /// A table without rows.
    pub fn new(table: &'static Table) -> Self {
        let columns = table.columns.iter().enumerate();
        Self {
            table,
            rows: BTreeMap::new(),
            uniques: vec![FxHashMap::default(); table.uniques.len()],
            references: columns
                .filter(|(_, column)| column.references.is_some())
                .map(|(at, _)| (at, BTreeMap::new()))
                .collect(),
            last_key: 0,
        }
    }

    /// What it is a table of.
    pub fn table(&self) -> &'static Table {
        self.table
    }

    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The largest key that the store has made or seen.
    pub fn last_key(&self) -> i64 {
        self.last_key
    }

    /// Sets [`last_key`](Self::last_key).
    pub fn set_last_key(&mut self, key: i64) {
        self.last_key = key;
    }

    /// The row with this key.
    pub fn get(&self, key: &[Value]) -> Option<&Stored> {
        self.rows.get(key)
    }

    /// Puts a row in place of the one with this key, or removes it; answers the old one. The
    /// caller has made sure that the row's other unique keys are free.
    pub fn put(&mut self, key: &Key, row: Option<Stored>) -> Option<Stored> {
        let old = match &row {
            Some(row) => self.rows.insert(Key::clone(key), Stored::clone(row)),
            None => self.rows.remove(key),
        };
        if let Some(old) = &old {
            self.forget(key, old);
        }
        if let Some(row) = &row {
            self.index(key, row);
        }
        old
    }

    fn forget(&mut self, key: &Key, row: &[Value]) {
        for (unique, map) in self.table.uniques.iter().zip(&mut self.uniques) {
            map.remove(&pick(unique.columns, row));
        }
        for (column, map) in &mut self.references {
            if let Some(keys) = map.get_mut(&row[*column]) {
                keys.remove(key);
                if keys.is_empty() {
                    map.remove(&row[*column]);
                }
            }
        }
    }

    fn index(&mut self, key: &Key, row: &[Value]) {
        for (unique, map) in self.table.uniques.iter().zip(&mut self.uniques) {
            let values = pick(unique.columns, row);
            if !values.iter().any(Value::is_null) {
                map.insert(values, Key::clone(key));
            }
        }
        for (column, map) in &mut self.references {
            if !row[*column].is_null() {
                map.entry(row[*column].clone())
                    .or_default()
                    .insert(Key::clone(key));
            }
        }
    }

    /// The key of the row that has these values in a unique key's columns.
    pub fn find(&self, columns: &'static [usize], values: &[Value]) -> Option<&Key> {
        if columns == self.table.key {
            return self.rows.get_key_value(values).map(|(key, _)| key);
        }
        let at = self
            .table
            .uniques
            .iter()
            .position(|unique| unique.columns == columns)?;
        self.uniques[at].get(values)
    }

    /// The keys of the rows that refer to this value by this column.
    pub fn referring(&self, column: usize, value: &Value) -> Option<&BTreeSet<Key>> {
        let (_, map) = self.references.iter().find(|(at, _)| *at == column)?;
        map.get(value)
    }

    /// All rows, in the order of their keys.
    pub fn rows(&self) -> RowIter<'_> {
        Box::new(self.rows.values())
    }

    /// The rows whose column equals the value, by a map where there is one.
    pub fn rows_where<'a>(&'a self, column: usize, value: &'a Value) -> RowIter<'a> {
        for key in self.table.unique_keys() {
            if *key == [column] {
                return Box::new(self.row_by(key, std::slice::from_ref(value)).into_iter());
            }
        }
        if self.references.iter().any(|(at, _)| *at == column) {
            let keys = self.referring(column, value).into_iter().flatten();
            return Box::new(keys.filter_map(|key| self.rows.get(key)));
        }
        Box::new(self.rows().filter(move |row| row[column] == *value))
    }

    /// At least the rows that satisfy the filter, in the order of their keys.
    pub fn candidates(&self, filter: &Filter) -> RowIter<'_> {
        for key in self.table.unique_keys() {
            let pins: Option<Vec<_>> = key.iter().map(|at| pinned(filter, *at)).collect();
            let Some(pins) = pins else { continue };
            let many = pins
                .iter()
                .fold(1_usize, |many, pin| many.saturating_mul(pin.len()));
            if many <= self.len().max(1) {
                let found = combinations(&pins)
                    .into_iter()
                    .filter_map(|values| self.find(key, &values).map(Key::clone));
                return self.by_keys(found.collect());
            }
        }
        for (column, map) in &self.references {
            if let Some(values) = pinned(filter, *column) {
                let found = values.iter().filter_map(|value| map.get(value)).flatten();
                return self.by_keys(found.cloned().collect());
            }
        }
        self.rows()
    }

    fn by_keys(&self, keys: BTreeSet<Key>) -> RowIter<'_> {
        Box::new(keys.into_iter().filter_map(|key| self.rows.get(&key)))
    }

    fn row_by(&self, columns: &'static [usize], values: &[Value]) -> Option<&Stored> {
        self.find(columns, values)
            .and_then(|key| self.rows.get(key))
    }
}

#[cfg(test)]
impl PartialEq for TableData {
    fn eq(&self, other: &Self) -> bool {
        self.table.is(other.table)
            && self.rows == other.rows
            && self.uniques == other.uniques
            && self.references == other.references
            && self.last_key == other.last_key
    }
}

/// The values of these columns.
pub fn pick(columns: &[usize], row: &[Value]) -> Key {
    columns.iter().map(|&at| row[at].clone()).collect()
}

/// The only values that the column can have, if the filter says so.
fn pinned(filter: &Filter, column: usize) -> Option<&[Value]> {
    filter.conjuncts().iter().find_map(|filter| match filter {
        Filter::Compare {
            left: Expr::Column(at),
            op: Comparison::Eq,
            value,
        } if *at == column => Some(std::slice::from_ref(value)),
        Filter::In { column: at, values } if *at == column => Some(values.as_slice()),
        _ => None,
    })
}

/// Every way to take one value from each list.
fn combinations(lists: &[&[Value]]) -> Vec<Vec<Value>> {
    let mut all = vec![Vec::with_capacity(lists.len())];
    for list in lists {
        let longer = |start: Vec<Value>| {
            list.iter().map(move |value| {
                let mut next = start.clone();
                next.push(value.clone());
                next
            })
        };
        all = all.into_iter().flat_map(longer).collect();
    }
    all
}
