//! A table that somebody has locked: whoever reads another one does not wait for it.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use larder_core::models::{NewTag, NewUser, Tag, User};
use larder_core::{ErrorKind, Result, Storage};
use larder_postgres::Postgres;
use tokio_postgres::Client;

use crate::{beside, database, db, quick};

/// Longer than anything here takes, unless it waits for the lock.
const LIMIT: Duration = Duration::from_secs(10);

/// Waits until so many of Larder's statements wait for a lock.
async fn until_waiting(client: &Client, count: i64) {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
        AND application_name = 'larder' AND datname = current_database()";
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < LIMIT, "not {count} statements wait");
        let row = client.query_one(sql, &[]).await.expect("it answers");
        if row.get::<_, i64>(0) == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn lock(client: &Client) {
    let lock = "BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE";
    client
        .batch_execute(lock)
        .await
        .expect("nobody else has it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_another_table_does_not_wait() -> Result<()> {
    let database = database().await?;
    let url = database.url();
    let store = Postgres::connect_with(quick(&url)?.shared_connections(1)).await?;
    let db = db(&store, LIMIT);
    let ada = db.insert(NewUser::without_password("ada@example.com", "Ada")?);
    let (ada, tag) = (ada.await?, db.insert(NewTag::new("tag")).await?);
    let other = beside(&url).await;
    lock(&other).await;
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move { db.get::<User>(ada.id).await })
        })
        .collect();
    until_waiting(&beside(&url).await, 3).await;
    // The only shared connection is free again.
    let reads = (0..50).map(|_| db.get::<Tag>(tag.id));
    for found in try_join_all(reads).await? {
        assert_eq!(found.as_ref(), Some(&tag));
    }
    assert!(readers.iter().all(|reader| !reader.is_finished()));
    other.batch_execute("COMMIT").await.expect("it was open");
    for reader in readers {
        let found = reader.await.expect("it does not panic")?;
        assert_eq!(found.map(|user| user.id), Some(ada.id));
    }
    store.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_waits_for_any_more_is_stopped() -> Result<()> {
    let database = database().await?;
    let url = database.url();
    // Without settings of its own, as behind a pooler.
    let options = quick(&url)?.shared_connections(1);
    let store = Postgres::connect_with(options.prepared_statements(false)).await?;
    let waiting = db(&store, Duration::from_millis(1_200));
    let ada = waiting.insert(NewUser::without_password("ada@example.com", "Ada")?);
    let ada = ada.await?;
    waiting.get::<User>(ada.id).await?;
    let (other, watching) = (beside(&url).await, beside(&url).await);
    lock(&other).await;
    let read = waiting.get::<User>(ada.id).await;
    let error = read.expect_err("the table is locked");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    until_waiting(&watching, 0).await; // stopped though the lock is held
    other.batch_execute("COMMIT").await.expect("it was open");
    assert!(waiting.get::<User>(ada.id).await?.is_some());
    store.close().await
}
