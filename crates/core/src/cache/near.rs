//! [`Near`]: what was found in a shared cache, kept in this process for a moment.
//!
//! An entry is not removed when it is invalidated; it is outdated. It remembers how often the *marks* of
//! its key and its tags had been counted up before it was looked up in the shared cache, and is
//! served only while they have not been since. So a look-up that was under way while its key was
//! invalidated can leave nothing behind.

use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustc_hash::FxBuildHasher;

use super::envelope::Opened;

/// How many marks there are. Keys that share one are outdated together, at the cost of a look-up.
const MARKS: usize = 4_096;
/// What an entry takes beside its key and its bytes, about.
const OVERHEAD_BYTES: usize = 150;

/// The mark of a key or a tag: the same in all processes.
pub(super) type Mark = u16;

/// A near cache.
pub(super) struct Near {
    entries: moka::sync::Cache<Arc<str>, Arc<Entry>, FxBuildHasher>,
    marks: Box<[AtomicU64]>,
    ttl: Duration,
}

struct Entry {
    opened: Opened,
    until: Instant,
    ticket: Ticket,
}

/// How things stood before a look-up.
#[derive(Clone, Debug)]
pub(super) struct Ticket(Box<[(Mark, u64)]>);

impl Near {
    pub(super) fn new(bytes_max: u64, ttl: Duration) -> Self {
        Self {
            entries: moka::sync::Cache::builder()
                .max_capacity(bytes_max)
                .weigher(|key: &Arc<str>, entry: &Arc<Entry>| {
                    let bytes = key.len() + entry.opened.len() + OVERHEAD_BYTES;
                    u32::try_from(bytes).unwrap_or(u32::MAX)
                })
                .build_with_hasher(FxBuildHasher),
            marks: (0..MARKS).map(|_| AtomicU64::new(0)).collect(),
            ttl,
        }
    }

    /// What is known of the key and is not outdated.
    pub(super) fn get(&self, key: &str) -> Option<Opened> {
        let entry = self.entries.get(key)?;
        let current = entry.ticket.0.iter();
        let current = current
            .copied()
            .all(|(mark, count)| self.count(mark) == count);
        (current && Instant::now() < entry.until).then(|| entry.opened.clone())
    }

    /// To be drawn before the look-up whose outcome is put in with it.
    pub(super) fn ticket<'a>(&self, marks: impl Iterator<Item = &'a str>) -> Ticket {
        Ticket(
            marks
                .map(|text| (mark(text), self.count(mark(text))))
                .collect(),
        )
    }

    /// Keeps what was found, for as long as it is fresh, and a bound.
    pub(super) fn put(&self, key: &Arc<str>, opened: Opened, fresh_for: Duration, ticket: Ticket) {
        let until = Instant::now() + fresh_for.min(self.ttl);
        let entry = Entry {
            opened,
            until,
            ticket,
        };
        self.entries.insert(Arc::clone(key), Arc::new(entry));
    }

    /// Outdates all that has one of these marks.
    pub(super) fn outdate(&self, marks: impl Iterator<Item = Mark>) {
        for mark in marks {
            if let Some(count) = self.marks.get(usize::from(mark)) {
                count.fetch_add(1, Ordering::AcqRel);
            }
        }
    }

    /// Outdates everything.
    pub(super) fn outdate_all(&self) {
        self.outdate(0..MARKS as Mark);
    }

    fn count(&self, mark: Mark) -> u64 {
        self.marks[usize::from(mark)].load(Ordering::Acquire)
    }
}

impl std::fmt::Debug for Near {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Near")
            .field("entries", &self.entries.entry_count())
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

/// Marks are told to other processes, so that they are computed the same way in all builds.
pub(super) fn mark(text: &str) -> Mark {
    let mut hasher = siphasher::sip::SipHasher13::new();
    hasher.write(text.as_bytes());
    (hasher.finish() % MARKS as u64) as Mark
}

/// Marks as a message; of too many, an empty one, which means all.
pub(super) fn message(marks: &[Mark], bytes_max: usize) -> Vec<u8> {
    if marks.len() * 2 > bytes_max {
        return Vec::new();
    }
    marks.iter().flat_map(|mark| mark.to_le_bytes()).collect()
}

/// The marks of a message; `None` means all.
pub(super) fn marks(message: &[u8]) -> Option<impl Iterator<Item = Mark>> {
    let (pairs, rest) = message.as_chunks::<2>();
    let whole = rest.is_empty() && !pairs.is_empty();
    whole.then(|| pairs.iter().map(|pair| Mark::from_le_bytes(*pair)))
}

#[cfg(test)]
mod tests {
    use super::super::envelope::{Codec, open, seal};
    use super::*;

    fn opened(text: &str) -> Opened {
        let bytes = seal(Some(&text), Codec::Compact, Duration::ZERO, 99, 99).expect("fits");
        open(&bytes, 99).expect("just sealed")
    }

    fn near() -> Near {
        Near::new(1 << 20, Duration::from_mins(1))
    }

    const LONG: Duration = Duration::from_mins(1);

    #[test]
    fn a_look_up_overtaken_by_an_invalidation_leaves_nothing() {
        let (near, key) = (near(), Arc::<str>::from("user:1"));
        let ticket = near.ticket(["user:1"].into_iter());
        near.outdate([mark("user:1")].into_iter());
        near.put(&key, opened("old"), LONG, ticket);
        assert!(near.get("user:1").is_none());
        let ticket = near.ticket(["user:1"].into_iter());
        near.put(&key, opened("new"), LONG, ticket);
        assert!(near.get("user:1").is_some());
    }

    #[test]
    fn a_tag_outdates_what_has_it() {
        let (near, key) = (near(), Arc::<str>::from("page"));
        let ticket = near.ticket(["page", "tag:a", "tag:b"].into_iter());
        near.put(&key, opened("page"), LONG, ticket);
        assert!(near.get("page").is_some());
        near.outdate([mark("tag:b")].into_iter());
        assert!(near.get("page").is_none());
    }

    #[test]
    fn everything_can_be_outdated_and_time_does_it_too() {
        let (near, key) = (near(), Arc::<str>::from("k"));
        let ticket = near.ticket(["k"].into_iter());
        near.put(&key, opened("v"), LONG, ticket.clone());
        near.outdate_all();
        assert!(near.get("k").is_none());
        near.put(
            &key,
            opened("v"),
            Duration::ZERO,
            near.ticket(["k"].into_iter()),
        );
        assert!(near.get("k").is_none());
    }

    #[test]
    fn messages_carry_marks_or_mean_all() {
        let told = [1, 4_095, 7];
        let read = marks(&message(&told, 100)).map(Iterator::collect::<Vec<_>>);
        assert_eq!(read.as_deref(), Some(&told[..]));
        assert!(marks(&message(&told, 5)).is_none());
        assert!(marks(b"odd").is_none());
    }
}
