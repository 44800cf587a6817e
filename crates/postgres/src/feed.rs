//! The feed of changes in PostgreSQL.
//!
//! Transactions commit in any order, so the key of a change says nothing of when it can be seen. Its
//! transaction's number (`xid8`) and the oldest transaction of the server that is still under way do:
//! all that is numbered below has ended, and nothing below can come any more.

use larder_core::{Error, ErrorKind, Result};
use larder_sql::{Dialect, change_log};

use crate::storage::Postgres;

/// The number of the oldest transaction under way; those below have ended.
pub(crate) const HORIZON: &str = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint";

/// The name of the lock under which tables are made: `larder` in ASCII.
const LOCK: i64 = 0x6c61_7264_6572;

impl Postgres {
    /// Creates the tables of a [feed of changes](larder_core::feed) where they are missing. May be
    /// called by several programs at once, at each start. Where they exist it creates nothing, so
    /// that a role that may not create tables gets by with a migration that runs the statements of
    /// `larder_sql::change_log`.
    ///
    /// # Errors
    /// `Schema` if the tables can neither be found nor created.
    pub async fn create_change_log(&self) -> Result<()> {
        let names: Vec<_> = (larder_core::feed::tables().iter())
            .map(|table| table.name)
            .collect();
        let mut lease = self.database().acquire(None).await?;
        lease.begin();
        let created = create_missing(&lease, &names, &change_log(Dialect::Postgres)).await;
        lease.end();
        created.map_err(|cause| {
            let message = "the tables of the feed of changes could not be created: run the \
                           statements of `larder_sql::change_log` in a migration";
            Error::new(ErrorKind::Schema, message).with_source(cause)
        })
    }
}

/// Runs the statements, unless all the tables are there.
async fn create_missing(
    client: &tokio_postgres::Client,
    tables: &[&str],
    statements: &[String],
) -> Result<(), tokio_postgres::Error> {
    let present = "SELECT bool_and(to_regclass(name) IS NOT NULL) FROM unnest($1::text[]) AS name";
    let types = [(
        &tables as &(dyn tokio_postgres::types::ToSql + Sync),
        tokio_postgres::types::Type::TEXT_ARRAY,
    )];
    let found = client.query_typed(present, &types).await?;
    if found.first().is_some_and(|row| row.get(0)) {
        return Ok(());
    }
    // One message is one transaction.
    let script = format!(
        "SELECT pg_advisory_xact_lock({LOCK});\n{}",
        statements.join(";\n")
    );
    client.batch_execute(&script).await
}
