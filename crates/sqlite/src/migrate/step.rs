//! One migration: its SQL and its history row in one transaction, through refinery.

use larder_core::migration::Migration;
use larder_core::{Error, ErrorKind, Result};
use refinery_core::error::Kind;
use refinery_core::traits::sync::{Transaction, migrate};
use refinery_core::{Migration as RefineryMigration, Target};
use rusqlite::Connection;

use super::history::{self, HISTORY};
use super::script::{engine_error, in_transaction, run};

/// Applies a migration. False if another program got there first.
pub(super) fn apply(connection: &mut Connection, migration: &Migration) -> Result<bool> {
    let refinerys = RefineryMigration::unapplied(&migration.label(), migration.up().text())
        .map_err(|error| in_larders_words(&error, migration))?;
    let mut step = Step {
        connection,
        migration,
        applied: false,
    };
    // "Batched" makes refinery hand over the SQL and the history row in one call.
    migrate(&mut step, vec![refinerys], Target::Latest, HISTORY, true)
        .map_err(|error| in_larders_words(&error, migration))?;
    Ok(step.applied)
}

/// What refinery sees of the database while it applies one migration.
struct Step<'a> {
    connection: &'a mut Connection,
    migration: &'a Migration,
    applied: bool,
}

impl Transaction for Step<'_> {
    type Error = Error;

    /// Runs the migration's SQL, which comes first, and refinery's own statements after it.
    fn execute<'a, T: Iterator<Item = &'a str>>(&mut self, mut queries: T) -> Result<usize> {
        let migration = self.migration;
        let rebuild = migration.up().directives().rebuild;
        let mut ran = 0;
        in_transaction(self.connection, rebuild, |connection| {
            let unrecorded = |error| {
                let label = migration.label();
                engine_error(
                    &format!("`{label}` cannot be recorded and was not applied"),
                    error,
                )
            };
            if history::has(connection, migration.version()).map_err(unrecorded)? {
                return Ok(());
            }
            if let Some(sql) = queries.next() {
                run(connection, &format!("{}.sql", migration.label()), sql)?;
                ran += 1;
            }
            for sql in queries {
                connection.execute_batch(sql).map_err(unrecorded)?;
                ran += 1;
            }
            history::record_up(connection, migration).map_err(unrecorded)
        })?;
        self.applied = ran > 0;
        Ok(ran)
    }
}

/// Takes the error of [`Step`] out of refinery's wrapping.
fn in_larders_words(error: &refinery_core::Error, migration: &Migration) -> Error {
    if let Kind::Connection(_, source) = error.kind()
        && let Some(own) = source.downcast_ref::<Error>()
    {
        return own.duplicate();
    }
    let message = format!("refinery refused `{}`: {error}", migration.label());
    Error::new(ErrorKind::Misuse, message)
}
