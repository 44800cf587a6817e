//! [`CacheStore`]: what keeps cached bytes, and who may fill them.

use std::fmt;
use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::{Error, ErrorKind, Result};

/// Keeps bytes under keys for a while. [`Cache`](super::Cache) makes values of them.
///
/// # Duties of a store
///
/// - An entry is *fresh* at first, then *stale* (served only to those who ask for it), then gone.
/// - **Leases.** Who misses asks for a lease with a [`Token`] of their own, loads, and fills. A fill
///   with a token that holds the lease no more changes nothing. Deleting a key, setting it, revoking
///   one of its tags, or losing it in whatever way ends its lease: so that what was loaded before a
///   change is never kept after it.
/// - **Tags** are versions, not lists: an entry remembers the versions that its tags had when it was
///   leased or set, and is gone as soon as one of them has another. A version that is lost counts as
///   another one. Revoking a tag costs the same however many entries have it.
/// - Times are told by one clock for all who share the store.
/// - A store may forget anything at any time. It MUST NOT remember what it was told to forget.
#[async_trait]
pub trait CacheStore: Debug + Send + Sync + 'static {
    /// Looks keys up: in the order given, `None` where nothing of this shape is kept.
    async fn get(&self, keys: &[&str], shape: u64) -> Result<Vec<Option<Found>>>;

    /// Looks one key up and, if it is not fresh, takes the lease to fill it.
    async fn lease(&self, request: LeaseRequest<'_>) -> Result<Leased>;

    /// Keeps what was loaded, and ends the lease; `false`, and nothing changes, if the token does
    /// not hold it.
    async fn fill(&self, key: &str, token: Token, entry: NewEntry) -> Result<bool>;

    /// Ends a lease without filling, if the token holds it.
    async fn release(&self, key: &str, token: Token) -> Result<()>;

    /// Keeps entries, whatever was there before. Ends the keys' leases.
    async fn set(&self, entries: Vec<(String, NewEntry)>, tags: &[String]) -> Result<()>;

    /// Forgets keys, and ends their leases. Keys that are not there are fine.
    async fn delete(&self, keys: &[&str]) -> Result<()>;

    /// Forgets a key if it still holds this value: somebody else may have mended it.
    async fn discard(&self, key: &str, value: &[u8]) -> Result<()>;

    /// Forgets all that has one of the tags, and ends its leases.
    async fn revoke_tags(&self, tags: &[&str]) -> Result<()>;

    /// Adds to a counter, which begins at 0 and is forgotten after `keep` from its beginning, and
    /// answers what it is then. MUST NOT count twice; a lost answer is `Unknown`.
    async fn add(&self, key: &str, by: i64, keep: Duration) -> Result<i64>;

    /// Removes at most so many entries that are gone by their time, and says how many. Stores that
    /// do so by themselves answer 0.
    async fn purge(&self, most: usize) -> Result<usize>;
}

/// Bytes that were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The bytes.
    pub value: Bytes,
    /// How long they stay fresh; `None` if they are stale.
    pub fresh_for: Option<Duration>,
}

/// Who asks for a lease, and on what.
#[derive(Clone, Copy, Debug)]
pub struct LeaseRequest<'a> {
    /// The key.
    pub key: &'a str,
    /// The shape of what the asker can read; an entry of another shape counts as missing.
    pub shape: u64,
    /// The tags that the entry will have.
    pub tags: &'a [String],
    /// Who asks. Asking again with the same token renews the lease.
    pub token: Token,
    /// For how long, if nobody ends it.
    pub lease: Duration,
    /// Whether to take it though the entry is fresh, to renew it early.
    pub even_if_fresh: bool,
}

/// The answer to a [`LeaseRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leased {
    /// No lease is needed.
    Fresh(Found),
    /// The lease is the asker's: load and fill.
    Taken {
        /// What was kept so far.
        kept: Option<Found>,
    },
    /// Somebody else has the lease.
    Busy {
        /// What was kept so far.
        kept: Option<Found>,
        /// How long their lease goes on at most.
        wait: Duration,
    },
}

/// Bytes to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    /// The bytes.
    pub value: Bytes,
    /// The shape of the value in them.
    pub shape: u64,
    /// How long they are fresh.
    pub fresh: Duration,
    /// How long they are kept as stale after that.
    pub stale: Duration,
}

/// Names a holder of a lease: 63 random bits, because a counter would come again after the store
/// has forgotten it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(u64);

impl Token {
    /// A new one.
    ///
    /// # Errors
    /// `Unavailable` if the operating system gives no random numbers.
    pub fn random() -> Result<Self> {
        let random = getrandom::u64().map_err(|cause| {
            let message = "the operating system gives no random numbers";
            Error::new(ErrorKind::Unavailable, message).with_source(cause)
        })?;
        Ok(Self(random >> 1))
    }

    /// The token that was this number.
    pub fn from_i64(number: i64) -> Self {
        Self(number as u64)
    }

    /// The token as a number that is not negative.
    pub fn as_i64(self) -> i64 {
        self.0 as i64
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({:016x})", self.0)
    }
}
