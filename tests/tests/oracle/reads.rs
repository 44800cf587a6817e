//! Random reads. Where only some rows are taken, the order is total, so that it is clear which.

use fastrand::Rng;
use larder_core::select::{Aggregate, Link, LinkPath, OrderBy};
use larder_core::{Expr, Filter, Kind, Nulls, Output, Select, Table};

use crate::filters::{comparison, filter, pairs};
use crate::tables::Schema;
use crate::values;

/// How deep filters are.
const FILTER_DEPTH: u32 = 3;

/// Any read of any table.
pub(crate) fn select(rng: &mut Rng, schema: &Schema) -> Select {
    let table = schema.tables()[rng.usize(..schema.tables().len())];
    let mut select = Select::new(table);
    if rng.u8(..10) < 7 {
        select.filter = filter(rng, schema, table, FILTER_DEPTH);
    }
    if rng.u8(..10) < 3 {
        select.link = link(rng, schema, table);
    }
    if rng.u8(..10) < 4 {
        grouped(rng, &mut select);
    } else {
        plain(rng, &mut select);
    }
    select
}

/// Columns that can be compared.
fn comparable(table: &'static Table) -> Vec<usize> {
    (0..table.columns.len())
        .filter(|&at| table.columns[at].kind != Kind::Json)
        .collect()
}

fn some(rng: &mut Rng, from: &[usize], most: usize) -> Vec<usize> {
    let many = rng.usize(..=most);
    rng.choose_multiple(from.iter().copied(), many)
}

fn link(rng: &mut Rng, schema: &Schema, table: &'static Table) -> Option<Link> {
    let join = schema.tables()[rng.usize(..schema.tables().len())];
    let path = if rng.bool() {
        LinkPath::Column(rng.choice(comparable(table))?)
    } else {
        let (child, to) = rng.choice(pairs(join, table))?;
        LinkPath::Through {
            table: join,
            parent: rng.choice(comparable(join))?,
            child,
            to,
        }
    };
    let limit = rng.bool().then(|| rng.u64(..4));
    let mut link = Link {
        path,
        parents: Vec::new(),
        limit,
    };
    let kind = link.kind(table);
    link.parents = (0..rng.usize(..5))
        .map(|_| values::value(rng, kind))
        .collect();
    link.parents.sort_unstable();
    link.parents.dedup();
    Some(link)
}

fn plain(rng: &mut Rng, select: &mut Select) {
    let table = select.table;
    let usable = comparable(table);
    let mut ordered: Vec<usize> = some(rng, &usable, 2);
    if rng.bool() {
        let columns = if rng.u8(..10) < 4 {
            some(rng, &usable, 3)
        } else {
            all(rng, table)
        };
        if rng.u8(..10) < 4 && columns.iter().all(|at| usable.contains(at)) {
            select.distinct = true;
            ordered.retain(|at| columns.contains(at));
        }
        select.output = Output::Exprs(columns.into_iter().map(Expr::Column).collect());
    }
    cut(rng, select);
    if is_cut(select) {
        match &select.output {
            Output::Exprs(exprs) if select.distinct => {
                ordered.extend(exprs.iter().filter_map(column));
            }
            _ => ordered.extend(table.key),
        }
    }
    select.order = order(rng, ordered.into_iter().map(Expr::Column));
}

fn column(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Column(at) => Some(*at),
        Expr::Aggregate(..) | Expr::Rank => None,
    }
}

fn all(rng: &mut Rng, table: &'static Table) -> Vec<usize> {
    let mut all: Vec<usize> = (0..table.columns.len()).collect();
    rng.shuffle(&mut all);
    all
}

fn grouped(rng: &mut Rng, select: &mut Select) {
    let usable = comparable(select.table);
    select.group_by = some(rng, &usable, 2);
    let mut exprs: Vec<Expr> = select.group_by.iter().copied().map(Expr::Column).collect();
    let most = rng.usize(1..4);
    exprs.extend((0..most).map(|_| aggregate(rng, select.table)));
    if rng.u8(..10) < 4 {
        let more = aggregate(rng, select.table);
        select.having = having(rng, &exprs, more, select.table);
    }
    let more = aggregate(rng, select.table);
    let ordered: Vec<Expr> = exprs
        .iter()
        .copied()
        .chain([more])
        .filter(|_| rng.u8(..10) < 3)
        .collect();
    cut(rng, select);
    let rest: Vec<Expr> = if is_cut(select) {
        exprs.clone()
    } else {
        Vec::new()
    };
    select.order = order(rng, ordered.into_iter().chain(rest));
    rng.shuffle(&mut exprs);
    select.output = Output::Exprs(exprs);
}

fn aggregate(rng: &mut Rng, table: &'static Table) -> Expr {
    let Some(at) = rng.choice(comparable(table)) else {
        return Expr::Aggregate(Aggregate::Count, None);
    };
    let kind = table.columns[at].kind;
    let number = kind.is_integer() || matches!(kind, Kind::F32 | Kind::F64 | Kind::Decimal);
    match rng.u8(..if number { 10 } else { 6 }) {
        0 => Expr::Aggregate(Aggregate::Count, None),
        1 => Expr::Aggregate(Aggregate::Count, Some(at)),
        2 => Expr::Aggregate(Aggregate::CountDistinct, Some(at)),
        3 | 4 => Expr::Aggregate(Aggregate::Min, Some(at)),
        5 => Expr::Aggregate(Aggregate::Max, Some(at)),
        6..8 => Expr::Aggregate(Aggregate::Sum, Some(at)),
        _ => Expr::Aggregate(Aggregate::Avg, Some(at)),
    }
}

fn having(rng: &mut Rng, exprs: &[Expr], more: Expr, table: &'static Table) -> Filter {
    let left = if rng.bool() {
        more
    } else {
        *rng.choice(exprs).unwrap_or(&more)
    };
    let value = values::value(rng, left.kind(table));
    let compare = Filter::Compare {
        left,
        op: comparison(rng),
        value,
    };
    match rng.u8(..4) {
        0 => Filter::Not(Box::new(compare)),
        1 => {
            let count = Expr::Aggregate(Aggregate::Count, None);
            let value = larder_core::Value::Int(rng.i64(..4));
            Filter::Or(vec![
                compare,
                Filter::Compare {
                    left: count,
                    op: comparison(rng),
                    value,
                },
            ])
        }
        _ => compare,
    }
}

/// Sets limit and offset at times; not where the order cannot be total, because children come
/// once for each of several parents.
fn cut(rng: &mut Rng, select: &mut Select) {
    if select.link.is_none() && rng.u8(..10) < 4 {
        select.limit = rng.bool().then(|| rng.u64(..5));
        select.offset = if rng.bool() { rng.u64(..3) } else { 0 };
    }
}

fn is_cut(select: &Select) -> bool {
    select.limit.is_some()
        || select.offset > 0
        || select
            .link
            .as_ref()
            .is_some_and(|link| link.limit.is_some())
}

fn order(rng: &mut Rng, exprs: impl Iterator<Item = Expr>) -> Vec<OrderBy> {
    let mut order: Vec<OrderBy> = Vec::new();
    for expr in exprs {
        if !order.iter().any(|by| by.expr == expr) {
            let nulls = if rng.bool() {
                Nulls::First
            } else {
                Nulls::Last
            };
            order.push(OrderBy {
                expr,
                descending: rng.bool(),
                nulls,
            });
        }
    }
    order
}

/// The same read without its filter, or with less of it.
pub(crate) fn simpler(select: &Select) -> Vec<Select> {
    let filters = parts(&select.filter).into_iter().map(|filter| {
        let mut simple = select.clone();
        simple.filter = filter;
        simple
    });
    let mut all: Vec<Select> = filters.collect();
    if let Output::Exprs(exprs) = &select.output
        && !select.distinct
    {
        all.extend((0..exprs.len()).filter(|_| exprs.len() > 1).map(|at| {
            let mut simple = select.clone();
            let mut fewer = exprs.clone();
            fewer.remove(at);
            simple.output = Output::Exprs(fewer);
            simple
        }));
    }
    if !is_cut(select) {
        all.extend((0..select.order.len()).map(|at| {
            let mut simple = select.clone();
            simple.order.remove(at);
            simple
        }));
    }
    all
}

/// Smaller filters instead of this one.
pub(crate) fn parts(filter: &Filter) -> Vec<Filter> {
    let without = |all: &[Filter], wrap: fn(Vec<Filter>) -> Filter| -> Vec<Filter> {
        let fewer = (0..all.len()).map(|at| {
            let mut rest = all.to_vec();
            rest.remove(at);
            wrap(rest)
        });
        let smaller = (0..all.len()).flat_map(|at| {
            parts(&all[at]).into_iter().map(move |part| {
                let mut rest = all.to_vec();
                rest[at] = part;
                wrap(rest)
            })
        });
        all.iter().cloned().chain(fewer).chain(smaller).collect()
    };
    match filter {
        Filter::All => Vec::new(),
        Filter::And(all) => {
            let mut found = vec![Filter::All];
            found.extend(without(all, Filter::And));
            found
        }
        Filter::Or(any) => {
            let mut found = vec![Filter::All];
            found.extend(without(any, Filter::Or));
            found
        }
        Filter::Not(inner) => {
            let mut found = vec![Filter::All, (**inner).clone()];
            found.extend(
                parts(inner)
                    .into_iter()
                    .map(|part| Filter::Not(Box::new(part))),
            );
            found
        }
        Filter::Related(related) => {
            let mut found = vec![Filter::All];
            found.extend(parts(&related.filter).into_iter().map(|filter| {
                let mut simple = (**related).clone();
                simple.filter = filter;
                Filter::Related(Box::new(simple))
            }));
            found
        }
        _ => vec![Filter::All],
    }
}
