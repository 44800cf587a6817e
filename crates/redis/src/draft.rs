//! [`Draft`]: the rows that a read or a write has looked at so far, and what it would change.
//!
//! ```text
//!   evaluator, writer ── asks ──> Draft ── what it does not know ──> needs
//!                                   ^                                  │
//!                                   └── rows, versions <── Redis <─────┘   until nothing is missing
//! ```
//!
//! The core's evaluator and writer run over it as they do over the in-memory store. What they ask
//! in vain is noted; the caller fetches it and runs them again.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use larder_core::eval::{RowIter, Source, Stored};
use larder_core::work::{ChildColumn, Key, State, Target, check_same};
use larder_core::{Error, Filter, Kind, Result, Table, Value};

use crate::encode;
use crate::handle::Made;
use crate::layout::{IndexKind, Layout};
use crate::plan::{self, Part, Range};
use crate::row::Found;
use crate::schema::Tables;

/// The name of a table; rows are told apart by it and their key.
type Name = &'static str;

/// Something that must be known before a read or write can be answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Need {
    /// Rows of a table.
    Rows(Name, Part),
    /// Keys that the store makes.
    Keys(Keys),
}

/// Keys to be made for a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Keys {
    pub(crate) table: Name,
    /// They are greater than this.
    pub(crate) floor: i64,
    /// The largest of the column's kind.
    pub(crate) largest: i64,
}

/// A row as it was fetched.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    pub(crate) row: Stored,
    pub(crate) version: Bytes,
}

/// How much a write may take for granted, because its commit checks it anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// That keys are free and parents exist: right for most inserts, which then need no read.
    Keys,
    Nothing,
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    tables: Arc<Tables>,
    trust: Trust,
    /// The rows as they would be.
    state: State,
    /// The rows as they were fetched.
    base: BTreeMap<Name, BTreeMap<Key, Base>>,
    /// The keys of rows that have been put or removed.
    touched: BTreeMap<Name, BTreeSet<Key>>,
    /// The keys made for this and not used yet: up to this one.
    reserved: HashMap<Name, i64>,
    /// What has been fetched, and how many rows it held.
    answered: HashMap<(Name, Part), usize>,
    /// Fetched rows that were looked at for more than their being there.
    seen: RefCell<HashSet<(Name, Key)>>,
    missing: RefCell<Vec<Need>>,
}

impl Draft {
    pub(crate) fn new(tables: Arc<Tables>, trust: Trust) -> Self {
        Self {
            tables,
            trust,
            state: State::default(),
            base: BTreeMap::new(),
            touched: BTreeMap::new(),
            reserved: HashMap::new(),
            answered: HashMap::new(),
            seen: RefCell::default(),
            missing: RefCell::default(),
        }
    }

    pub(crate) fn tables(&self) -> &Arc<Tables> {
        &self.tables
    }

    pub(crate) fn layout(&self, table: &Table) -> Option<&Arc<Layout>> {
        self.tables.layouts.get(table.name)
    }

    /// What was asked in vain since the last call, each once.
    pub(crate) fn take_missing(&self) -> Vec<Need> {
        let mut missing = self.missing.take();
        let mut known = HashSet::new();
        missing.retain(|need| known.insert(need.clone()));
        missing
    }

    /// Takes up rows that were fetched. Those known already stay as they are.
    pub(crate) fn learn(&mut self, table: Name, part: Part, found: Vec<Found>) {
        let Some(layout) = self.tables.layouts.get(table).map(Arc::clone) else {
            return;
        };
        let many = found.len();
        let base = self.base.entry(table).or_default();
        let touched = self.touched.get(table);
        for Found { row, version } in found {
            let key = layout.key_of(&row);
            if base.contains_key(&key) || touched.is_some_and(|keys| keys.contains(&key)) {
                continue;
            }
            self.state
                .put(layout.table, &key, Some(Stored::clone(&row)));
            base.insert(key, Base { row, version });
        }
        self.answered.insert((table, part), many);
    }

    /// Takes up keys that were made.
    pub(crate) fn learn_keys(&mut self, keys: &Keys, made: Option<(i64, i64)>) {
        let Some(layout) = self.tables.layouts.get(keys.table) else {
            return;
        };
        let Some((first, last)) = made else {
            // None are left: the writer finds that out by itself.
            self.state.set_last_key(layout.table, keys.largest);
            return;
        };
        let end = self.reserved.insert(keys.table, last);
        // Those that follow what was made before are used behind it.
        if end != Some(first - 1) {
            self.state.set_last_key(layout.table, first - 1);
        }
    }

    /// The keys of rows that have been put or removed.
    pub(crate) fn touched(&self) -> impl Iterator<Item = (&Arc<Layout>, &BTreeSet<Key>)> {
        self.touched
            .iter()
            .filter(|(_, keys)| !keys.is_empty())
            .filter_map(|(table, keys)| Some((self.tables.layouts.get(table)?, keys)))
    }

    pub(crate) fn is_changed(&self) -> bool {
        self.touched.values().any(|keys| !keys.is_empty())
    }

    /// A row as it was fetched.
    pub(crate) fn before(&self, table: &Table, key: &Key) -> Option<&Base> {
        self.base.get(table.name)?.get(key)
    }

    /// A row as it would be.
    pub(crate) fn after(&self, table: &'static Table, key: &[Value]) -> Option<&Stored> {
        self.state.row(table, key)
    }

    /// The largest key that a table would have seen, if it makes keys.
    pub(crate) fn last_key_of(&self, table: &'static Table) -> i64 {
        self.state.last_key(table)
    }

    /// What has been fetched, and how many rows it held.
    pub(crate) fn reads(&self) -> impl Iterator<Item = (&Arc<Layout>, &Part, usize)> {
        self.answered.iter().filter_map(|((table, part), many)| {
            Some((self.tables.layouts.get(table)?, part, *many))
        })
    }

    /// The fetched rows that were looked at.
    pub(crate) fn seen(&self) -> Vec<(Arc<Layout>, Key)> {
        let seen = self.seen.borrow();
        seen.iter()
            .filter_map(|(table, key)| {
                let layout = self.tables.layouts.get(table)?;
                Some((Arc::clone(layout), Key::clone(key)))
            })
            .collect()
    }

    /// Whether anything has been fetched.
    pub(crate) fn has_read(&self) -> bool {
        !self.answered.is_empty()
    }

    /// Knows more tables from here on.
    pub(crate) fn know(&mut self, tables: Arc<Tables>) {
        self.tables = tables;
    }

    /// Keys that were made and that no row has.
    pub(crate) fn unused_keys(&self) -> Vec<Made> {
        let unused = self.reserved.iter().filter_map(|(table, end)| {
            let layout = self.tables.layouts.get(table)?;
            let last = self.state.last_key(layout.table);
            (last < *end).then_some((*table, (last + 1, *end)))
        });
        unused.collect()
    }

    /// Everything as it is in `earlier`, but for what has been read since, which still counts.
    pub(crate) fn go_back(&mut self, earlier: Self) {
        let answered = std::mem::take(&mut self.answered);
        let base = std::mem::take(&mut self.base);
        let seen = self.seen.take();
        *self = earlier;
        // Rows fetched since are fetched no second time.
        for (table, rows) in base {
            let Some(layout) = self.tables.layouts.get(table).map(Arc::clone) else {
                continue;
            };
            for (key, row) in rows {
                let known = self.base.entry(table).or_default();
                let touched = self.touched.get(table);
                if known.contains_key(&key) {
                    continue;
                }
                if !touched.is_some_and(|keys| keys.contains(&key)) {
                    let row = Stored::clone(&row.row);
                    self.state.put(layout.table, &key, Some(row));
                }
                known.insert(key, row);
            }
        }
        self.answered = answered;
        self.seen = RefCell::new(seen);
    }

    fn ask(&self, table: &Table, part: Part) {
        let Some(layout) = self.tables.layouts.get(table.name) else {
            return;
        };
        let name = layout.table.name;
        let all = Part::Range(Range::all());
        if self.answered.contains_key(&(name, part.clone()))
            || (part != all && self.answered.contains_key(&(name, all)))
        {
            return;
        }
        self.missing.borrow_mut().push(Need::Rows(name, part));
    }

    fn ask_row(&self, table: &'static Table, key: &[Value]) {
        let touched = self.touched.get(table.name);
        let is_known =
            self.state.row(table, key).is_some() || touched.is_some_and(|keys| keys.contains(key));
        if !is_known {
            self.ask(table, Part::Row(encode::values(key).into()));
        }
    }

    fn look_at<'a>(&'a self, table: &'static Table, rows: RowIter<'a>) -> RowIter<'a> {
        let Some(layout) = self.tables.layouts.get(table.name) else {
            return rows;
        };
        Box::new(rows.inspect(move |row| {
            self.see(layout.table.name, &layout.key_of(row));
        }))
    }

    fn see(&self, table: Name, key: &Key) {
        let is_base = self
            .base
            .get(table)
            .is_some_and(|base| base.contains_key(key));
        if is_base {
            self.seen.borrow_mut().insert((table, Key::clone(key)));
        }
    }
}

impl Source for Draft {
    fn rows(&self, table: &'static Table) -> RowIter<'_> {
        self.ask(table, Part::Range(Range::all()));
        self.look_at(table, self.state.rows(table))
    }

    fn rows_where<'a>(
        &'a self,
        table: &'static Table,
        column: usize,
        value: &'a Value,
    ) -> RowIter<'a> {
        if let Some(layout) = self.layout(table) {
            for part in plan::equal(layout, column, value) {
                self.ask(table, part);
            }
        }
        self.look_at(table, self.state.rows_where(table, column, value))
    }

    fn candidates<'a>(&'a self, table: &'static Table, filter: &Filter) -> RowIter<'a> {
        if let Some(layout) = self.layout(table) {
            for part in plan::candidates(layout, filter) {
                self.ask(table, part);
            }
        }
        self.look_at(table, self.state.candidates(table, filter))
    }
}

impl Target for Draft {
    fn row(&self, table: &'static Table, key: &[Value]) -> Option<&Stored> {
        self.ask_row(table, key);
        let row = self.state.row(table, key);
        if let (Some(row), Some(layout)) = (row, self.layout(table)) {
            self.see(layout.table.name, &layout.key_of(row));
        }
        row
    }

    fn holds(&self, table: &'static Table, key: &[Value]) -> bool {
        let touched = self.touched.get(table.name);
        let is_touched = touched.is_some_and(|keys| keys.contains(key));
        if self.trust == Trust::Keys && !is_touched {
            return true;
        }
        self.ask_row(table, key);
        self.state.row(table, key).is_some()
    }

    fn find(
        &self,
        table: &'static Table,
        columns: &'static [usize],
        values: &[Value],
    ) -> Option<&Key> {
        let found = self.state.find(table, columns, values);
        if let Some(found) = found {
            self.see(self.layout(table)?.table.name, found);
            return Some(found);
        }
        if self.trust == Trust::Keys || values.iter().any(Value::is_null) {
            return None;
        }
        if columns == table.key {
            self.ask_row(table, values);
        } else if let Some(layout) = self.layout(table)
            && let Some(index) = layout.unique(columns)
        {
            let prefix = encode::values(values);
            self.ask(table, Part::Range(Range::prefix(index, prefix)));
        }
        None
    }

    fn child_columns(&self, parent: &'static Table) -> Vec<ChildColumn> {
        let tables = self.tables.layouts.values().map(|layout| layout.table);
        tables
            .flat_map(|table| ChildColumn::between(table, parent))
            .collect()
    }

    fn children(&self, child: &ChildColumn, value: &Value) -> Vec<Key> {
        if let Some(layout) = self.layout(child.table) {
            for part in plan::equal(layout, child.column, value) {
                self.ask(child.table, part);
            }
        }
        self.state.children(child, value)
    }

    fn put(&mut self, table: &'static Table, key: &Key, row: Option<Stored>) -> Option<Stored> {
        let table = self.layout(table)?.table;
        let base = self.base.get(table.name).and_then(|base| base.get(key));
        let is_base = match (base, &row) {
            (Some(base), Some(row)) => Arc::ptr_eq(&base.row, row),
            (None, None) => true,
            _ => false,
        };
        let touched = self.touched.entry(table.name).or_default();
        if is_base {
            touched.remove(key); // undone
        } else {
            touched.insert(Key::clone(key));
        }
        self.state.put(table, key, row)
    }

    fn settle(&self) -> Result<()> {
        if self.missing.borrow().is_empty() {
            return Ok(());
        }
        Err(Error::misuse(
            "not everything that the write looks at has been fetched",
        ))
    }

    fn last_key(&self, table: &'static Table) -> i64 {
        self.state.last_key(table)
    }

    fn next_key(&self, table: &'static Table) -> i64 {
        let last = self.state.last_key(table);
        let is_made = self.reserved.get(table.name).is_some_and(|end| last < *end);
        let mut missing = self.missing.borrow_mut();
        let is_asked = missing.iter().any(|need| matches!(need, Need::Keys(_)));
        if !is_made && !is_asked {
            let kind = table.columns[table.key[0]].kind;
            missing.push(Need::Keys(Keys {
                table: self
                    .layout(table)
                    .map_or(table.name, |layout| layout.table.name),
                floor: last,
                largest: largest(kind),
            }));
        }
        last.saturating_add(1)
    }

    fn set_last_key(&mut self, table: &'static Table, key: i64) {
        self.state.set_last_key(table, key);
    }

    fn check_tables(&self, tables: &[&'static Table]) -> Result<()> {
        for table in tables {
            check_same(self.tables.layout(table)?.table, table)?;
        }
        Ok(())
    }
}

fn largest(kind: Kind) -> i64 {
    match kind {
        Kind::I16 => i64::from(i16::MAX),
        Kind::I32 => i64::from(i32::MAX),
        _ => i64::MAX,
    }
}

/// Whether the index refuses a second row with these values.
pub(crate) fn is_exclusive(layout: &Layout, index: usize, row: &[Value]) -> bool {
    let index = &layout.indexes[index];
    index.kind == IndexKind::Unique && !index.columns.iter().any(|&at| row[at].is_null())
}
