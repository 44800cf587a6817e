//! Named locks, for the clones of one store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use tokio::sync::{Mutex as Lock, OwnedMutexGuard};

use crate::error::Result;
use crate::storage::NamedLock;

/// The locks that somebody holds or waits for.
#[derive(Debug, Default)]
pub(super) struct Locks(Mutex<HashMap<String, Weak<Lock<()>>>>);

/// A lock that is held.
#[derive(Debug)]
struct Held {
    _guard: OwnedMutexGuard<()>,
}

impl Locks {
    /// Takes the lock, in the order asked; `None` if somebody holds it and nobody waits.
    pub(super) async fn take(&self, name: &str, wait: bool) -> Option<Box<dyn NamedLock>> {
        let lock = self.find(name);
        let guard = if wait {
            Some(lock.lock_owned().await)
        } else {
            lock.try_lock_owned().ok()
        };
        guard.map(|guard| -> Box<dyn NamedLock> { Box::new(Held { _guard: guard }) })
    }

    fn find(&self, name: &str) -> Arc<Lock<()>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = locks.get(name).and_then(Weak::upgrade) {
            return lock;
        }
        // Those that nobody wants any more make room for the new one.
        locks.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::default();
        locks.insert(name.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

#[async_trait]
impl NamedLock for Held {
    async fn release(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
