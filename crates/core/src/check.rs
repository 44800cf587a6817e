//! What a read may mean: combinations that engines would answer differently, or with an arbitrary
//! row, are refused before anything is sent.

use crate::db::Db;
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::select::{Expr, Output, Select};
use crate::storage::Capabilities;
use crate::write::InsertRows;

/// Refuses what engines would answer differently, or with rows picked at random.
pub(crate) fn select(select: &Select) -> Result<()> {
    let refuse = |what: &'static str| Err(Error::misuse(what).with_table(select.table.name));
    if select.distinct {
        refuse_hidden_order(select)?;
    }
    let whole = !select.distinct && select.link.is_none() && !select.aggregates();
    if select.lock.is_some() && !whole {
        return refuse(
            "only rows can be locked: `for_update` goes without distinct, groups and aggregates",
        );
    }
    if select.ranks() && !whole {
        return refuse(
            "`best_first` orders rows: it goes without relations, distinct, groups and aggregates",
        );
    }
    if compares_new(&select.filter) || compares_new(&select.having) {
        return refuse("only the condition of an upsert (`when`) can look at a new row");
    }
    if compares_aggregates(&select.filter) {
        return refuse("rows are filtered before there are aggregates: compare those in `having`");
    }
    let ordered = select.order.iter().map(|by| by.expr);
    let aggregates = select.aggregates();
    if !aggregates && !matches!(select.having, Filter::All) {
        return refuse("only groups can be taken by `having`: filter the rows instead");
    }
    if aggregates {
        let output = match &select.output {
            Output::Entity => {
                return refuse(
                    "a grouped query brings columns and aggregates: end it with `select`",
                );
            }
            Output::Exprs(exprs) => exprs.iter().copied(),
        };
        let grouped = |expr| match expr {
            Expr::Column(at) => select.group_by.contains(&at),
            Expr::Aggregate(..) => true,
            Expr::Rank => false,
        };
        if !compares_only(&select.having, &grouped) {
            return refuse("`having` can compare only aggregates and what the query groups by");
        }
        if !output.chain(ordered).all(grouped) {
            return refuse(
                "beside aggregates a query can bring, and order by, only what it groups by",
            );
        }
    } else if ordered
        .into_iter()
        .any(|expr| matches!(expr, Expr::Aggregate(..)))
    {
        return refuse(
            "only a query that selects aggregates or groups can be ordered by aggregates",
        );
    }
    Ok(())
}

/// Refuses what the engine cannot do.
pub(crate) fn engine(capabilities: &Capabilities, select: &Select) -> Result<()> {
    let refuse =
        |what| Err(Error::unsupported(capabilities.engine, what).with_table(select.table.name));
    let has = |what: fn(&Filter) -> bool| select.filter.has(what) || select.having.has(what);
    if !capabilities.json_paths && has(|one| matches!(one, Filter::Json { .. })) {
        return refuse("conditions on what stands inside a JSON column (`path`)");
    }
    if !capabilities.full_text && has(|one| matches!(one, Filter::Matches { .. })) {
        return refuse("full-text search (`matches`)");
    }
    if select.lock.is_some() && !capabilities.row_locks {
        return refuse(
            "row locks (`for_update`): a transaction that others got in the way of is answered \
             `Conflict`",
        );
    }
    Ok(())
}

/// Refuses conditions of upserts that engines would answer differently.
pub(crate) fn upsert(insert: &InsertRows, filter: &Filter) -> Result<()> {
    if compares_aggregates(filter) {
        return Err(Error::misuse(
            "the condition of an upsert looks at one row: it has no aggregates",
        )
        .with_table(insert.table.name));
    }
    match filter {
        Filter::And(all) | Filter::Or(all) => all.iter().try_for_each(|one| upsert(insert, one)),
        Filter::Not(inner) => upsert(insert, inner),
        // Some engines would see the rows that the same upsert has written before, others not.
        Filter::Related(related) => Err(Error::misuse(
            "the condition of an upsert looks at the old row and the new one, not at related rows",
        )
        .with_table(related.table.name)),
        // SQLite's index would be asked amid the statement that changes it.
        Filter::Matches { .. } => Err(Error::misuse(
            "the condition of an upsert compares columns: it does not search",
        )
        .with_table(insert.table.name)),
        Filter::CompareNew { column, .. } if !insert.columns.contains(column) => Err(
            Error::misuse("the upsert looks at a column that its rows do not set")
                .or_column(insert.table.name, insert.table.columns[*column].name),
        ),
        _ => Ok(()),
    }
}

/// Whether a new row's value stands in a filter, of related rows too.
fn compares_new(filter: &Filter) -> bool {
    filter.has(|one| matches!(one, Filter::CompareNew { .. }))
}

/// Refuses to lock rows where nothing would hold the lock.
pub(crate) fn lock(db: &Db, select: &Select) -> Result<()> {
    if select.lock.is_none() || db.is_in_writing_transaction() {
        return Ok(());
    }
    Err(Error::misuse(
        "`for_update` locks rows until the end of a transaction that writes: use it on the \
         handle of one",
    )
    .with_table(select.table.name))
}

/// Whether an aggregate stands in a filter, on related rows too.
fn compares_aggregates(filter: &Filter) -> bool {
    filter.has(|one| {
        matches!(
            one,
            Filter::Compare {
                left: Expr::Aggregate(..),
                ..
            }
        )
    })
}

/// Duplicates that differ only in what they are ordered by would have no one place in the order.
fn refuse_hidden_order(select: &Select) -> Result<()> {
    let shown = |expr| match &select.output {
        Output::Entity => true,
        Output::Exprs(exprs) => exprs.contains(expr),
    };
    if select.order.iter().all(|by| shown(&by.expr)) {
        return Ok(());
    }
    Err(
        Error::misuse("a distinct query can be ordered only by what it selects")
            .with_table(select.table.name),
    )
}

/// Whether everything the filter looks at satisfies the condition.
fn compares_only(filter: &Filter, allowed: &impl Fn(Expr) -> bool) -> bool {
    let column = |at: usize| allowed(Expr::Column(at));
    match filter {
        Filter::All => true,
        Filter::Compare { left, .. } => allowed(*left),
        Filter::CompareColumns { left, right, .. } => column(*left) && column(*right),
        Filter::In { column: at, .. }
        | Filter::CompareNew { column: at, .. }
        | Filter::IsNull { column: at }
        | Filter::Json { column: at, .. }
        | Filter::Text { column: at, .. } => column(*at),
        Filter::And(all) | Filter::Or(all) => all.iter().all(|one| compares_only(one, allowed)),
        Filter::Not(inner) => compares_only(inner, allowed),
        Filter::Related(related) => column(related.from),
        Filter::Matches { index, .. } => index.columns.iter().all(|at| column(*at)),
    }
}
