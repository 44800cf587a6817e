//! [`Cached`]: a store whose single rows come from a cache, and are never older than what was written.
//!
//! ```text
//!   Db ── read ──> by a primary or unique key?  ── yes ──> Cache ── miss ──> the store
//!     │                                         └─ no ───────────────────> the store
//!     ├── write ─> the store, then the cache forgets what it touched
//!     └── begin ─> a transaction of the store: its reads see no cache, and what it touched is
//!                  forgotten before its commit (in case the process dies) and after it (for good)
//! ```

mod forget;
mod reader;
mod table;
mod tables;
mod touched;
mod transaction;
mod wanted;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;

use self::forget::{Forgetting, Notes};
use self::reader::Reader;
use self::tables::Tables;
use self::touched::Touched;
use self::transaction::CachedTransaction;
use crate::cache::Cache;
use crate::error::Result;
use crate::raw::{RawAccess, RawStatement};
use crate::rows::Rows;
use crate::select::Select;
use crate::storage::{Capabilities, NamedLock, Storage, Transaction, TxOptions};
use crate::write::{Write, Written};

pub use table::CachedTable;

/// A store around a store: single rows of some of its tables come from a [`Cache`].
///
/// **Read from the cache** are rows named by their primary key or by a unique constraint, whatever else
/// the read demands of them, up to 500 by a list of keys, and the levels of loading plans that find
/// parents by their key (a post's author). Everything else goes to the store: other filters,
/// searches, pages, statements in SQL, reads that lock rows, and all reads of a transaction.
///
/// **Forgotten** is what is written through it:
///
/// | what is written | what the cache forgets |
/// |---|---|
/// | inserts, one or many | that there were no such rows, by their keys and unique values |
/// | updates and deletions by key or by keys | these rows |
/// | upserts on the primary key | these rows |
/// | the same on a unique constraint, setting a row's key or part of a constraint, writes by another filter, more than a thousand names at once | all of the table |
/// | deletions that reach a table by `on_delete` | all of that table |
/// | statements in SQL that may write | all of every cached table |
///
/// # What it promises
///
/// Once a write has answered, its old value is not read again: not by this process, near cache
/// included, and not by any that shares the cache; from the near cache of another process for at most
/// its [`ttl`](crate::cache::NearOptions::ttl). A write whose answer was lost, or whose future was
/// dropped, is taken for one that may have been committed: at once, after 1 second and after 10.
///
/// - All processes that write to the tables must do so through a `Cached` with the same tables and the
///   same cache. What comes from elsewhere (other programs, migrations, triggers) is seen when
///   the entry's time is up.
/// - **If the cache cannot be told**, the write has been committed all the same, and answers so. This
///   process does not use the rows then until the cache has been told, which is tried again and again;
///   other processes may read the old ones, for as long as [`CachedTable::ttl`] says. So it is
///   if the process dies between its commit and the cache. A write waits for the cache for at
///   most [`CacheOptions::invalidation_timeout`](crate::cache::CacheOptions::invalidation_timeout),
///   also after its deadline.
/// - A read by several keys may see each row at a moment of its own. A transaction sees one state.
/// - Rows are in the cache as they are, secrets included.
///
/// A cache belongs to one database: give it a [name](crate::cache::CacheOptions::name) if its store has
/// several. Versions of a service whose models differ can share it: a row is read only by those whose
/// columns have the same names and kinds, and forgotten by all.
///
/// A hit costs what the cache costs and the decoding of the whole row. The first look-up by a
/// unique constraint costs two reads of the store: of the key, then of the row.
///
/// ```
/// use std::time::Duration;
/// use larder_core::cache::{Cache, LocalCache};
/// use larder_core::models::{NewTag, Tag};
/// use larder_core::{Cached, CachedTable, Db, Memory};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// let cache = Cache::new(LocalCache::new(64 << 20));
/// let tags = CachedTable::of::<Tag>().ttl(Duration::from_secs(600));
/// let db = Db::new(Cached::new(Memory::new(), cache.clone(), [tags]));
///
/// let tag = db.insert(NewTag::new("rust")).await?;
/// for _ in 0..3 {
///     assert_eq!(db.find::<Tag>(tag.id).await?, tag);
/// }
/// assert_eq!((cache.metrics().loads, cache.metrics().hits), (1, 2));
///
/// db.delete::<Tag>(tag.id).await?;
/// assert_eq!(db.get::<Tag>(tag.id).await?, None);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Cached {
    shared: Arc<Shared>,
}

/// What the clones of a handle and its transactions share.
#[derive(Debug)]
struct Shared {
    inner: Arc<dyn Storage>,
    cache: Cache,
    tables: Tables,
}

impl Cached {
    /// The store, with the rows of these tables cached.
    pub fn new(
        inner: impl Storage,
        cache: Cache,
        tables: impl IntoIterator<Item = CachedTable>,
    ) -> Self {
        Self::from_shared(Arc::new(inner), cache, tables)
    }

    /// A store that others hold too. What they write is not forgotten.
    pub fn from_shared(
        inner: Arc<dyn Storage>,
        cache: Cache,
        tables: impl IntoIterator<Item = CachedTable>,
    ) -> Self {
        let shared = Shared {
            inner,
            cache,
            tables: Tables::new(tables.into_iter().collect()),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Forgets all rows of a table: after something else has written to it.
    ///
    /// # Errors
    /// As [`Cache::invalidate_tags`].
    pub async fn forget<E: crate::Entity>(&self) -> Result<()> {
        let tag = table::tag(E::TABLE.name);
        self.shared.cache.invalidate_tags(&[&tag]).await
    }

    fn inner(&self) -> &dyn Storage {
        &*self.shared.inner
    }
}

impl Shared {
    fn reader(&self) -> Reader<'_> {
        Reader {
            store: &*self.inner,
            cache: &self.cache,
            tables: &self.tables,
        }
    }

    /// What a statement in SQL may change.
    fn touched_by_sql(&self, statement: &RawStatement) -> Touched {
        match statement.access {
            RawAccess::Read => Touched::default(),
            RawAccess::Write => Touched::all(&self.tables),
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Storage for Cached {
    fn capabilities(&self) -> &Capabilities {
        self.inner().capabilities()
    }

    async fn read(&self, query: Select, rows: Rows) -> Result<Rows> {
        self.shared.reader().read(query, rows).await
    }

    async fn read_all(&self, queries: Vec<(Select, Rows)>) -> Result<Vec<Rows>> {
        let reader = self.shared.reader();
        if !queries.iter().any(|(select, _)| reader.takes(select)) {
            return self.inner().read_all(queries).await;
        }
        let (mut answers, mut others, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for (at, (select, rows)) in queries.into_iter().enumerate() {
            if reader.takes(&select) {
                answers.push((at, reader.read(select, rows).await?));
            } else {
                places.push(at);
                others.push((select, rows));
            }
        }
        if !others.is_empty() {
            let read = self.inner().read_all(others).await?;
            answers.extend(places.into_iter().zip(read));
        }
        answers.sort_by_key(|(at, _)| *at);
        Ok(answers.into_iter().map(|(_, rows)| rows).collect())
    }

    async fn write(&self, write: Write, rows: Rows) -> Result<(Written, Rows)> {
        let touched = Touched::by(&write, &self.shared.tables);
        let forgetting = Forgetting::new(&self.shared.cache, Notes::of(touched));
        forgetting.after(self.inner().write(write, rows)).await
    }

    async fn sql(&self, statement: RawStatement, rows: Rows) -> Result<(Written, Rows)> {
        let touched = self.shared.touched_by_sql(&statement);
        let forgetting = Forgetting::new(&self.shared.cache, Notes::of(touched));
        forgetting.after(self.inner().sql(statement, rows)).await
    }

    async fn lock(&self, name: &str, wait: bool) -> Result<Option<Box<dyn NamedLock>>> {
        self.inner().lock(name, wait).await
    }

    async fn begin(&self, options: TxOptions) -> Result<Box<dyn Transaction>> {
        let inner = self.inner().begin(options).await?;
        let shared = Arc::clone(&self.shared);
        Ok(Box::new(CachedTransaction::new(inner, shared)))
    }

    async fn explain(&self, query: Select) -> Result<String> {
        self.inner().explain(query).await
    }

    async fn close(&self) -> Result<()> {
        self.inner().close().await
    }
}
