//! [`Sessions`]: what a service calls; typed data over a [`SessionStore`].

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{
    NewSession, SessionChange, SessionHash, SessionId, SessionOptions, SessionRecord, SessionStore,
};
use crate::error::{Error, Result};
use crate::types::Timestamp;

/// How many sessions of a user [`Sessions::list`] answers at most.
const LIST_MAX: u64 = 100;
/// How many expired sessions are deleted at a time.
const PURGE_BATCH: u64 = 500;

/// The sessions of a service, which hold a `T` each. Clones share the store.
///
/// The data is kept as JSON. Give fields that come later `#[serde(default)]`, or sessions that
/// were made before cannot be read (`Decode`).
pub struct Sessions<T = ()> {
    store: Arc<dyn SessionStore>,
    options: SessionOptions,
    data: PhantomData<fn() -> T>,
}

/// A session as one request sees it.
pub struct Session<T> {
    id: SessionId,
    user: Option<String>,
    version: i64,
    created_at: Timestamp,
    ends_at: Timestamp,
    /// What it holds. Changes count once they are [saved](Sessions::save).
    pub data: T,
}

/// One of a user's sessions, for a list to sign out from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Names it: for [`Sessions::revoke_hash`].
    pub hash: SessionHash,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it expires unless it is used before.
    pub expires_at: Timestamp,
    /// When it expires for good.
    pub ends_at: Timestamp,
}

impl<T: Serialize + DeserializeOwned> Sessions<T> {
    /// Sessions in this store, with the default options.
    pub fn new(store: impl SessionStore) -> Self {
        Self::with_options(store, SessionOptions::default())
    }

    /// Sessions in this store.
    pub fn with_options(store: impl SessionStore, options: SessionOptions) -> Self {
        Self::from_shared(Arc::new(store), options)
    }

    /// Sessions in a store that others hold too.
    pub fn from_shared(store: Arc<dyn SessionStore>, options: SessionOptions) -> Self {
        Self {
            store,
            options,
            data: PhantomData,
        }
    }

    /// Begins a session of nobody in particular. One write.
    ///
    /// # Errors
    /// `Invalid` if the data is too large or is no JSON.
    pub async fn create(&self, data: T) -> Result<Session<T>> {
        self.begin(None, data).await
    }

    /// Begins a session of a user who has just proved who they are. One write.
    ///
    /// # Errors
    /// As [`create`](Self::create); `TooLong` if the user's key has more than 200 characters.
    pub async fn create_for(&self, user: impl Display, data: T) -> Result<Session<T>> {
        self.begin(Some(user.to_string()), data).await
    }

    async fn begin(&self, user: Option<String>, data: T) -> Result<Session<T>> {
        let id = SessionId::random()?;
        let new = NewSession {
            hash: id.hash(),
            user,
            data: encode(&data, self.options.data_bytes_max)?,
            idle: self.options.touch().idle,
            lifetime: self.options.lifetime,
        };
        let record = self.store.create(new).await?;
        Ok(Session::new(id, record, data))
    }

    /// The session with this id, if it is alive; text that is no id is nobody's.
    ///
    /// Counts as a use. One read, and a write at most every
    /// [`touch_every`](SessionOptions::touch_every).
    ///
    /// # Errors
    /// `Decode` if its data is no `T`.
    pub async fn load(&self, id: &str) -> Result<Option<Session<T>>> {
        let Ok(id) = id.parse::<SessionId>() else {
            return Ok(None);
        };
        let touch = Some(self.options.touch());
        match self.store.load(&id.hash(), touch).await? {
            Some(record) => {
                let data = decode(&record.data)?;
                Ok(Some(Session::new(id, record, data)))
            }
            None => Ok(None),
        }
    }

    /// Writes the session's data. Counts as a use. One write.
    ///
    /// # Errors
    /// `NotFound` if the session was revoked or has expired: it is not brought back. `Stale` if
    /// another request saved it since it was loaded: load it again and repeat the change.
    /// `Invalid` if the data is too large or is no JSON.
    pub async fn save(&self, session: &mut Session<T>) -> Result<()> {
        self.change(session, SessionChange::default()).await
    }

    /// Gives the session a new id, and writes its data; the old id is dead at once. For a change
    /// of what its owner may do.
    ///
    /// # Errors
    /// As [`save`](Self::save).
    pub async fn rotate(&self, session: &mut Session<T>) -> Result<()> {
        self.renew(session, None).await
    }

    /// Makes the session that of a user who has just proved who they are: under a new id, with its
    /// data written; the old id is dead at once.
    ///
    /// Its lifetime stays that of the old one. To begin a new one, [revoke](Self::revoke) the old
    /// session and [create](Self::create_for) one.
    ///
    /// # Errors
    /// As [`save`](Self::save); `TooLong` if the user's key has more than 200 characters.
    pub async fn log_in(&self, session: &mut Session<T>, user: impl Display) -> Result<()> {
        self.renew(session, Some(user.to_string())).await
    }

    async fn renew(&self, session: &mut Session<T>, user: Option<String>) -> Result<()> {
        let id = SessionId::random()?;
        let change = SessionChange {
            hash: Some(id.hash()),
            user: user.clone(),
            ..SessionChange::default()
        };
        self.change(session, change).await?;
        session.id = id;
        session.user = user.or(session.user.take());
        Ok(())
    }

    async fn change(&self, session: &mut Session<T>, change: SessionChange) -> Result<()> {
        let change = SessionChange {
            version: Some(session.version),
            data: Some(encode(&session.data, self.options.data_bytes_max)?),
            idle: Some(self.options.touch().idle),
            ..change
        };
        self.store.update(&session.id.hash(), change).await?;
        session.version += 1;
        Ok(())
    }

    /// Ends the session with this id, and says whether it was alive.
    pub async fn revoke(&self, id: &SessionId) -> Result<bool> {
        self.store.revoke(&id.hash()).await
    }

    /// Ends one of a user's sessions, as [listed](Self::list). Whether it is theirs is for the
    /// caller to check.
    pub async fn revoke_hash(&self, hash: &SessionHash) -> Result<bool> {
        self.store.revoke(hash).await
    }

    /// Ends all sessions that a user has at this moment, and says how many: after a change of the
    /// password, write the new one first.
    pub async fn revoke_all(&self, user: impl Display) -> Result<u64> {
        self.store.revoke_all(&user.to_string(), None).await
    }

    /// Ends all sessions that a user has at this moment but this one, and says how many.
    pub async fn revoke_others(&self, user: impl Display, except: &SessionId) -> Result<u64> {
        let except = except.hash();
        self.store
            .revoke_all(&user.to_string(), Some(&except))
            .await
    }

    /// A user's living sessions, the newest 100.
    pub async fn list(&self, user: impl Display) -> Result<Vec<SessionInfo>> {
        let records = self.store.list(&user.to_string(), LIST_MAX).await?;
        Ok(records.into_iter().map(SessionInfo::from).collect())
    }

    /// Deletes all sessions that have expired, 500 at a time, and says how many. Call it now and
    /// then: an expired session is dead, but takes room.
    pub async fn purge(&self) -> Result<u64> {
        let mut purged = 0;
        loop {
            let batch = self.store.purge(PURGE_BATCH).await?;
            purged += batch;
            if batch < PURGE_BATCH {
                return Ok(purged);
            }
        }
    }
}

impl<T> Session<T> {
    fn new(id: SessionId, record: SessionRecord, data: T) -> Self {
        Self {
            id,
            user: record.user,
            version: record.version,
            created_at: record.created_at,
            ends_at: record.ends_at,
            data,
        }
    }

    /// Its id, the secret that its owner holds.
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// Whose it is, if they have signed in.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// When it was made.
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// When it expires for good, by the store's clock.
    pub fn ends_at(&self) -> Timestamp {
        self.ends_at
    }
}

impl From<SessionRecord> for SessionInfo {
    fn from(record: SessionRecord) -> Self {
        Self {
            hash: record.hash,
            created_at: record.created_at,
            expires_at: record.expires_at,
            ends_at: record.ends_at,
        }
    }
}

/// The data as JSON, if it is not too large.
pub(super) fn encode<T: Serialize>(data: &T, bytes_max: usize) -> Result<Vec<u8>> {
    let bytes = serde_json::to_vec(data).map_err(|source| {
        Error::invalid("the session's data cannot be written as JSON").with_source(source)
    })?;
    if bytes.len() > bytes_max {
        return Err(Error::invalid(format!(
            "the session's data is {} bytes of JSON; at most {bytes_max} are allowed: keep what is \
             large elsewhere",
            bytes.len()
        )));
    }
    Ok(bytes)
}

/// The data out of JSON. The error does not show it: serde's would.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        Error::decode(format!(
            "the session's data is not what the type says (at byte {} of its JSON): give new \
             fields a default, or revoke the session",
            error.column()
        ))
    })
}

impl<T> Clone for Sessions<T> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            options: self.options.clone(),
            data: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Sessions<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("store", &self.store)
            .field("options", &self.options)
            .finish()
    }
}

// What a session holds stays out of logs.
impl<T> fmt::Debug for Session<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("hash", &self.id.hash())
            .field("version", &self.version)
            .field("ends_at", &self.ends_at)
            .finish_non_exhaustive()
    }
}
