//! [`Lock`]: names that one holder at a time can have.

use std::future::Future;
use std::panic::Location;

use super::{Control, Db, Site};
use crate::error::{Error, Result};
use crate::storage::NamedLock;

impl Db {
    /// Takes the lock of this name, waiting for its holder until this handle's deadline.
    ///
    /// For what must not run twice at a time though it touches no common row: a nightly job, a
    /// call to another service. The lock guards nothing by itself and belongs to the guard, not to
    /// a transaction; who takes it twice waits for himself. How far it reaches is the engine's
    /// matter: every user of a PostgreSQL database, the clones of one store in memory.
    ///
    /// ```
    /// # use larder_core::{Db, Memory};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let db = Db::new(Memory::new());
    /// let lock = db.lock("nightly report").await?;
    /// assert!(db.try_lock("nightly report").await?.is_none());
    /// // .. the work ..
    /// lock.release().await?;
    /// assert!(db.try_lock("nightly report").await?.is_some());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `Timeout` if somebody else holds it for too long; `Unsupported` where there are no such
    /// locks ([`Capabilities::named_locks`](crate::Capabilities::named_locks)); `Misuse` for an
    /// empty name or one of more than 200 bytes, and on the handle of a transaction.
    #[track_caller]
    pub fn lock(&self, name: &str) -> impl Future<Output = Result<Lock>> + Send + '_ {
        let (site, name) = (Location::caller(), self.lock_name(name));
        async move {
            let taken = self.take(&name?, true, site).await?;
            taken.ok_or_else(|| Control::Lock.late(self.limit(None)))
        }
    }

    /// Takes the lock of this name if nobody holds it.
    ///
    /// # Errors
    /// As [`lock`](Self::lock), but it does not wait.
    #[track_caller]
    pub fn try_lock(&self, name: &str) -> impl Future<Output = Result<Option<Lock>>> + Send + '_ {
        let (site, name) = (Location::caller(), self.lock_name(name));
        async move { self.take(&name?, false, site).await }
    }

    async fn take(&self, name: &str, wait: bool, site: Site) -> Result<Option<Lock>> {
        let taking = self.storage.lock(name, wait);
        let taken = self.control(Control::Lock, site, taking).await?;
        Ok(taken.map(Lock))
    }

    fn lock_name(&self, name: &str) -> Result<String> {
        if self.effects.is_some() {
            return Err(Error::misuse(
                "a named lock is no part of a transaction: take it on the handle outside",
            ));
        }
        if name.is_empty() || name.len() > NAME_MAX || name.contains('\0') {
            return Err(Error::misuse(format!(
                "the name of a lock has 1 to {NAME_MAX} bytes and no NUL"
            )));
        }
        Ok(name.to_owned())
    }
}

/// The longest name, in bytes.
const NAME_MAX: usize = 200;

/// A named lock that is held; made by [`Db::lock`]. Dropping it lets go of it, soon after.
#[derive(Debug)]
#[must_use = "the lock is let go of as soon as its guard is dropped"]
pub struct Lock(Box<dyn NamedLock>);

impl Lock {
    /// Lets go of the lock: when this answers, others can take it.
    ///
    /// # Errors
    /// If the store cannot be reached; it lets go of the lock by itself then.
    pub async fn release(self) -> Result<()> {
        self.0.release().await
    }
}
