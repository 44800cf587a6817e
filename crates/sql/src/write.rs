//! Writes.

use std::ops::Range;

use larder_core::write::{DeleteWhere, UpdateRows, UpdateWhere, WriteOp};
use larder_core::{Assign, Expr, Kind, Output, Write};

use crate::Statement;
use crate::aggregate::fitting;
use crate::dialect::{Dialect, postgres_array};
use crate::filter::clause;
use crate::insert::{array_ends, insert_rows, values_max};
use crate::text::{Scope, Sql};

/// The write as SQL, for so many of its rows. [`write_params`](crate::write_params) gives what to
/// bind.
///
/// [`chunks`] says for which rows; only an insert's text depends on their number, on PostgreSQL
/// only on whether it is one.
///
/// Rows that an insert gives back come in the order given. Rows asked back from an update or a
/// delete bring the key behind the output where [`Statement::sort_keys`] says so: SQLite returns
/// them in any order, and the contract wants them in the order of their keys.
pub fn render_write(dialect: Dialect, write: &Write, rows: usize) -> Statement {
    let mut sql = Sql::new(dialect);
    let returning = write.returning.as_ref();
    let sorted = returning.is_some() && !matches!(write.op, WriteOp::Insert(_));
    let wrapped = sorted && dialect == Dialect::Postgres;
    if wrapped {
        sql.push("WITH _w AS (");
    }
    let scope = match &write.op {
        WriteOp::Insert(insert) => insert_rows(&mut sql, insert, rows),
        WriteOp::Update(update) => update_where(&mut sql, update),
        WriteOp::UpdateRows(update) if dialect == Dialect::Sqlite => update_row(&mut sql, update),
        WriteOp::UpdateRows(update) => update_unnest(&mut sql, update),
        WriteOp::Delete(delete) => delete_where(&mut sql, delete),
    };
    if let Some(output) = returning {
        let key = if sorted { write.table().key } else { &[] };
        give_back(&mut sql, output, key, wrapped, scope);
    }
    let mut statement = sql.finish();
    statement.sort_keys = if sorted && !wrapped {
        write.table().key.len()
    } else {
        0
    };
    statement
}

/// The rows of a write that one statement takes each, in order.
///
/// On SQLite an insert goes in statements of 100 rows (fewer where the parameters would not
/// suffice), the remainder in powers of two, so that an insert of any length needs no more than
/// eight different statements. An update by key goes row by row.
///
/// On PostgreSQL an insert takes up to 10,000 rows or about 64 MiB at once, and all its rows if
/// the table refers to itself, because references are checked at the end of a statement. An upsert
/// that updates is cut before each row whose key its statement has had already, so that later rows
/// update earlier ones as they do elsewhere. (Of a table that refers to itself, the rows behind
/// such a cut are not there yet when those before it are checked.) An update by key goes whole.
///
/// Writes that take a filter are one statement, `0..1`. A write of no rows has no chunks. Where
/// there are several chunks, run them in one transaction.
pub fn chunks(dialect: Dialect, write: &Write) -> impl Iterator<Item = Range<usize>> + use<> {
    let (total, mut cut) = match (&write.op, dialect) {
        (WriteOp::Insert(insert), Dialect::Sqlite) => {
            let most = values_max(dialect, insert);
            (insert.rows().len(), Cut::Most(most))
        }
        (WriteOp::Insert(insert), Dialect::Postgres) => match insert.rows().len() {
            total @ 0..=1 => (total, Cut::Whole),
            total => (total, Cut::At(array_ends(insert).into_iter())),
        },
        (WriteOp::UpdateRows(update), Dialect::Sqlite) => (update.rows().len(), Cut::Most(1)),
        (WriteOp::UpdateRows(update), Dialect::Postgres) => (update.rows().len(), Cut::Whole),
        (WriteOp::Update(_) | WriteOp::Delete(_), _) => (1, Cut::Whole),
    };
    let mut start = 0;
    std::iter::from_fn(move || {
        let left = total - start;
        let size = match &mut cut {
            _ if left == 0 => return None,
            Cut::Whole => left,
            Cut::Most(most) if left >= *most => *most,
            Cut::Most(_) => 1 << left.ilog2(),
            Cut::At(ends) => ends.next()? - start,
        };
        start += size;
        Some(start - size..start)
    })
}

/// How rows are cut into chunks.
enum Cut {
    Whole,
    /// Into so many each, the remainder into powers of two.
    Most(usize),
    /// Before these rows.
    At(std::vec::IntoIter<usize>),
}

fn update_where(sql: &mut Sql, update: &UpdateWhere) -> Scope {
    let scope = Scope::bare(update.table);
    sql.push("UPDATE ");
    scope.from(sql);
    sql.push(" SET ");
    assignments(sql, &update.set, scope);
    clause(sql, " WHERE ", &update.filter, scope);
    scope
}

/// The update of one row by its key, for SQLite. The row's values come first, so their
/// placeholders are counted before they are used.
fn update_row(sql: &mut Sql, update: &UpdateRows) -> Scope {
    let scope = Scope::bare(update.table);
    let (by, changed) = update.columns.split_at(update.by);
    let numbers = sql.reserve(update.columns.len());
    let assign = |sql: &mut Sql, (&at, number): (&usize, usize)| {
        scope.column(sql, at);
        sql.push(" = ");
        sql.placeholder_again(number);
    };
    sql.push("UPDATE ");
    scope.from(sql);
    sql.push(" SET ");
    sql.list(
        changed.iter().zip(numbers.clone().skip(update.by)),
        ", ",
        assign,
    );
    further(sql, update, scope);
    sql.push(" WHERE ");
    sql.list(by.iter().zip(numbers), " AND ", assign);
    scope
}

/// The update of all rows at once from arrays, one per column, for PostgreSQL.
fn update_unnest(sql: &mut Sql, update: &UpdateRows) -> Scope {
    let scope = Scope::named(update.table);
    let (by, changed) = update.columns.split_at(update.by);
    let numbers = sql.reserve(update.columns.len());
    let given = |sql: &mut Sql, at: usize| {
        sql.push(" = _v.");
        sql.ident(update.table.columns[at].name);
    };
    sql.push("UPDATE ");
    scope.from(sql);
    sql.push(" SET ");
    sql.list(changed, ", ", |sql, &at| {
        sql.ident(update.table.columns[at].name);
        given(sql, at);
    });
    further(sql, update, scope);
    sql.push(" FROM UNNEST(");
    sql.list(
        update.columns.iter().zip(numbers),
        ", ",
        |sql, (&at, number)| {
            sql.placeholder_again(number);
            sql.push("::");
            sql.push(postgres_array(update.table.columns[at].kind));
        },
    );
    sql.push(") AS _v (");
    columns(sql, &update.columns, Scope::bare(update.table));
    sql.push(") WHERE ");
    sql.list(by, " AND ", |sql, &at| {
        scope.column(sql, at);
        given(sql, at);
    });
    scope
}

/// Writes the changes that are the same for every row. An update of nothing sets the first key
/// column to itself, because SET must not be empty.
fn further(sql: &mut Sql, update: &UpdateRows, scope: Scope) {
    let changed = update.columns.len() > update.by;
    if !changed && update.set.is_empty() {
        let key = update.columns[0];
        sql.ident(update.table.columns[key].name);
        sql.push(" = ");
        scope.column(sql, key);
    }
    sql.push(if changed && !update.set.is_empty() {
        ", "
    } else {
        ""
    });
    assignments(sql, &update.set, scope);
}

fn delete_where(sql: &mut Sql, delete: &DeleteWhere) -> Scope {
    let scope = Scope::bare(delete.table);
    sql.push("DELETE FROM ");
    scope.from(sql);
    clause(sql, " WHERE ", &delete.filter, scope);
    scope
}

pub(crate) fn assignments(sql: &mut Sql, set: &[(usize, Assign)], scope: Scope) {
    sql.list(set, ", ", |sql, (at, assign)| {
        sql.ident(scope.def(*at).name);
        sql.push(" = ");
        match assign {
            Assign::Set(_) => {
                sql.placeholder();
            }
            Assign::Add(_) => add(sql, *at, scope),
        }
    });
}

/// Writes an addition that fails on overflow. SQLite makes a float of an integer that overflows,
/// which a STRICT column refuses, as the checks of [`create_table`](crate::create_table) do the
/// rest; exact decimals and single precision need the engine's functions. PostgreSQL's numbers
/// have no end where decimals do.
fn add(sql: &mut Sql, at: usize, scope: Scope) {
    let sum = |sql: &mut Sql, between: &str| {
        scope.column(sql, at);
        sql.push(between);
        sql.placeholder();
    };
    let function = match (sql.dialect, scope.def(at).kind) {
        (Dialect::Postgres, Kind::Decimal) => return fitting(sql, |sql| sum(sql, " + ")),
        (Dialect::Sqlite, Kind::Decimal) => "larder_decimal_add(",
        (Dialect::Sqlite, Kind::F32) => "larder_f32_add(",
        _ => return sum(sql, " + "),
    };
    sql.push(function);
    sum(sql, ", ");
    sql.push(")");
}

/// Writes RETURNING with the output and the key; wrapped, the rest of a statement that sorts.
fn give_back(sql: &mut Sql, output: &Output, key: &[usize], wrapped: bool, scope: Scope) {
    sql.push(" RETURNING ");
    let width = match output {
        Output::Entity => scope.table.columns.len(),
        Output::Exprs(exprs) => exprs.len(),
    };
    if width + key.len() == 0 {
        return sql.push("1");
    }
    let own = (0..width).filter_map(|at| match output {
        Output::Entity => Some(at),
        Output::Exprs(exprs) => match exprs[at] {
            Expr::Column(column) => Some(column),
            Expr::Aggregate(..) | Expr::Rank => None, // columns only, says the contract
        },
    });
    sql.list(
        own.chain(key.iter().copied()).enumerate(),
        ", ",
        |sql, (i, at)| {
            scope.column(sql, at);
            if wrapped {
                sql.push(" AS _c");
                sql.number(i);
            }
        },
    );
    if wrapped {
        let name = |sql: &mut Sql, at: usize| {
            sql.push("_c");
            sql.number(at);
        };
        sql.push(") SELECT ");
        sql.list(0..width, ", ", name);
        sql.push(" FROM _w ORDER BY ");
        sql.list(width..width + key.len(), ", ", name);
    }
}

pub(crate) fn columns(sql: &mut Sql, columns: &[usize], scope: Scope) {
    sql.list(columns, ", ", |sql, &at| scope.column(sql, at));
}
