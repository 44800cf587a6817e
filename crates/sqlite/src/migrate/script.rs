//! Runs a file's SQL in a transaction, and a rebuild with foreign keys out of the way.

use std::sync::{Arc, Mutex, PoisonError};

use larder_core::{Error, ErrorKind, Result};
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::{Batch, Connection};

use crate::error::{Failure, failure};
use crate::introspect::skip_blanks;

/// Runs `work` in an immediate transaction; on an error nothing of it remains.
///
/// With `rebuild`, foreign keys are not enforced and references in other tables do not follow a
/// renamed table meanwhile; instead every reference is checked before the commit. Both settings
/// are put back however it ends. They have to be set before the transaction: within one, SQLite
/// ignores the first of them, and dropping the old table would delete the children.
pub(super) fn in_transaction(
    connection: &mut Connection,
    rebuild: bool,
    work: impl FnOnce(&mut Connection) -> Result<()>,
) -> Result<()> {
    if !rebuild {
        return transact(connection, work);
    }
    let unset = |error| engine_error("the settings for a rebuild cannot be changed", error);
    let before = RebuildPragmas::read(connection).map_err(unset)?;
    let done = RebuildPragmas::REBUILDING
        .apply(connection)
        .map_err(unset)
        .and_then(|()| {
            transact(connection, |connection| {
                work(connection)?;
                check_references(connection)
            })
        });
    let restored = before.apply(connection).map_err(unset);
    done.and(restored)
}

/// Runs a file. Refuses what would break the transaction around it; the error names the line.
pub(super) fn run(connection: &mut Connection, file: &str, sql: &str) -> Result<()> {
    let refused = Arc::new(Mutex::new(None));
    let note = Arc::clone(&refused);
    let watch = move |context: AuthContext<'_>| match refusal(&context.action) {
        None => Authorization::Allow,
        reason => {
            *note.lock().unwrap_or_else(PoisonError::into_inner) = reason;
            Authorization::Deny
        }
    };
    let unwatched = |error| engine_error("the migration cannot be watched", error);
    connection.authorizer(Some(watch)).map_err(unwatched)?;
    let done = run_statements(connection, sql);
    connection
        .authorizer(None::<fn(AuthContext<'_>) -> Authorization>)
        .map_err(unwatched)?;
    let reason = *refused.lock().unwrap_or_else(PoisonError::into_inner);
    match (reason, done) {
        (Some(reason), _) => Err(Error::misuse(format!(
            "`{file}` {reason}. Nothing of it was applied"
        ))),
        (None, Err((line, error))) => {
            let what = format!("`{file}` failed at line {line}, and nothing of it was applied");
            Err(engine_error(&what, error))
        }
        (None, Ok(())) => Ok(()),
    }
}

/// An error of SQLite with a sentence of ours before SQLite's own.
pub(super) fn engine_error(what: &str, error: rusqlite::Error) -> Error {
    let kind = match failure(&error) {
        Failure::Busy => ErrorKind::Busy,
        Failure::Interrupted => ErrorKind::Timeout,
        Failure::Unique => ErrorKind::Unique,
        Failure::ForeignKey => ErrorKind::Reference,
        Failure::NotNull => ErrorKind::NotNull,
        Failure::Check | Failure::Constraint => ErrorKind::Check,
        Failure::Full => ErrorKind::Full,
        Failure::ReadOnly => ErrorKind::ReadOnly,
        Failure::CannotOpen => ErrorKind::Unavailable,
        Failure::Corrupt => ErrorKind::Corrupt,
        _ => ErrorKind::Engine,
    };
    Error::new(kind, format!("{what}: {}", words(&error))).with_source(error)
}

/// Runs one statement after the other; an error comes with the line its statement begins on.
fn run_statements(connection: &Connection, sql: &str) -> Result<(), (usize, rusqlite::Error)> {
    let mut batch = Batch::new(connection, sql);
    let mut done = 0;
    loop {
        let placed = |error| (first_line(sql, done), error);
        let Some(mut statement) = batch.next().map_err(placed)? else {
            return Ok(());
        };
        let mut rows = statement.raw_query();
        while rows.next().map_err(placed)?.is_some() {}
        drop(rows);
        // Without parameters this is the statement as written, with what stands before it.
        done += statement.expanded_sql().map_or(0, |text| text.len());
    }
}

/// The line, from 1, of the first statement after the first `done` bytes.
fn first_line(sql: &str, done: usize) -> usize {
    let start = skip_blanks(sql, done);
    1 + sql[..start].matches('\n').count()
}

/// SQLite's message without the text of the statement.
fn words(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    }
}

fn refusal(action: &AuthAction<'_>) -> Option<&'static str> {
    match action {
        AuthAction::Transaction { .. } => Some(
            "has a BEGIN, COMMIT or ROLLBACK of its own; remove it, since every migration runs \
             in a transaction together with its history row",
        ),
        AuthAction::Pragma {
            pragma_name,
            pragma_value: Some(_),
        } if ["foreign_keys", "legacy_alter_table"]
            .iter()
            .any(|name| pragma_name.eq_ignore_ascii_case(name)) =>
        {
            Some(
                "sets `foreign_keys` or `legacy_alter_table`; remove the pragma, and write \
                 `-- rebuild` on the first line if the file replaces a table",
            )
        }
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => Some(
            "attaches or detaches a database; remove it, since a commit over two files is not \
             atomic",
        ),
        _ => None,
    }
}

fn transact(
    connection: &mut Connection,
    work: impl FnOnce(&mut Connection) -> Result<()>,
) -> Result<()> {
    let begun = connection.execute_batch("BEGIN IMMEDIATE");
    begun.map_err(|error| engine_error("the migration cannot begin", error))?;
    let done = work(connection).and_then(|()| {
        let committed = connection.execute_batch("COMMIT");
        committed.map_err(|error| engine_error("the migration cannot be committed", error))
    });
    // SQLite has rolled back by itself after some errors.
    if done.is_err() && !connection.is_autocommit() {
        let undone = connection.execute_batch("ROLLBACK");
        undone.map_err(|error| engine_error("the migration cannot be rolled back", error))?;
    }
    done
}

#[derive(Clone, Copy)]
struct RebuildPragmas {
    foreign_keys: bool,
    legacy_alter_table: bool,
}

impl RebuildPragmas {
    const REBUILDING: Self = Self {
        foreign_keys: false,
        legacy_alter_table: true,
    };

    fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let read = |name| connection.pragma_query_value(None, name, |row| row.get(0));
        Ok(Self {
            foreign_keys: read("foreign_keys")?,
            legacy_alter_table: read("legacy_alter_table")?,
        })
    }

    fn apply(self, connection: &Connection) -> rusqlite::Result<()> {
        connection.pragma_update(None, "foreign_keys", self.foreign_keys)?;
        connection.pragma_update(None, "legacy_alter_table", self.legacy_alter_table)
    }
}

fn check_references(connection: &Connection) -> Result<()> {
    let read = || -> rusqlite::Result<Option<(String, String)>> {
        let mut statement = connection.prepare("PRAGMA foreign_key_check")?;
        let mut rows = statement.query([])?;
        match rows.next()? {
            Some(row) => Ok(Some((row.get(0)?, row.get(2)?))),
            None => Ok(None),
        }
    };
    match read().map_err(|error| engine_error("the references cannot be checked", error))? {
        None => Ok(()),
        Some((child, parent)) => Err(Error::new(
            ErrorKind::Reference,
            format!(
                "the rebuild would leave rows that refer to a missing row of `{parent}`; nothing \
                 of it was applied"
            ),
        )
        .with_table(child)),
    }
}
