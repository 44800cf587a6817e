//! What to bind, in the order of the placeholders.

use std::borrow::Cow;
use std::ops::Range;

use larder_core::write::{ConflictAction, WriteOp};
use larder_core::{Assign, Expr, Filter, JsonStep, JsonTest, Kind, Select, Table, Value, Write};

use crate::dialect::Dialect;
use crate::filter::{TextForm, successor};
use crate::insert::takes_arrays;
use crate::json;
use crate::search;

/// One parameter, borrowed from the query.
#[derive(Clone, Debug)]
pub enum Param<'a> {
    /// A value of this kind; may be NULL.
    Value(&'a Value, Kind),
    /// A list of values of this kind, none of them NULL: `rarray` on SQLite, an array on
    /// PostgreSQL.
    List(&'a [Value], Kind),
    /// Every so-many-th of the values, from the first on; may hold NULLs. Only PostgreSQL's
    /// inserts of several rows and updates by keys have these.
    Column(&'a [Value], usize, Kind),
    /// A limit or an offset.
    Number(i64),
    /// A text to look for. Borrowed but for the upper bound of a prefix and full-text searches.
    Text(Cow<'a, str>),
}

type Outcome<E> = Result<(), E>;

/// Shows the read's parameters to `each`, the first placeholder's first, until one fails.
///
/// Allocates only for the upper bound of `starts_with`, and for searches.
///
/// # Errors
/// The first that `each` answers.
pub fn select_params<'a, E>(
    dialect: Dialect,
    select: &'a Select,
    each: &mut impl FnMut(Param<'a>) -> Outcome<E>,
) -> Outcome<E> {
    if let Some(link) = &select.link {
        each(Param::List(&link.parents, link.kind(select.table)))?;
    }
    conditions(dialect, &select.filter, select.table, each)?;
    conditions(dialect, &select.having, select.table, each)?;
    if let Some((_, query)) = select.ranked().filter(|_| dialect == Dialect::Postgres) {
        for _ in select.order.iter().filter(|by| by.expr == Expr::Rank) {
            each(Param::Text(search::rank_param(query).into()))?;
        }
    }
    if let Some(limit) = select.link.as_ref().and_then(|link| link.limit) {
        each(number(limit))?;
    }
    if let Some(limit) = select.limit {
        each(number(limit))?;
    }
    if select.offset > 0 {
        each(number(select.offset))?;
    }
    Ok(())
}

/// Shows the parameters of the write's statement for these rows to `each`, in order.
///
/// The rows are a range that [`chunks`](crate::chunks) gave.
///
/// # Errors
/// The first that `each` answers.
pub fn write_params<'a, E>(
    dialect: Dialect,
    write: &'a Write,
    rows: Range<usize>,
    each: &mut impl FnMut(Param<'a>) -> Outcome<E>,
) -> Outcome<E> {
    let table = write.table();
    match &write.op {
        WriteOp::Insert(insert) => {
            if takes_arrays(dialect, rows.len()) {
                of_columns(table, &insert.columns, &insert.values, rows, each)?;
            } else {
                of_rows(table, &insert.columns, &insert.values, rows, each)?;
            }
            match insert.on_conflict.as_ref().map(|conflict| &conflict.action) {
                Some(ConflictAction::Update { set, filter, .. }) => {
                    assignments(set, table, each)?;
                    conditions(dialect, filter, table, each)
                }
                _ => Ok(()),
            }
        }
        WriteOp::Update(update) => {
            assignments(&update.set, table, each)?;
            conditions(dialect, &update.filter, table, each)
        }
        WriteOp::UpdateRows(update) => {
            if dialect == Dialect::Sqlite {
                of_rows(table, &update.columns, &update.values, rows, each)?;
            } else {
                of_columns(table, &update.columns, &update.values, rows, each)?;
            }
            assignments(&update.set, table, each)
        }
        WriteOp::Delete(delete) => conditions(dialect, &delete.filter, table, each),
    }
}

fn number<'a>(count: u64) -> Param<'a> {
    // No table has more rows than that.
    Param::Number(i64::try_from(count).unwrap_or(i64::MAX))
}

fn of_rows<'a, E>(
    table: &Table,
    columns: &[usize],
    values: &'a [Value],
    rows: Range<usize>,
    each: &mut impl FnMut(Param<'a>) -> Outcome<E>,
) -> Outcome<E> {
    let width = columns.len();
    let values = &values[rows.start * width..rows.end * width];
    for (value, &at) in values.iter().zip(columns.iter().cycle()) {
        each(Param::Value(value, table.columns[at].kind))?;
    }
    Ok(())
}

fn of_columns<'a, E>(
    table: &Table,
    columns: &[usize],
    values: &'a [Value],
    rows: Range<usize>,
    each: &mut impl FnMut(Param<'a>) -> Outcome<E>,
) -> Outcome<E> {
    let width = columns.len();
    let values = &values[rows.start * width..rows.end * width];
    for (i, &at) in columns.iter().enumerate() {
        each(Param::Column(
            values.get(i..).unwrap_or(&[]),
            width,
            table.columns[at].kind,
        ))?;
    }
    Ok(())
}

fn assignments<'a, E>(
    set: &'a [(usize, Assign)],
    table: &Table,
    each: &mut impl FnMut(Param<'a>) -> Outcome<E>,
) -> Outcome<E> {
    for (at, assign) in set {
        match assign {
            Assign::Set(value) | Assign::Add(value) => {
                each(Param::Value(value, table.columns[*at].kind))?;
            }
        }
    }
    Ok(())
}

/// How many parameters the filter takes.
pub(crate) fn count(dialect: Dialect, filter: &Filter, table: &'static Table) -> usize {
    let mut count = 0;
    let counted: Outcome<std::convert::Infallible> =
        conditions(dialect, filter, table, &mut |_| {
            count += 1;
            Ok(())
        });
    counted.map_or_else(|never| match never {}, |()| count)
}

fn conditions<'a, E>(
    dialect: Dialect,
    filter: &'a Filter,
    table: &'static Table,
    each: &mut impl FnMut(Param<'a>) -> Outcome<E>,
) -> Outcome<E> {
    match filter {
        Filter::All
        | Filter::CompareColumns { .. }
        | Filter::CompareNew { .. }
        | Filter::IsNull { .. } => Ok(()),
        Filter::Compare { left, value, .. } => each(Param::Value(value, left.kind(table))),
        Filter::In { column, values } => each(Param::List(values, table.columns[*column].kind)),
        Filter::Text { op, pattern, .. } => match TextForm::of(*op, pattern) {
            TextForm::Anything => Ok(()),
            TextForm::Between => {
                each(Param::Text(Cow::Borrowed(pattern)))?;
                let above =
                    successor(pattern).expect("TextForm::of gives Between where there is one");
                each(Param::Text(Cow::Owned(above)))
            }
            _ => each(Param::Text(Cow::Borrowed(pattern))),
        },
        Filter::Json { test, .. } if !json::is_possible(test) => Ok(()),
        Filter::Json { path, test, .. } => {
            path.iter().try_for_each(|step| {
                each(match step {
                    JsonStep::Key(key) => Param::Text(Cow::Borrowed(key)),
                    JsonStep::Index(at) => Param::Number(i64::from(*at)),
                })
            })?;
            match test {
                JsonTest::Compare(_, value) => {
                    json::kind(value).map_or(Ok(()), |kind| each(Param::Value(value, kind)))
                }
                JsonTest::Exists | JsonTest::IsNull => Ok(()),
            }
        }
        Filter::Matches { query, .. } => {
            search::params(dialect, query, &mut |text| each(Param::Text(text)))
        }
        Filter::And(several) | Filter::Or(several) => several
            .iter()
            .try_for_each(|one| conditions(dialect, one, table, each)),
        Filter::Not(inner) => conditions(dialect, inner, table, each),
        Filter::Related(related) => conditions(dialect, &related.filter, related.table, each),
    }
}
