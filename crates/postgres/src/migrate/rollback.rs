//! One step back: the down script, the history row and the log in one transaction.

use larder_core::Result;
use larder_core::migration::Rollback;

use super::script::{self, Change};
use super::session::Session;

/// Undoes a migration. False if another program got there first.
pub(super) async fn undo(session: &Session<'_>, rollback: &Rollback) -> Result<bool> {
    script::apply(session, &Change::Down { rollback }).await
}
