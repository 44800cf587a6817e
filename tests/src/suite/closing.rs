//! Closing: waits for work in flight, then every handle answers `Closed`.

use larder_core::models::Tag;
use larder_core::{Db, ErrorKind, Id, Result, TxOptions};

use crate::fixtures::{numbered_tag, refused, tag, tags};
use crate::harness::{TestDb, tests};

async fn later_calls_are_closed(db: TestDb) -> Result<()> {
    let row = tag(&db, "a").await?;
    let other = Db::clone(&db);
    db.close().await?;
    for db in [
        &*db,
        &other,
        &db.with_timeout(std::time::Duration::from_secs(1)),
    ] {
        let error = refused(db.get::<Tag>(row.id).await, ErrorKind::Closed);
        assert!(error.is_closed() && !error.is_retryable());
        refused(db.query::<Tag>().all().await, ErrorKind::Closed);
        refused(db.query::<Tag>().count().await, ErrorKind::Closed);
        refused(db.query::<Tag>().explain().await, ErrorKind::Closed);
        refused(tag(db, "b").await, ErrorKind::Closed);
        refused(
            db.insert_all((0..300).map(numbered_tag)).await,
            ErrorKind::Closed,
        );
        refused(db.query::<Tag>().delete().await, ErrorKind::Closed);
        refused(db.begin(TxOptions::new()).await, ErrorKind::Closed);
        refused(
            db.begin(TxOptions::new().read_only()).await,
            ErrorKind::Closed,
        );
        let first = db.query::<Tag>().stream().next().await;
        refused(first.expect("an error"), ErrorKind::Closed);
        let unit: Result<()> = db.transaction(|_| async { Ok(()) }).await;
        refused(unit, ErrorKind::Closed);
    }
    Ok(())
}

async fn closing_twice_is_fine(db: TestDb) -> Result<()> {
    tag(&db, "a").await?;
    db.close().await?;
    db.close().await?;
    Db::clone(&db).close().await?;
    refused(db.get::<Tag>(Id::new(1)).await, ErrorKind::Closed);
    Ok(())
}

async fn work_in_flight_is_finished_or_refused_whole(db: TestDb) -> Result<()> {
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let db = Db::clone(&db);
            tokio::spawn(async move {
                for round in 0..200 {
                    if let Err(error) = tag(&db, &format!("{task}/{round}")).await {
                        return error.kind();
                    }
                }
                ErrorKind::Closed
            })
        })
        .collect();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    db.close().await?;
    for task in tasks {
        assert_eq!(
            task.await.expect("the task does not panic"),
            ErrorKind::Closed
        );
    }
    Ok(())
}

async fn a_transaction_left_open_does_not_hold_up_the_end(db: TestDb) -> Result<()> {
    tags(&db, 10).await?;
    let tx = db.begin(TxOptions::new()).await?;
    tag(&tx, "a").await?;
    let closing = Db::clone(&db);
    let closing = tokio::spawn(async move { closing.close().await });
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    drop(tx); // an engine may wait for it, or end it
    closing.await.expect("the task does not panic")?;
    refused(tag(&db, "b").await, ErrorKind::Closed);
    Ok(())
}

tests![
    later_calls_are_closed,
    closing_twice_is_fine,
    work_in_flight_is_finished_or_refused_whole,
    a_transaction_left_open_does_not_hold_up_the_end,
];
