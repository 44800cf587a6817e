//! Transactions: all or nothing, nested, isolated, ended once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use larder_core::models::Tag;
use larder_core::{Db, DbOptions, Entity, Error, ErrorKind, Isolation, Result, TxOptions};

use crate::fixtures::{numbered_tag, refused, tag};
use crate::harness::{TestDb, tests};
use crate::schema::{Account, NewAccount};

async fn names(db: &Db) -> Result<Vec<String>> {
    db.query::<Tag>()
        .order(Tag::NAME.asc())
        .select(Tag::NAME)
        .all()
        .await
}

async fn begin(db: &Db) -> Result<larder_core::Tx> {
    db.begin(TxOptions::new()).await
}

async fn commit_keeps_the_work(db: TestDb) -> Result<()> {
    let tx = begin(&db).await?;
    tag(&tx, "a").await?;
    assert_eq!(
        names(&tx).await?,
        ["a"],
        "reads inside see the transaction's own writes"
    );
    tx.insert_all([numbered_tag(1)]).await?;
    tx.query::<Tag>()
        .filter(Tag::NAME.eq("a"))
        .update(Tag::NAME.set("b"))
        .await?;
    tx.commit().await?;
    assert_eq!(names(&db).await?, ["b", "tag 00001"]);
    Ok(())
}

async fn rollback_undoes_the_work(db: TestDb) -> Result<()> {
    let kept = tag(&db, "kept").await?;
    let tx = begin(&db).await?;
    tag(&tx, "a").await?;
    tx.update::<Tag>(kept.id, Tag::NAME.set("changed")).await?;
    tx.rollback().await?;
    assert_eq!(names(&db).await?, ["kept"]);
    let tx = begin(&db).await?;
    tx.delete::<Tag>(kept.id).await?;
    assert!(names(&tx).await?.is_empty());
    tx.rollback().await?;
    assert_eq!(names(&db).await?, ["kept"]);
    Ok(())
}

async fn dropping_rolls_back(db: TestDb) -> Result<()> {
    for _ in 0..20 {
        let tx = begin(&db).await?;
        tag(&tx, "a").await?;
        let clone = tx.clone();
        drop(tx);
        assert_eq!(names(&clone).await?, ["a"], "a clone keeps it open");
        drop(clone);
        let quick = db.with_timeout(Duration::from_secs(10));
        assert!(names(&quick).await?.is_empty());
        let other = tag(&quick, "b").await?; // the next writer does not wait
        quick.delete::<Tag>(other.id).await?;
    }
    Ok(())
}

async fn a_unit_that_succeeds_is_committed(db: TestDb) -> Result<()> {
    let tag = db
        .transaction(|tx| async move { tag(&tx, "a").await })
        .await?;
    assert_eq!(db.find::<Tag>(tag.id).await?, tag);
    Ok(())
}

async fn a_unit_that_fails_is_rolled_back(db: TestDb) -> Result<()> {
    let runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&runs);
    let outcome: Result<()> = db
        .transaction(move |tx| {
            let count = Arc::clone(&count);
            async move {
                count.fetch_add(1, Ordering::SeqCst);
                tag(&tx, "a").await?;
                Err(Error::invalid("changed my mind"))
            }
        })
        .await;
    let error = refused(outcome, ErrorKind::Invalid);
    assert_eq!(error.message(), "changed my mind", "the unit's own error");
    assert_eq!(
        runs.load(Ordering::SeqCst),
        1,
        "nothing but a conflict is run again"
    );
    assert!(names(&db).await?.is_empty());
    Ok(())
}

async fn a_unit_may_fail_with_an_error_of_its_own(db: TestDb) -> Result<()> {
    type Boxed = Box<dyn std::error::Error + Send + Sync>;
    let outcome: Result<(), Boxed> = db
        .transaction(|tx| async move {
            tag(&tx, "a").await?;
            Err("not today".into())
        })
        .await;
    assert_eq!(
        outcome.expect_err("the unit failed").to_string(),
        "not today"
    );
    assert!(names(&db).await?.is_empty());
    Ok(())
}

async fn a_unit_whose_future_is_dropped_is_rolled_back(db: TestDb) -> Result<()> {
    let work = db.transaction(|tx| async move {
        tag(&tx, "a").await?;
        tokio::time::sleep(Duration::from_mins(1)).await;
        Ok::<_, larder_core::Error>(())
    });
    assert!(
        tokio::time::timeout(Duration::from_millis(100), work)
            .await
            .is_err()
    );
    assert!(names(&db).await?.is_empty());
    tag(&db, "b").await?;
    Ok(())
}

async fn a_conflict_is_run_again_within_bounds(db: TestDb) -> Result<()> {
    for attempts in [1, 3] {
        let db = db.with(DbOptions::default().attempts(attempts));
        let runs = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&runs);
        let outcome: Result<()> = db
            .transaction(move |tx| {
                let count = Arc::clone(&count);
                async move {
                    count.fetch_add(1, Ordering::SeqCst);
                    tag(&tx, "a").await?; // would be a duplicate if it had not been undone
                    Err(Error::new(ErrorKind::Conflict, "lost"))
                }
            })
            .await;
        refused(outcome, ErrorKind::Conflict);
        assert_eq!(runs.load(Ordering::SeqCst), attempts as usize);
        assert!(names(&db).await?.is_empty());
    }
    Ok(())
}

async fn a_unit_that_wins_at_last_is_committed_once(db: TestDb) -> Result<()> {
    let runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&runs);
    let ran = db
        .transaction(move |tx| {
            let count = Arc::clone(&count);
            async move {
                let run = count.fetch_add(1, Ordering::SeqCst) + 1;
                tag(&tx, &format!("run {run}")).await?;
                if run < 3 {
                    Err(Error::new(ErrorKind::Conflict, "lost"))
                } else {
                    Ok(run)
                }
            }
        })
        .await?;
    assert_eq!((ran, names(&db).await?), (3, vec!["run 3".to_owned()]));
    Ok(())
}

async fn a_nested_unit_leaves_running_again_to_the_outermost(db: TestDb) -> Result<()> {
    let runs = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let count = Arc::clone(&runs);
    db.transaction(move |tx| {
        let count = Arc::clone(&count);
        async move {
            let outer = count.0.fetch_add(1, Ordering::SeqCst);
            tx.transaction(move |tx| {
                let count = Arc::clone(&count);
                async move {
                    count.1.fetch_add(1, Ordering::SeqCst);
                    tag(&tx, "inner").await?;
                    if outer == 0 {
                        Err(Error::new(ErrorKind::Conflict, "lost"))
                    } else {
                        Ok(())
                    }
                }
            })
            .await
        }
    })
    .await?;
    assert_eq!(
        (runs.0.load(Ordering::SeqCst), runs.1.load(Ordering::SeqCst)),
        (2, 2)
    );
    assert_eq!(names(&db).await?, ["inner"]);
    Ok(())
}

async fn nested_transactions_undo_their_own_part(db: TestDb) -> Result<()> {
    if !db.capabilities().savepoints {
        let tx = begin(&db).await?;
        refused(tx.begin(TxOptions::new()).await, ErrorKind::Unsupported);
        return Ok(());
    }
    let tx = begin(&db).await?;
    tag(&tx, "a").await?;
    let inner = begin(&tx).await?;
    tag(&inner, "b").await?;
    let innermost = begin(&inner).await?;
    tag(&innermost, "c").await?;
    assert_eq!(names(&innermost).await?, ["a", "b", "c"]);
    innermost.rollback().await?;
    assert_eq!(names(&inner).await?, ["a", "b"]);
    inner.commit().await?;
    let second = begin(&tx).await?;
    tag(&second, "d").await?;
    drop(second);
    assert_eq!(
        names(&tx).await?,
        ["a", "b"],
        "dropping a nested one undoes it"
    );
    let third = begin(&tx).await?;
    tag(&third, "e").await?;
    third.commit().await?;
    tx.commit().await?;
    assert_eq!(names(&db).await?, ["a", "b", "e"]);
    Ok(())
}

async fn a_committed_inner_transaction_goes_with_the_outer_one(db: TestDb) -> Result<()> {
    if !db.capabilities().savepoints {
        return Ok(());
    }
    let tx = begin(&db).await?;
    let inner = begin(&tx).await?;
    tag(&inner, "a").await?;
    inner.commit().await?;
    tx.rollback().await?;
    assert!(names(&db).await?.is_empty());
    Ok(())
}

async fn the_outer_handle_waits_its_turn(db: TestDb) -> Result<()> {
    if !db.capabilities().savepoints {
        return Ok(());
    }
    let tx = begin(&db).await?;
    let inner = begin(&tx).await?;
    let error = refused(tag(&tx, "a").await, ErrorKind::Misuse);
    assert!(error.message().contains("nested"), "{error}");
    refused(names(&tx).await, ErrorKind::Misuse);
    refused(tx.begin(TxOptions::new()).await, ErrorKind::Misuse);
    tag(&inner, "b").await?;
    inner.commit().await?;
    tag(&tx, "a").await?;
    tx.commit().await?;
    assert_eq!(names(&db).await?, ["a", "b"]);
    Ok(())
}

async fn after_its_end_a_transaction_is_closed(db: TestDb) -> Result<()> {
    for commit in [true, false] {
        let tx = begin(&db).await?;
        let late = tx.clone();
        if commit {
            tx.commit().await?;
        } else {
            tx.rollback().await?;
        }
        refused(tag(&late, "late").await, ErrorKind::Closed);
        refused(names(&late).await, ErrorKind::Closed);
        refused(
            late.get::<Tag>(larder_core::Id::new(1)).await,
            ErrorKind::Closed,
        );
        refused(late.begin(TxOptions::new()).await, ErrorKind::Closed);
        let undone = late.clone().rollback().await;
        if commit {
            refused(undone, ErrorKind::Closed); // too late to undo
        } else {
            undone?; // twice is fine
        }
        refused(late.commit().await, ErrorKind::Closed);
    }
    assert!(names(&db).await?.is_empty());
    Ok(())
}

async fn a_read_only_transaction_refuses_writes(db: TestDb) -> Result<()> {
    tag(&db, "a").await?;
    let tx = db.begin(TxOptions::new().read_only()).await?;
    assert_eq!(names(&tx).await?, ["a"]);
    let error = refused(tag(&tx, "b").await, ErrorKind::ReadOnly);
    assert!(error.is_read_only() && !error.is_retryable());
    refused(tx.query::<Tag>().delete().await, ErrorKind::ReadOnly);
    refused(
        tx.query::<Tag>().update(Tag::NAME.set("x")).await,
        ErrorKind::ReadOnly,
    );
    assert_eq!(names(&tx).await?, ["a"], "still usable");
    tx.commit().await?;
    tag(&db, "b").await?;
    Ok(())
}

async fn a_nested_transaction_may_promise_not_to_write(db: TestDb) -> Result<()> {
    if !db.capabilities().savepoints {
        return Ok(());
    }
    let tx = begin(&db).await?;
    tag(&tx, "a").await?;
    let inner = tx.begin(TxOptions::new().read_only()).await?;
    assert_eq!(names(&inner).await?, ["a"]);
    refused(tag(&inner, "b").await, ErrorKind::ReadOnly);
    let innermost = begin(&inner).await?;
    refused(tag(&innermost, "b").await, ErrorKind::ReadOnly);
    innermost.commit().await?;
    inner.commit().await?;
    tag(&tx, "c").await?; // the promise was the inner one's
    tx.commit().await?;
    assert_eq!(names(&db).await?, ["a", "c"]);
    let reading = db.begin(TxOptions::new().read_only()).await?;
    let inner = begin(&reading).await?;
    refused(tag(&inner, "b").await, ErrorKind::ReadOnly);
    Ok(())
}

async fn a_nested_commit_cannot_be_undone_by_itself(db: TestDb) -> Result<()> {
    if !db.capabilities().savepoints {
        return Ok(());
    }
    let tx = begin(&db).await?;
    let inner = begin(&tx).await?;
    let late = inner.clone();
    tag(&inner, "a").await?;
    inner.commit().await?;
    refused(late.rollback().await, ErrorKind::Closed);
    let inner = begin(&tx).await?;
    let late = inner.clone();
    inner.rollback().await?;
    late.rollback().await?; // twice is fine
    tx.commit().await?;
    assert_eq!(names(&db).await?, ["a"]);
    Ok(())
}

async fn a_read_only_transaction_sees_one_state(db: TestDb) -> Result<()> {
    tag(&db, "a").await?;
    let options = TxOptions::new().read_only();
    let tx = db.begin(options).await?;
    assert_eq!(names(&tx).await?, ["a"]);
    if db.capabilities().reads_during_writes {
        tag(&db, "b").await?;
        db.query::<Tag>().filter(Tag::NAME.eq("a")).delete().await?;
        assert_eq!(names(&db).await?, ["b"]);
    }
    assert_eq!(names(&tx).await?, ["a"]);
    assert_eq!(tx.query::<Tag>().count().await?, 1);
    tx.commit().await?;
    Ok(())
}

async fn others_do_not_see_unfinished_work(db: TestDb) -> Result<()> {
    let kept = tag(&db, "kept").await?;
    let tx = begin(&db).await?;
    tag(&tx, "new").await?;
    tx.update::<Tag>(kept.id, Tag::NAME.set("changed")).await?;
    if db.capabilities().reads_during_writes {
        assert_eq!(names(&db).await?, ["kept"]);
        assert_eq!(db.find::<Tag>(kept.id).await?.name, "kept");
        assert_eq!(
            db.query::<Tag>()
                .filter(Tag::NAME.eq("new"))
                .count()
                .await?,
            0
        );
    }
    tx.commit().await?;
    assert_eq!(names(&db).await?, ["changed", "new"]);
    assert_eq!(
        db.find::<Tag>(kept.id).await?.name,
        "changed",
        "seen as soon as acknowledged"
    );
    Ok(())
}

async fn isolation_is_given_or_refused(db: TestDb) -> Result<()> {
    let levels = [
        Isolation::ReadCommitted,
        Isolation::Snapshot,
        Isolation::Serializable,
    ];
    for (at, isolation) in levels.into_iter().enumerate() {
        let begun = db.begin(TxOptions::new().isolation(isolation)).await;
        if isolation > db.capabilities().isolation {
            let error = refused(begun, ErrorKind::Unsupported);
            assert!(
                error.message().contains(db.capabilities().engine),
                "{error}"
            );
        } else {
            let tx = begun?;
            tag(&tx, &format!("{at}")).await?;
            tx.commit().await?;
        }
    }
    Ok(())
}

async fn serializable_units_lose_no_update(db: TestDb) -> Result<()> {
    if db.capabilities().isolation < Isolation::Serializable {
        return Ok(());
    }
    let account = db.insert(NewAccount::new("a", 0)).await?;
    let db = db.with(DbOptions::default().attempts(100));
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let db = db.clone();
        tasks.push(tokio::spawn(async move {
            for _ in 0..10 {
                let options = TxOptions::new().isolation(Isolation::Serializable);
                db.transaction_with(options, |tx| async move {
                    let row = tx.find::<Account>(account.id).await?;
                    tokio::task::yield_now().await;
                    tx.update::<Account>(row.id, Account::BALANCE.set(row.balance + 1))
                        .await
                })
                .await?;
            }
            Ok::<_, larder_core::Error>(())
        }));
    }
    for task in tasks {
        task.await.expect("the task does not panic")?;
    }
    assert_eq!(db.find::<Account>(account.id).await?.balance, 80);
    Ok(())
}

async fn an_empty_transaction_is_fine(db: TestDb) -> Result<()> {
    begin(&db).await?.commit().await?;
    begin(&db).await?.rollback().await?;
    drop(begin(&db).await?);
    db.transaction(|_| async { Ok::<_, larder_core::Error>(()) })
        .await?;
    tag(&db, "a").await?;
    Ok(())
}

async fn a_failed_write_undoes_itself_alone(db: TestDb) -> Result<()> {
    let tx = begin(&db).await?;
    tag(&tx, "tag 00002").await?;
    refused(
        tx.insert_all((0..5).map(numbered_tag)).await,
        ErrorKind::Unique,
    );
    assert_eq!(names(&tx).await?, ["tag 00002"]);
    tag(&tx, "after").await?;
    tx.commit().await?;
    assert_eq!(names(&db).await?, ["after", "tag 00002"]);
    Ok(())
}

/// A model whose table no database of the suite has.
#[derive(Entity, Debug)]
#[entity(table = "nowhere")]
#[allow(dead_code, reason = "nobody finds one")]
struct Nowhere {
    #[key]
    id: i64,
}

async fn a_read_that_fails_leaves_the_transaction_as_it_was(db: TestDb) -> Result<()> {
    let unit: Result<()> = db
        .transaction(|tx| async move {
            for name in ["one", "two"] {
                tag(&tx, name).await?;
                // By key, all, and together with others; a store without schemas finds nothing.
                let _ = tx.get::<Nowhere>(1).await;
                let _ = tx.query::<Nowhere>().all().await;
                let _ = tx.query::<Nowhere>().explain().await;
                assert!(
                    tx.query::<Tag>()
                        .filter(Tag::NAME.eq(name))
                        .exists()
                        .await?
                );
            }
            Ok(())
        })
        .await;
    unit?;
    assert_eq!(db.query::<Tag>().count().await?, 2);
    Ok(())
}

tests![
    a_read_that_fails_leaves_the_transaction_as_it_was,
    commit_keeps_the_work,
    rollback_undoes_the_work,
    dropping_rolls_back,
    a_unit_that_succeeds_is_committed,
    a_unit_that_fails_is_rolled_back,
    a_unit_may_fail_with_an_error_of_its_own,
    a_unit_whose_future_is_dropped_is_rolled_back,
    a_conflict_is_run_again_within_bounds,
    a_unit_that_wins_at_last_is_committed_once,
    a_nested_unit_leaves_running_again_to_the_outermost,
    nested_transactions_undo_their_own_part,
    a_committed_inner_transaction_goes_with_the_outer_one,
    the_outer_handle_waits_its_turn,
    after_its_end_a_transaction_is_closed,
    a_read_only_transaction_refuses_writes,
    a_nested_transaction_may_promise_not_to_write,
    a_nested_commit_cannot_be_undone_by_itself,
    a_read_only_transaction_sees_one_state,
    others_do_not_see_unfinished_work,
    isolation_is_given_or_refused,
    serializable_units_lose_no_update,
    an_empty_transaction_is_fine,
    a_failed_write_undoes_itself_alone,
];
