//! [`Touched`]: what a write makes the cache forget.
//!
//! Known before the write is sent, so that it is known too of one that nobody hears of again.

use std::collections::BTreeSet;

use super::table::{row_name, unique_name};
use super::tables::Tables;
use super::wanted;
use crate::column::Assign;
use crate::filter::Filter;
use crate::schema::{DefaultValue, Table};
use crate::value::Value;
use crate::write::{ConflictAction, InsertRows, UpdateRows, UpdateWhere, Write, WriteOp};

/// So many names are forgotten one by one; beyond, whole tables are.
const NAMES_MAX: usize = 1_000;

/// What is to be forgotten.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched {
    pub(super) names: BTreeSet<String>,
    /// Tables that are forgotten whole.
    pub(super) tables: BTreeSet<&'static str>,
    /// Those that names are of.
    named: BTreeSet<&'static str>,
}

/// What a write does to a column.
enum Set {
    /// Nothing.
    Not,
    To(Value),
    /// Sets it to what only the store knows.
    Somehow,
}

impl Touched {
    /// What a write changes.
    pub(super) fn by(write: &Write, tables: &Tables) -> Self {
        let mut touched = Self::default();
        let table = write.table();
        if let WriteOp::Delete(_) = &write.op {
            touched.tables.extend(tables.fall_with(table));
        }
        if tables.get(table).is_none() {
            return touched;
        }
        let names = match &write.op {
            WriteOp::Insert(insert) => inserted(insert),
            WriteOp::Update(update) => updated(update),
            WriteOp::UpdateRows(update) => rows_updated(update),
            WriteOp::Delete(delete) => named(table, &delete.filter),
        };
        match names {
            Some(names) => {
                touched.named.insert(table.name);
                touched.names.extend(names);
                touched.bound();
            }
            None => drop(touched.tables.insert(table.name)),
        }
        touched
    }

    /// All that is cached.
    pub(super) fn all(tables: &Tables) -> Self {
        Self {
            tables: tables.names().collect(),
            ..Self::default()
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.tables.is_empty()
    }

    /// Adds what another write changes.
    pub(super) fn add(&mut self, other: Self) {
        self.names.extend(other.names);
        self.tables.extend(other.tables);
        self.named.extend(other.named);
        self.bound();
    }

    fn bound(&mut self) {
        if self.names.len() > NAMES_MAX {
            self.names.clear();
            self.tables.append(&mut self.named);
        }
    }
}

/// What an insert changes: who looked for such rows has been told that there is none. `None` if that
/// cannot be told.
fn inserted(insert: &InsertRows) -> Option<Vec<String>> {
    let table = insert.table;
    if insert.on_conflict.is_some() && !is_plain_upsert(insert) {
        return None;
    }
    let mut names = Vec::new();
    for row in insert.rows() {
        let value = |at: usize| value_inserted(insert, row, at);
        let key: Option<Vec<Value>> = table.key.iter().map(|&at| value(at).known()).collect();
        match key {
            Some(key) => names.push(row_name(table, &key)),
            None if table.auto_key => {} // its absence is not cached
            None => return None,
        }
        names.extend(uniques(table, value)?);
        if names.len() > NAMES_MAX {
            break; // the table goes as a whole
        }
    }
    Some(names)
}

/// Whether what an upsert changes can be told by the rows it is given: the old row by its key, and
/// unique constraints that it changes at all are taken whole from the new row.
fn is_plain_upsert(insert: &InsertRows) -> bool {
    let (table, conflict) = (insert.table, insert.on_conflict.as_ref());
    let Some(ConflictAction::Update { columns, set, .. }) = conflict.map(|on| &on.action) else {
        return true;
    };
    let taken = |at: &&usize| columns.contains(at);
    let set = |at: &usize| set.iter().any(|(column, _)| column == at);
    let by_key = conflict.is_some_and(|on| on.target == table.key);
    let whole = |unique: &[usize]| {
        let taken = unique.iter().filter(taken).count();
        (taken == 0 || taken == unique.len()) && !unique.iter().any(set)
    };
    by_key
        && !table.key.iter().any(|at| columns.contains(at) || set(at))
        && table.uniques.iter().all(|unique| whole(unique.columns))
}

fn value_inserted(insert: &InsertRows, row: &[Value], at: usize) -> Set {
    let given = insert.columns.iter().position(|&column| column == at);
    if let Some(value) = given.and_then(|given| row.get(given)) {
        return Set::To(value.clone());
    }
    let column = &insert.table.columns[at];
    match column.default {
        Some(DefaultValue::Bool(v)) => Set::To(Value::Bool(v)),
        Some(DefaultValue::Int(v)) => Set::To(Value::Int(v)),
        Some(DefaultValue::Float(v)) => Set::To(Value::Float(v)),
        Some(DefaultValue::Text(v)) => Set::To(Value::Text(v.into())),
        None if column.nullable => Set::To(Value::Null),
        None => Set::Somehow,
    }
}

fn updated(update: &UpdateWhere) -> Option<Vec<String>> {
    let table = update.table;
    if update.set.iter().any(|(at, _)| table.key.contains(at)) {
        return None;
    }
    let mut names = named(table, &update.filter)?;
    names.extend(uniques(table, |at| Set::by(&update.set, at))?);
    Some(names)
}

fn rows_updated(update: &UpdateRows) -> Option<Vec<String>> {
    let table = update.table;
    let (by, changed) = update.columns.split_at_checked(update.by)?;
    let mut set = changed.iter().chain(update.set.iter().map(|(at, _)| at));
    if set.any(|at| table.key.contains(at)) {
        return None;
    }
    let mut names = Vec::new();
    for row in update.rows() {
        let (selecting, values) = row.split_at_checked(update.by)?;
        let part = |at: &usize| Some(&selecting[by.iter().position(|column| column == at)?]);
        let key: Option<Vec<&Value>> = table.key.iter().map(part).collect();
        names.push(row_name(table, key?));
        let value = |at: usize| match changed.iter().position(|&column| column == at) {
            Some(found) => Set::To(values[found].clone()),
            None => Set::by(&update.set, at),
        };
        names.extend(uniques(table, value)?);
        if names.len() > NAMES_MAX {
            break;
        }
    }
    Some(names)
}

/// The names of the rows that a filter may take.
fn named(table: &Table, filter: &Filter) -> Option<Vec<String>> {
    let keys = wanted::keys(table, filter)?;
    Some(keys.iter().map(|key| row_name(table, key)).collect())
}

/// The names by which a row can be found once its columns are set like this. Those by which it was
/// found before need not be forgotten: see [`Reader`](super::reader::Reader).
fn uniques(table: &Table, value: impl Fn(usize) -> Set) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for unique in table.uniques {
        let sets: Vec<Set> = unique.columns.iter().map(|&at| value(at)).collect();
        if sets.iter().all(|set| matches!(set, Set::Not)) {
            continue;
        }
        let values = sets.into_iter().map(Set::known);
        let values = values.collect::<Option<Vec<Value>>>()?;
        // Nobody looks for NULL by a unique constraint.
        if !values.iter().any(Value::is_null) {
            names.push(unique_name(unique, &values));
        }
    }
    Some(names)
}

impl Set {
    fn by(set: &[(usize, Assign)], at: usize) -> Self {
        match set.iter().find(|(column, _)| *column == at) {
            None => Self::Not,
            Some((_, Assign::Set(value))) => Self::To(value.clone()),
            Some((_, Assign::Add(_))) => Self::Somehow,
        }
    }

    fn known(self) -> Option<Value> {
        match self {
            Self::To(value) => Some(value),
            Self::Not | Self::Somehow => None,
        }
    }
}
