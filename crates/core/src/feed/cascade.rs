//! [`Cascades`]: which recorded rows a deletion takes along or changes, as the models say.

use std::collections::{BTreeMap, HashSet};

use super::recorder::read_locked;
use crate::error::Result;
use crate::eval::Stored;
use crate::filter::{Comparison, Filter};
use crate::schema::{OnDelete, Table};
use crate::select::Expr;
use crate::storage::Transaction;
use crate::value::Value;

/// The references by which deletions reach recorded tables, found from these upwards: tables in
/// between need not be recorded.
#[derive(Debug)]
pub(super) struct Cascades(Vec<Edge>);

#[derive(Debug)]
struct Edge {
    parent: &'static Table,
    child: &'static Table,
    column: usize,
    on_delete: OnDelete,
}

/// What a deletion does to the rows of other tables, or to further ones of its own.
#[derive(Debug, Default)]
pub(super) struct Fallout {
    /// Rows that go too, those reached first at the front.
    pub(super) deleted: Vec<(&'static Table, Stored)>,
    /// Rows that stay, as they are then.
    pub(super) nulled: BTreeMap<Identity, (&'static Table, Vec<Value>)>,
}

/// A table's name and a row's key.
type Identity = (&'static str, Vec<Value>);

impl Cascades {
    pub(super) fn of(recorded: &[&'static Table]) -> Self {
        let mut tables = recorded.to_vec();
        let mut edges = Vec::new();
        let mut next = 0;
        while let Some(&child) = tables.get(next) {
            for (column, def) in child.columns.iter().enumerate() {
                let Some(reference) = &def.references else {
                    continue;
                };
                let reaches = match reference.on_delete {
                    OnDelete::Restrict => false,
                    OnDelete::Cascade => true,
                    OnDelete::SetNull => next < recorded.len(),
                };
                if !reaches {
                    continue;
                }
                let parent = (reference.table)();
                edges.push(Edge {
                    parent,
                    child,
                    column,
                    on_delete: reference.on_delete,
                });
                if !tables.iter().any(|known| known.is(parent)) {
                    tables.push(parent);
                }
            }
            next += 1;
        }
        Self(edges)
    }

    /// Whether deleting rows of this table may reach recorded ones of others.
    pub(super) fn begin_at(&self, table: &Table) -> bool {
        self.0.iter().any(|edge| edge.parent.is(table))
    }

    /// Locks and reads what goes or changes when these rows are deleted.
    ///
    /// Nobody can add a child meanwhile: its reference would have to wait for the locked parent.
    pub(super) async fn follow(
        &self,
        tx: &dyn Transaction,
        table: &'static Table,
        doomed: &[Stored],
    ) -> Result<Fallout> {
        let mut fallout = Fallout::default();
        let mut seen: HashSet<Identity> = doomed.iter().map(|row| identity(table, row)).collect();
        let mut levels = vec![(table, doomed.to_vec())];
        while let Some((parent, rows)) = levels.pop() {
            for edge in self.0.iter().filter(|edge| edge.parent.is(parent)) {
                let filter = Filter::in_values(edge.column, keys(parent, &rows));
                let mut children = read_locked(tx, edge.child, filter).await?;
                if edge.on_delete == OnDelete::SetNull {
                    fallout.set_null(edge, &children);
                    continue;
                }
                children.retain(|row| seen.insert(identity(edge.child, row)));
                let found = children.iter().map(|row| (edge.child, Stored::clone(row)));
                fallout.deleted.extend(found);
                if !children.is_empty() {
                    levels.push((edge.child, children));
                }
            }
        }
        (fallout.nulled).retain(|identity, _| !seen.contains(identity));
        Ok(fallout)
    }
}

impl Fallout {
    fn set_null(&mut self, edge: &Edge, children: &[Stored]) {
        for row in children {
            let nulled = self.nulled.entry(identity(edge.child, row));
            let (_, nulled) = nulled.or_insert_with(|| (edge.child, row.to_vec()));
            nulled[edge.column] = Value::Null;
        }
    }
}

fn identity(table: &'static Table, row: &[Value]) -> Identity {
    let key = table.key.iter().map(|&at| row[at].clone());
    (table.name, key.collect())
}

/// The keys that children refer to: references are to keys of one column.
fn keys(table: &Table, rows: &[Stored]) -> Vec<Value> {
    match table.single_key() {
        Some(at) => rows.iter().map(|row| row[at].clone()).collect(),
        None => Vec::new(),
    }
}

/// The filter that takes these rows by their keys.
pub(super) fn having_keys(table: &Table, rows: &[Stored]) -> Filter {
    if let Some(at) = table.single_key() {
        return Filter::in_values(at, keys(table, rows));
    }
    let one = |row: &Stored| {
        let pins = table.key.iter().map(|&at| Filter::Compare {
            left: Expr::Column(at),
            op: Comparison::Eq,
            value: row[at].clone(),
        });
        Filter::And(pins.collect())
    };
    Filter::Or(rows.iter().map(one).collect())
}
