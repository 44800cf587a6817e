//! The races of a cache beside a store, each stopped where it matters.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::{Cached, CachedTable};
use crate::cache::{Cache, CacheOptions, LocalCache};
use crate::models::{NewTag, PostTag, Tag};
use crate::raw::RawStatement;
use crate::{
    Capabilities, Db, DbOptions, Entity as _, Error, ErrorKind, Memory, NamedLock, Result, Rows,
    Select, Storage, Transaction, TxOptions, Write, Written,
};

/// A store that can be stopped behind a read, and whose writes' answers can be lost.
#[derive(Debug)]
struct Slow {
    inner: Memory,
    stop: AtomicBool,
    lose: AtomicBool,
    has_read: Notify,
    go_on: Notify,
}

#[async_trait]
impl Storage for Slow {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn read(&self, query: Select, rows: Rows) -> Result<Rows> {
        let read = self.inner.read(query, rows).await;
        if self.stop.swap(false, SeqCst) {
            self.has_read.notify_one();
            self.go_on.notified().await;
        }
        read
    }

    async fn write(&self, write: Write, rows: Rows) -> Result<(Written, Rows)> {
        let written = self.inner.write(write, rows).await;
        if self.lose.swap(false, SeqCst) {
            return Err(Error::new(ErrorKind::Unknown, "the answer was lost"));
        }
        written
    }

    async fn sql(&self, statement: RawStatement, rows: Rows) -> Result<(Written, Rows)> {
        self.inner.sql(statement, rows).await
    }

    async fn lock(&self, name: &str, wait: bool) -> Result<Option<Box<dyn NamedLock>>> {
        self.inner.lock(name, wait).await
    }

    async fn begin(&self, options: TxOptions) -> Result<Box<dyn Transaction>> {
        self.inner.begin(options).await
    }

    async fn explain(&self, query: Select) -> Result<String> {
        self.inner.explain(query).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

struct Setup {
    store: Arc<Slow>,
    cache: Cache,
    db: Db,
}

fn setup() -> Setup {
    let store = Arc::new(Slow {
        inner: Memory::with_tables(&[Tag::TABLE, PostTag::TABLE]),
        stop: false.into(),
        lose: false.into(),
        has_read: Notify::new(),
        go_on: Notify::new(),
    });
    let options = CacheOptions::new().jitter(0.0).early(0.0);
    let options = options.budget(Duration::from_secs(5));
    let cache = Cache::with_options(Arc::new(LocalCache::new(1 << 20)), options);
    let tables = [CachedTable::of::<Tag>()];
    let cached = Cached::from_shared(Arc::clone(&store) as _, cache.clone(), tables);
    Setup {
        store,
        cache,
        db: Db::with_options(cached, DbOptions::default()),
    }
}

#[tokio::test]
async fn two_point_reads_are_one_read_of_the_store() -> Result<()> {
    let Setup { cache, db, .. } = setup();
    let tag = db.insert(NewTag::new("a")).await?;
    for _ in 0..2 {
        assert_eq!(db.find::<Tag>(tag.id).await?, tag);
    }
    let metrics = cache.metrics();
    assert_eq!((metrics.loads, metrics.hits), (1, 1));
    Ok(())
}

#[tokio::test]
async fn what_was_read_before_a_write_is_not_kept_after_it() -> Result<()> {
    let Setup { store, cache, db } = setup();
    let tag = db.insert(NewTag::new("old")).await?;
    store.stop.store(true, SeqCst);
    let reader = tokio::spawn({
        let db = db.clone();
        async move { db.find::<Tag>(tag.id).await }
    });
    store.has_read.notified().await;
    db.update::<Tag>(tag.id, [Tag::NAME.set("new")]).await?;
    // Does not wait for the reader that is under way.
    assert_eq!(db.find::<Tag>(tag.id).await?.name, "new");
    store.go_on.notify_one();
    assert_eq!(reader.await.expect("no panic")?.name, "old");
    assert_eq!(db.find::<Tag>(tag.id).await?.name, "new");
    assert_eq!(cache.metrics().revoked_fills, 1);
    Ok(())
}

#[tokio::test]
async fn a_transaction_is_forgotten_when_it_commits_and_not_when_it_rolls_back() -> Result<()> {
    let Setup { cache, db, .. } = setup();
    let tag = db.insert(NewTag::new("a")).await?;
    db.find::<Tag>(tag.id).await?;
    for (commits, loads) in [(false, 1), (true, 2)] {
        let tx = db.begin(TxOptions::new()).await?;
        tx.update::<Tag>(tag.id, [Tag::NAME.set("b")]).await?;
        assert_eq!(tx.find::<Tag>(tag.id).await?.name, "b");
        assert_eq!(db.find::<Tag>(tag.id).await?.name, "a");
        if commits {
            tx.commit().await?;
        } else {
            tx.rollback().await?;
        }
        let name = if commits { "b" } else { "a" };
        assert_eq!(db.find::<Tag>(tag.id).await?.name, name);
        assert_eq!(cache.metrics().loads, loads);
    }
    Ok(())
}

#[tokio::test]
async fn that_there_is_no_such_row_is_forgotten_by_an_insert_and_an_update() -> Result<()> {
    let Setup { cache, db, .. } = setup();
    let by_name = |name: &'static str| {
        let query = db.query::<Tag>().filter(Tag::NAME.eq(name));
        async move { query.first().await }
    };
    for _ in 0..2 {
        assert_eq!(by_name("a").await?, None);
        assert_eq!(by_name("b").await?, None);
    }
    assert_eq!((cache.metrics().loads, cache.metrics().hits), (2, 2));
    let tag = db.insert(NewTag::new("a")).await?;
    assert_eq!(by_name("a").await?, Some(tag.clone()));
    db.update::<Tag>(tag.id, [Tag::NAME.set("b")]).await?;
    assert_eq!(by_name("a").await?, None);
    assert_eq!(by_name("b").await?.map(|tag| tag.id), Some(tag.id));
    // Another row takes the name that the first one had.
    let other = db.insert(NewTag::new("a")).await?;
    assert_eq!(by_name("a").await?, Some(other));
    Ok(())
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_forgotten() -> Result<()> {
    let Setup { store, db, .. } = setup();
    let tag = db.insert(NewTag::new("a")).await?;
    db.find::<Tag>(tag.id).await?;
    store.lose.store(true, SeqCst);
    let lost = db.update::<Tag>(tag.id, [Tag::NAME.set("b")]).await;
    assert!(lost.is_err_and(|error| error.is_unknown_outcome()));
    assert_eq!(db.find::<Tag>(tag.id).await?.name, "b");
    Ok(())
}

#[tokio::test]
async fn a_write_by_a_filter_forgets_the_table() -> Result<()> {
    let Setup { db, .. } = setup();
    let tag = db.insert(NewTag::new("a")).await?;
    db.find::<Tag>(tag.id).await?;
    let starts = Tag::NAME.starts_with("a");
    let set = [Tag::NAME.set("b")];
    db.query::<Tag>().filter(starts).update(set).await?;
    assert_eq!(db.find::<Tag>(tag.id).await?.name, "b");
    Ok(())
}
