//! A cache in PostgreSQL, in tables that are not logged: a crash of the server empties it, and filling
//! it writes no log.

use larder_core::{Db, DbOptions, Result, Table};
use larder_sql::{Dialect, create_missing_tables};

#[doc(no_inline)]
pub use larder_core::cache::*;

use crate::clock::ServerClock;
use crate::storage::Postgres;

impl Postgres {
    /// A cache in tables of this database, made where they are missing. Times are the server's.
    ///
    /// # Errors
    /// As [`create_missing_tables`](Self::create_missing_tables); a role that may not create tables
    /// has the statements of [`cache_statements`] in a migration.
    pub async fn cache(&self) -> Result<StoredCache> {
        let statements = cache_statements(&tables());
        self.database()
            .create_missing(&tables(), &statements)
            .await?;
        let clock = ServerClock::measure(self).await?;
        let options = DbOptions::default().clock(clock);
        Ok(StoredCache::new(Db::with_options(self.clone(), options)))
    }
}

/// The statements that create tables for [`Postgres::cache`] where they are missing: the
/// [`tables`], not logged.
pub fn cache_statements(tables: &[&'static Table]) -> Vec<String> {
    let statements = create_missing_tables(Dialect::Postgres, tables);
    let unlogged = |statement: String| match statement.strip_prefix("CREATE TABLE ") {
        Some(rest) => format!("CREATE UNLOGGED TABLE {rest}"),
        None => statement,
    };
    statements.into_iter().map(unlogged).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_tables_are_not_logged() {
        let statements = cache_statements(&tables());
        let unlogged = |one: &&String| one.starts_with("CREATE UNLOGGED TABLE IF NOT EXISTS");
        assert_eq!(statements.iter().filter(unlogged).count(), tables().len());
        assert!(!statements.iter().any(|one| one.starts_with("CREATE TABLE")));
    }
}
