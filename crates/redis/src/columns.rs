//! [`Columns`]: which columns of each table a read looks at. The rest stays in Redis.

use std::collections::{BTreeMap, BTreeSet};

use larder_core::filter::Related;
use larder_core::select::LinkPath;
use larder_core::{Expr, Filter, Output, Select, Table};

/// The columns to fetch, by the table's name: all of a table that is not in it.
#[derive(Debug, Default)]
pub(crate) struct Columns(BTreeMap<&'static str, BTreeSet<usize>>);

impl Columns {
    /// All columns of all tables.
    pub(crate) fn all() -> Self {
        Self::default()
    }

    /// Those that a read looks at.
    pub(crate) fn of(query: &Select) -> Self {
        let mut columns = Self::default();
        let table = query.table;
        columns.add(table, &[]);
        match &query.output {
            Output::Entity => {
                let all: Vec<usize> = (0..table.columns.len()).collect();
                columns.add(table, &all);
            }
            Output::Exprs(exprs) => exprs.iter().for_each(|expr| columns.add_expr(table, *expr)),
        }
        columns.add_filter(table, &query.filter);
        columns.add_filter(table, &query.having);
        columns.add(table, &query.group_by);
        for step in &query.order {
            columns.add_expr(table, step.expr);
        }
        match query.link.as_ref().map(|link| link.path) {
            None => {}
            Some(LinkPath::Column(at)) => columns.add(table, &[at]),
            Some(LinkPath::Through {
                table: join,
                parent,
                child,
                to,
            }) => {
                columns.add(join, &[parent, child]);
                columns.add(table, &[to]);
            }
        }
        columns
    }

    /// The columns to fetch of a table, in order.
    pub(crate) fn list(&self, table: &Table) -> Vec<usize> {
        match self.0.get(table.name) {
            None => (0..table.columns.len()).collect(),
            Some(some) => some.iter().copied().collect(),
        }
    }

    /// These columns, and the key's, by which rows are told apart.
    fn add(&mut self, table: &'static Table, columns: &[usize]) {
        let known = self.0.entry(table.name).or_default();
        let named = columns.iter().chain(table.key).copied();
        known.extend(named.filter(|at| *at < table.columns.len()));
    }

    fn add_expr(&mut self, table: &'static Table, expr: Expr) {
        match expr {
            Expr::Column(at) | Expr::Aggregate(_, Some(at)) => self.add(table, &[at]),
            // A rank looks at what the search does, which stands in the filter.
            Expr::Aggregate(_, None) | Expr::Rank => {}
        }
    }

    pub(crate) fn add_filter(&mut self, table: &'static Table, filter: &Filter) {
        match filter {
            Filter::All => {}
            Filter::Compare { left, .. } => self.add_expr(table, *left),
            Filter::CompareColumns { left, right, .. } => self.add(table, &[*left, *right]),
            Filter::CompareNew { column, .. }
            | Filter::In { column, .. }
            | Filter::IsNull { column }
            | Filter::Text { column, .. }
            | Filter::Json { column, .. } => self.add(table, &[*column]),
            Filter::Matches { index, .. } => self.add(table, index.columns),
            Filter::And(list) | Filter::Or(list) => {
                for one in list {
                    self.add_filter(table, one);
                }
            }
            Filter::Not(inner) => self.add_filter(table, inner),
            Filter::Related(related) => {
                let Related {
                    from,
                    table: other,
                    to,
                    filter,
                } = &**related;
                self.add(table, &[*from]);
                self.add(other, &[*to]);
                self.add_filter(other, filter);
            }
        }
    }
}
