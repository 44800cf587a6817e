//! [`Tables`]: which tables are cached, and which of them change when rows of others are deleted.

use super::table::CachedTable;
use crate::schema::{OnDelete, Table};

/// The cached tables.
#[derive(Debug)]
pub(super) struct Tables {
    tables: Vec<CachedTable>,
    /// Deleting rows of the first changes or deletes rows of the second, which is cached.
    falls: Vec<(&'static Table, &'static str)>,
}

impl Tables {
    pub(super) fn new(tables: Vec<CachedTable>) -> Self {
        let falls = tables.iter().flat_map(|cached| {
            let parents = parents(cached.table);
            parents
                .into_iter()
                .map(|parent| (parent, cached.table.name))
        });
        Self {
            falls: falls.collect(),
            tables,
        }
    }

    pub(super) fn get(&self, table: &Table) -> Option<&CachedTable> {
        self.tables.iter().find(|cached| cached.table.is(table))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.tables.iter().map(|cached| cached.table.name)
    }

    /// The cached tables that a deletion from this one reaches, as the models say.
    pub(super) fn fall_with(&self, table: &Table) -> impl Iterator<Item = &'static str> {
        let falls = self
            .falls
            .iter()
            .filter(move |(parent, _)| parent.is(table));
        falls.map(|(_, cached)| *cached)
    }
}

/// The tables whose deletions reach this one: by cascades over any number of tables, the last of
/// which may set to NULL.
fn parents(table: &'static Table) -> Vec<&'static Table> {
    let mut found: Vec<&'static Table> = Vec::new();
    let mut children = vec![table];
    let mut next = 0;
    while let Some(&child) = children.get(next) {
        for reference in child
            .columns
            .iter()
            .filter_map(|column| column.references.as_ref())
        {
            let reaches = match reference.on_delete {
                OnDelete::Restrict => false,
                OnDelete::Cascade => true,
                OnDelete::SetNull => next == 0,
            };
            let parent = (reference.table)();
            if !reaches || found.iter().any(|known| known.is(parent)) {
                continue;
            }
            found.push(parent);
            if !children.iter().any(|known| known.is(parent)) {
                children.push(parent);
            }
        }
        next += 1;
    }
    found
}
