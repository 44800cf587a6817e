//! Effects after the commit: run once the outermost transaction has committed, and only then.

use std::sync::{Arc, Mutex};

use larder_core::models::Tag;
use larder_core::{Error, ErrorKind, Result, Tx, TxOptions};

use crate::fixtures::{refused, tag};
use crate::harness::{TestDb, tests};

/// What has happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn after(&self, tx: &Tx, what: &str) {
        let (log, what) = (self.clone(), what.to_owned());
        let effect = async move { log.0.lock().expect("no test panics here").push(what) };
        tx.after_commit(effect).expect("the transaction is open");
    }

    fn seen(&self) -> Vec<String> {
        self.0.lock().expect("no test panics here").clone()
    }
}

async fn effects_run_in_order_after_the_commit(db: TestDb) -> Result<()> {
    let log = Log::default();
    let tx = db.begin(TxOptions::new()).await?;
    log.after(&tx, "one");
    tag(&tx, "a").await?;
    log.after(&tx, "two");
    assert!(log.seen().is_empty(), "not before the commit");
    tx.commit().await?;
    assert_eq!(log.seen(), ["one", "two"]);
    Ok(())
}

async fn an_effect_finds_the_work_committed(db: TestDb) -> Result<()> {
    let seen = Arc::new(Mutex::new(None));
    let tx = db.begin(TxOptions::new()).await?;
    tag(&tx, "a").await?;
    let (outside, found) = (larder_core::Db::clone(&db), Arc::clone(&seen));
    tx.after_commit(async move {
        let count = outside.query::<Tag>().count().await;
        *found.lock().expect("no test panics here") = Some(count);
    })?;
    tx.commit().await?;
    let count = seen.lock().expect("no test panics here").take();
    assert_eq!(count.expect("the effect ran")?, 1);
    Ok(())
}

async fn a_rollback_drops_the_effects(db: TestDb) -> Result<()> {
    let log = Log::default();
    let tx = db.begin(TxOptions::new()).await?;
    log.after(&tx, "one");
    tx.rollback().await?;
    let tx = db.begin(TxOptions::new()).await?;
    log.after(&tx, "two");
    drop(tx);
    let effects = log.clone();
    let outcome: Result<()> = db
        .transaction(move |tx| {
            let effects = effects.clone();
            async move {
                effects.after(&tx, "three");
                Err(Error::invalid("no"))
            }
        })
        .await;
    refused(outcome, ErrorKind::Invalid);
    tag(&db, "a").await?;
    assert!(log.seen().is_empty(), "{:?}", log.seen());
    Ok(())
}

async fn a_unit_that_ran_again_has_its_effects_once(db: TestDb) -> Result<()> {
    let log = Log::default();
    let (effects, runs) = (log.clone(), Arc::new(Mutex::new(0)));
    db.transaction(move |tx| {
        let (effects, runs) = (effects.clone(), Arc::clone(&runs));
        async move {
            effects.after(&tx, "done");
            let mut runs = runs.lock().expect("no test panics here");
            *runs += 1;
            if *runs < 3 {
                Err(Error::new(ErrorKind::Conflict, "lost"))
            } else {
                Ok(())
            }
        }
    })
    .await?;
    assert_eq!(log.seen(), ["done"]);
    Ok(())
}

async fn effects_of_a_nested_transaction_wait_for_the_outermost(db: TestDb) -> Result<()> {
    if !db.capabilities().savepoints {
        return Ok(());
    }
    let log = Log::default();
    let tx = db.begin(TxOptions::new()).await?;
    log.after(&tx, "outer");
    let inner = tx.begin(TxOptions::new()).await?;
    log.after(&inner, "inner");
    inner.commit().await?;
    let undone = tx.begin(TxOptions::new()).await?;
    log.after(&undone, "undone");
    undone.rollback().await?;
    assert!(log.seen().is_empty(), "not before the outermost commit");
    tx.commit().await?;
    assert_eq!(log.seen(), ["outer", "inner"]);
    let tx = db.begin(TxOptions::new()).await?;
    let inner = tx.begin(TxOptions::new()).await?;
    log.after(&inner, "lost with the outer one");
    inner.commit().await?;
    tx.rollback().await?;
    assert_eq!(log.seen().len(), 2);
    Ok(())
}

async fn no_effect_is_lost_when_the_caller_goes_away(db: TestDb) -> Result<()> {
    let (log, barrier) = (Log::default(), Arc::new(tokio::sync::Notify::new()));
    let tx = db.begin(TxOptions::new()).await?;
    tag(&tx, "a").await?;
    let hold = Arc::clone(&barrier);
    tx.after_commit(async move { hold.notified().await })?;
    tx.after_commit(async { std::panic::resume_unwind(Box::new("an effect that fails")) })?;
    log.after(&tx, "last");
    let commit = tokio::time::timeout(std::time::Duration::from_millis(200), tx.commit());
    assert!(commit.await.is_err(), "the first effect waits");
    barrier.notify_one();
    for _ in 0..500 {
        if log.seen() == ["last"] {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the last effect did not run: {:?}", log.seen());
}

async fn outside_of_a_transaction_an_effect_runs_at_once(db: TestDb) -> Result<()> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    db.after_commit(async move {
        let _ = sender.send("ran");
    })?;
    assert_eq!(receiver.await.ok(), Some("ran"));
    let tx = db.begin(TxOptions::new()).await?;
    let late = tx.clone();
    tx.commit().await?;
    refused(late.after_commit(async {}), ErrorKind::Closed);
    Ok(())
}

tests![
    no_effect_is_lost_when_the_caller_goes_away,
    outside_of_a_transaction_an_effect_runs_at_once,
    effects_run_in_order_after_the_commit,
    an_effect_finds_the_work_committed,
    a_rollback_drops_the_effects,
    a_unit_that_ran_again_has_its_effects_once,
    effects_of_a_nested_transaction_wait_for_the_outermost,
];
