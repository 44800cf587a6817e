//! Rate limits in a SQLite file, shared by the programs that open it.

use larder_core::{Db, Result};
use larder_sql::SqlRateLimiter;

#[doc(no_inline)]
pub use larder_core::rate_limit::*;

use crate::storage::Sqlite;

impl Sqlite {
    /// Rate limits in a table of this database, made where it is missing, by this machine's clock.
    ///
    /// Each check is a write: give it a file of its own, or checks wait for the writers of other
    /// tables.
    ///
    /// ```
    /// use larder_sqlite::rate_limit::{Quota, RateLimiter};
    /// use larder_sqlite::Sqlite;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_sqlite::Result<()> {
    /// let limiter = Sqlite::in_memory().await?.rate_limiter().await?;
    /// assert!(limiter.check("ada", &Quota::per_hour(1), 1).await?.allowed);
    /// assert!(!limiter.check("ada", &Quota::per_hour(1), 1).await?.allowed);
    /// # Ok(()) }
    /// ```
    pub async fn rate_limiter(&self) -> Result<SqlRateLimiter> {
        self.create_missing_tables(&[SqlRateLimiter::TABLE]).await?;
        Ok(SqlRateLimiter::new(Db::new(self.clone())))
    }
}
