//! Transactions in each other's way: deadlocks, write skew, and one that was ended by the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use larder_core::models::{NewTag, Tag};
use larder_core::{Db, DbOptions, ErrorKind, Id, Isolation, Result, Storage, Tx, TxOptions};
use larder_postgres::Postgres;
use larder_tests::databases::Database;
use larder_tests::schema::{Account, NewAccount};

use crate::{beside, database, quick};

const ACCOUNTS: usize = 6;
const EACH: i64 = 100;

async fn bank() -> Result<(Database, Postgres, Db, Vec<Id<Account>>)> {
    let database = database().await?;
    let name = database.name();
    let hasty = format!("ALTER DATABASE {name} SET deadlock_timeout = '20ms'");
    let client = beside(&database.url()).await;
    client.batch_execute(&hasty).await.expect("a superuser");
    let store = Postgres::connect_with(quick(&database.url())?.max_size(8)).await?;
    let options = DbOptions::default().attempts(1_000);
    let db = Db::with_options(store.clone(), options);
    let accounts = (0..ACCOUNTS).map(|number| NewAccount::new(format!("{number}"), EACH));
    let accounts = db.insert_all_returning(accounts).await?;
    let ids = accounts.into_iter().map(|account| account.id).collect();
    Ok((database, store, db, ids))
}

async fn total(db: &Db) -> Result<i64> {
    let sum = db.query::<Account>().select(Account::BALANCE.sum());
    Ok(sum.first().await?.flatten().unwrap_or_default())
}

/// Moves money between accounts in the order given: opposite orders meet.
async fn transfer(tx: Tx, from: Id<Account>, to: Id<Account>, amount: i64) -> Result<()> {
    tx.update::<Account>(from, Account::BALANCE.add(-amount))
        .await?;
    tokio::task::yield_now().await;
    tx.update::<Account>(to, Account::BALANCE.add(amount))
        .await
        .map(drop)
}

/// Transfers of 8 tasks at once. How often a unit was run.
async fn transfer_much(db: &Db, ids: &[Id<Account>], isolation: Isolation) -> Result<usize> {
    let runs = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for task in 0..8 {
        let (db, ids, runs) = (db.clone(), ids.to_vec(), Arc::clone(&runs));
        tasks.push(tokio::spawn(async move {
            let mut random = fastrand::Rng::with_seed(task);
            for _ in 0..25 {
                let (from, to) = (random.usize(..ids.len()), random.usize(1..ids.len()));
                let (from, to) = (ids[from], ids[(from + to) % ids.len()]);
                let options = TxOptions::new().isolation(isolation);
                let unit = db.transaction_with(options, |tx| {
                    runs.fetch_add(1, Ordering::Relaxed);
                    transfer(tx, from, to, 1)
                });
                unit.await?;
            }
            Ok::<_, larder_core::Error>(())
        }));
    }
    for task in tasks {
        task.await.expect("the task does not panic")?;
    }
    Ok(runs.load(Ordering::Relaxed))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_banks_total_stays_whoever_is_in_the_way() -> Result<()> {
    let (_database, store, db, ids) = bank().await?;
    for isolation in [
        Isolation::ReadCommitted,
        Isolation::Snapshot,
        Isolation::Serializable,
    ] {
        let runs = transfer_much(&db, &ids, isolation).await?;
        assert_eq!(total(&db).await?, EACH * ACCOUNTS as i64);
        if isolation > Isolation::ReadCommitted {
            assert!(runs > 8 * 25, "nobody was in the way");
        }
    }
    store.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_is_a_conflict_of_one_and_the_other_goes_on() -> Result<()> {
    let (_database, store, db, ids) = bank().await?;
    let (one, other) = (
        db.begin(TxOptions::new()).await?,
        db.begin(TxOptions::new()).await?,
    );
    one.update::<Account>(ids[0], Account::BALANCE.add(1))
        .await?;
    other
        .update::<Account>(ids[1], Account::BALANCE.add(1))
        .await?;
    let to_one = async {
        let crossed = one.update::<Account>(ids[1], Account::BALANCE.add(1)).await;
        end(one.clone(), crossed.map(drop)).await
    };
    let to_other = async {
        let crossed = other
            .update::<Account>(ids[0], Account::BALANCE.add(1))
            .await;
        end(other.clone(), crossed.map(drop)).await
    };
    let outcomes = <[Result<()>; 2]>::from(tokio::join!(to_one, to_other));
    let errors: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0].kind(), ErrorKind::Conflict, "{errors:?}");
    assert!(errors[0].is_retryable());
    assert_eq!(total(&db).await?, EACH * ACCOUNTS as i64 + 2);
    store.close().await
}

/// Ends a transaction as its last statement did.
async fn end(tx: Tx, outcome: Result<()>) -> Result<()> {
    match outcome {
        Ok(()) => tx.commit().await,
        Err(error) => {
            tx.rollback().await?;
            Err(error)
        }
    }
}

/// Two take from one of two accounts each, which is fine as long as both together hold enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_skew_ends_one_of_two() -> Result<()> {
    let (_database, store, db, ids) = bank().await?;
    let options = TxOptions::new().isolation(Isolation::Serializable);
    let (one, other) = (db.begin(options).await?, db.begin(options).await?);
    for tx in [&one, &other] {
        let pair = Account::ID.in_([ids[0], ids[1]]);
        let rows = tx.query::<Account>().filter(pair).all().await?;
        assert_eq!(rows.iter().map(|row| row.balance).sum::<i64>(), 2 * EACH);
    }
    let mut errors = Vec::new();
    for (tx, id) in [(one, ids[0]), (other, ids[1])] {
        let taken = tx
            .update::<Account>(id, Account::BALANCE.add(-2 * EACH))
            .await;
        errors.extend(end(tx, taken.map(drop)).await.err());
    }
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0].kind(), ErrorKind::Conflict, "{errors:?}");
    assert!(errors[0].is_retryable());
    assert_eq!(total(&db).await?, EACH * ACCOUNTS as i64 - 2 * EACH);
    store.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lost_its_connection_cannot_be_committed() -> Result<()> {
    let (database, store, db, _) = bank().await?;
    let client = beside(&database.url()).await;
    for use_before in [false, true] {
        let tx = db.begin(TxOptions::new()).await?;
        tx.insert(NewTag::new("lost")).await?;
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
            WHERE datname = current_database() AND state = 'idle in transaction'";
        let row = client.query_one(sql, &[]).await.expect("a superuser");
        assert_eq!(row.get::<_, i64>(0), 1);
        tokio::time::sleep(Duration::from_millis(100)).await;
        if use_before {
            let late = tx.insert(NewTag::new("late")).await;
            late.expect_err("the connection is gone");
        }
        let error = tx.commit().await.expect_err("the connection is gone");
        assert!(
            matches!(
                error.kind(),
                ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Closed
            ),
            "{error:?}"
        );
        assert_eq!(db.query::<Tag>().count().await?, 0);
    }
    store.close().await
}

/// Whatever somebody's own SQL does to a transaction: what a commit acknowledges is there, and the
/// next user begins anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_commit_keeps_the_work_whatever_came_before() -> Result<()> {
    let (_database, store, db, _) = bank().await?;
    for sql in [
        "ROLLBACK",
        "COMMIT",
        "ROLLBACK AND CHAIN",
        "SAVEPOINT larder_w",
        "RELEASE larder_w",
        "ROLLBACK TO larder_w",
        "SELECT 1 / 0",
    ] {
        let tx = db.begin(TxOptions::new()).await?;
        tx.insert(NewTag::new(format!("before {sql}"))).await?;
        let ran = tx.sql(sql).execute().await;
        let after = tx.insert(NewTag::new(format!("after {sql}"))).await;
        let committed = tx.commit().await;
        for (name, written) in [("before", true), ("after", after.is_ok())] {
            let name = format!("{name} {sql}");
            let found = db.query::<Tag>().filter(Tag::NAME.eq(name.as_str()));
            let found = found.count().await?;
            assert!(
                found == u64::from(written) || found == 0 && committed.is_err(),
                "{found} of {name}, {ran:?}, {after:?}, {committed:?}"
            );
        }
    }
    store.close().await
}
