//! Row locks: what a transaction reads for an update stays as it is until its end.

use std::time::Duration;

use larder_core::models::{Tag, User};
use larder_core::{Db, Error, ErrorKind, Query, Result, Tx, TxOptions, count};

use crate::fixtures::{refused, tag, tags, user};
use crate::harness::{TestDb, tests};

async fn begin(db: &Db) -> Result<Tx> {
    db.begin(TxOptions::new()).await
}

/// Where there are none, they are refused by name before anything is sent.
async fn are_refused(db: &Db) -> Result<()> {
    let row = tag(db, "a").await?;
    let tx = begin(db).await?;
    let query = || tx.query::<Tag>().for_update();
    let error = refused(query().all().await, ErrorKind::Unsupported);
    assert!(error.message().contains("for_update"), "{error}");
    assert!(
        error.message().contains(db.capabilities().engine),
        "{error}"
    );
    refused(query().skip_locked().first().await, ErrorKind::Unsupported);
    refused(query().nowait().one().await, ErrorKind::Unsupported);
    refused(query().by_key(row.id).get().await, ErrorKind::Unsupported);
    refused(query().page(1).await, ErrorKind::Unsupported);
    refused(
        query().select(Tag::NAME).all().await,
        ErrorKind::Unsupported,
    );
    tx.update::<Tag>(row.id, Tag::NAME.set("b")).await?; // still usable
    tx.commit().await
}

async fn a_locked_row_is_read_and_can_be_changed(db: TestDb) -> Result<()> {
    if !db.capabilities().row_locks {
        return are_refused(&db).await;
    }
    let old = tag(&db, "old").await?;
    let tx = begin(&db).await?;
    let query = || tx.query::<Tag>().for_update();
    assert_eq!(query().one().await?, old);
    assert_eq!(query().skip_locked().one().await?, old);
    assert_eq!(query().nowait().first().await?, Some(old.clone()));
    assert_eq!(query().select(Tag::NAME).all().await?, ["old"]);
    assert_eq!(query().by_key(old.id).get().await?, Some(old.clone()));
    assert!(query().exists().await?);
    let page = query().with_total().page(1).await?;
    assert_eq!((page.items, page.total), (vec![old.clone()], Some(1)));
    tx.update::<Tag>(old.id, Tag::NAME.set("new")).await?;
    tx.commit().await?;
    assert_eq!(db.query::<Tag>().one().await?.name, "new");
    Ok(())
}

async fn a_nested_transaction_can_lock_too(db: TestDb) -> Result<()> {
    if !db.capabilities().row_locks {
        return are_refused(&db).await;
    }
    let row = tag(&db, "a").await?;
    let outer = begin(&db).await?;
    let inner = begin(&outer).await?;
    assert_eq!(inner.query::<Tag>().for_update().all().await?, [row]);
    inner.commit().await?;
    outer.commit().await
}

async fn without_a_transaction_that_writes_nothing_is_locked(db: TestDb) -> Result<()> {
    let outside = db.query::<Tag>().for_update().all().await;
    assert!(
        refused(outside, ErrorKind::Misuse)
            .message()
            .contains("for_update")
    );
    let tx = db.begin(TxOptions::new().read_only()).await?;
    refused(
        tx.query::<Tag>().for_update().all().await,
        ErrorKind::Misuse,
    );
    let nested = begin(&tx).await?;
    refused(
        nested.query::<Tag>().for_update().all().await,
        ErrorKind::Misuse,
    );
    Ok(())
}

async fn only_rows_can_be_locked(db: TestDb) -> Result<()> {
    let tx = begin(&db).await?;
    let query = || tx.query::<User>().for_update();
    refused(query().count().await, ErrorKind::Misuse);
    refused(
        query().distinct().select(User::NAME).all().await,
        ErrorKind::Misuse,
    );
    refused(query().select(count()).all().await, ErrorKind::Misuse);
    let groups = query().group_by(User::NAME).select(User::NAME);
    refused(groups.all().await, ErrorKind::Misuse);
    refused(query().delete().await, ErrorKind::Misuse);
    refused(
        tx.query::<User>().skip_locked().all().await,
        ErrorKind::Misuse,
    );
    refused(tx.query::<User>().nowait().all().await, ErrorKind::Misuse);
    user(&tx, 1).await?; // none of these was sent
    tx.commit().await
}

async fn who_comes_second_waits_skips_or_is_refused(db: TestDb) -> Result<()> {
    if !db.capabilities().row_locks {
        return are_refused(&db).await;
    }
    if !db.capabilities().concurrent_writers {
        return a_second_transaction_waits(&db).await;
    }
    let (a, b) = (tag(&db, "a").await?, tag(&db, "b").await?);
    let first = begin(&db).await?;
    assert_eq!(lock(&first).first().await?, Some(a.clone()));

    let second = begin(&db).await?;
    assert_eq!(lock(&second).skip_locked().all().await?, [b]);
    second.rollback().await?;
    let second = begin(&db).await?;
    refused(lock(&second).nowait().all().await, ErrorKind::Busy);
    second.rollback().await?;

    let second = begin(&db).await?;
    let waits = async { lock(&second).first().await };
    let goes = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        first.update::<Tag>(a.id, Tag::NAME.set("aa")).await?;
        first.commit().await
    };
    let (locked, committed) = tokio::join!(waits, goes);
    committed?;
    assert_eq!(
        locked?.map(|row| row.name).as_deref(),
        Some("aa"),
        "as it is then"
    );
    second.commit().await
}

fn lock(tx: &Tx) -> Query<'_, Tag> {
    tx.query::<Tag>().order(Tag::NAME.asc()).for_update()
}

async fn a_second_transaction_waits(db: &Db) -> Result<()> {
    let first = begin(db).await?;
    first.query::<Tag>().for_update().all().await?;
    let second = begin(&db.with_timeout(Duration::from_millis(50))).await;
    refused(second, ErrorKind::Timeout);
    first.commit().await
}

async fn many_workers_take_each_row_once(db: TestDb) -> Result<()> {
    const ROWS: usize = 24;
    if !db.capabilities().row_locks {
        return are_refused(&db).await;
    }
    tags(&db, ROWS).await?;
    let workers = (0..6).map(|_| {
        let db = Db::clone(&db);
        tokio::spawn(async move {
            let mut taken = Vec::new();
            while let Some(name) = take_one(&db).await? {
                taken.push(name);
            }
            Ok::<_, Error>(taken)
        })
    });
    let mut all = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        all.extend(worker.await.expect("no worker panics")?);
    }
    all.sort();
    let names: Vec<_> = (0..ROWS).map(|number| format!("tag {number:05}")).collect();
    assert_eq!(all, names);
    Ok(())
}

async fn take_one(db: &Db) -> Result<Option<String>> {
    db.transaction(|tx| async move {
        let next = tx.query::<Tag>().order(Tag::NAME.asc()).for_update();
        let Some(tag) = next.skip_locked().first().await? else {
            return Ok(None);
        };
        tx.delete::<Tag>(tag.id).await?;
        Ok(Some(tag.name))
    })
    .await
}

tests![
    a_locked_row_is_read_and_can_be_changed,
    a_nested_transaction_can_lock_too,
    without_a_transaction_that_writes_nothing_is_locked,
    only_rows_can_be_locked,
    who_comes_second_waits_skips_or_is_refused,
    many_workers_take_each_row_once,
];
