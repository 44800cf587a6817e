//! Writes.

use std::ops::Range;

use larder_core::write::{
    ConflictAction, DeleteWhere, InsertRows, OnConflict, UpdateRows, UpdateWhere, WriteOp,
};
use larder_core::{Assign, Expr, Kind, Output, Table, Write};

use crate::Statement;
use crate::dialect::{Dialect, postgres_array};
use crate::filter::clause;
use crate::params;
use crate::text::{Scope, Sql};

/// How many rows one INSERT adds at most: more gain nothing and make the text longer.
const ROWS_PREFERRED: usize = 100;

/// The write as SQL, for so many of its rows. [`write_params`](crate::write_params) gives what to
/// bind.
///
/// [`chunks`] says for which rows; only an insert's text depends on their number. Rows asked back
/// from an update or a delete bring the key behind the output where [`Statement::sort_keys`] says
/// so: SQLite returns them in any order, and the contract wants them in the order of their keys.
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
/// An insert goes in statements of 100 rows (fewer where the parameters would not suffice), the
/// remainder in powers of two, so that an insert of any length needs no more than eight different
/// statements. An update by key goes row by row on SQLite and whole on PostgreSQL. Writes that
/// take a filter are one statement, `0..1`. A write of no rows has no chunks.
pub fn chunks(dialect: Dialect, write: &Write) -> impl Iterator<Item = Range<usize>> + use<> {
    let (total, most) = match &write.op {
        WriteOp::Insert(insert) => (insert.rows().len(), insert_rows_max(dialect, insert)),
        WriteOp::UpdateRows(update) if dialect == Dialect::Sqlite => (update.rows().len(), 1),
        WriteOp::UpdateRows(update) => (update.rows().len(), usize::MAX),
        _ => (1, 1),
    };
    let remainder_whole = most == usize::MAX;
    let mut start = 0;
    std::iter::from_fn(move || {
        let left = total - start;
        let size = match left {
            0 => return None,
            left if left >= most => most,
            left if remainder_whole => left,
            left => 1 << left.ilog2(),
        };
        start += size;
        Some(start - size..start)
    })
}

fn insert_rows_max(dialect: Dialect, insert: &InsertRows) -> usize {
    let further = match &insert.on_conflict {
        Some(OnConflict {
            action: ConflictAction::Update { set, filter, .. },
            ..
        }) => set.len() + params::count(filter, insert.table),
        _ => 0,
    };
    let room = dialect.parameters_max().saturating_sub(further);
    (room / insert.columns.len().max(1)).clamp(1, ROWS_PREFERRED)
}

fn insert_rows(sql: &mut Sql, insert: &InsertRows, rows: usize) -> Scope {
    let scope = Scope::bare(insert.table);
    sql.push("INSERT INTO ");
    scope.from(sql);
    sql.push(" (");
    columns(sql, &insert.columns, scope);
    sql.push(") VALUES ");
    sql.list(0..rows, ", ", |sql, _| {
        sql.push("(");
        sql.list(&insert.columns, ", ", |sql, _| {
            sql.placeholder();
        });
        sql.push(")");
    });
    if let Some(conflict) = &insert.on_conflict {
        on_conflict(sql, conflict, insert.table);
    }
    scope
}

fn on_conflict(sql: &mut Sql, conflict: &OnConflict, table: &'static Table) {
    let scope = Scope::bare(table);
    sql.push(" ON CONFLICT (");
    columns(sql, &conflict.target, scope);
    match &conflict.action {
        ConflictAction::Ignore => sql.push(") DO NOTHING"),
        ConflictAction::Update {
            columns,
            set,
            filter,
        } => {
            sql.push(") DO UPDATE SET ");
            // Without a change, the key is set to itself: the old row still counts and comes back.
            let itself = if columns.is_empty() && set.is_empty() {
                &conflict.target
            } else {
                columns
            };
            sql.list(itself, ", ", |sql, &at| {
                scope.column(sql, at);
                sql.push(" = excluded.");
                scope.column(sql, at);
            });
            sql.push(if itself.is_empty() || set.is_empty() {
                ""
            } else {
                ", "
            });
            let named = Scope::named(table);
            assignments(sql, set, named);
            clause(sql, " WHERE ", filter, named);
        }
    }
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

fn assignments(sql: &mut Sql, set: &[(usize, Assign)], scope: Scope) {
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
/// rest; exact decimals and single precision need the engine's functions.
fn add(sql: &mut Sql, at: usize, scope: Scope) {
    let (before, between, after) = match (sql.dialect, scope.def(at).kind) {
        (Dialect::Sqlite, Kind::Decimal) => ("larder_decimal_add(", ", ", ")"),
        (Dialect::Sqlite, Kind::F32) => ("larder_f32_add(", ", ", ")"),
        _ => ("", " + ", ""),
    };
    sql.push(before);
    scope.column(sql, at);
    sql.push(between);
    sql.placeholder();
    sql.push(after);
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
            Expr::Aggregate(..) => None, // no aggregates, says the contract
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

fn columns(sql: &mut Sql, columns: &[usize], scope: Scope) {
    sql.list(columns, ", ", |sql, &at| scope.column(sql, at));
}
