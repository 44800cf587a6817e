//! A server that stops at once, as in a crash, and comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use larder_core::models::{self, NewTag, Tag};
use larder_core::{Db, Id, Result, Storage};
use larder_tests::cluster::Cluster;

use crate::{Outcomes, assert_broken, connect, db, heals_within};

const TIMEOUT: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_loses_nothing_and_heals() -> Result<()> {
    // What was acknowledged must be in the log when the server goes.
    let settings = [("synchronous_commit", "on")];
    let cluster = Arc::new(Cluster::start_with(&settings).expect("a server of its own"));
    let store = connect(&cluster.url("postgres")).await?;
    store.create_tables(&models::tables()).await?;
    let db = db(&store, TIMEOUT);
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..8)
        .map(|task| tokio::spawn(write_until(db.clone(), task, Arc::clone(&stop))))
        .collect();
    let reader = tokio::spawn(read_until(db.clone(), Arc::clone(&stop)));
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let server = Arc::clone(&cluster);
        let restarted = tokio::task::spawn_blocking(move || {
            server.stop_immediate()?;
            std::thread::sleep(Duration::from_millis(200));
            server.start()
        });
        restarted
            .await
            .expect("the restart does not panic")
            .expect("the server restarts");
        heals_within(&db, Duration::from_secs(5)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut outcomes = Outcomes::default();
    for writer in writers {
        outcomes.merge(writer.await.expect("the writer does not panic"));
    }
    reader.await.expect("the reader does not panic");
    assert!(outcomes.done.len() > 100, "hardly anything was written");
    assert!(!outcomes.failed.is_empty() || !outcomes.unknown.is_empty());
    outcomes.check(&db).await?;
    store.close().await
}

async fn write_until(db: Db, task: usize, stop: Arc<AtomicBool>) -> Outcomes {
    let mut outcomes = Outcomes::default();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("{task}-{number}");
        let outcome = db.insert(NewTag::new(name.as_str())).await;
        if let Err(error) = &outcome {
            assert_broken(error);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        outcomes.note(name, &outcome);
    }
    outcomes
}

/// Reads points and scans; they fail while the server is away, and at no other time.
async fn read_until(db: Db, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let point = db.get::<Tag>(Id::new(1)).await.map(drop);
        let scan = db.query::<Tag>().filter(Tag::NAME.contains("7"));
        for read in [point, scan.count().await.map(drop)] {
            if let Err(error) = read {
                assert_broken(&error);
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
