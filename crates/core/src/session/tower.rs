//! [`TowerSessions`]: our sessions as the store of [tower-sessions], for services on axum and tower.
//!
//! [tower-sessions]: https://docs.rs/tower-sessions

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use time::OffsetDateTime;
use tower_sessions_core::session::{Id, Record};
use tower_sessions_core::session_store::{self, ExpiredDeletion};

use super::sessions::{decode, encode};
use super::{NewSession, SessionChange, SessionId, SessionOptions, SessionRecord, SessionStore};
use crate::error::{Error, ErrorKind};

/// How many expired sessions are deleted at a time.
const PURGE_BATCH: u64 = 500;

/// The sessions of [tower-sessions](https://docs.rs/tower-sessions) in any [`SessionStore`]: give it
/// to a `SessionManagerLayer`. Clones share the store. Needs the feature `tower-sessions`, whose types
/// are those of tower-sessions-core 0.15.
///
/// What it holds to beyond the trait:
///
/// - Only the SHA-256 of an id is kept.
/// - A save never creates. The save of a request that was still at work when its session was revoked
///   is an error, which the middleware answers with 500, and not a session that is back. (An empty
///   session that is gone is saved as what it is: nothing.)
/// - What the middleware calls the expiry is the idle expiry here. A session also ends for good a
///   [`lifetime`](SessionOptions::lifetime) after it was made, **8 hours by default**, whatever the
///   middleware says.
///
/// The trait has no versions: of two requests that save the same session at a time, the last one's
/// data stays. Where that matters use [`Sessions`](super::Sessions).
///
/// ```
/// use larder_core::session::{SessionOptions, StoredSessions, TowerSessions};
/// use larder_core::{Db, Memory};
/// use std::time::Duration;
/// use tower_sessions_core::Session;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_sessions_core::session::Error> {
/// let db = Db::new(Memory::new()); // or SQLite, PostgreSQL, Redis
/// let options = SessionOptions::default().lifetime(Duration::from_hours(24));
/// let store = TowerSessions::with_options(StoredSessions::new(db), options).user_from("user_id");
/// // let layer = SessionManagerLayer::new(store).with_expiry(Expiry::OnInactivity(..));
///
/// # let store = std::sync::Arc::new(store);
/// let session = Session::new(None, store.clone(), None); // as the middleware makes it
/// session.insert("user_id", 42).await?;
/// session.save().await?;
///
/// store.store().revoke_all("42", None).await.expect("the store works"); // "sign out everywhere"
/// assert!(session.save().await.is_err()); // and not: signed in again
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct TowerSessions {
    store: Arc<dyn SessionStore>,
    options: SessionOptions,
    user_from: Option<Arc<str>>,
}

impl TowerSessions {
    /// Sessions in this store, with the default options.
    pub fn new(store: impl SessionStore) -> Self {
        Self::with_options(store, SessionOptions::default())
    }

    /// Sessions in this store. Of the options, the lifetime and the size of the data count; how long
    /// a session may be idle is the middleware's to say.
    pub fn with_options(store: impl SessionStore, options: SessionOptions) -> Self {
        Self::from_shared(Arc::new(store), options)
    }

    /// Sessions in a store that others hold too.
    pub fn from_shared(store: Arc<dyn SessionStore>, options: SessionOptions) -> Self {
        Self {
            store,
            options,
            user_from: None,
        }
    }

    /// Under which name sessions hold whose they are, a text or a number: so that
    /// [`revoke_all`](SessionStore::revoke_all) and [`list`](SessionStore::list) find them. A session
    /// that holds nobody any more is still found as its last user's. Default: nowhere.
    #[must_use]
    pub fn user_from(mut self, name: &str) -> Self {
        self.user_from = Some(name.into());
        self
    }

    /// The store, for what tower-sessions has no method for.
    pub fn store(&self) -> &Arc<dyn SessionStore> {
        &self.store
    }

    fn user(&self, data: &HashMap<String, Value>) -> Option<String> {
        match data.get(self.user_from.as_deref()?)? {
            Value::String(user) => Some(user.clone()),
            Value::Number(user) => Some(user.to_string()),
            _ => None,
        }
    }

    fn new_session(&self, record: &Record) -> crate::Result<NewSession> {
        Ok(NewSession {
            hash: id_of(&record.id).hash(),
            user: self.user(&record.data),
            data: encode(&record.data, self.options.data_bytes_max)?,
            idle: time_left(record),
            lifetime: self.options.lifetime,
        })
    }

    fn change(&self, record: &Record) -> crate::Result<SessionChange> {
        Ok(SessionChange {
            user: self.user(&record.data),
            data: Some(encode(&record.data, self.options.data_bytes_max)?),
            idle: Some(time_left(record).min(self.options.lifetime)), // or it is never purged
            ..SessionChange::default()
        })
    }
}

#[async_trait]
impl session_store::SessionStore for TowerSessions {
    async fn create(&self, record: &mut Record) -> session_store::Result<()> {
        let new = self.new_session(record).map_err(told)?;
        let created = match self.store.create(new).await {
            Err(error) if error.is_unique_violation() => {
                record.id = Id::default();
                let new = self.new_session(record).map_err(told)?;
                self.store.create(new).await
            }
            created => created,
        };
        created.map(drop).map_err(told)
    }

    async fn save(&self, record: &Record) -> session_store::Result<()> {
        let change = self.change(record).map_err(told)?;
        match self.store.update(&id_of(&record.id).hash(), change).await {
            Err(error) if error.is_not_found() && record.data.is_empty() => Ok(()),
            saved => saved.map_err(told),
        }
    }

    async fn load(&self, id: &Id) -> session_store::Result<Option<Record>> {
        let found = self.store.load(&id_of(id).hash(), None).await;
        let read = |record: SessionRecord| {
            Ok(Record {
                id: *id,
                data: decode(&record.data)?,
                expiry_date: date(&record)?,
            })
        };
        found
            .and_then(|found| found.map(read).transpose())
            .map_err(told)
    }

    async fn delete(&self, id: &Id) -> session_store::Result<()> {
        let revoked = self.store.revoke(&id_of(id).hash()).await;
        revoked.map(drop).map_err(told)
    }
}

#[async_trait]
impl ExpiredDeletion for TowerSessions {
    /// 500 at a time, until all are deleted.
    async fn delete_expired(&self) -> session_store::Result<()> {
        while self.store.purge(PURGE_BATCH).await.map_err(told)? == PURGE_BATCH {}
        Ok(())
    }
}

/// The same 128 bits: in a cookie both are the same text.
fn id_of(id: &Id) -> SessionId {
    SessionId::from_bytes(id.0.to_le_bytes())
}

/// How long it is until the expiry the middleware gave the session; nothing if it has passed.
fn time_left(record: &Record) -> Duration {
    let left = record.expiry_date - OffsetDateTime::now_utc();
    left.try_into().unwrap_or(Duration::ZERO)
}

fn date(record: &SessionRecord) -> crate::Result<OffsetDateTime> {
    let nanos = i128::from(record.expires_at.as_micros()) * 1_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .map_err(|source| Error::decode("a session's expiry is no date").with_source(source))
}

/// In tower-sessions' terms, which has three kinds and takes only text.
fn told(error: Error) -> session_store::Error {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::Decode => session_store::Error::Decode(text),
        ErrorKind::Invalid => session_store::Error::Encode(text),
        _ => session_store::Error::Backend(text),
    }
}
