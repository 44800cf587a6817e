//! Sessions of people who use a service: [`Sessions`] for the service, [`SessionStore`] for what
//! keeps them.
//!
//! ```text
//!   cookie or header ── SessionId (128 random bits) ──> Sessions<T>   typed data, options
//!                                                         │  SessionHash: SHA-256 of the id
//!                                                         v
//!                                                      SessionStore  ──> StoredSessions, over any Db
//! ```
//!
//! What a session promises, whatever keeps it:
//!
//! - Ids come from the operating system's random source, and a store sees only their SHA-256: who
//!   reads the table can sign in as nobody.
//! - A save updates and never creates. A session that was revoked stays revoked, however many
//!   requests were still working with it; their saves answer `NotFound`.
//! - Saves carry the version that was read. Of two that read the same one, one wins, and the other
//!   answers `Stale`.
//! - It expires when it is not used for a while, **and** after a lifetime that no use extends. The
//!   store's clock decides, not the browser's.
//! - Signing in changes the id ([`Sessions::log_in`]), so that an id planted beforehand is worth
//!   nothing (session fixation). The old one is dead at once.
//!
//! These are the rules of OWASP's [session management cheat sheet]. The cookie is yours to set:
//! `__Host-` before its name, `Secure; HttpOnly; SameSite=Lax; Path=/`, and `Cache-Control: no-store`
//! on what is only for its owner.
//!
//! [session management cheat sheet]: https://cheatsheetseries.owasp.org/cheatsheets/Session_Management_Cheat_Sheet.html
//!
//! ```
//! use larder_core::session::{Sessions, StoredSessions};
//! use larder_core::{Db, Memory};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, Default)]
//! struct Cart { items: Vec<u32> }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
//! let db = Db::new(Memory::new()); // or SQLite, PostgreSQL, Redis
//! let sessions = Sessions::<Cart>::new(StoredSessions::new(db));
//!
//! let visit = sessions.create(Cart::default()).await?;
//! let cookie = visit.id().expose(); // goes to the browser, and nowhere else
//!
//! let mut visit = sessions.load(&cookie).await?.expect("it was just made");
//! visit.data.items.push(7);
//! sessions.save(&mut visit).await?;
//!
//! sessions.log_in(&mut visit, 42).await?; // the user's key
//! assert!(sessions.load(&cookie).await?.is_none()); // the old id is dead
//!
//! sessions.revoke_all(42).await?; // "sign out everywhere"
//! assert!(sessions.save(&mut visit).await.is_err_and(|error| error.is_not_found()));
//! # Ok(()) }
//! ```

mod id;
mod options;
mod sessions;
mod stored;
#[cfg(feature = "tower-sessions")]
mod tower;

pub use id::{SessionHash, SessionId};
pub use options::SessionOptions;
pub use sessions::{Session, SessionInfo, Sessions};
pub use stored::StoredSessions;
#[cfg(feature = "tower-sessions")]
pub use tower::TowerSessions;

use std::fmt::{self, Debug};
use std::time::Duration;

use async_trait::async_trait;

use crate::error::{Error, ErrorKind, Result};
use crate::types::Timestamp;

/// What keeps sessions. Object safe; [`Sessions`] is what services call.
///
/// Duties of an implementation:
///
/// - It tells the time by one clock and compares with that alone. A session whose
///   [expiry](SessionRecord::expires_at) has passed does not exist for any of these methods but
///   [`purge`](Self::purge).
/// - [`update`](Self::update) is one atomic step and MUST NOT create a row.
/// - What was acknowledged is seen by every later call, by any process.
#[async_trait]
pub trait SessionStore: Debug + Send + Sync + 'static {
    /// Keeps a new session.
    ///
    /// # Errors
    /// `Unique` if there is one with this hash, which random ids rule out.
    async fn create(&self, new: NewSession) -> Result<SessionRecord>;

    /// The session with this hash, if it is alive.
    ///
    /// With `touch` this counts as a use, which puts the idle expiry off. That is written at most
    /// once per [`Touch::every`]; a failure to write it does not fail the load.
    async fn load(&self, hash: &SessionHash, touch: Option<Touch>)
    -> Result<Option<SessionRecord>>;

    /// Changes a session that is alive. Moves its version up by one.
    ///
    /// # Errors
    /// `NotFound` ([`gone`]) if it was revoked, has expired or never was; `Stale` ([`stale`]) if
    /// its version is another than the change says.
    async fn update(&self, hash: &SessionHash, change: SessionChange) -> Result<()>;

    /// Ends a session; says whether it was there.
    async fn revoke(&self, hash: &SessionHash) -> Result<bool>;

    /// Ends all sessions that a user has at this moment, but one if `except` names it. Says how
    /// many.
    async fn revoke_all(&self, user: &str, except: Option<&SessionHash>) -> Result<u64>;

    /// The newest of a user's living sessions, at most `limit`.
    async fn list(&self, user: &str, limit: u64) -> Result<Vec<SessionRecord>>;

    /// Deletes at most `limit` sessions that have expired, and says how many.
    async fn purge(&self, limit: u64) -> Result<u64>;
}

/// What a new session is.
#[derive(Clone)]
pub struct NewSession {
    /// The hash of its id.
    pub hash: SessionHash,
    /// Whose it is, if they have signed in.
    pub user: Option<String>,
    /// What it holds.
    pub data: Vec<u8>,
    /// How long it lives without use.
    pub idle: Duration,
    /// How long it lives at most.
    pub lifetime: Duration,
}

/// A session as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// The hash of its id.
    pub hash: SessionHash,
    /// Whose it is, if they have signed in.
    pub user: Option<String>,
    /// What it holds.
    pub data: Vec<u8>,
    /// Counts the updates, from 1.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it expires unless it is used before.
    pub expires_at: Timestamp,
    /// When it expires for good.
    pub ends_at: Timestamp,
}

/// What to change of a session. What is `None` stays as it is.
#[derive(Clone, Default)]
pub struct SessionChange {
    /// The version it must have.
    pub version: Option<i64>,
    /// The hash of its new id. The old one is dead in the same step.
    pub hash: Option<SessionHash>,
    /// Whose it is from now on.
    pub user: Option<String>,
    /// What it holds from now on.
    pub data: Option<Vec<u8>>,
    /// How long it lives without use, from now on; never beyond its lifetime.
    pub idle: Option<Duration>,
}

/// How a use puts off the idle expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    /// How long the session lives without use from now on.
    pub idle: Duration,
    /// How far the expiry may lag behind before it is written again. Within it, uses cost no
    /// write, and a session may expire earlier by as much.
    pub every: Duration,
}

/// The error of a change to a session that is no more.
#[cold]
pub fn gone() -> Error {
    Error::new(
        ErrorKind::NotFound,
        "the session was revoked or has expired; let the user sign in again",
    )
}

/// The error of a change to a session that somebody changed since it was read.
#[cold]
pub fn stale() -> Error {
    Error::new(
        ErrorKind::Stale,
        "another request changed the session since it was read; load it again and repeat the change",
    )
}

// Written by hand: what a session holds stays out of logs.
impl Debug for SessionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionRecord")
            .field("hash", &self.hash)
            .field("version", &self.version)
            .field("expires_at", &self.expires_at)
            .field("ends_at", &self.ends_at)
            .finish_non_exhaustive()
    }
}

impl Debug for NewSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSession")
            .field("hash", &self.hash)
            .finish_non_exhaustive()
    }
}

impl Debug for SessionChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionChange")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
