//! [`StoredCache`]: a cache in the tables of any store.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::local::overflow;
use super::record::{Decision, Lease, Record, Versions, later};
use super::store::{CacheStore, Found, LeaseRequest, Leased, NewEntry, Token};
use crate::column::Change;
use crate::db::Db;
use crate::error::{Error, ErrorKind, Result};
use crate::{Entity, Table};

/// How often a step is tried that others may get in the way of.
const TRIES_MAX: usize = 5;
/// How long to wait for somebody who got in the way that often.
const CROWDED: Duration = Duration::from_millis(10);
/// How long a tag's version is kept. What has it is gone then, which is later than a cache should
/// keep anything.
const TAG_KEPT: Duration = Duration::from_hours(30 * 24);
/// One key of a cache. Times are microseconds since 1970.
#[derive(Entity, Clone, Debug, PartialEq)]
#[entity(table = "larder_cache")]
pub struct CacheRow {
    /// The key.
    #[key]
    #[column(max_len = 300)]
    pub name: String,
    /// The bytes; none of a counter, and while the first lease goes on.
    pub value: Option<Vec<u8>>,
    /// The shape of the value in them.
    pub shape: i64,
    /// Until when it is fresh.
    pub fresh_until: i64,
    /// Until when it is kept.
    #[index]
    pub kept_until: i64,
    /// Its tags with their versions, as JSON.
    pub tags: Option<String>,
    /// Who may fill it.
    pub token: Option<i64>,
    /// Until when.
    pub leased_until: i64,
    /// The tags it will have.
    pub lease_tags: Option<String>,
    /// Of a counter.
    pub count: i64,
}

/// A tag's version.
#[derive(Entity, Clone, Debug, PartialEq)]
#[entity(table = "larder_cache_tags")]
pub struct CacheTag {
    /// The tag.
    #[key]
    #[column(max_len = 300)]
    pub tag: String,
    /// Drawn by chance whenever it is missing.
    pub version: i64,
    /// When that was.
    #[index]
    pub made_at: i64,
}

/// The tables that a [`StoredCache`] lives in.
pub fn tables() -> [&'static Table; 2] {
    [CacheRow::TABLE, CacheTag::TABLE]
}

/// Keeps entries in two tables of a store ([`tables`]), for all who use that store.
///
/// A look-up is a point read; a fill is two short writes. Times are told by the handle's clock
/// ([`DbOptions::clock`](crate::DbOptions::clock)); the engines' own constructors put in the
/// server's. Entries that are gone are removed bit by bit while others are filled.
///
/// On SQLite give it a file of its own: beside other tables, it would wait for their writers.
#[derive(Clone, Debug)]
pub struct StoredCache {
    db: Db,
    entries_max: u64,
}

impl StoredCache {
    /// A cache in a store that has its [`tables`]. Sends nothing.
    pub fn new(db: Db) -> Self {
        Self {
            db,
            entries_max: 1_000_000,
        }
    }

    /// How many entries are kept, about; beyond that those go first that would go first by their
    /// time. Default: 1,000,000.
    #[must_use]
    pub fn entries_max(mut self, entries: u64) -> Self {
        self.entries_max = entries;
        self
    }

    fn now(&self) -> i64 {
        self.db.now().as_micros()
    }

    /// The versions that these tags have now.
    async fn current(&self, tags: Vec<String>) -> Result<HashMap<String, i64>> {
        if tags.is_empty() {
            return Ok(HashMap::new());
        }
        let known = self.db.query::<CacheTag>().filter(CacheTag::TAG.in_(tags));
        let known = known.all().await?.into_iter();
        Ok(known.map(|one| (one.tag, one.version)).collect())
    }

    /// The version of each tag; a tag that has none gets one.
    async fn versions(&self, tags: &[String]) -> Result<Versions> {
        for _ in 0..TRIES_MAX {
            let known = self.current(tags.to_vec()).await?;
            let (have, lack): (Vec<_>, Vec<_>) =
                tags.iter().partition(|tag| known.contains_key(*tag));
            if lack.is_empty() {
                return Ok(have
                    .into_iter()
                    .map(|tag| (tag.clone(), known[tag]))
                    .collect());
            }
            let made_at = self.now();
            let row = |tag: &String| {
                let version = Token::random()?.as_i64();
                Ok(CacheTag {
                    tag: tag.clone(),
                    version,
                    made_at,
                })
            };
            let rows: Vec<CacheTag> = lack.into_iter().map(row).collect::<Result<_>>()?;
            let upsert = self.db.upsert(rows).on(CacheTag::TAG).ignore();
            upsert.run().await?;
        }
        Err(crowded())
    }

    /// Whether the tags still have the versions they had.
    async fn holds(&self, tags: &Versions) -> Result<bool> {
        let current = self.current(names(tags)).await?;
        Ok(is_current(tags, &current))
    }

    /// Takes the lease of a row that is still as it was read; `false` if it is not.
    async fn take(
        &self,
        request: &LeaseRequest<'_>,
        old: Option<&CacheRow>,
        tags: &Versions,
        now: i64,
    ) -> Result<bool> {
        let row = CacheRow {
            token: Some(request.token.as_i64()),
            leased_until: later(now, request.lease),
            lease_tags: write_versions(tags),
            ..empty(request.key)
        };
        let upsert = self.db.upsert([row]).on(CacheRow::NAME);
        let Some(old) = old else {
            return Ok(upsert.ignore().run().await? == 1);
        };
        let same = CacheRow::TOKEN
            .eq(old.token)
            .and(CacheRow::LEASED_UNTIL.eq(old.leased_until))
            .and(CacheRow::FRESH_UNTIL.eq(old.fresh_until))
            .and(CacheRow::KEPT_UNTIL.eq(old.kept_until));
        let lease = (
            CacheRow::TOKEN,
            CacheRow::LEASED_UNTIL,
            CacheRow::LEASE_TAGS,
        );
        Ok(upsert.update(lease).when(same).run().await? == 1)
    }

    /// Removes entries that would go first, while there are too many.
    async fn shrink(&self, most: usize) -> Result<usize> {
        let count = self.db.query::<CacheRow>().count().await?;
        let over = count.saturating_sub(self.entries_max).min(most as u64);
        if over == 0 {
            return Ok(0);
        }
        let first = self.db.query::<CacheRow>();
        let first = first.order(CacheRow::KEPT_UNTIL.asc()).limit(over);
        let keys = first.select(CacheRow::NAME).all().await?;
        let rows = self.db.query::<CacheRow>().filter(CacheRow::NAME.in_(keys));
        Ok(rows.delete().await? as usize)
    }
}

#[async_trait]
impl CacheStore for StoredCache {
    async fn get(&self, keys: &[&str], shape: u64) -> Result<Vec<Option<Found>>> {
        let rows = match keys {
            [] => Vec::new(),
            [one] => self
                .db
                .get::<CacheRow>((*one).to_owned())
                .await?
                .into_iter()
                .collect(),
            many => {
                let many = many.iter().map(|key| (*key).to_owned());
                let rows = self.db.query::<CacheRow>().filter(CacheRow::NAME.in_(many));
                rows.all().await?
            }
        };
        let now = self.now();
        let records: HashMap<String, Record> = rows
            .into_iter()
            .map(|row| (row.name.clone(), record(row)))
            .collect();
        let tags = records.values().flat_map(|record| names(&record.tags));
        let current = self.current(tags.collect()).await?;
        let found = |key: &&str| {
            let record = records.get(*key)?;
            let found = record.found(shape, now)?;
            is_current(&record.tags, &current).then_some(found)
        };
        Ok(keys.iter().map(found).collect())
    }

    async fn lease(&self, request: LeaseRequest<'_>) -> Result<Leased> {
        let versions = self.versions(request.tags).await?;
        for _ in 0..TRIES_MAX {
            let row = self.db.get::<CacheRow>(request.key.to_owned()).await?;
            let known = row.clone().map(record).unwrap_or_default();
            let leased = known.lease.iter().flat_map(|lease| names(&lease.tags));
            let tags = names(&known.tags).into_iter().chain(leased).collect();
            let current = self.current(tags).await?;
            let now = self.now();
            match known.decide(&request, |tags| is_current(tags, &current), now) {
                Decision::Fresh(found) => return Ok(Leased::Fresh(found)),
                Decision::Busy { kept, wait } => return Ok(Leased::Busy { kept, wait }),
                Decision::Take { kept } => {
                    if self.take(&request, row.as_ref(), &versions, now).await? {
                        return Ok(Leased::Taken { kept });
                    }
                }
            }
        }
        let (kept, wait) = (None, CROWDED);
        Ok(Leased::Busy { kept, wait })
    }

    async fn fill(&self, key: &str, token: Token, entry: NewEntry) -> Result<bool> {
        let Some(row) = self.db.get::<CacheRow>(key.to_owned()).await? else {
            return Ok(false);
        };
        let tags = read_versions(row.lease_tags.as_deref());
        if row.token != Some(token.as_i64()) || !self.holds(&tags).await? {
            return Ok(false);
        }
        let row = kept(key, entry, &tags, self.now());
        let leased = CacheRow::NAME
            .eq(key)
            .and(CacheRow::TOKEN.eq(token.as_i64()));
        let rows = self.db.query::<CacheRow>().filter(leased);
        Ok(rows.update(changes(row)).await? == 1)
    }

    async fn release(&self, key: &str, token: Token) -> Result<()> {
        let leased = CacheRow::NAME
            .eq(key)
            .and(CacheRow::TOKEN.eq(token.as_i64()));
        let rows = self.db.query::<CacheRow>().filter(leased);
        let ended = [
            CacheRow::TOKEN.set(None),
            CacheRow::LEASED_UNTIL.set(0),
            CacheRow::LEASE_TAGS.set(None),
        ];
        rows.update(ended).await.map(drop)
    }

    async fn set(&self, entries: Vec<(String, NewEntry)>, tags: &[String]) -> Result<()> {
        let tags = self.versions(tags).await?;
        let now = self.now();
        let rows = entries
            .into_iter()
            .map(|(key, entry)| kept(&key, entry, &tags, now));
        let entry = (
            CacheRow::VALUE,
            CacheRow::SHAPE,
            CacheRow::FRESH_UNTIL,
            CacheRow::KEPT_UNTIL,
            CacheRow::TAGS,
        );
        let rest = (
            CacheRow::TOKEN,
            CacheRow::LEASED_UNTIL,
            CacheRow::LEASE_TAGS,
            CacheRow::COUNT,
        );
        let upsert = self.db.upsert(rows).on(CacheRow::NAME);
        upsert.update(entry).update(rest).run().await.map(drop)
    }

    async fn delete(&self, keys: &[&str]) -> Result<()> {
        let keys = keys.iter().map(|key| (*key).to_owned());
        let rows = self.db.query::<CacheRow>().filter(CacheRow::NAME.in_(keys));
        rows.delete().await.map(drop)
    }

    async fn discard(&self, key: &str, value: &[u8]) -> Result<()> {
        let same = CacheRow::NAME
            .eq(key)
            .and(CacheRow::VALUE.eq(value.to_vec()));
        let rows = self.db.query::<CacheRow>().filter(same);
        rows.delete().await.map(drop)
    }

    async fn revoke_tags(&self, tags: &[&str]) -> Result<()> {
        // A version that is missing counts as another one.
        let tags = tags.iter().map(|tag| (*tag).to_owned());
        let rows = self.db.query::<CacheTag>().filter(CacheTag::TAG.in_(tags));
        rows.delete().await.map(drop)
    }

    async fn add(&self, key: &str, by: i64, keep: Duration) -> Result<i64> {
        let now = self.now();
        for _ in 0..TRIES_MAX {
            let key = key.to_owned();
            let counted = self
                .db
                .transaction(|tx| count(tx, key.clone(), by, now, keep));
            match counted.await {
                // Somebody else began the counter at the same time.
                Err(error) if error.violates(CacheRow::KEY) => {}
                outcome => return outcome,
            }
        }
        Err(crowded())
    }

    async fn purge(&self, most: usize) -> Result<usize> {
        let now = self.now();
        let gone = || {
            CacheRow::KEPT_UNTIL
                .le(now)
                .and(CacheRow::LEASED_UNTIL.le(now))
        };
        let rows = self.db.query::<CacheRow>().filter(gone());
        let keys = rows.limit(most as u64).select(CacheRow::NAME).all().await?;
        let rows = self.db.query::<CacheRow>().filter(gone());
        let removed = rows.filter(CacheRow::NAME.in_(keys)).delete().await? as usize;
        let old = CacheTag::MADE_AT.le(now.saturating_sub(TAG_KEPT.as_micros() as i64));
        self.db.query::<CacheTag>().filter(old).delete().await?;
        Ok(removed + self.shrink(most.saturating_sub(removed)).await?)
    }
}

/// One step of a counter, in a transaction.
async fn count(tx: crate::Tx, key: String, by: i64, now: i64, keep: Duration) -> Result<i64> {
    // Taken first, so that others wait.
    let row = tx
        .query::<CacheRow>()
        .filter(CacheRow::NAME.eq(key.clone()));
    let row = row.for_update().first().await?;
    let Some(old) = row else {
        let row = CacheRow {
            count: by,
            kept_until: later(now, keep),
            ..empty(&key)
        };
        return Ok(tx.insert(row).await?.count);
    };
    let goes_on = old.kept_until > now && old.value.is_none();
    let (before, kept_until) = if goes_on {
        (old.count, old.kept_until)
    } else {
        (0, later(now, keep))
    };
    let row = CacheRow {
        kept_until,
        count: before.checked_add(by).ok_or_else(overflow)?,
        ..empty(&key)
    };
    Ok(tx.save(row).await?.count)
}

/// A row that holds nothing.
fn empty(key: &str) -> CacheRow {
    CacheRow {
        name: key.to_owned(),
        value: None,
        shape: 0,
        fresh_until: 0,
        kept_until: 0,
        tags: None,
        token: None,
        leased_until: 0,
        lease_tags: None,
        count: 0,
    }
}

/// The row of an entry that is kept from now on.
fn kept(key: &str, entry: NewEntry, tags: &Versions, now: i64) -> CacheRow {
    let fresh_until = later(now, entry.fresh);
    CacheRow {
        value: Some(entry.value.into()),
        shape: entry.shape as i64,
        fresh_until,
        kept_until: later(fresh_until, entry.stale),
        tags: write_versions(tags),
        ..empty(key)
    }
}

/// What makes a row this one.
fn changes(row: CacheRow) -> [Change<CacheRow>; 8] {
    [
        CacheRow::VALUE.set(row.value),
        CacheRow::SHAPE.set(row.shape),
        CacheRow::FRESH_UNTIL.set(row.fresh_until),
        CacheRow::KEPT_UNTIL.set(row.kept_until),
        CacheRow::TAGS.set(row.tags),
        CacheRow::TOKEN.set(row.token),
        CacheRow::LEASED_UNTIL.set(row.leased_until),
        CacheRow::LEASE_TAGS.set(row.lease_tags),
    ]
}

fn record(row: CacheRow) -> Record {
    let lease = row.token.map(|token| Lease {
        token: Token::from_i64(token),
        until: row.leased_until,
        tags: read_versions(row.lease_tags.as_deref()),
    });
    Record {
        value: row.value.map(Bytes::from),
        shape: row.shape as u64,
        fresh_until: row.fresh_until,
        kept_until: row.kept_until,
        tags: read_versions(row.tags.as_deref()),
        lease,
        count: row.count,
    }
}

fn names(tags: &Versions) -> Vec<String> {
    tags.iter().map(|(tag, _)| tag.clone()).collect()
}

fn is_current(tags: &Versions, current: &HashMap<String, i64>) -> bool {
    tags.iter()
        .all(|(tag, version)| current.get(tag) == Some(version))
}

fn write_versions(tags: &Versions) -> Option<String> {
    (!tags.is_empty()).then(|| serde_json::json!(tags).to_string())
}

/// The versions as they were written; what is none of them never holds.
fn read_versions(text: Option<&str>) -> Versions {
    let Some(text) = text else {
        return Versions::new();
    };
    serde_json::from_str(text).unwrap_or_else(|_| vec![(String::new(), -1)])
}

#[cold]
fn crowded() -> Error {
    let message = "others got in the way each time; try again";
    Error::new(ErrorKind::Busy, message)
}
