use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::{INLINE, Result, Rig, insert_row};
use crate::error::{EngineError, Failure, failure};
use crate::options::SqliteOptions;
use crate::write_batch::{Cost, JobOptions, Statements};

const MANY: JobOptions = JobOptions {
    statements: Statements::Many,
    ..INLINE
};
const BLOCKING: JobOptions = JobOptions {
    cost: Cost::Blocking,
    ..MANY
};

fn soon(milliseconds: u64) -> Instant {
    Instant::now() + Duration::from_millis(milliseconds)
}

fn profiles() -> [fn(SqliteOptions) -> SqliteOptions; 2] {
    [|options| options, SqliteOptions::durable]
}

/// Queues `tasks` jobs while the connection is held, so that they share a batch.
async fn in_one_batch<T: Send + 'static>(
    rig: &Arc<Rig>,
    options: JobOptions,
    jobs: Vec<impl FnOnce(&Connection) -> Result<T> + Send + 'static>,
) -> Vec<Result<T>> {
    let held = rig.writer.exclusive(None).await.unwrap();
    let tasks: Vec<_> = jobs
        .into_iter()
        .map(|job| tokio::spawn(rig.writer.submit(options, job)))
        .collect();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    drop(held);
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

#[tokio::test]
async fn a_failing_job_does_not_harm_its_batch() {
    for profile in profiles() {
        for options in [INLINE, MANY, BLOCKING] {
            let rig = Arc::new(Rig::with(profile));
            rig.insert("taken").await.unwrap();
            let jobs = (0..40).map(|n| {
                move |connection: &Connection| {
                    if options.statements == Statements::Many && n % 3 == 0 {
                        insert_row(connection, &format!("undone {n}"))?;
                    }
                    let body = if n % 3 == 0 {
                        "taken".into()
                    } else {
                        format!("{n}")
                    };
                    insert_row(connection, &body)
                }
            });
            let answers = in_one_batch(&rig, options, jobs.collect()).await;
            for (n, answer) in answers.iter().enumerate() {
                match answer {
                    Ok(_) => assert_ne!(n % 3, 0),
                    Err(EngineError::Sqlite(error)) => {
                        assert_eq!((n % 3, failure(error)), (0, Failure::Unique));
                    }
                    Err(other) => panic!("{other:?}"),
                }
            }
            assert_eq!(rig.count(), 1 + 26);
        }
    }
}

#[tokio::test]
async fn a_job_that_breaks_its_promise_takes_its_batch_along() {
    let rig = Arc::new(Rig::new());
    let jobs = (0..3).map(|n| {
        move |connection: &Connection| {
            insert_row(connection, &format!("{n}"))?;
            if n == 1 {
                Err(EngineError::Timeout)
            } else {
                Ok(())
            }
        }
    });
    let answers = in_one_batch(&rig, INLINE, jobs.collect()).await;
    assert!(matches!(answers[0], Err(EngineError::BatchAborted(_))));
    assert!(matches!(answers[1], Err(EngineError::Timeout)));
    assert!(matches!(answers[2], Err(EngineError::BatchAborted(_))));
    assert_eq!(rig.count(), 0);
    rig.insert("after").await.unwrap();
    assert_eq!(rig.count(), 1);
}

#[tokio::test]
async fn a_panic_is_an_error_and_undone() {
    for profile in profiles() {
        let rig = Arc::new(Rig::with(profile));
        let jobs = (0..3).map(|n| {
            move |connection: &Connection| {
                insert_row(connection, &format!("{n}"))?;
                assert_ne!(n, 1, "on purpose");
                Ok(())
            }
        });
        let answers = in_one_batch(&rig, MANY, jobs.collect()).await;
        assert!(answers[0].is_ok() && answers[2].is_ok());
        assert!(
            matches!(&answers[1], Err(EngineError::Panicked(text)) if text.contains("purpose"))
        );
        let alone: Result<()> = rig
            .writer
            .submit(MANY, |connection| {
                insert_row(connection, "alone")?;
                panic!("on purpose")
            })
            .await;
        assert!(matches!(alone, Err(EngineError::Panicked(_))));
        assert_eq!(rig.count(), 2);
    }
}

#[tokio::test]
async fn a_job_dropped_in_the_queue_never_runs() {
    for profile in profiles() {
        let rig = Arc::new(Rig::with(profile));
        let held = rig.writer.exclusive(None).await.unwrap();
        // The first leads and is dropped while it waits for the connection; so is the third.
        let mut futures: Vec<_> = (0..5)
            .map(|n| Box::pin(rig.insert(format!("{n}"))))
            .collect();
        let mut context = Context::from_waker(Waker::noop());
        for future in &mut futures {
            assert!(future.as_mut().poll(&mut context).is_pending());
        }
        drop(futures.remove(2));
        drop(futures.remove(0));
        drop(held);
        for future in futures {
            future.await.unwrap();
        }
        assert_eq!(rig.count(), 3);
    }
}

/// Drops one insert after each number of polls; the next one must find a working writer.
#[tokio::test]
async fn a_leader_may_be_dropped_at_any_poll() {
    for profile in profiles() {
        let rig = Arc::new(Rig::with(profile));
        for polls in 0..40 {
            let other = {
                let rig = rig.clone();
                tokio::spawn(async move { rig.insert(format!("other {polls}")).await })
            };
            {
                let mut dropped = Box::pin(rig.insert(format!("dropped {polls}")));
                for _ in 0..polls % 8 {
                    let mut context = Context::from_waker(Waker::noop());
                    if dropped.as_mut().poll(&mut context).is_ready() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            }
            rig.insert(format!("next {polls}")).await.unwrap();
            other.await.unwrap().unwrap();
        }
        let mut lent = rig.readers.try_lend().unwrap();
        let sql = "SELECT count(*) FROM t WHERE body NOT LIKE 'dropped%'";
        let rows: i64 = lent
            .fresh()
            .unwrap()
            .query_row(sql, [], |row| row.get(0))
            .unwrap();
        assert_eq!(rows, 80);
    }
}

#[tokio::test]
async fn a_deadline_in_the_queue_is_a_timeout_and_applies_nothing() {
    let rig = Arc::new(Rig::new());
    let held = rig.writer.exclusive(None).await.unwrap();
    let late = JobOptions {
        deadline: Some(soon(20)),
        ..INLINE
    };
    let waiting: Vec<_> = (0..3)
        .map(|n| {
            tokio::spawn(
                rig.writer
                    .submit(late, move |c| insert_row(c, &format!("{n}"))),
            )
        })
        .collect();
    for task in waiting {
        assert!(matches!(task.await.unwrap(), Err(EngineError::Timeout)));
    }
    let refused = rig.writer.exclusive(Some(soon(10))).await;
    assert!(matches!(refused, Err(EngineError::Timeout)));
    drop(held);
    rig.insert("after").await.unwrap();
    assert_eq!(rig.count(), 1);
}

#[tokio::test]
async fn a_deadline_in_a_running_job_leaves_the_outcome_unknown() {
    let rig = Rig::new();
    let options = JobOptions {
        deadline: Some(soon(30)),
        ..BLOCKING
    };
    let slow: Result<i64> = rig
        .writer
        .submit(options, |connection| {
            std::thread::sleep(Duration::from_millis(100));
            insert_row(connection, "slow")
        })
        .await;
    assert!(matches!(slow, Err(EngineError::Unknown(None))));
    rig.insert("after").await.unwrap();
    assert_eq!(rig.count(), 2);
}

#[tokio::test]
async fn waiting_for_another_process_ends_with_the_deadline() {
    let rig = Rig::new();
    let other = Connection::open(rig.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let options = JobOptions {
        deadline: Some(soon(50)),
        ..INLINE
    };
    let refused = rig.writer.submit(options, |c| insert_row(c, "x")).await;
    assert!(matches!(refused, Err(EngineError::Timeout)));
    other.execute_batch("COMMIT").unwrap();
    rig.insert("after").await.unwrap();
    assert_eq!(rig.count(), 1);
    // Without a deadline it waits for the lock, but not on the runtime's thread.
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let patient = rig.insert("patient");
    let release = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        other.execute_batch("COMMIT").unwrap();
    };
    tokio::join!(patient, release).0.unwrap();
    assert_eq!(rig.count(), 2);
}

#[tokio::test]
async fn a_lock_held_too_long_is_a_busy_error() {
    let rig = Rig::with(|options| options.busy_timeout(Duration::from_millis(30)));
    let other = Connection::open(rig.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(rig.insert("x").await.unwrap_err().is_busy());
    other.execute_batch("COMMIT").unwrap();
    rig.insert("y").await.unwrap();
}

#[tokio::test]
async fn dropping_an_exclusive_writer_rolls_back_and_lets_the_queue_go_on() {
    for profile in profiles() {
        let rig = Arc::new(Rig::with(profile));
        let held = rig.writer.exclusive(None).await.unwrap();
        held.execute_batch("BEGIN IMMEDIATE").unwrap();
        insert_row(&held, "never").unwrap();
        let waiting = {
            let rig = rig.clone();
            tokio::spawn(async move { rig.insert("waited").await })
        };
        tokio::task::yield_now().await;
        assert_eq!(rig.count(), 0);
        drop(held);
        waiting.await.unwrap().unwrap();
        assert_eq!(rig.count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_and_jobs_take_turns() {
    for profile in profiles() {
        let rig = Arc::new(Rig::with(profile));
        let stop = Arc::new(AtomicBool::new(false));
        let load: Vec<_> = (0..8)
            .map(|task| {
                let (rig, stop) = (rig.clone(), stop.clone());
                tokio::spawn(async move {
                    let mut rows = 0;
                    while !stop.load(Ordering::Relaxed) {
                        rig.insert(format!("{task} {rows}")).await.unwrap();
                        rows += 1;
                    }
                    rows
                })
            })
            .collect();
        for n in 0..50 {
            let held = rig.writer.exclusive(Some(soon(5_000))).await.unwrap();
            held.execute_batch("BEGIN IMMEDIATE").unwrap();
            insert_row(&held, &format!("transaction {n}")).unwrap();
            tokio::task::yield_now().await;
            held.execute_batch("COMMIT").unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        let mut rows = 50;
        for task in load {
            rows += task.await.unwrap();
        }
        assert_eq!(rig.count(), rows);
    }
}

#[tokio::test]
async fn a_full_queue_refuses_and_forgets_the_jobs_that_left() {
    let rig = Rig::with(|options| options.queue_max(2));
    let held = rig.writer.exclusive(None).await.unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let mut first = Box::pin(rig.insert("1"));
    let mut second = Box::pin(rig.insert("2"));
    assert!(first.as_mut().poll(&mut context).is_pending());
    assert!(second.as_mut().poll(&mut context).is_pending());
    assert!(matches!(rig.insert("3").await, Err(EngineError::QueueFull)));
    drop(second);
    let mut third = Box::pin(rig.insert("3"));
    assert!(third.as_mut().poll(&mut context).is_pending());
    drop(held);
    tokio::join!(async { first.await.unwrap() }, async {
        third.await.unwrap()
    });
    assert_eq!(rig.count(), 2);
}

/// A deferred reference is checked by COMMIT, which then fails for everyone in the batch.
#[tokio::test]
async fn a_refused_commit_applies_nothing_and_says_so() {
    let rig = Arc::new(Rig::new());
    let table = "CREATE TABLE child (t INTEGER REFERENCES t (id) DEFERRABLE INITIALLY DEFERRED)";
    let held = rig.writer.exclusive(None).await.unwrap();
    held.execute_batch(table).unwrap();
    drop(held);
    let jobs = (0..2).map(|n| {
        move |connection: &Connection| {
            if n == 0 {
                connection.execute("INSERT INTO child VALUES (99)", [])?;
            } else {
                insert_row(connection, "innocent")?;
            }
            Ok(())
        }
    });
    let answers = in_one_batch(&rig, INLINE, jobs.collect()).await;
    for answer in answers {
        match answer {
            Err(EngineError::BatchAborted(error)) => {
                assert_eq!(failure(&error), Failure::ForeignKey);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(rig.count(), 0);
}

/// More rounds than one blocking thread leads for, so that the lead changes hands in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_run_of_blocking_jobs_is_led_to_its_end() {
    let rig = Rig::new();
    for n in 0..2_500 {
        let body = format!("{n}");
        rig.writer
            .submit(BLOCKING, move |connection| insert_row(connection, &body))
            .await
            .unwrap();
    }
    assert_eq!(rig.count(), 2_500);
}

/// A job that inserts a row of this name.
fn named(name: String) -> impl FnOnce(&Connection) -> Result<i64> + Send + 'static {
    move |connection| insert_row(connection, &name)
}

/// A future that lost a `select!` may stay alive and unpolled for long.
#[tokio::test]
async fn a_future_nobody_polls_stops_nobody() {
    for profile in profiles() {
        let rig = Arc::new(Rig::with(profile));
        rig.insert("before").await.unwrap();
        let held = rig.writer.exclusive(None).await.unwrap();
        let mut idle: Vec<_> = (0..3)
            .map(|n| Box::pin(rig.writer.submit(INLINE, named(format!("idle {n}")))))
            .collect();
        for idle in &mut idle {
            let mut context = Context::from_waker(Waker::noop());
            assert!(idle.as_mut().poll(&mut context).is_pending());
        }
        drop(held);
        for n in 0..20 {
            let insert = rig.writer.submit(INLINE, named(format!("busy {n}")));
            let answer = tokio::time::timeout(Duration::from_secs(5), insert).await;
            answer
                .expect("an unpolled future must not hold the lead")
                .unwrap();
        }
        for idle in idle {
            idle.await.unwrap();
        }
        assert_eq!(rig.count(), 24);
    }
}

/// A runtime that shuts down takes its tasks along, but not the lead.
#[test]
fn the_lead_survives_its_runtime() {
    let rig = Arc::new(Rig::new());
    for round in 0..20 {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        for n in 0..50 {
            runtime.spawn(rig.writer.submit(INLINE, named(format!("{round} {n}"))));
        }
        runtime.shutdown_background();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let insert = tokio::time::timeout(Duration::from_secs(5), rig.insert("last"));
        insert.await.expect("somebody leads").unwrap();
    });
}

/// Inserts so many rows one after the other, and tells how many were not answered in the first poll.
async fn waits_of(rig: Arc<Rig>, name: &'static str, rows: usize) -> usize {
    let mut waits = 0;
    for n in 0..rows {
        let mut insert = Box::pin(rig.writer.submit(INLINE, named(format!("{name} {n}"))));
        match poll_fn(|context| Poll::Ready(insert.as_mut().poll(context))).await {
            Poll::Ready(answer) => assert!(answer.is_ok()),
            Poll::Pending => {
                waits += 1;
                insert.await.unwrap();
            }
        }
        tokio::task::yield_now().await;
    }
    waits
}

#[tokio::test]
async fn who_writes_alone_again_is_answered_at_once() {
    let rig = Arc::new(Rig::new());
    let company = (0..4).map(|n| named(format!("company {n}"))).collect();
    for answer in in_one_batch(&rig, INLINE, company).await {
        answer.unwrap();
    }
    // The first still waits for company, and now and then one looks for it.
    let waits = waits_of(Arc::clone(&rig), "alone", 64).await;
    assert!(waits <= 1 + 64 / 8, "{waits} of 64 had to wait");
}

#[tokio::test]
async fn tasks_of_one_thread_find_each_other() {
    let rig = Arc::new(Rig::new());
    let other = tokio::spawn(waits_of(Arc::clone(&rig), "other", 100));
    let own = waits_of(Arc::clone(&rig), "own", 100).await;
    assert!(
        own + other.await.unwrap() >= 100,
        "they never share a batch"
    );
}
