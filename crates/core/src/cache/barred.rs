//! [`Barred`]: keys and tags whose invalidation the store has not confirmed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How many names are remembered. With more, everything is barred until some are confirmed.
const NAMES_MAX: usize = 10_000;

/// Names that may not be served from the store.
#[derive(Debug, Default)]
pub(super) struct Barred {
    names: Mutex<HashMap<Arc<str>, usize>>,
    /// How many invalidations wait; looked at without the lock.
    waiting: AtomicUsize,
    /// How many of them found no room.
    beyond: AtomicUsize,
}

impl Barred {
    /// Bars names until the same are let go of.
    pub(super) fn bar(&self, names: &[Arc<str>]) {
        let mut known = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            if let Some(times) = known.get_mut(name) {
                *times += 1;
            } else if known.len() < NAMES_MAX {
                known.insert(Arc::clone(name), 1);
            } else {
                self.beyond.fetch_add(1, Ordering::Release);
            }
        }
        self.waiting.fetch_add(1, Ordering::Release);
    }

    /// Lets go of names that were barred.
    pub(super) fn confirm(&self, names: &[Arc<str>]) {
        let mut known = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            match known.get_mut(name) {
                Some(1) => drop(known.remove(name)),
                Some(times) => *times -= 1,
                None => drop(self.beyond.fetch_sub(1, Ordering::Release)),
            }
        }
        self.waiting.fetch_sub(1, Ordering::Release);
    }

    /// Whether one of the names is barred.
    pub(super) fn covers<'a>(&self, mut names: impl Iterator<Item = &'a str>) -> bool {
        if self.waiting.load(Ordering::Acquire) == 0 {
            return false;
        }
        let known = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        self.beyond.load(Ordering::Acquire) > 0 || names.any(|name| known.contains_key(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_barred_until_each_invalidation_of_it_is_confirmed() {
        let (barred, names) = (Barred::default(), ["a".into(), "b".into()]);
        let covers = |name: &str| barred.covers([name].into_iter());
        barred.bar(&names);
        barred.bar(&names[..1]);
        assert!(covers("a") && covers("b") && !covers("c"));
        barred.confirm(&names);
        assert!(covers("a") && !covers("b"));
        barred.confirm(&names[..1]);
        assert!(!covers("a"));
    }

    #[test]
    fn with_too_many_everything_is_barred() {
        let barred = Barred::default();
        let names: Vec<Arc<str>> = (0..=NAMES_MAX).map(|n| n.to_string().into()).collect();
        barred.bar(&names);
        assert!(barred.covers(["never heard of"].into_iter()));
        barred.confirm(&names);
        assert!(!barred.covers(["0"].into_iter()));
    }
}
