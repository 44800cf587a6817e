//! A cache in a SQLite file, shared by the programs that open it.

use larder_core::{Db, Result};

#[doc(no_inline)]
pub use larder_core::cache::*;

use crate::storage::Sqlite;

impl Sqlite {
    /// A cache in tables of this database, made where they are missing.
    ///
    /// Give it a file of its own: its writes would wait for those of other tables, and a transaction
    /// that asks its own file's cache would wait for itself until the cache's budget is spent.
    ///
    /// ```
    /// use larder_sqlite::cache::Cache;
    /// use larder_sqlite::Sqlite;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_sqlite::Result<()> {
    /// let cache = Cache::new(Sqlite::in_memory().await?.cache().await?);
    /// let load = || async { Ok::<_, larder_sqlite::Error>(42_u32) };
    /// assert_eq!(cache.entry("answer").get_or_set(load).await?, 42);
    /// assert_eq!(cache.entry::<u32>("answer").get().await, Some(42));
    /// # Ok(()) }
    /// ```
    pub async fn cache(&self) -> Result<StoredCache> {
        self.create_missing_tables(&tables()).await?;
        Ok(StoredCache::new(Db::new(self.clone())))
    }
}
