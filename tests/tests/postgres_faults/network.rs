//! A network that breaks: connections are reset, nothing comes back, an answer is lost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use larder_core::models::{NewTag, Tag};
use larder_core::{Db, Error, ErrorKind, Id, Result, Storage, TxOptions};
use larder_postgres::{Postgres, PrePing};
use larder_tests::databases::Database;
use larder_tests::proxy::{Fault, Proxy};

use tokio::sync::Barrier;

use crate::{
    Outcomes, POOL_SIZE, assert_broken, beside, connect, database, db, heals_within, quick,
};

const TIMEOUT: Duration = Duration::from_secs(2);
/// The deadline, a tenth, and what a busy machine needs to wake a task.
const LATEST: Duration = Duration::from_millis(2_200 + 300);

/// A store behind a proxy.
struct Behind {
    proxy: Proxy,
    store: Postgres,
    db: Db,
    /// The server's own URL.
    url: String,
    _database: Database,
}

impl Behind {
    async fn start() -> Result<Self> {
        let database = database().await?;
        let url = database.url();
        let port = url
            .rsplit_once(':')
            .and_then(|(_, rest)| rest.split('/').next())
            .and_then(|port| port.parse().ok())
            .expect("the URL names a port");
        let proxy = Proxy::start(port).await.expect("a free port");
        let store = connect(&proxy.url(&url)).await?;
        Ok(Self {
            db: db(&store, TIMEOUT),
            proxy,
            store,
            url,
            _database: database,
        })
    }

    /// How many tags of this name there are, by a way that is whole.
    async fn tags_called(&self, name: &str) -> i64 {
        let sql = "SELECT count(*) FROM tags WHERE name = $1";
        let row = beside(&self.url).await.query_one(sql, &[&name]).await;
        row.expect("the server answers").get(0)
    }
}

#[track_caller]
fn assert_in_time<T: std::fmt::Debug>(started: Instant, outcome: Result<T>) -> Error {
    let took = started.elapsed();
    let error = outcome.expect_err("nothing comes back");
    assert!(took <= LATEST, "{took:?}: {error:?}");
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_lose_nothing_and_heal() -> Result<()> {
    let behind = Behind::start().await?;
    let writers: Vec<_> = (0..8)
        .map(|task| {
            let db = behind.db.clone();
            tokio::spawn(async move {
                let mut outcomes = Outcomes::default();
                for number in 0..150 {
                    let name = format!("{task}-{number}");
                    let outcome = db.insert(NewTag::new(name.as_str())).await;
                    if let Err(error) = &outcome {
                        assert_broken(error);
                    }
                    outcomes.note(name, &outcome);
                    if let Err(error) = db.get::<Tag>(Id::new(1)).await {
                        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
                    }
                }
                outcomes
            })
        })
        .collect();
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        tokio::time::sleep(Duration::from_millis(60)).await;
        behind.proxy.reset_all();
    }
    let mut outcomes = Outcomes::default();
    for writer in writers {
        outcomes.merge(writer.await.expect("the writer does not panic"));
    }
    assert!(!outcomes.done.is_empty() && !outcomes.unknown.is_empty());
    heals_within(&behind.db, Duration::from_secs(5)).await;
    outcomes.check(&behind.db).await?;
    behind.store.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_to_a_commit_is_unknown_and_not_run_again() -> Result<()> {
    let behind = Behind::start().await?;
    let tx = behind.db.begin(TxOptions::new()).await?;
    tx.insert(NewTag::new("explicit")).await?;
    behind.proxy.swallow_answer_to("COMMIT");
    let error = tx.commit().await.expect_err("its answer was lost");
    assert_eq!(error.kind(), ErrorKind::Unknown, "{error:?}");
    assert!(!error.is_retryable());
    assert_eq!(behind.tags_called("explicit").await, 1);

    let runs = AtomicUsize::new(0);
    behind.proxy.swallow_answer_to("COMMIT");
    let unit = behind.db.transaction(|tx| {
        runs.fetch_add(1, Ordering::SeqCst);
        async move { tx.insert(NewTag::new("unit")).await }
    });
    let error = unit.await.expect_err("its answer was lost");
    assert_eq!(error.kind(), ErrorKind::Unknown, "{error:?}");
    assert_eq!(
        runs.load(Ordering::SeqCst),
        1,
        "nobody knows that it failed"
    );
    assert_eq!(behind.tags_called("unit").await, 1);
    assert_eq!(behind.proxy.swallowed(), 2);
    heals_within(&behind.db, Duration::from_secs(5)).await;
    behind.store.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_to_a_write_is_unknown() -> Result<()> {
    let behind = Behind::start().await?;
    // The second time the statement is prepared already.
    for name in ["first", "second"] {
        behind.proxy.swallow_answer_to("INSERT INTO");
        let lost = behind.db.insert(NewTag::new(name)).await;
        let error = lost.expect_err("its answer was lost");
        assert_eq!(error.kind(), ErrorKind::Unknown, "{error:?}");
        assert_eq!(behind.tags_called(name).await, 1);
        heals_within(&behind.db, Duration::from_secs(5)).await;
    }
    let kept = behind.db.insert(NewTag::new("kept")).await?;
    behind.proxy.swallow_answer_to("UPDATE");
    let update = behind.db.update::<Tag>(kept.id, Tag::NAME.set("changed"));
    let error = update.await.expect_err("its answer was lost");
    assert_eq!(error.kind(), ErrorKind::Unknown, "{error:?}");
    behind.proxy.swallow_answer_to("COPY");
    let rows = (0..500).map(|number| NewTag::new(format!("copied {number}")));
    let error = behind.db.insert_all(rows).await.expect_err("lost as well");
    assert_eq!(error.kind(), ErrorKind::Unknown, "{error:?}");
    assert_eq!(behind.proxy.swallowed(), 4);
    heals_within(&behind.db, Duration::from_secs(5)).await;
    behind.store.close().await
}

/// Lets the pool open all its connections, so that what follows waits for answers alone.
async fn warm_up(db: &Db) -> Result<()> {
    let mut held = Vec::new();
    for _ in 0..POOL_SIZE - 1 {
        held.push(db.begin(TxOptions::new()).await?);
    }
    for tx in held {
        tx.rollback().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_gets_no_answer_is_told_by_the_deadline() -> Result<()> {
    for fault in [Fault::Stall, Fault::BlackHole] {
        let behind = Behind::start().await?;
        let row = behind.db.insert(NewTag::new("before")).await?;
        behind.db.get::<Tag>(row.id).await?;
        let open = behind.db.begin(TxOptions::new()).await?;
        open.insert(NewTag::new("open")).await?;
        warm_up(&behind.db).await?;
        behind.proxy.set(fault);

        let started = Instant::now();
        let commit = open.commit();
        let insert = behind.db.insert(NewTag::new("during"));
        let bulk = (0..500).map(|number| NewTag::new(format!("bulk {number}")));
        let bulk = behind.db.insert_all(bulk);
        let point = behind.db.get::<Tag>(row.id);
        let scan = behind.db.query::<Tag>().filter(Tag::NAME.contains("e"));
        let begin = behind.db.begin(TxOptions::new());
        let (commit, insert, bulk, point, scan, begin) =
            tokio::join!(commit, insert, bulk, point, scan.all(), begin);
        for lost in [
            assert_in_time(started, commit),
            assert_in_time(started, insert),
            assert_in_time(started, bulk),
        ] {
            assert_eq!(lost.kind(), ErrorKind::Unknown, "{fault:?}: {lost:?}");
        }
        for lost in [
            assert_in_time(started, point.map(drop)),
            assert_in_time(started, scan.map(drop)),
            assert_in_time(started, begin.map(drop)),
        ] {
            let kind = lost.kind();
            let right = matches!(kind, ErrorKind::Timeout | ErrorKind::Unavailable);
            assert!(right, "{fault:?}: {lost:?}");
        }
        behind.proxy.set(Fault::None);
        behind.proxy.reset_all();
        heals_within(&behind.db, Duration::from_secs(5)).await;
        behind.store.close().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_refuses_is_unavailable_until_it_does_not() -> Result<()> {
    let behind = Behind::start().await?;
    behind.proxy.set(Fault::Refuse);
    behind.proxy.reset_all();
    for _ in 0..3 {
        let started = Instant::now();
        let refused = behind.db.insert(NewTag::new("never")).await;
        assert_broken(&assert_in_time(started, refused));
        let refused = behind.db.get::<Tag>(Id::new(1)).await;
        let error = refused.expect_err("nobody is there");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    }
    behind.proxy.set(Fault::None);
    heals_within(&behind.db, Duration::from_secs(5)).await;
    assert_eq!(behind.tags_called("never").await, 0);
    behind.store.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_that_passes_byte_by_byte_is_slow_and_no_more() -> Result<()> {
    let behind = Behind::start().await?;
    behind.proxy.set(Fault::ByteByByte);
    let rows = (0..40).map(|number| NewTag::new(format!("tag {number:02} é")));
    let rows = behind.db.insert_all_returning(rows).await?;
    let found = behind.db.query::<Tag>().order(Tag::ID.asc()).all().await?;
    assert_eq!(found, rows);
    assert_eq!(behind.db.find::<Tag>(rows[7].id).await?, rows[7]);
    behind
        .db
        .transaction(|tx| async move { tx.insert(NewTag::new("unit")).await })
        .await?;
    assert_eq!(behind.db.query::<Tag>().count().await?, 41);
    behind.store.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_stranded_connections_one_is_waited_for() -> Result<()> {
    let behind = Behind::start().await?;
    let options = quick(&behind.proxy.url(&behind.url))?.pre_ping(PrePing::Always);
    let store = Postgres::connect_with(options).await?;
    let db = db(&store, Duration::from_secs(30));
    let all_at_once = Barrier::new(POOL_SIZE);
    let scans = (0..POOL_SIZE).map(|_| async {
        let tx = db.begin(TxOptions::new()).await?;
        all_at_once.wait().await;
        tx.query::<Tag>().all().await?;
        tx.commit().await
    });
    try_join_all(scans).await?;
    assert_eq!(store.pool_metrics().idle, POOL_SIZE);
    behind.proxy.strand_all();
    let started = Instant::now();
    db.query::<Tag>().all().await?;
    let took = started.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}"); // one is waited for, two seconds
    store.close().await?;
    behind.store.close().await
}
