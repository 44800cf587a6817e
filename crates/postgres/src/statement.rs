//! From a query to a prepared statement: SQL text is rendered once per shape and connection.

use std::cell::RefCell;
use std::sync::{Mutex, MutexGuard, PoisonError};

use larder_core::raw::SqlText;
use larder_core::{Error, Select, Write};
use larder_sql::{Dialect, Shape, render_select, render_write};
use rustc_hash::FxHashMap;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Statement};

/// How many statements a connection keeps prepared; at the limit it starts anew.
const PREPARED_MAX: usize = 512;
/// The longest shape, in bytes, whose statement is kept: that of some hundred conditions.
const SHAPE_MAX: usize = 1_024;

thread_local! {
    static SHAPE: RefCell<Shape> = RefCell::default();
}

/// A connection's prepared statements, by shape.
#[derive(Default)]
pub(crate) struct Prepared(Mutex<FxHashMap<Box<[u8]>, Statement>>);

/// A statement, prepared already or yet to be.
pub(crate) enum Found {
    Prepared(Statement),
    Text(Text),
}

/// A statement that the connection does not know.
pub(crate) struct Text {
    shape: Option<Box<[u8]>>,
    pub(crate) sql: String,
    parameters: usize,
}

impl Prepared {
    pub(crate) fn select(&self, select: &Select) -> Found {
        self.find(
            |shape| shape.of_select(select),
            || render_select(Dialect::Postgres, select),
        )
    }

    pub(crate) fn write(&self, write: &Write, rows: usize) -> Found {
        self.find(
            |shape| shape.of_write(Dialect::Postgres, write, rows),
            || render_write(Dialect::Postgres, write, rows),
        )
    }

    /// A statement in SQL with parameters of these types.
    pub(crate) fn sql(&self, text: &SqlText, types: &[Type]) -> Found {
        // No other shape begins with a Q.
        let mut shape = vec![b'Q'];
        for ty in types {
            shape.extend_from_slice(&ty.oid().to_ne_bytes());
        }
        shape.push(0);
        shape.extend_from_slice(text.as_str().as_bytes());
        let known = self.lock().get(&*shape).cloned();
        if let Some(statement) = known {
            return Found::Prepared(statement);
        }
        Found::Text(Text {
            shape: text.is_static().then(|| shape.into()),
            sql: text.as_str().to_owned(),
            parameters: types.len(),
        })
    }

    fn find(
        &self,
        shape: impl for<'s> FnOnce(&'s mut Shape) -> &'s [u8],
        render: impl FnOnce() -> larder_sql::Statement,
    ) -> Found {
        SHAPE.with_borrow_mut(|buffer| {
            let bytes = shape(buffer);
            if let Some(found) = self.lock().get(bytes) {
                return Found::Prepared(found.clone());
            }
            let statement = render();
            Found::Text(Text {
                shape: (bytes.len() <= SHAPE_MAX).then(|| bytes.into()),
                sql: statement.sql,
                parameters: statement.parameters,
            })
        })
    }

    /// Prepares the statement, and keeps it for the next time. Takes a round trip.
    pub(crate) async fn prepare(
        &self,
        client: &Client,
        text: Text,
        types: &[Type],
    ) -> Result<Statement, tokio_postgres::Error> {
        let statement = client.prepare_typed(&text.sql, types).await?;
        if let Some(shape) = text.shape {
            let mut known = self.lock();
            if known.len() >= PREPARED_MAX {
                known.clear();
            }
            known.insert(shape, statement.clone());
        }
        Ok(statement)
    }

    /// Forgets all of them: the schema has changed under one.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, FxHashMap<Box<[u8]>, Statement>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses a statement with more parameters than PostgreSQL takes, before it is sent.
pub(crate) fn check_parameters(text: &Text) -> Result<(), Error> {
    let most = Dialect::Postgres.parameters_max();
    if text.parameters <= most {
        return Ok(());
    }
    Err(Error::misuse(format!(
        "PostgreSQL takes {most} values in one statement, this one has {}: use `in_`, or split it",
        text.parameters
    )))
}
