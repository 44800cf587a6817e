//! Sessions in PostgreSQL.

use larder_core::{Db, DbOptions, Result};

#[doc(no_inline)]
pub use larder_core::session::*;

use crate::clock::ServerClock;
use crate::storage::Postgres;

impl Postgres {
    /// Sessions in a table of this database, made where it is missing. The time is the server's.
    ///
    /// # Errors
    /// As [`create_missing_tables`](Self::create_missing_tables); a role that may not create tables
    /// has the statements of `larder_sql::create_missing_tables` in a migration.
    pub async fn sessions(&self) -> Result<StoredSessions> {
        self.create_missing_tables(&[StoredSessions::TABLE]).await?;
        let clock = ServerClock::measure(self).await?;
        let options = DbOptions::default().clock(clock);
        Ok(StoredSessions::new(Db::with_options(self.clone(), options)))
    }
}
