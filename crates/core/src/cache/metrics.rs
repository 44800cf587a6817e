//! [`CacheMetrics`]: how a cache is doing.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! metrics {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// Counts since the [`Cache`](super::Cache) was made, of this process alone.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct CacheMetrics {
            $($(#[$doc])* pub $name: u64,)+
        }

        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $name: AtomicU64,)+
        }

        impl Counters {
            pub(super) fn snapshot(&self) -> CacheMetrics {
                CacheMetrics {
                    $($name: self.$name.load(Ordering::Relaxed),)+
                }
            }
        }
    };
}

metrics! {
    /// Values served from the near cache.
    near_hits,
    /// Fresh values served from the store.
    hits,
    /// Stale values served, while somebody loads or because loading failed.
    stale_hits,
    /// Look-ups that found nothing to serve.
    misses,
    /// Loaders that were run, early ones included.
    loads,
    /// Loaders that answered an error.
    load_errors,
    /// What was loaded and kept.
    fills,
    /// What was loaded and not kept, because it was invalidated meanwhile.
    revoked_fills,
    /// What was loaded and not kept, because it is too large or cannot be written.
    unkept,
    /// Entries that were no entries, and were removed.
    bad_entries,
    /// Calls of the store that failed, or took longer than the budget.
    failures,
    /// Calls that were not made, because the store had failed before.
    skipped,
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
