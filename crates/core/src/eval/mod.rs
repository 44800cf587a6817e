//! Queries answered over rows in hand: [`evaluate`].
//!
//! The in-memory store answers every read here, and an engine whose own query language is too
//! weak fetches candidate rows and answers the rest here. What this module says is what every
//! engine must say; SQL's three-valued logic included.
//!
//! ```text
//!   Source ──> link and filter ──> group, having ──> order ──> distinct ──> limit per parent ──> offset, limit
//! ```
//!
//! It performs no I/O: a [`Source`] has the rows at hand. Values are not copied for reads of
//! whole entities; rows are shared ([`Stored`]).

mod aggregate;
mod assign;
mod condition;
mod group;
mod output;
mod whole;

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::schema::Table;
use crate::select::{Expr, LinkPath, Output, Select};
use crate::value::Value;

pub use assign::{assign, check_fits};
pub use condition::{Condition, filter_tables};
pub use output::{Names, deliver, project};
pub(crate) use whole::WholeRows;

/// One row, shared: all columns of a table in order, or the output of a read.
pub type Stored = Arc<[Value]>;

/// Rows of a [`Source`].
pub type RowIter<'a> = Box<dyn Iterator<Item = &'a Stored> + 'a>;

/// Where the evaluator finds rows. Every row has as many values as its table has columns.
pub trait Source {
    /// All rows of the table; in key order if the answer is to be in key order.
    fn rows(&self, table: &'static Table) -> RowIter<'_>;

    /// The rows whose column equals the value, which is not NULL. An index may help.
    fn rows_where<'a>(
        &'a self,
        table: &'static Table,
        column: usize,
        value: &'a Value,
    ) -> RowIter<'a> {
        Box::new(self.rows(table).filter(move |row| row[column] == *value))
    }

    /// At least the rows that satisfy the filter, each once. An index may help.
    fn candidates<'a>(&'a self, table: &'static Table, filter: &Filter) -> RowIter<'a> {
        let _ = filter;
        self.rows(table)
    }
}

/// Runs a read over the source's rows.
///
/// Without an order, rows come as the source has them (of a read with a link: by parent). The
/// limit of a link counts rows of the output, after grouping and `distinct`.
///
/// # Errors
/// `Misuse` where the read makes no sense: a column the table does not have, an aggregate in the
/// filter, a column that is neither grouped by nor aggregated. `Engine` where a sum leaves the
/// range of its type.
pub fn evaluate(mut select: Select, source: &dyn Source) -> Result<Vec<Stored>> {
    let filter = if select.ranks() {
        select.filter.clone() // rows are ranked by it later
    } else {
        std::mem::replace(&mut select.filter, Filter::All)
    };
    let condition = Condition::on_rows(filter, select.table)?;
    if let Some(link) = &mut select.link {
        link.parents.retain(|parent| !parent.is_null());
        link.parents.sort_unstable();
        link.parents.dedup();
        check_path(select.table, link.path)?;
    }
    let rows = matching(&select, &condition, source);
    if select.aggregates() {
        let grouping = group::Grouping::new(&select)?;
        return Ok(output::finish(&select, grouping.groups(rows, source)?));
    }
    check_plain(&select)?;
    Ok(output::finish(&select, rows))
}

/// Every table that a read looks at, the read's own first.
pub fn tables(select: &Select) -> Vec<&'static Table> {
    let mut tables = vec![select.table];
    if let Some(link) = &select.link
        && let LinkPath::Through { table, .. } = link.path
    {
        tables.push(table);
    }
    filter_tables(&select.filter, &mut tables);
    filter_tables(&select.having, &mut tables);
    tables
}

/// A row and, with a link, the parent it belongs to.
struct Linked<'a> {
    parent: Option<&'a Value>,
    row: &'a Stored,
}

fn matching<'a>(
    select: &'a Select,
    condition: &Condition,
    source: &'a dyn Source,
) -> Vec<Linked<'a>> {
    let Some(link) = &select.link else {
        return (source.candidates(select.table, condition.filter()))
            .filter(|row| condition.holds(row, source))
            .map(|row| Linked { parent: None, row })
            .collect();
    };
    let mut linked = Vec::new();
    for parent in &link.parents {
        match link.path {
            LinkPath::Column(column) => linked.extend(
                (source.rows_where(select.table, column, parent)).map(|row| Linked {
                    parent: Some(parent),
                    row,
                }),
            ),
            LinkPath::Through {
                table,
                parent: from,
                child,
                to,
            } => {
                for pair in source.rows_where(table, from, parent) {
                    if pair[child].is_null() {
                        continue;
                    }
                    linked.extend(
                        (source.rows_where(select.table, to, &pair[child])).map(|row| Linked {
                            parent: Some(parent),
                            row,
                        }),
                    );
                }
            }
        }
    }
    linked.retain(|linked| condition.holds(linked.row, source));
    linked
}

fn check_path(table: &'static Table, path: LinkPath) -> Result<()> {
    match path {
        LinkPath::Column(column) => check_column(table, column),
        LinkPath::Through {
            table: join,
            parent,
            child,
            to,
        } => {
            check_column(join, parent)?;
            check_column(join, child)?;
            check_column(table, to)
        }
    }
}

/// A read without aggregates names columns only.
fn check_plain(select: &Select) -> Result<()> {
    if !matches!(select.having, Filter::All) {
        return Err(
            Error::misuse("`having` needs groups or an aggregate in the output")
                .with_table(select.table.name),
        );
    }
    for step in &select.order {
        match (step.expr, select.ranked()) {
            (Expr::Rank, Some(_)) => {}
            (expr, _) => check_row_expr(select.table, expr)?,
        }
    }
    check_output(select.table, &select.output)
}

/// Checks that an output names columns of the table, and no aggregates.
pub fn check_output(table: &'static Table, output: &Output) -> Result<()> {
    match output {
        Output::Entity => Ok(()),
        Output::Exprs(exprs) => exprs
            .iter()
            .try_for_each(|expr| check_row_expr(table, *expr)),
    }
}

/// Checks that the table has a column at this position.
pub fn check_column(table: &'static Table, at: usize) -> Result<()> {
    if at < table.columns.len() {
        return Ok(());
    }
    Err(Error::misuse(format!("the table has no column at position {at}")).with_table(table.name))
}

fn check_row_expr(table: &'static Table, expr: Expr) -> Result<()> {
    match expr {
        Expr::Column(at) => check_column(table, at),
        Expr::Aggregate(..) => Err(Error::misuse(
            "an aggregate belongs into the output, or into `having` and the order of a read that aggregates",
        )
        .with_table(table.name)),
        Expr::Rank => Err(Error::misuse(
            "only an order can have a rank, and only beside a search that filters the rows",
        )
        .with_table(table.name)),
    }
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
