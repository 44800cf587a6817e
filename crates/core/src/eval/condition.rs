//! [`Condition`]: a filter, checked and ready to be asked about rows.

use super::{Source, check_column, check_row_expr};
use crate::error::{Error, Result};
use crate::filter::{Filter, TextMatch};
use crate::json_path::{self, JsonStep, JsonTest};
use crate::schema::{Index, Table};
use crate::select::Expr;
use crate::value::{Kind, Value};

/// A filter that fits its table. Lists are sorted, so that long ones cost little per row.
#[derive(Clone, Debug)]
pub struct Condition {
    filter: Filter,
}

impl Condition {
    /// A condition on the rows of a table.
    ///
    /// # Errors
    /// `Misuse` if the filter names a column the table does not have, an aggregate, or matches
    /// text in a column of another kind.
    pub fn on_rows(mut filter: Filter, table: &'static Table) -> Result<Self> {
        prepare(&mut filter, table, &|expr| check_row_expr(table, expr))?;
        Ok(Self { filter })
    }

    /// A condition on groups, which may hold whatever is allowed.
    pub(super) fn on_groups(
        mut filter: Filter,
        table: &'static Table,
        allow: &dyn Fn(Expr) -> Result<()>,
    ) -> Result<Self> {
        prepare(&mut filter, table, allow)?;
        Ok(Self { filter })
    }

    /// The filter, its lists sorted and without duplicates.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Whether the filter is true for a row. Neither true nor false (NULL) is not enough.
    pub fn holds(&self, row: &[Value], source: &dyn Source) -> bool {
        decide(&self.filter, &Columns(row), source) == Some(true)
    }

    /// Whether the filter is true for a row that another one would change.
    pub fn holds_over(&self, old: &[Value], new: &[Value], source: &dyn Source) -> bool {
        decide(&self.filter, &OldAndNew { old, new }, source) == Some(true)
    }

    pub(super) fn holds_for(&self, values: &dyn Values, source: &dyn Source) -> bool {
        decide(&self.filter, values, source) == Some(true)
    }
}

/// What expressions stand for: the columns of a row, or the aggregates of a group.
pub(super) trait Values {
    fn value(&self, expr: Expr) -> &Value;

    /// The column's value of the row that would change this one, where there is one.
    fn new_value(&self, _column: usize) -> &Value {
        &NULL
    }
}

static NULL: Value = Value::Null;

pub(super) struct Columns<'a>(pub(super) &'a [Value]);

impl Values for Columns<'_> {
    fn value(&self, expr: Expr) -> &Value {
        match expr {
            Expr::Column(at) => &self.0[at],
            Expr::Aggregate(..) | Expr::Rank => &NULL, // refused by the checks; a row has none
        }
    }
}

/// A row and the one that would change it.
struct OldAndNew<'a> {
    old: &'a [Value],
    new: &'a [Value],
}

impl Values for OldAndNew<'_> {
    fn value(&self, expr: Expr) -> &Value {
        match expr {
            Expr::Column(at) => &self.old[at],
            Expr::Aggregate(..) | Expr::Rank => &NULL, // refused by the checks; a row has none
        }
    }

    fn new_value(&self, column: usize) -> &Value {
        &self.new[column]
    }
}

/// True, false, or neither.
fn decide(filter: &Filter, row: &dyn Values, source: &dyn Source) -> Option<bool> {
    let column = |at: usize| row.value(Expr::Column(at));
    match filter {
        Filter::All => Some(true),
        Filter::Compare { left, op, value } => {
            row.value(*left).compare(value).map(|order| op.holds(order))
        }
        Filter::CompareColumns { left, op, right } => column(*left)
            .compare(column(*right))
            .map(|order| op.holds(order)),
        Filter::CompareNew { column: at, op } => column(*at)
            .compare(row.new_value(*at))
            .map(|order| op.holds(order)),
        Filter::In { values, .. } if values.is_empty() => Some(false),
        Filter::In { column: at, values } => {
            let value = column(*at);
            (!value.is_null()).then(|| values.binary_search(value).is_ok())
        }
        Filter::IsNull { column: at } => Some(column(*at).is_null()),
        Filter::Text {
            column: at,
            op,
            fold,
            pattern,
        } => match column(*at) {
            Value::Text(text) => Some(text_matches(text, *op, *fold, pattern)),
            _ => None,
        },
        Filter::Json {
            column: at,
            path,
            test,
        } => json_holds(column(*at), path, test),
        Filter::Matches { index, query } => {
            Some(with_texts(index, row, |texts| query.finds(texts)))
        }
        Filter::And(all) => unless(false, all, row, source),
        Filter::Or(any) => unless(true, any, row, source),
        Filter::Not(inner) => decide(inner, row, source).map(|answer| !answer),
        Filter::Related(related) => {
            let from = column(related.from);
            Some(
                !from.is_null()
                    && source
                        .rows_where(related.table, related.to, from)
                        .any(|other| {
                            decide(&related.filter, &Columns(other), source) == Some(true)
                        }),
            )
        }
    }
}

/// `And` is true unless one is false, `Or` is false unless one is true; where that one is missing
/// and some are neither, the whole is neither.
fn unless(
    decisive: bool,
    filters: &[Filter],
    row: &dyn Values,
    source: &dyn Source,
) -> Option<bool> {
    let mut answer = Some(!decisive);
    for filter in filters {
        match decide(filter, row, source) {
            Some(one) if one == decisive => return Some(decisive),
            Some(_) => {}
            None => answer = None,
        }
    }
    answer
}

/// Shows the texts that the index is over; NULL is the empty one.
pub(super) fn with_texts<T>(
    index: &Index,
    row: &(impl Values + ?Sized),
    look: impl FnOnce(&[&str]) -> T,
) -> T {
    let text = |&at: &usize| match row.value(Expr::Column(at)) {
        Value::Text(text) => text.as_ref(),
        _ => "",
    };
    look(&index.columns.iter().map(text).collect::<Vec<_>>())
}

fn text_matches(text: &str, op: TextMatch, fold: bool, pattern: &str) -> bool {
    if fold {
        return text_matches(&text.to_ascii_lowercase(), op, false, pattern);
    }
    match op {
        TextMatch::Equals => text == pattern,
        TextMatch::Contains => text.contains(pattern),
        TextMatch::StartsWith => text.starts_with(pattern),
        TextMatch::EndsWith => text.ends_with(pattern),
    }
}

fn json_holds(value: &Value, path: &[JsonStep], test: &JsonTest) -> Option<bool> {
    let document = match value {
        Value::Json(document) => Some(document.as_str()),
        _ => None,
    };
    let look = || document.and_then(|document| json_path::look(document, path));
    match test {
        JsonTest::Compare(op, with) => {
            json_path::compare(document?, path, with).map(|order| op.holds(order))
        }
        JsonTest::Exists => Some(look().is_some()),
        JsonTest::IsNull => Some(look() == Some(true)),
    }
}

/// Checks every expression and sorts every list.
fn prepare(
    filter: &mut Filter,
    table: &'static Table,
    allow: &dyn Fn(Expr) -> Result<()>,
) -> Result<()> {
    match filter {
        Filter::All => Ok(()),
        Filter::Compare { left, .. } => allow(*left),
        Filter::CompareColumns { left, right, .. } => {
            allow(Expr::Column(*left))?;
            allow(Expr::Column(*right))
        }
        Filter::In { column, values } => {
            values.retain(|value| !value.is_null());
            values.sort_unstable();
            values.dedup();
            allow(Expr::Column(*column))
        }
        Filter::IsNull { column } | Filter::CompareNew { column, .. } => {
            allow(Expr::Column(*column))
        }
        Filter::Text { column, .. } => {
            allow(Expr::Column(*column))?;
            check_text(table, *column)
        }
        Filter::Json { column, .. } => {
            allow(Expr::Column(*column))?;
            check_json(table, *column)
        }
        Filter::Matches { index, .. } => {
            index
                .columns
                .iter()
                .try_for_each(|at| allow(Expr::Column(*at)))?;
            check_search(table, index)
        }
        Filter::And(filters) | Filter::Or(filters) => filters
            .iter_mut()
            .try_for_each(|filter| prepare(filter, table, allow)),
        Filter::Not(inner) => prepare(inner, table, allow),
        Filter::Related(related) => {
            allow(Expr::Column(related.from))?;
            let other = related.table;
            check_column(other, related.to)?;
            prepare(&mut related.filter, other, &|expr| {
                check_row_expr(other, expr)
            })
        }
    }
}

fn check_text(table: &'static Table, at: usize) -> Result<()> {
    if table.columns[at].kind.is_text() {
        return Ok(());
    }
    Err(
        Error::misuse("only a text column can be matched with a text")
            .or_column(table.name, table.columns[at].name),
    )
}

fn check_search(table: &'static Table, index: &Index) -> Result<()> {
    match &table.search {
        Some(own) if own.name == index.name => Ok(()),
        _ => Err(Error::misuse("the search is of another table").with_table(table.name)),
    }
}

fn check_json(table: &'static Table, at: usize) -> Result<()> {
    if table.columns[at].kind == Kind::Json {
        return Ok(());
    }
    Err(Error::misuse("only a JSON column has paths").or_column(table.name, table.columns[at].name))
}

/// The aggregates a filter compares, each once.
pub(super) fn aggregates(filter: &Filter, found: &mut Vec<Expr>) {
    match filter {
        Filter::Compare {
            left: left @ Expr::Aggregate(..),
            ..
        } if !found.contains(left) => {
            found.push(*left);
        }
        Filter::And(filters) | Filter::Or(filters) => {
            for filter in filters {
                aggregates(filter, found);
            }
        }
        Filter::Not(inner) => aggregates(inner, found),
        _ => {}
    }
}

/// Adds the tables that a filter looks into besides its own.
pub fn filter_tables(filter: &Filter, found: &mut Vec<&'static Table>) {
    match filter {
        Filter::And(filters) | Filter::Or(filters) => {
            for filter in filters {
                filter_tables(filter, found);
            }
        }
        Filter::Not(inner) => filter_tables(inner, found),
        Filter::Related(related) => {
            found.push(related.table);
            filter_tables(&related.filter, found);
        }
        _ => {}
    }
}
