//! [`StoredSessions`]: sessions as rows of a model, written once for all engines.

use std::time::Duration;

use async_trait::async_trait;

use super::{NewSession, SessionChange, SessionHash, SessionRecord, SessionStore, Touch};
use super::{gone, stale};
use crate::column::Change;
use crate::db::Db;
use crate::entity::Entity;
use crate::error::{Error, Result};
use crate::filter::Predicate;
use crate::schema::Table;
use crate::types::{Id, Timestamp};
use crate::{Entity as DeriveEntity, Insert as DeriveInsert};

/// Sessions in the table `larder_sessions` of any [`Db`].
///
/// Create the table with the models' ([`TABLE`](Self::TABLE)): by the engine's `create_tables`, or
/// by a migration. A load is one point read; everything else is one statement, but a purge's batch,
/// which is two, and an update that fails, which then looks why.
///
/// The time is the `Db`'s clock ([`Db::now`]). Processes whose clocks differ see a session expire
/// earlier or later by as much. Calls are subject to the `Db`'s deadline; a `Db` of a shorter one is
/// had by [`Db::with_timeout`].
#[derive(Clone, Debug)]
pub struct StoredSessions {
    db: Db,
}

impl StoredSessions {
    /// The table.
    pub const TABLE: &'static Table = Row::TABLE;

    /// Sessions in this database.
    pub fn new(db: Db) -> Self {
        Self { db }
    }

    /// The one living session with this hash.
    fn living(&self, hash: &SessionHash) -> Predicate<Row> {
        let now = self.db.now();
        with_hash(hash)
            .and(Row::IDLE_UNTIL.gt(now))
            .and(Row::ENDS_AT.gt(now))
    }

    async fn find(&self, hash: &SessionHash) -> Result<Option<Row>> {
        self.db
            .query::<Row>()
            .filter(self.living(hash))
            .first()
            .await
    }

    /// Puts the idle expiry off, unless somebody has put it off as far. Never brings a session back.
    async fn touch(&self, row: &mut Row, hash: &SessionHash, touch: Touch) {
        let until = self.db.now().saturating_add(touch.idle).min(row.ends_at);
        if row.idle_until > until.saturating_sub(touch.every) {
            return;
        }
        let later = self.living(hash).and(Row::IDLE_UNTIL.lt(until));
        let query = self.db.query::<Row>().filter(later);
        match query.update(Row::IDLE_UNTIL.set(until)).await {
            Ok(_) => row.idle_until = until,
            Err(error) => tracing::warn!(%error, "a session's idle expiry was not put off"),
        }
    }
}

#[async_trait]
impl SessionStore for StoredSessions {
    async fn create(&self, new: NewSession) -> Result<SessionRecord> {
        let now = self.db.now();
        let row = NewRow {
            hash: new.hash.as_bytes().to_vec(),
            user_key: new.user,
            data: new.data,
            revision: 1,
            created_at: now,
            idle_until: now.saturating_add(new.idle.min(new.lifetime)),
            ends_at: now.saturating_add(new.lifetime),
        };
        self.db.insert(row).await?.into_record()
    }

    async fn load(
        &self,
        hash: &SessionHash,
        touch: Option<Touch>,
    ) -> Result<Option<SessionRecord>> {
        let Some(mut row) = self.find(hash).await? else {
            return Ok(None);
        };
        if let Some(touch) = touch {
            self.touch(&mut row, hash, touch).await;
        }
        row.into_record().map(Some)
    }

    async fn update(&self, hash: &SessionHash, change: SessionChange) -> Result<()> {
        let mut which = self.living(hash);
        if let Some(version) = change.version {
            which = which.and(Row::REVISION.eq(version));
        }
        let query = self.db.query::<Row>().filter(which);
        let versioned = change.version.is_some();
        if query.update(changes(change, self.db.now())).await? > 0 {
            return Ok(());
        }
        if versioned && self.find(hash).await?.is_some() {
            return Err(stale());
        }
        Err(gone())
    }

    async fn revoke(&self, hash: &SessionHash) -> Result<bool> {
        let query = self.db.query::<Row>().filter(self.living(hash));
        Ok(query.delete().await? > 0)
    }

    async fn revoke_all(&self, user: &str, except: Option<&SessionHash>) -> Result<u64> {
        let mut which = Row::USER_KEY.eq(user.to_owned());
        if let Some(hash) = except {
            which = which.and(Row::HASH.ne(hash.as_bytes().to_vec()));
        }
        self.db.query::<Row>().filter(which).delete().await
    }

    async fn list(&self, user: &str, limit: u64) -> Result<Vec<SessionRecord>> {
        let now = self.db.now();
        let living = Row::IDLE_UNTIL.gt(now).and(Row::ENDS_AT.gt(now));
        let rows = self
            .db
            .query::<Row>()
            .filter(Row::USER_KEY.eq(user.to_owned()).and(living))
            .order(Row::CREATED_AT.desc())
            .order(Row::ID.desc())
            .limit(limit)
            .all()
            .await?;
        rows.into_iter().map(Row::into_record).collect()
    }

    /// Goes by the idle expiry alone, which is one index: a session that came to the end of its
    /// lifetime while in use is purged when nobody has used it for as long as it may be idle.
    async fn purge(&self, limit: u64) -> Result<u64> {
        let now = self.db.now();
        let expired = || Row::IDLE_UNTIL.le(now);
        let ids = self
            .db
            .query::<Row>()
            .filter(expired())
            .order(Row::IDLE_UNTIL.asc())
            .limit(limit)
            .select(Row::ID)
            .all()
            .await?;
        if ids.is_empty() {
            return Ok(0);
        }
        let query = self
            .db
            .query::<Row>()
            .filter(Row::ID.in_(ids).and(expired()));
        query.delete().await
    }
}

fn with_hash(hash: &SessionHash) -> Predicate<Row> {
    Row::HASH.eq(hash.as_bytes().to_vec())
}

fn changes(change: SessionChange, now: Timestamp) -> Vec<Change<Row>> {
    let mut changes = vec![Row::REVISION.add(1)];
    changes.extend(
        change
            .hash
            .map(|hash| Row::HASH.set(hash.as_bytes().to_vec())),
    );
    changes.extend(change.user.map(|user| Row::USER_KEY.set(user)));
    changes.extend(change.data.map(|data| Row::DATA.set(data)));
    let until = |idle: Duration| Row::IDLE_UNTIL.set(now.saturating_add(idle));
    changes.extend(change.idle.map(until));
    changes
}

/// A session as a row.
#[derive(DeriveEntity)]
#[entity(table = "larder_sessions", index(user_key, created_at))]
struct Row {
    #[key(auto)]
    id: Id<Row>,
    #[unique]
    hash: Vec<u8>,
    #[column(max_len = 200)]
    user_key: Option<String>,
    data: Vec<u8>,
    /// Not a `#[version]`: putting the expiry off must not make a save stale.
    revision: i64,
    created_at: Timestamp,
    #[index]
    idle_until: Timestamp,
    ends_at: Timestamp,
}

#[derive(DeriveInsert)]
#[insert(Row)]
struct NewRow {
    hash: Vec<u8>,
    user_key: Option<String>,
    data: Vec<u8>,
    revision: i64,
    created_at: Timestamp,
    idle_until: Timestamp,
    ends_at: Timestamp,
}

impl Row {
    fn into_record(self) -> Result<SessionRecord> {
        let hash = self.hash.try_into().map_err(|_| {
            Error::decode("a session's hash is not of 32 bytes").with_table(Self::TABLE.name)
        })?;
        Ok(SessionRecord {
            hash: SessionHash::from_bytes(hash),
            user: self.user_key,
            data: self.data,
            version: self.revision,
            created_at: self.created_at,
            expires_at: self.idle_until.min(self.ends_at),
            ends_at: self.ends_at,
        })
    }
}
