//! The feed of changes in PostgreSQL.
//!
//! Transactions commit in any order, so the key of a change says nothing of when it can be seen. Its
//! transaction's number (`xid8`) and the oldest transaction of the server that is still under way do:
//! all that is numbered below has ended, and nothing below can come any more.

use larder_core::Result;
use larder_sql::{Dialect, change_log};

use crate::storage::Postgres;

/// The number of the oldest transaction under way; those below have ended.
pub(crate) const HORIZON: &str = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint";

impl Postgres {
    /// Creates the tables of a [feed of changes](larder_core::feed) where they are missing. May be
    /// called by several programs at once, at each start. Where they exist it creates nothing, so
    /// that a role that may not create tables gets by with a migration that runs the statements of
    /// `larder_sql::change_log`.
    ///
    /// The numbers of transactions are the server's own. Leave the tables out of a dump that is
    /// restored on another server, or empty them there: it would number new changes anew, and readers
    /// would look for them behind the old ones. A transaction that has written and stays open holds
    /// the feed back, whichever database of the server it is in; so does a prepared one.
    ///
    /// # Errors
    /// `Schema` if the tables can neither be found nor created.
    pub async fn create_change_log(&self) -> Result<()> {
        let statements = change_log(Dialect::Postgres);
        let tables = larder_core::feed::tables();
        self.database().create_missing(&tables, &statements).await
    }
}
