//! [`LocalCache`]: a cache in this process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use moka::ops::compute::Op;

use super::record::{Decision, Lease, Record, Versions, later};
use super::store::{CacheStore, Found, LeaseRequest, Leased, NewEntry, Token};
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result};

/// How many tags are remembered; entries of a tag that is forgotten are gone.
const TAGS_MAX: u64 = 100_000;
/// What an entry takes beside its key and its bytes, about.
const OVERHEAD_BYTES: usize = 200;

/// Keeps entries in this process, up to a number of bytes; those used least go first (TinyLFU, as
/// [moka](https://docs.rs/moka) does it). Clones share them. No call blocks or waits.
#[derive(Clone)]
pub struct LocalCache {
    records: moka::sync::Cache<Arc<str>, Arc<Record>>,
    tags: moka::sync::Cache<String, i64>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for LocalCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalCache")
            .field("bytes_max", &self.records.policy().max_capacity())
            .finish_non_exhaustive()
    }
}

impl LocalCache {
    /// An empty cache of at most so many bytes, keys and bookkeeping included.
    pub fn new(bytes_max: u64) -> Self {
        Self::with_clock(bytes_max, Arc::new(SystemClock))
    }

    /// The same with a clock that a test moves.
    pub fn with_clock(bytes_max: u64, clock: Arc<dyn Clock>) -> Self {
        Self {
            records: moka::sync::Cache::builder()
                .max_capacity(bytes_max)
                .weigher(weigh)
                .build(),
            tags: moka::sync::Cache::new(TAGS_MAX),
            clock,
        }
    }

    fn now(&self) -> i64 {
        self.clock.now().as_micros()
    }

    /// The version of each tag; a tag that has none gets one.
    fn versions(&self, tags: &[String]) -> Result<Versions> {
        let version = |tag: &String| {
            let fresh = Token::random()?.as_i64();
            let version = self.tags.get_with_by_ref(tag, || fresh);
            Ok((tag.clone(), version))
        };
        tags.iter().map(version).collect()
    }

    /// Whether each tag still has the version it had.
    fn holds(&self, tags: &Versions) -> bool {
        tags.iter()
            .all(|(tag, version)| self.tags.get(tag) == Some(*version))
    }

    fn found(&self, key: &str, shape: u64, now: i64) -> Option<Found> {
        let record = self.records.get(key)?;
        record
            .found(shape, now)
            .filter(|_| self.holds(&record.tags))
    }

    /// Changes a key as one step; `None` removes it.
    fn change(&self, key: &str, change: impl FnOnce(Option<Record>) -> Step) {
        let entry = self.records.entry(Arc::from(key));
        let _ = entry.and_compute_with(|entry| {
            let old = entry.map(moka::Entry::into_value);
            match change(old.map(Arc::unwrap_or_clone)) {
                Step::Keep => Op::Nop,
                Step::Put(record) => Op::Put(Arc::new(record)),
                Step::Remove => Op::Remove,
            }
        });
    }
}

/// What becomes of a key.
enum Step {
    Keep,
    Put(Record),
    Remove,
}

fn weigh(key: &Arc<str>, record: &Arc<Record>) -> u32 {
    let value = record.value.as_ref().map_or(0, bytes::Bytes::len);
    u32::try_from(key.len() + value + OVERHEAD_BYTES).unwrap_or(u32::MAX)
}

/// A record of an entry that is kept from now on.
fn kept(entry: NewEntry, tags: Versions, now: i64) -> Record {
    let fresh_until = later(now, entry.fresh);
    Record {
        value: Some(entry.value),
        shape: entry.shape,
        fresh_until,
        kept_until: later(fresh_until, entry.stale),
        tags,
        lease: None,
        count: 0,
    }
}

#[async_trait]
impl CacheStore for LocalCache {
    async fn get(&self, keys: &[&str], shape: u64) -> Result<Vec<Option<Found>>> {
        let now = self.now();
        Ok(keys.iter().map(|key| self.found(key, shape, now)).collect())
    }

    async fn lease(&self, request: LeaseRequest<'_>) -> Result<Leased> {
        let (now, tags) = (self.now(), self.versions(request.tags)?);
        let mut answer = Leased::Taken { kept: None };
        self.change(request.key, |record| {
            let mut record = record.unwrap_or_default();
            match record.decide(&request, |tags| self.holds(tags), now) {
                Decision::Fresh(found) => answer = Leased::Fresh(found),
                Decision::Busy { kept, wait } => answer = Leased::Busy { kept, wait },
                Decision::Take { kept } => {
                    answer = Leased::Taken { kept };
                    let until = later(now, request.lease);
                    record.lease = Some(Lease {
                        token: request.token,
                        until,
                        tags,
                    });
                    return Step::Put(record);
                }
            }
            Step::Keep
        });
        Ok(answer)
    }

    async fn fill(&self, key: &str, token: Token, entry: NewEntry) -> Result<bool> {
        let now = self.now();
        let mut filled = false;
        self.change(key, |record| match record {
            Some(Record {
                lease: Some(lease), ..
            }) if lease.token == token && self.holds(&lease.tags) => {
                filled = true;
                Step::Put(kept(entry, lease.tags, now))
            }
            _ => Step::Keep,
        });
        Ok(filled)
    }

    async fn release(&self, key: &str, token: Token) -> Result<()> {
        self.change(key, |record| match record {
            Some(record) if record.is_leased_to(token) => Step::Put(Record {
                lease: None,
                ..record
            }),
            _ => Step::Keep,
        });
        Ok(())
    }

    async fn set(&self, entries: Vec<(String, NewEntry)>, tags: &[String]) -> Result<()> {
        let (now, tags) = (self.now(), self.versions(tags)?);
        for (key, entry) in entries {
            self.change(&key, |_| Step::Put(kept(entry, tags.clone(), now)));
        }
        Ok(())
    }

    async fn delete(&self, keys: &[&str]) -> Result<()> {
        for key in keys {
            self.change(key, |_| Step::Remove);
        }
        Ok(())
    }

    async fn discard(&self, key: &str, value: &[u8]) -> Result<()> {
        self.change(key, |record| match record {
            Some(record) if record.value.as_deref() == Some(value) => Step::Remove,
            _ => Step::Keep,
        });
        Ok(())
    }

    async fn revoke_tags(&self, tags: &[&str]) -> Result<()> {
        for tag in tags {
            self.tags.invalidate(*tag);
        }
        Ok(())
    }

    async fn add(&self, key: &str, by: i64, keep: Duration) -> Result<i64> {
        let now = self.now();
        let mut count = None;
        self.change(key, |record| {
            let mut record = match record {
                Some(record) if record.kept_until > now && record.value.is_none() => record,
                _ => Record {
                    kept_until: later(now, keep),
                    ..Record::default()
                },
            };
            count = record.count.checked_add(by);
            match count {
                Some(count) => record.count = count,
                None => return Step::Keep,
            }
            Step::Put(record)
        });
        count.ok_or_else(overflow)
    }

    async fn purge(&self, most: usize) -> Result<usize> {
        let now = self.now();
        let gone = self.records.iter();
        let gone = gone.filter(|(_, record)| record.is_gone(now));
        let keys: Vec<_> = gone.take(most).map(|(key, _)| key).collect();
        for key in &keys {
            self.change(key, |record| match record {
                Some(record) if record.is_gone(now) => Step::Remove,
                _ => Step::Keep,
            });
        }
        Ok(keys.len())
    }
}

/// The error of a counter that has no more room.
#[cold]
pub(super) fn overflow() -> Error {
    Error::invalid("the counter would leave the range of 64 bits; it stays as it is")
}
