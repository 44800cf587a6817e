//! Sessions in a SQLite file.

use larder_core::{Db, Result};

#[doc(no_inline)]
pub use larder_core::session::*;

use crate::storage::Sqlite;

impl Sqlite {
    /// Sessions in a table of this database, made where it is missing, by this machine's clock.
    ///
    /// ```
    /// use larder_sqlite::session::Sessions;
    /// use larder_sqlite::Sqlite;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_sqlite::Result<()> {
    /// let sessions = Sessions::<()>::new(Sqlite::in_memory().await?.sessions().await?);
    /// let ada = sessions.create_for("ada", ()).await?;
    /// assert!(sessions.load(&ada.id().expose()).await?.is_some());
    /// # Ok(()) }
    /// ```
    pub async fn sessions(&self) -> Result<StoredSessions> {
        self.create_missing_tables(&[StoredSessions::TABLE]).await?;
        Ok(StoredSessions::new(Db::new(self.clone())))
    }
}
