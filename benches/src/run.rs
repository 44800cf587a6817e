//! How operations are run and timed: one after the other, by many tasks, in one big write.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use crate::Side;
use crate::data::{Picks, TASKS, THREADS, USERS};

/// The runtime of everything that is asynchronous: few workers, as on a small machine.
pub fn runtime() -> Arc<Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build();
    Arc::new(runtime.expect("threads for a runtime"))
}

/// Times the operation, one after the other; each gets the next number up to `most`.
pub fn each<C: 'static>(
    runtime: Arc<Runtime>,
    client: C,
    most: i64,
    operation: impl AsyncFn(&C, i64) + 'static,
) -> Side {
    let mut picks = Picks::new(1, most);
    Box::new(move |times| {
        runtime.block_on(async {
            let started = Instant::now();
            for _ in 0..times {
                operation(&client, picks.pick()).await;
            }
            started.elapsed()
        })
    })
}

/// Splits the operations over many tasks of the runtime, and the tasks over the clients. Each
/// operation gets the number of a user.
pub fn tasks<C: Clone + Send + 'static, F: Future<Output = ()> + Send + 'static>(
    runtime: Arc<Runtime>,
    clients: Vec<C>,
    operation: fn(C, i64) -> F,
) -> Side {
    let mut round = 0;
    Box::new(move |times| {
        round += 1;
        run_tasks(&runtime, times, |number| {
            let client = clients[number as usize % clients.len()].clone();
            let mut picks = Picks::new(round * 100 + number, USERS);
            move || operation(client.clone(), picks.pick())
        })
    })
}

/// Times one insert after the other. What was inserted the last time is removed before.
pub fn inserts<C: 'static, R: 'static>(
    runtime: Arc<Runtime>,
    client: C,
    new: fn(i64) -> R,
    remove: impl AsyncFn(&C) + 'static,
    insert: impl AsyncFn(&C, R) + 'static,
) -> Side {
    let mut next = USERS;
    Box::new(move |times| {
        runtime.block_on(async {
            remove(&client).await;
            let rows: Vec<R> = numbers(&mut next, times).map(new).collect();
            let started = Instant::now();
            for row in rows {
                insert(&client, row).await;
            }
            started.elapsed()
        })
    })
}

/// As [`inserts`], by many tasks that insert as fast as they are answered.
pub fn insert_tasks<C, R, F>(
    runtime: Arc<Runtime>,
    client: C,
    new: fn(i64) -> R,
    remove: impl AsyncFn(&C) + 'static,
    insert: fn(C, R) -> F,
) -> Side
where
    C: Clone + Send + 'static,
    R: Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let mut next = USERS;
    Box::new(move |times| {
        runtime.block_on(remove(&client));
        let all = numbers(&mut next, times.next_multiple_of(TASKS as u64));
        run_tasks(&runtime, times, |task| {
            // In turn, so that the rows come in about the order of their numbers.
            let own = all.clone().skip(task as usize).step_by(TASKS);
            let rows: Vec<R> = own.map(new).collect();
            let (client, mut rows) = (client.clone(), rows.into_iter());
            move || insert(client.clone(), rows.next().expect("one for every call"))
        })
    })
}

/// Times one big write, each into a database that is opened for it.
pub fn bulk<D: 'static, R: Clone + 'static>(
    rows: R,
    open: impl Fn() -> D + 'static,
    write: impl Fn(&mut D, R) + 'static,
    close: impl Fn(D) + 'static,
) -> Side {
    Box::new(move |times| {
        let run = |_| {
            let mut database = open();
            let rows = rows.clone();
            let started = Instant::now();
            write(&mut database, rows);
            let took = started.elapsed();
            close(database);
            took
        };
        (0..times).map(run).sum::<Duration>()
    })
}

/// The next so many numbers.
pub fn numbers(next: &mut i64, count: u64) -> Range<i64> {
    let first = *next + 1;
    *next += count.cast_signed();
    first..*next + 1
}

/// Runs so many operations in [`TASKS`] tasks that start together; times them.
fn run_tasks<O, F>(runtime: &Runtime, times: u64, mut task: impl FnMut(u64) -> O) -> Duration
where
    O: FnMut() -> F + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let each = times.div_ceil(TASKS as u64);
    runtime.block_on(async {
        let gate = Arc::new(Semaphore::new(0));
        let tasks: Vec<_> = (0..TASKS as u64)
            .map(|number| {
                let (mut operation, gate) = (task(number), Arc::clone(&gate));
                tokio::spawn(async move {
                    drop(gate.acquire().await.expect("the gate is never closed"));
                    for _ in 0..each {
                        operation().await;
                    }
                })
            })
            .collect();
        let started = Instant::now();
        gate.add_permits(TASKS);
        for task in tasks {
            task.await.expect("no task panics");
        }
        // As if exactly so many had been run.
        started
            .elapsed()
            .mul_f64(times as f64 / (each * TASKS as u64) as f64)
    })
}
