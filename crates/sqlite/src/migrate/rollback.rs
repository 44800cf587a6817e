//! One step back: the down script, the history row and the log in one transaction.

use larder_core::Result;
use larder_core::migration::Rollback;
use rusqlite::Connection;

use super::history;
use super::script::{engine_error, in_transaction, run};

/// Undoes a migration. False if another program got there first.
pub(super) fn undo(connection: &mut Connection, rollback: &Rollback) -> Result<bool> {
    let script = rollback.script();
    let mut undone = false;
    in_transaction(connection, script.directives().rebuild, |connection| {
        let unrecorded = |error| {
            let label = rollback.label();
            engine_error(
                &format!("`{label}` cannot be taken out of the history"),
                error,
            )
        };
        if !history::has(connection, rollback.version()).map_err(unrecorded)? {
            return Ok(());
        }
        run(
            connection,
            &format!("{}.down.sql", rollback.label()),
            script.text(),
        )?;
        undone = true;
        history::record_down(connection, rollback).map_err(unrecorded)
    })?;
    Ok(undone)
}
