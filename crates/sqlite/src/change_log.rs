//! The feed of changes in SQLite.
//!
//! There is one writer at a time, and keys are never drawn twice: a change's key is its place in the
//! order of the commits.

use larder_core::Result;
use larder_sql::{Dialect, change_log};

use crate::storage::Sqlite;

impl Sqlite {
    /// Creates the tables of a [feed of changes](larder_core::feed) where they are missing. May be
    /// called by several programs at once, at each start; needs no migration, but
    /// `larder_sql::change_log` has the statements for one.
    ///
    /// ```
    /// use larder_sqlite::feed::{Position, Recorded, Recording};
    /// use larder_sqlite::models::{self, NewTag, Tag};
    /// use larder_sqlite::{Db, Sqlite};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_sqlite::Result<()> {
    /// let sqlite = Sqlite::in_memory().await?;
    /// sqlite.create_tables(&models::tables()).await?;
    /// sqlite.create_change_log().await?;
    /// let store = Recorded::new(sqlite, [Recording::of::<Tag>()]);
    /// let changes = store.changes()?;
    /// let db = Db::new(store);
    /// db.insert(NewTag::new("rust")).await?;
    /// assert_eq!(changes.after(Position::START, 10).await?.len(), 1);
    /// # Ok(()) }
    /// ```
    pub async fn create_change_log(&self) -> Result<()> {
        let statements = change_log(Dialect::Sqlite);
        self.database().create_missing(statements).await
    }
}
