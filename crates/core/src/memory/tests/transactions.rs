use std::time::{Duration, Instant};

use super::*;
use crate::error::ErrorKind;
use crate::rows::{BoxFuture, Flow, Sink};
use crate::storage::{Isolation, TxOptions};

fn new_user(email: &'static str) -> WriteOp {
    insert(&USERS, &[1], vec![text(email)])
}

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(20)
}

#[tokio::test]
async fn nobody_sees_a_transaction_before_its_commit() {
    let store = seeded().await;
    let tx = store
        .begin(TxOptions::new().isolation(Isolation::Serializable))
        .await
        .expect("begins");
    run(&*tx, new_user("c")).await.expect("ok");
    assert_eq!(ids(&*tx, &USERS).await, [1, 2, 3]);
    assert_eq!(ids(&store, &USERS).await, [1, 2]);
    tx.commit().await.expect("commits");
    assert_eq!(ids(&store, &USERS).await, [1, 2, 3]);
    for error in [
        run(&*tx, new_user("d")).await.expect_err("ended"),
        tx.commit().await.expect_err("ended"),
        tx.rollback().await.expect_err("ended"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Closed);
    }
}

#[tokio::test]
async fn rollback_and_drop_undo_everything() {
    let store = seeded().await;
    let tx = store.begin(TxOptions::new()).await.expect("begins");
    run(&*tx, delete(&USERS, 1)).await.expect("ok");
    tx.rollback().await.expect("ok");
    tx.rollback().await.expect("twice is fine");
    let tx = store.begin(TxOptions::new()).await.expect("begins");
    run(&*tx, new_user("c")).await.expect("ok");
    drop(tx);
    assert_eq!(ids(&store, &USERS).await, [1, 2]);
    assert_eq!(
        returning(&store, new_user("d"))
            .await
            .expect("free again")
            .1,
        [3]
    );
}

#[tokio::test]
async fn a_failed_write_leaves_the_transaction_as_it_was() {
    let store = seeded().await;
    let tx = store.begin(TxOptions::new()).await.expect("begins");
    run(&*tx, new_user("c")).await.expect("ok");
    let two = insert(&USERS, &[1], vec![text("d"), text("c")]);
    assert!(
        run(&*tx, two)
            .await
            .expect_err("taken")
            .is_unique_violation()
    );
    tx.commit().await.expect("commits");
    assert_eq!(ids(&store, &USERS).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_second_writer_waits_until_its_deadline() {
    let store = seeded().await;
    let tx = store.begin(TxOptions::new()).await.expect("begins");
    let mut write = Write::new(new_user("c"));
    write.deadline = Some(soon());
    let error = store.write(write, Rows::discard()).await.expect_err("busy");
    assert!(
        error.is_timeout() && error.to_string().contains("another transaction"),
        "{error}"
    );
    let mut options = TxOptions::new();
    options.deadline = Some(soon());
    assert!(store.begin(options).await.expect_err("busy").is_timeout());

    let waiting = tokio::spawn({
        let store = store.clone();
        async move { run(&store, new_user("c")).await }
    });
    tokio::task::yield_now().await;
    tx.commit().await.expect("commits");
    assert_eq!(waiting.await.expect("runs").expect("its turn"), 1);
}

#[tokio::test]
async fn a_wait_that_is_dropped_leaves_nothing_behind() {
    let store = seeded().await;
    let tx = store.begin(TxOptions::new()).await.expect("begins");
    let waiting = run(&store, new_user("c"));
    assert!(
        tokio::time::timeout(Duration::from_millis(5), waiting)
            .await
            .is_err()
    );
    drop(tx);
    assert_eq!(run(&store, new_user("c")).await.expect("free"), 1);
}

#[tokio::test]
async fn a_deadline_in_the_past_applies_nothing() {
    let store = seeded().await;
    let mut write = Write::new(new_user("c"));
    write.deadline = Some(Instant::now());
    assert!(
        store
            .write(write, Rows::discard())
            .await
            .expect_err("late")
            .is_timeout()
    );
    assert_eq!(ids(&store, &USERS).await, [1, 2]);
}

#[tokio::test]
async fn read_only_transactions_keep_one_snapshot() {
    let store = seeded().await;
    let tx = store
        .begin(TxOptions::new().read_only())
        .await
        .expect("begins");
    run(&store, new_user("c"))
        .await
        .expect("does not wait for a reader");
    assert_eq!(ids(&*tx, &USERS).await, [1, 2]);
    assert!(
        run(&*tx, new_user("d"))
            .await
            .expect_err("refused")
            .is_read_only()
    );
    let nested = tx.begin(TxOptions::new()).await.expect("begins");
    assert!(
        run(&*nested, new_user("d"))
            .await
            .expect_err("refused")
            .is_read_only()
    );
    nested.commit().await.expect("ok");
    tx.commit().await.expect("ok");
    assert_eq!(ids(&store, &USERS).await, [1, 2, 3]);
}

#[tokio::test]
async fn nested_transactions_are_savepoints() {
    let store = seeded().await;
    let tx = store.begin(TxOptions::new()).await.expect("begins");
    run(&*tx, new_user("c")).await.expect("ok");
    let inner = tx.begin(TxOptions::new()).await.expect("begins");
    run(&*inner, new_user("d")).await.expect("ok");
    let busy = run(&*tx, new_user("e"))
        .await
        .expect_err("an inner one is open");
    assert!(busy.is_misuse(), "{busy}");
    assert!(
        tx.commit()
            .await
            .expect_err("an inner one is open")
            .is_misuse()
    );
    inner.rollback().await.expect("ok");
    assert_eq!(ids(&*tx, &USERS).await, [1, 2, 3]);
    let inner = tx.begin(TxOptions::new()).await.expect("begins");
    run(&*inner, new_user("f")).await.expect("ok");
    inner.commit().await.expect("ok");
    drop(inner);
    drop(tx.begin(TxOptions::new()).await.expect("begins")); // rolls back to here
    tx.commit().await.expect("ok");
    assert_eq!(
        column(&store, &USERS, 1).await,
        [text("a"), text("b"), text("c"), text("f")]
    );
}

#[tokio::test]
async fn an_outer_rollback_ends_the_inner_one() {
    let store = seeded().await;
    let tx = store.begin(TxOptions::new()).await.expect("begins");
    let inner = tx.begin(TxOptions::new()).await.expect("begins");
    run(&*inner, new_user("c")).await.expect("ok");
    drop(tx);
    assert!(inner.commit().await.expect_err("ended").is_closed());
    assert_eq!(ids(&store, &USERS).await, [1, 2]);
    run(&store, new_user("c"))
        .await
        .expect("the right to write is back");
}

#[tokio::test]
async fn a_closed_store_answers_closed() {
    let store = seeded().await;
    let tx = store.begin(TxOptions::new()).await.expect("begins");
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { run(&store, new_user("c")).await }
    });
    tokio::task::yield_now().await;
    store.close().await.expect("closes");
    store.close().await.expect("twice is fine");
    assert!(waiting.await.expect("runs").expect_err("woken").is_closed());
    assert!(tx.commit().await.expect_err("closed").is_closed());
    assert!(
        run(&store, new_user("c"))
            .await
            .expect_err("closed")
            .is_closed()
    );
    let read = store.read(Select::new(&USERS), Rows::discard()).await;
    assert!(read.expect_err("closed").is_closed());
    assert!(
        store
            .explain(Select::new(&USERS))
            .await
            .expect_err("closed")
            .is_closed()
    );
}

/// Takes one row, then is full until flushed; wants no more than `most`.
struct Slow {
    taken: Vec<i64>,
    flushed: usize,
    most: usize,
}

impl Sink for Slow {
    fn row(&mut self, row: &dyn Row) -> Result<Flow> {
        self.taken.push(first(row)?);
        Ok(Flow::Full)
    }

    fn restart(&mut self) -> bool {
        false
    }

    fn flush(&mut self) -> BoxFuture<'_, Flow> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.flushed += 1;
            if self.flushed < self.most {
                Flow::More
            } else {
                Flow::Stop
            }
        })
    }

    fn may_wait(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_slow_receiver_is_waited_for_without_a_lock() {
    let store = seeded().await;
    let slow = |most| {
        Rows::new(Slow {
            taken: vec![],
            flushed: 0,
            most,
        })
    };
    let rows = store
        .read(Select::new(&POSTS), slow(2))
        .await
        .expect("reads");
    assert_eq!(
        rows.into_sink::<Slow>().expect("mine").taken,
        [1, 2],
        "stopped in time"
    );
    let mut write = Write::new(insert(&USERS, &[1], vec![text("c"), text("d")]));
    write.returning = Some(Output::Entity);
    let (written, rows) = store.write(write, slow(9)).await.expect("writes");
    assert_eq!(
        (written.rows, rows.into_sink::<Slow>().expect("mine").taken),
        (2, vec![3, 4])
    );
}

#[tokio::test]
async fn reads_that_go_together_are_answered_in_order() {
    let store = seeded().await;
    let queries = vec![
        (Select::new(&POSTS), Rows::collect(first)),
        (Select::new(&USERS), Rows::collect(first)),
    ];
    let mut answers = Vec::new();
    for rows in store.read_all(queries).await.expect("reads") {
        answers.push(rows.into_vec::<i64>().expect("its own rows"));
    }
    assert_eq!(answers, [vec![1, 2, 3], vec![1, 2]]);
}

#[tokio::test]
async fn explain_tells_the_access_and_no_values() {
    let store = seeded().await;
    let mut select = Select::new(&USERS);
    assert_eq!(
        store.explain(select.clone()).await.expect("explains"),
        "scan: all 2 rows of `users`"
    );
    select.filter = eq(1, text("secret"));
    let text = store.explain(select).await.expect("explains");
    assert_eq!(
        text,
        "point: at most 1 rows of `users` by a unique key, filtered"
    );
}
