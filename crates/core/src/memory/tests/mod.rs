mod laws;
mod transactions;
mod writes;

use super::Memory;
use crate::column::Assign;
use crate::error::Result;
use crate::eval::fixture::{POSTS, USERS, int, text};
use crate::filter::{Comparison, Filter};
use crate::rows::{Row, Rows};
use crate::schema::Table;
use crate::select::{Expr, Output, Select};
use crate::storage::Storage;
use crate::value::{Kind, Value};
use crate::write::{DeleteWhere, InsertRows, OnConflict, UpdateWhere, Write, WriteOp, Written};

/// A row of integers and NULLs, of every first value.
fn first(row: &dyn Row) -> Result<i64> {
    crate::rows::get(row, 0)
}

fn insert(table: &'static Table, columns: &[usize], values: Vec<Value>) -> WriteOp {
    insert_or(table, columns, values, None)
}

fn insert_or(
    table: &'static Table,
    columns: &[usize],
    values: Vec<Value>,
    on_conflict: Option<OnConflict>,
) -> WriteOp {
    WriteOp::Insert(InsertRows {
        table,
        columns: columns.to_vec(),
        values,
        on_conflict,
    })
}

fn update(table: &'static Table, set: Vec<(usize, Assign)>, filter: Filter) -> WriteOp {
    WriteOp::Update(UpdateWhere { table, set, filter })
}

fn delete(table: &'static Table, id: i64) -> WriteOp {
    WriteOp::Delete(DeleteWhere {
        table,
        filter: eq(0, int(id)),
    })
}

fn eq(column: usize, value: Value) -> Filter {
    Filter::Compare {
        left: Expr::Column(column),
        op: Comparison::Eq,
        value,
    }
}

async fn run(store: &dyn Storage, op: WriteOp) -> Result<u64> {
    let (written, _) = store.write(Write::new(op), Rows::discard()).await?;
    Ok(written.rows)
}

/// The first column of the rows that come back.
async fn returning(store: &dyn Storage, op: WriteOp) -> Result<(Written, Vec<i64>)> {
    let mut write = Write::new(op);
    write.returning = Some(Output::Exprs(vec![Expr::Column(0)]));
    let (written, rows) = store.write(write, Rows::collect(first)).await?;
    Ok((written, rows.into_vec()?))
}

/// All values of a column, in the order of the keys.
async fn column(store: &dyn Storage, table: &'static Table, at: usize) -> Vec<Value> {
    let kind = table.columns[at].kind;
    let mut select = Select::new(table);
    select.output = Output::Exprs(vec![Expr::Column(at)]);
    let decode: fn(&dyn Row) -> Result<Value> = match kind {
        Kind::Text => |row| Ok(row.value(0, Kind::Text)?.to_value()),
        _ => |row| Ok(row.value(0, Kind::I64)?.to_value()),
    };
    let rows = store
        .read(select, Rows::collect(decode))
        .await
        .expect("reads");
    rows.into_vec().expect("its own rows")
}

async fn ids(store: &dyn Storage, table: &'static Table) -> Vec<i64> {
    let mut select = Select::new(table);
    select.output = Output::Exprs(vec![Expr::Column(0)]);
    let rows = store
        .read(select, Rows::collect(first))
        .await
        .expect("reads");
    rows.into_vec().expect("its own rows")
}

/// Users 1 (a) and 2 (b, whose boss is 1); posts 1 and 2 by user 1, 3 by user 2.
async fn seeded() -> Memory {
    let store = Memory::new();
    let users = vec![text("a"), Value::Null, text("b"), int(1)];
    run(&store, insert(&USERS, &[1, 6], users))
        .await
        .expect("users");
    let posts = vec![int(1), text("x"), int(1), text("y"), int(2), text("z")];
    run(&store, insert(&POSTS, &[1, 2], posts))
        .await
        .expect("posts");
    store
}
