//! [`Forgetting`]: makes the cache forget what a write touched, whatever becomes of the write.
//!
//! What was touched is kept in [`Notes`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;

use super::table::tag;
use super::touched::Touched;
use crate::cache::Cache;
use crate::error::Result;

/// When what may have been committed is forgotten, from when nobody waits for its answer any more:
/// the store may still be at it for a while.
const DOUBTS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(9),
];

/// What is to be forgotten by and by. It is noted before a write is sent, so that nothing is missing
/// though the write's future is dropped.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes(Arc<Mutex<Touched>>);

impl Notes {
    pub(super) fn of(touched: Touched) -> Self {
        Self(Arc::new(Mutex::new(touched)))
    }

    pub(super) fn add(&self, touched: Touched) {
        self.lock().add(touched);
    }

    fn lock(&self) -> MutexGuard<'_, Touched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for a write, or for a commit. Dropped before that has ended, it takes what was noted for
/// committed, now or in a while.
#[derive(Debug)]
pub(super) struct Forgetting {
    cache: Cache,
    notes: Notes,
    in_doubt: bool,
}

impl Forgetting {
    pub(super) fn new(cache: &Cache, notes: Notes) -> Self {
        Self {
            cache: cache.clone(),
            notes,
            in_doubt: true,
        }
    }

    /// Waits for the write, and forgets what it touched if it was or may have been committed.
    pub(super) async fn after<R>(mut self, write: impl Future<Output = Result<R>>) -> Result<R> {
        let outcome = write.await;
        self.in_doubt = match &outcome {
            Ok(_) => {
                self.forget().await;
                false
            }
            Err(error) if error.is_unknown_outcome() || error.is_decode() => {
                self.forget().await;
                true
            }
            Err(_) => false,
        };
        outcome
    }

    /// Forgets now. What the cache cannot be told, it bars in this process and is told again: the
    /// write is none the worse for it.
    pub(super) async fn forget(&self) {
        let touched = self.notes.lock().clone();
        forget(&self.cache, &touched).await;
    }
}

impl Drop for Forgetting {
    fn drop(&mut self) {
        let touched = self.notes.lock().clone();
        if !self.in_doubt || touched.is_empty() {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let cache = self.cache.clone();
        runtime.spawn(async move {
            for pause in DOUBTS {
                tokio::time::sleep(pause).await;
                forget(&cache, &touched).await;
            }
        });
    }
}

async fn forget(cache: &Cache, touched: &Touched) {
    let names: Vec<&str> = touched.names.iter().map(String::as_str).collect();
    let tags: Vec<String> = touched.tables.iter().map(|table| tag(table)).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    // Both, whatever comes of the first; most writes have only one of them.
    let names = cache.invalidate(&names).await;
    let tags = cache.invalidate_tags(&tags).await;
    if let Err(error) = names.and(tags) {
        tracing::warn!(target: "larder::cache", %error,
            "the cache could not be told what was written: it is not used for that until it is");
    }
}
