//! Named locks: one holder at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use larder_core::{Db, Error, ErrorKind, Result, TxOptions};

use crate::fixtures::refused;
use crate::harness::{TestDb, tests};

const SHORT: Duration = Duration::from_millis(100);

/// Whether the engine has no such locks, and says so.
async fn has_none(db: &Db) -> Result<bool> {
    if db.capabilities().named_locks {
        return Ok(false);
    }
    let engine = db.capabilities().engine;
    let error = refused(db.lock("a").await, ErrorKind::Unsupported);
    assert!(error.message().contains(engine), "{error}");
    refused(db.try_lock("a").await, ErrorKind::Unsupported);
    Ok(true)
}

async fn one_holder_at_a_time(db: TestDb) -> Result<()> {
    if has_none(&db).await? {
        return Ok(());
    }
    let lock = db.lock("a").await?;
    assert!(db.try_lock("a").await?.is_none());
    let other = db.lock("'; b").await?;
    lock.release().await?;
    let again = db.try_lock("a").await?.expect("it was let go of");
    again.release().await?;
    other.release().await
}

async fn who_comes_second_waits_until_the_deadline(db: TestDb) -> Result<()> {
    if has_none(&db).await? {
        return Ok(());
    }
    let lock = db.lock("a").await?;
    refused(db.with_timeout(SHORT).lock("a").await, ErrorKind::Timeout);
    let waits = async { db.lock("a").await?.release().await };
    let goes = async {
        tokio::time::sleep(SHORT).await;
        lock.release().await
    };
    let (waited, gone) = tokio::join!(waits, goes);
    waited.and(gone)
}

async fn dropping_lets_go(db: TestDb) -> Result<()> {
    if has_none(&db).await? {
        return Ok(());
    }
    drop(db.lock("a").await?);
    db.lock("a").await?.release().await?; // soon after
    let lock = db.lock("a").await?;
    // A wait that is given up takes nothing.
    assert!(tokio::time::timeout(SHORT, db.lock("a")).await.is_err());
    lock.release().await?;
    db.lock("a").await?.release().await
}

async fn many_tasks_take_turns(db: TestDb) -> Result<()> {
    if has_none(&db).await? {
        return Ok(());
    }
    let inside = Arc::new(AtomicUsize::new(0));
    let tasks = (0..8).map(|_| {
        let (db, inside) = (Db::clone(&db), Arc::clone(&inside));
        tokio::spawn(async move {
            for _ in 0..3 {
                let lock = db.lock("turn").await?;
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                tokio::task::yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
                lock.release().await?;
            }
            Ok::<_, Error>(())
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("nobody else is inside")?;
    }
    Ok(())
}

async fn what_makes_no_sense_is_refused(db: TestDb) -> Result<()> {
    refused(db.lock("").await, ErrorKind::Misuse);
    refused(db.lock(&"a".repeat(201)).await, ErrorKind::Misuse);
    let tx = db.begin(TxOptions::new()).await?;
    refused(tx.lock("a").await, ErrorKind::Misuse);
    refused(tx.try_lock("a").await, ErrorKind::Misuse);
    tx.rollback().await
}

tests![
    one_holder_at_a_time,
    who_comes_second_waits_until_the_deadline,
    dropping_lets_go,
    many_tasks_take_turns,
    what_makes_no_sense_is_refused,
];
