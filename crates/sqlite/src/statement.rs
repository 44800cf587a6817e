//! From a query to a prepared statement: SQL text is rendered once per shape and thread.

use std::cell::RefCell;
use std::rc::Rc;

use larder_core::{Select, Write};
use larder_sql::{Dialect, Shape, Statement, render_select, render_write};
use rusqlite::{CachedStatement, Connection, Error, ffi};
use rustc_hash::FxHashMap;

/// How many texts a thread keeps; at the limit it starts anew.
const TEXTS_MAX: usize = 1_024;
/// The longest shape, in bytes, whose text is kept: that of some hundred conditions.
const SHAPE_MAX: usize = 1_024;

#[derive(Default)]
struct Texts {
    shape: Shape,
    by_shape: FxHashMap<Box<[u8]>, Rc<Statement>>,
}

thread_local! {
    /// The texts depend on static tables only, so one cache per thread serves every database,
    /// without a lock.
    static TEXTS: RefCell<Texts> = RefCell::default();
}

/// The statement of a read.
pub(crate) fn of_select(select: &Select) -> Rc<Statement> {
    find(
        |shape| shape.of_select(select),
        || render_select(Dialect::Sqlite, select),
    )
}

/// The statement of a write for so many of its rows.
pub(crate) fn of_write(write: &Write, rows: usize) -> Rc<Statement> {
    find(
        |shape| shape.of_write(Dialect::Sqlite, write, rows),
        || render_write(Dialect::Sqlite, write, rows),
    )
}

/// Prepares the statement, or takes it from the connection's cache. One with more parameters than
/// SQLite takes is refused before it is sent.
///
/// SQLite has one code for whatever is wrong with a statement; while preparing it means that a
/// table or a column is missing, since the text itself is right. The error is marked as one of the
/// input, by which [`error`](crate::error) tells it.
pub(crate) fn prepare<'c>(
    connection: &'c Connection,
    statement: &Statement,
) -> rusqlite::Result<CachedStatement<'c>> {
    let parameters_max = Dialect::Sqlite.parameters_max();
    if statement.parameters > parameters_max {
        return Err(Error::InvalidParameterCount(
            statement.parameters,
            parameters_max,
        ));
    }
    let sql = &statement.sql;
    connection.prepare_cached(sql).map_err(|error| match error {
        Error::SqliteFailure(code, message) if code.extended_code == ffi::SQLITE_ERROR => {
            Error::SqlInputError {
                error: code,
                msg: message.unwrap_or_default(),
                sql: sql.clone(),
                offset: -1,
            }
        }
        other => other,
    })
}

fn find(
    shape: impl for<'s> FnOnce(&'s mut Shape) -> &'s [u8],
    render: impl FnOnce() -> Statement,
) -> Rc<Statement> {
    TEXTS.with_borrow_mut(|texts| {
        let bytes = shape(&mut texts.shape);
        if let Some(found) = texts.by_shape.get(bytes) {
            return Rc::clone(found);
        }
        let statement = Rc::new(render());
        if bytes.len() > SHAPE_MAX {
            return statement;
        }
        if texts.by_shape.len() >= TEXTS_MAX {
            texts.by_shape.clear();
        }
        texts.by_shape.insert(bytes.into(), Rc::clone(&statement));
        statement
    })
}
