//! Reads.

use larder_core::select::{Aggregate, LinkPath, OrderBy};
use larder_core::{Expr, Nulls, RowLock, Select, Table};

use crate::Statement;
use crate::aggregate::aggregate;
use crate::dialect::Dialect;
use crate::filter::{clause, collate, conditions, one_of};
use crate::search;
use crate::text::{Scope, Sql};

/// The read as SQL. [`select_params`](crate::select_params) gives what to bind.
///
/// ```text
/// SELECT "id", "title" FROM "posts" WHERE "author_id" = ?1 ORDER BY "created_at" DESC LIMIT ?2
/// ```
///
/// With a limit per parent the rows are numbered within their parent by a window function, and
/// the statement around it takes the first ones. The rows come back in the order asked for
/// either way; but PostgreSQL leaves out an order by the parent that comes first.
pub fn render_select(dialect: Dialect, select: &Select) -> Statement {
    let mut sql = Sql::new(dialect);
    if select
        .link
        .as_ref()
        .is_some_and(|link| link.limit.is_some())
    {
        limited_per_parent(&mut sql, select);
    } else {
        sql.push(if select.distinct {
            "SELECT DISTINCT "
        } else {
            "SELECT "
        });
        outputs(&mut sql, select, |_, _| {});
        rest(&mut sql, select);
        order(
            &mut sql,
            steps(dialect, select),
            |sql, _, by| ordered(sql, by.expr, scope(select)),
            select.table,
        );
    }
    limit(&mut sql, select);
    lock(&mut sql, select);
    sql.finish()
}

/// What the rows are ordered by. To order them by their parent first keeps SQLite from sorting
/// them, for an index on it yields them so. PostgreSQL would sort by one column more, for nothing:
/// whose a row is, it says itself, and whoever asked puts a parent's rows together.
fn steps(dialect: Dialect, select: &Select) -> &[OrderBy] {
    let parent = match select.link.as_ref().map(|link| link.path) {
        Some(LinkPath::Column(at)) => Some(Expr::Column(at)),
        _ => None,
    };
    match select.order.split_first() {
        Some((first, rest)) if dialect == Dialect::Postgres && Some(first.expr) == parent => rest,
        _ => &select.order,
    }
}

/// Where the names of the read's own table are looked up.
fn scope(select: &Select) -> Scope {
    match select.link.as_ref().map(|link| link.path) {
        Some(LinkPath::Through { .. }) => Scope::named(select.table),
        _ if select.ranked().is_some() => Scope::named(select.table),
        _ => Scope::bare(select.table),
    }
}

/// How the subquery of a limit per parent calls what the statement around it needs.
#[derive(Clone, Copy)]
enum Alias {
    Parent,
    Output(usize),
}

impl Alias {
    fn write(self, sql: &mut Sql) {
        match self {
            Self::Parent => sql.push("_p"),
            Self::Output(at) => {
                sql.push("_c");
                sql.number(at);
            }
        }
    }
}

fn order_alias(sql: &mut Sql, at: usize) {
    sql.push("_o");
    sql.number(at);
}

/// Writes the parent's value, where there is one, and the output.
fn outputs(sql: &mut Sql, select: &Select, alias: impl Fn(&mut Sql, Alias)) {
    if select.link.is_some() {
        parent(sql, select);
        alias(sql, Alias::Parent);
        sql.push(", ");
    }
    let scope = scope(select);
    let width = select.width() - usize::from(select.link.is_some());
    if width == 0 {
        return sql.push("1");
    }
    let exprs = (0..width).filter_map(|at| select.expr(at));
    sql.list(exprs.enumerate(), ", ", |sql, (at, expr)| {
        expression(sql, expr, scope);
        alias(sql, Alias::Output(at));
    });
}

/// Writes the column that holds the parent's value.
fn parent(sql: &mut Sql, select: &Select) {
    match select.link.as_ref().map(|link| link.path) {
        Some(LinkPath::Column(at)) => scope(select).column(sql, at),
        Some(LinkPath::Through { table, parent, .. }) => {
            scope(select).nested(table).column(sql, parent);
        }
        None => {}
    }
}

/// Writes everything from FROM to HAVING.
fn rest(sql: &mut Sql, select: &Select) {
    let scope = scope(select);
    sql.push(" FROM ");
    scope.from(sql);
    if let Some(LinkPath::Through {
        table, child, to, ..
    }) = select.link.as_ref().map(|l| l.path)
    {
        let join = scope.nested(table);
        sql.push(" JOIN ");
        join.from(sql);
        sql.push(" ON ");
        join.column(sql, child);
        sql.push(" = ");
        scope.column(sql, to);
    }
    if let (Dialect::Sqlite, Some((index, _))) = (sql.dialect, select.ranked()) {
        search::ranked_join(sql, index, scope);
        conditions(sql, " AND ", &select.filter.conjuncts()[1..], scope);
    } else if select.link.is_some() {
        sql.push(" WHERE ");
        parent(sql, select);
        one_of(sql);
        clause(sql, " AND ", &select.filter, scope);
    } else {
        clause(sql, " WHERE ", &select.filter, scope);
    }
    group_by(sql, select);
    clause(sql, " HAVING ", &select.having, scope);
}

fn group_by(sql: &mut Sql, select: &Select) {
    let by_parent = select.link.is_some() && select.aggregates();
    if by_parent || !select.group_by.is_empty() {
        sql.push(" GROUP BY ");
        if by_parent {
            parent(sql, select);
            sql.push(if select.group_by.is_empty() { "" } else { ", " });
        }
        sql.list(&select.group_by, ", ", |sql, &at| {
            scope(select).column(sql, at);
        });
    }
}

/// Writes a read with at most so many rows per parent, up to its ORDER BY.
fn limited_per_parent(sql: &mut Sql, select: &Select) {
    let width = select.width() - 1;
    sql.push("SELECT _p");
    for at in 0..width {
        sql.push(", ");
        Alias::Output(at).write(sql);
    }
    if select.distinct {
        // Numbers would tell duplicates apart, so they are given one level further out.
        sql.push(" FROM (SELECT *, ");
        row_number(
            sql,
            select,
            |sql| Alias::Parent.write(sql),
            |sql, at, _| order_alias(sql, at),
        );
    }
    sql.push(if select.distinct {
        " FROM (SELECT DISTINCT "
    } else {
        " FROM (SELECT "
    });
    outputs(sql, select, |sql, alias| {
        sql.push(" AS ");
        alias.write(sql);
    });
    for (at, by) in select.order.iter().enumerate() {
        sql.push(", ");
        ordered(sql, by.expr, scope(select));
        sql.push(" AS ");
        order_alias(sql, at);
    }
    if !select.distinct {
        sql.push(", ");
        let by = |sql: &mut Sql, _, by: &OrderBy| ordered(sql, by.expr, scope(select));
        row_number(sql, select, |sql| parent(sql, select), by);
    }
    rest(sql, select);
    sql.push(if select.distinct {
        ") AS _d) AS _r WHERE _n <= "
    } else {
        ") AS _r WHERE _n <= "
    });
    sql.placeholder();
    order(
        sql,
        &select.order,
        |sql, at, _| order_alias(sql, at),
        select.table,
    );
}

fn row_number(
    sql: &mut Sql,
    select: &Select,
    parent: impl Fn(&mut Sql),
    by: impl Fn(&mut Sql, usize, &OrderBy),
) {
    sql.push("ROW_NUMBER() OVER (PARTITION BY ");
    parent(sql);
    order(sql, &select.order, by, select.table);
    sql.push(") AS _n");
}

/// Writes an expression that something is ordered by.
fn ordered(sql: &mut Sql, expr: Expr, scope: Scope) {
    expression(sql, expr, scope);
    collate(sql, expr, scope.table);
}

/// Writes ORDER BY, or nothing without an order.
fn order(
    sql: &mut Sql,
    steps: &[OrderBy],
    what: impl Fn(&mut Sql, usize, &OrderBy),
    table: &Table,
) {
    if steps.is_empty() {
        return;
    }
    sql.push(" ORDER BY ");
    sql.list(steps.iter().enumerate(), ", ", |sql, (at, by)| {
        what(sql, at, by);
        sql.push(if by.descending { " DESC" } else { "" });
        if nullable(by.expr, table) && by.nulls != sql.dialect.nulls(by.descending) {
            sql.push(match by.nulls {
                Nulls::First => " NULLS FIRST",
                Nulls::Last => " NULLS LAST",
            });
        }
    });
}

/// Whether the expression can be NULL, so that the place of NULLs in an order matters.
pub(crate) fn nullable(expr: Expr, table: &Table) -> bool {
    match expr {
        Expr::Column(at) => table.columns[at].nullable,
        Expr::Aggregate(Aggregate::Count | Aggregate::CountDistinct, _)
        | Expr::Aggregate(_, None)
        | Expr::Rank => false,
        Expr::Aggregate(..) => true,
    }
}

fn limit(sql: &mut Sql, select: &Select) {
    if select.limit.is_some() {
        sql.push(" LIMIT ");
        sql.placeholder();
    } else if select.offset > 0 && sql.dialect == Dialect::Sqlite {
        // SQLite has no OFFSET without LIMIT; a negative one is none.
        sql.push(" LIMIT -1");
    }
    if select.offset > 0 {
        sql.push(" OFFSET ");
        sql.placeholder();
    }
}

/// SQLite's writing transactions exclude each other: their rows need no lock of their own.
fn lock(sql: &mut Sql, select: &Select) {
    sql.push(match (sql.dialect, select.lock) {
        (Dialect::Sqlite, _) | (_, None) => "",
        (Dialect::Postgres, Some(RowLock::Wait)) => " FOR UPDATE",
        (Dialect::Postgres, Some(RowLock::SkipLocked)) => " FOR UPDATE SKIP LOCKED",
        (Dialect::Postgres, Some(RowLock::NoWait)) => " FOR UPDATE NOWAIT",
    });
}

/// Writes a column or an aggregate, so that it has the kind that [`Expr::kind`] says.
pub(crate) fn expression(sql: &mut Sql, expr: Expr, scope: Scope) {
    match expr {
        Expr::Column(at) => scope.column(sql, at),
        Expr::Rank => search::rank(sql, scope),
        Expr::Aggregate(_, None) => sql.push("count(*)"),
        Expr::Aggregate(function, Some(at)) => aggregate(sql, function, at, scope),
    }
}
