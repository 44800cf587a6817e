//! Rate limits in PostgreSQL, in a table that is not logged: a crash of the server forgets what was
//! used, and a check writes no log.

use larder_core::{Db, Result};
use larder_sql::SqlRateLimiter;

#[doc(no_inline)]
pub use larder_core::rate_limit::*;

use crate::cache::cache_statements;
use crate::storage::Postgres;

impl Postgres {
    /// Rate limits in a table of this database, made where it is missing, by the server's clock.
    ///
    /// # Errors
    /// As [`create_missing_tables`](Self::create_missing_tables); a role that may not create tables
    /// has the statements of [`rate_limit_statements`] in a migration.
    pub async fn rate_limiter(&self) -> Result<SqlRateLimiter> {
        self.database()
            .create_missing(&[SqlRateLimiter::TABLE], &rate_limit_statements())
            .await?;
        Ok(SqlRateLimiter::by_server(Db::new(self.clone())))
    }
}

/// The statements that create the table for [`Postgres::rate_limiter`] where it is missing.
pub fn rate_limit_statements() -> Vec<String> {
    cache_statements(&[SqlRateLimiter::TABLE])
}
