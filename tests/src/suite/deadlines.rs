//! Every wait ends by its deadline, and what timed out was not applied.

use std::time::{Duration, Instant};

use larder_core::models::Tag;
use larder_core::{Db, Error, ErrorKind, Result, Tx, TxOptions};

use crate::fixtures::{refused, tag, tags};
use crate::harness::{TestDb, tests};

/// The deadline of the handle that has to wait in vain.
const SHORT: Duration = Duration::from_millis(200);
/// How much later than its deadline an answer may come on a busy machine.
const SLACK: Duration = Duration::from_secs(5);

/// A wait that ended: too late, or turned away, but with nothing applied.
#[track_caller]
fn gave_up<T: std::fmt::Debug>(outcome: Result<T>, started: Instant) -> Error {
    let error = outcome.expect_err("somebody else holds the row");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    let waited = started.elapsed();
    assert!(waited < SHORT + SLACK, "waited {waited:?}");
    error
}

/// A tag, and a transaction that has changed it.
async fn held(db: &Db) -> Result<(Tag, Tx)> {
    let row = tag(db, "old").await?;
    let tx = db.begin(TxOptions::new()).await?;
    tx.update::<Tag>(row.id, Tag::NAME.set("by the transaction"))
        .await?;
    Ok((row, tx))
}

/// Where a transaction holds no rows, others go on, and it learns of them when it commits.
async fn others_go_on<T>(db: &Db, tx: Tx, write: impl Future<Output = Result<T>>) -> Result<()> {
    let before = db.query::<Tag>().all().await?;
    write.await?;
    let after = db.query::<Tag>().all().await?;
    assert_ne!(after, before);
    let error = refused(tx.commit().await, ErrorKind::Conflict);
    assert!(error.is_retryable());
    assert_eq!(db.query::<Tag>().all().await?, after, "nothing was applied");
    Ok(())
}

async fn a_write_that_waits_for_a_lock_times_out(db: TestDb) -> Result<()> {
    let (row, tx) = held(&db).await?;
    if !db.capabilities().row_locks {
        let short = db.with_timeout(SHORT);
        let write = short.update::<Tag>(row.id, Tag::NAME.set("meanwhile"));
        return others_go_on(&db, tx, write).await;
    }
    let short = db.with_timeout(SHORT);
    let started = Instant::now();
    let error = gave_up(
        short.update::<Tag>(row.id, Tag::NAME.set("late")).await,
        started,
    );
    assert!(error.is_timeout());
    assert!(
        started.elapsed() >= SHORT / 2,
        "it did wait: {:?}",
        started.elapsed()
    );
    let started = Instant::now();
    gave_up(short.delete::<Tag>(row.id).await, started);
    let started = Instant::now();
    gave_up(
        short.query::<Tag>().update(Tag::NAME.set("late")).await,
        started,
    );
    tx.commit().await?;
    tokio::time::sleep(SHORT).await;
    assert_eq!(
        db.find::<Tag>(row.id).await?.name,
        "by the transaction",
        "nothing was applied"
    );
    short
        .update::<Tag>(row.id, Tag::NAME.set("free again"))
        .await?;
    Ok(())
}

async fn a_querys_own_deadline_holds_for_its_writes(db: TestDb) -> Result<()> {
    let (row, tx) = held(&db).await?;
    let query = || db.query::<Tag>().timeout(SHORT);
    if !db.capabilities().row_locks {
        return others_go_on(&db, tx, query().update(Tag::NAME.set("meanwhile"))).await;
    }
    let started = Instant::now();
    gave_up(query().update(Tag::NAME.set("late")).await, started);
    let started = Instant::now();
    gave_up(query().delete().await, started);
    tx.commit().await?;
    tokio::time::sleep(SHORT).await;
    assert_eq!(db.find::<Tag>(row.id).await?.name, "by the transaction");
    Ok(())
}

async fn a_transaction_that_waits_for_a_lock_times_out(db: TestDb) -> Result<()> {
    let (row, tx) = held(&db).await?;
    let short = db.with_timeout(SHORT);
    let started = Instant::now();
    let unit = short
        .transaction(|tx| async move { tx.update::<Tag>(row.id, Tag::NAME.set("late")).await });
    if !db.capabilities().row_locks {
        return others_go_on(&db, tx, unit).await;
    }
    gave_up(unit.await, started);
    tx.rollback().await?;
    assert_eq!(db.find::<Tag>(row.id).await?.name, "old");
    short
        .transaction(|tx| async move { tx.update::<Tag>(row.id, Tag::NAME.set("new")).await })
        .await?;
    Ok(())
}

async fn writers_in_line_are_served_when_the_lock_is_free(db: TestDb) -> Result<()> {
    let (row, tx) = held(&db).await?;
    if !db.capabilities().row_locks {
        let write = db.update::<Tag>(row.id, Tag::NAME.set("impatient"));
        return others_go_on(&db, tx, write).await;
    }
    let waiting = larder_core::Db::clone(&db);
    let waiter = tokio::spawn(async move {
        waiting
            .update::<Tag>(row.id, Tag::NAME.set("patient"))
            .await
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiter.is_finished());
    tx.commit().await?;
    waiter.await.expect("the task does not panic")?;
    assert_eq!(db.find::<Tag>(row.id).await?.name, "patient");
    Ok(())
}

async fn a_waiting_write_that_is_dropped_is_not_applied(db: TestDb) -> Result<()> {
    let (row, tx) = held(&db).await?;
    if !db.capabilities().row_locks {
        return others_go_on(&db, tx, db.query::<Tag>().timeout(SLACK).delete()).await;
    }
    for _ in 0..5 {
        let write = db.update::<Tag>(row.id, Tag::NAME.set("dropped"));
        assert!(
            tokio::time::timeout(Duration::from_millis(20), write)
                .await
                .is_err()
        );
    }
    // A server elsewhere has the write already and learns of the drop a moment later. Until then it
    // may apply it, whole: that is not what is tested here.
    tokio::time::sleep(Duration::from_millis(100)).await;
    tx.commit().await?;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(db.find::<Tag>(row.id).await?.name, "by the transaction");
    tag(&db, "next").await?;
    Ok(())
}

async fn a_read_past_its_deadline_leaves_the_store_usable(db: TestDb) -> Result<()> {
    tags(&db, 20_000).await?;
    for micros in [1, 100, 1_000, 10_000] {
        let query = db
            .query::<Tag>()
            .filter(Tag::NAME.contains_ignore_case("9"))
            .order(Tag::NAME.desc());
        match query.timeout(Duration::from_micros(micros)).all().await {
            Ok(rows) => assert_eq!(rows.len(), 20_000 - 2 * 9_usize.pow(4)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}"),
        }
        assert_eq!(db.query::<Tag>().count().await?, 20_000);
    }
    Ok(())
}

async fn a_stream_that_nobody_reads_times_out(db: TestDb) -> Result<()> {
    tags(&db, 5_000).await?;
    let mut stream = db.query::<Tag>().timeout(SHORT).stream();
    stream.next().await.expect("many more rows")?;
    tokio::time::sleep(SHORT * 3).await;
    let started = Instant::now();
    let mut rows = 1;
    let ended = loop {
        match stream.next().await {
            Some(Ok(_)) => rows += 1,
            other => break other,
        }
    };
    assert!(started.elapsed() < SLACK);
    match ended {
        Some(Err(error)) => assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}"),
        _ => panic!("{rows} rows and no error, though the deadline had passed"),
    }
    tag(&db, "still usable").await?;
    Ok(())
}

async fn streams_that_nobody_reads_let_go_of_the_store(db: TestDb) -> Result<()> {
    tags(&db, 2_000).await?;
    let mut streams = Vec::new();
    for _ in 0..100 {
        let mut stream = db.query::<Tag>().timeout(SHORT).stream();
        let refused = stream.next().await.expect("many more rows").is_err();
        streams.push(stream);
        if refused {
            break; // a store may have only so many at once
        }
    }
    tokio::time::sleep(SHORT * 3).await;
    let scan = db.query::<Tag>().timeout(SLACK);
    assert_eq!(scan.all().await?.len(), 2_000);
    drop(streams);
    Ok(())
}

async fn a_timeout_beyond_the_clock_is_none(db: TestDb) -> Result<()> {
    let patient = db.with_timeout(Duration::MAX);
    let row = tag(&patient, "kept").await?;
    let tx = patient.begin(TxOptions::new()).await?;
    tx.update::<Tag>(row.id, Tag::NAME.set("changed")).await?;
    tx.commit().await?;
    let query = patient.query::<Tag>().timeout(Duration::MAX);
    assert_eq!(query.one().await?.name, "changed");
    Ok(())
}

tests![
    a_write_that_waits_for_a_lock_times_out,
    a_querys_own_deadline_holds_for_its_writes,
    a_transaction_that_waits_for_a_lock_times_out,
    writers_in_line_are_served_when_the_lock_is_free,
    a_waiting_write_that_is_dropped_is_not_applied,
    a_read_past_its_deadline_leaves_the_store_usable,
    a_stream_that_nobody_reads_times_out,
    streams_that_nobody_reads_let_go_of_the_store,
    a_timeout_beyond_the_clock_is_none,
];
