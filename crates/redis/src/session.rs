//! Sessions in Redis.

use larder_core::{Db, Result};

#[doc(no_inline)]
pub use larder_core::session::*;

use crate::storage::Redis;

impl Redis {
    /// Sessions in a table of this namespace, made where it is missing, by this machine's clock.
    ///
    /// Rows have no time to live: [purge](Sessions::purge) them. A failover can bring back a session
    /// that was revoked just before, as it can lose any acknowledged write of Redis.
    ///
    /// ```no_run
    /// use larder_redis::Redis;
    /// use larder_redis::session::Sessions;
    ///
    /// # async fn open() -> larder_redis::Result<()> {
    /// let redis = Redis::connect("redis://localhost:6379?namespace=shop").await?;
    /// let sessions = Sessions::<()>::new(redis.sessions().await?);
    /// # Ok(()) }
    /// ```
    pub async fn sessions(&self) -> Result<StoredSessions> {
        self.create_tables(&[StoredSessions::TABLE]).await?;
        Ok(StoredSessions::new(Db::new(self.clone())))
    }
}
