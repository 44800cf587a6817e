//! A pool without a free connection, and 500 tasks that want one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use larder_core::models::NewTag;
use larder_core::{Db, ErrorKind, Result, Storage, Tx, TxOptions};
use larder_postgres::Postgres;
use larder_tests::databases::Database;

use crate::{beside, database, db, quick};

const SIZE: usize = 4;
const WAITERS: usize = 500;
const ACQUIRE: Duration = Duration::from_millis(800);

async fn hold_all(db: &Db) -> Result<Vec<Tx>> {
    let mut held = Vec::new();
    for _ in 0..SIZE {
        let tx = db.begin(TxOptions::new()).await?;
        tx.query::<larder_core::models::Tag>().exists().await?;
        held.push(tx);
    }
    Ok(held)
}

async fn start() -> Result<(Database, Postgres, Db)> {
    let database = database().await?;
    let options = quick(&database.url())?
        .max_size(SIZE)
        .acquire_timeout(ACQUIRE);
    let store = Postgres::connect_with(options).await?;
    let db = db(&store, Duration::from_secs(20));
    Ok((database, store, db))
}

/// 500 tasks that insert; half of them are stopped while they wait. How the others ended, and
/// after how long.
async fn wait_in_vain(db: &Db, held: Vec<Tx>, release: bool) -> Vec<(Result<()>, Duration)> {
    let mut waiters: Vec<_> = (0..WAITERS)
        .map(|number| {
            let db = db.clone();
            tokio::spawn(async move {
                let started = Instant::now();
                let inserted = db.insert(NewTag::new(format!("waiter {number}"))).await;
                (inserted.map(drop), started.elapsed())
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(150)).await;
    for number in (0..WAITERS).rev().step_by(2) {
        waiters.swap_remove(number).abort();
    }
    let held = if release { Vec::new() } else { held };
    let mut ends = Vec::new();
    for waiter in waiters {
        ends.push(waiter.await.expect("the waiter does not panic"));
    }
    drop(held);
    ends
}

/// The most connections that Larder had at once, seen by the server.
fn watch(url: String, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<i64> {
    tokio::spawn(async move {
        let client = beside(&url).await;
        let most = AtomicI64::new(0);
        while !stop.load(Ordering::Relaxed) {
            let sql = "SELECT count(*) FROM pg_stat_activity \
                WHERE datname = current_database() AND pid <> pg_backend_pid()";
            let row = client
                .query_one(sql, &[])
                .await
                .expect("the server answers");
            most.fetch_max(row.get(0), Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        most.into_inner()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiters_are_served_or_told_and_no_place_is_lost() -> Result<()> {
    let (database, store, db) = start().await?;
    let stop = Arc::new(AtomicBool::new(false));
    let watcher = watch(database.url(), Arc::clone(&stop));

    for (end, waited) in wait_in_vain(&db, hold_all(&db).await?, false).await {
        let error = end.expect_err("all connections are held");
        let typed = matches!(error.kind(), ErrorKind::Busy | ErrorKind::Timeout);
        assert!(typed, "{error:?}");
        assert!(waited < ACQUIRE * 2, "{waited:?}");
    }
    for (end, _) in wait_in_vain(&db, hold_all(&db).await?, true).await {
        if let Err(error) = end {
            assert_eq!(error.kind(), ErrorKind::Busy, "{error:?}");
        }
    }
    // All places are there, many times over.
    for _ in 0..5 {
        for tx in hold_all(&db).await? {
            tx.rollback().await?;
        }
    }
    let metrics = store.pool_metrics();
    assert_eq!((metrics.in_use, metrics.waiting), (0, 0), "{metrics:?}");
    assert!(metrics.idle <= SIZE, "{metrics:?}");
    stop.store(true, Ordering::Relaxed);
    let most = watcher.await.expect("the watcher does not panic");
    let allowed = SIZE as i64 + 2 + 1; // the shared ones, and one that is used to stop statements
    assert!((1..=allowed).contains(&most), "{most} connections");
    store.close().await
}
