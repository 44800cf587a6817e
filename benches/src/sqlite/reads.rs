//! Reads.

use std::hint::black_box;
use std::sync::{Arc, Barrier, LazyLock};
use std::time::{Duration, Instant};

use larder_core::models::{Post, PostStatus, User};
use larder_core::{Db, Email, Id};
use larder_sqlite::SqliteOptions;

use super::Durability::Normal;
use super::Fixture;
use super::plan::Author;
use super::raw::Raw;
use crate::data::{
    AUTHORS, FIRST_CREATED, LOADED, PAGE, POSTS_EACH, Picks, TASKS, THREADS, USERS, emails,
};
use crate::{Pair, Side};

const FOUND: &str = "the row is there";
const READ: &str = "the read succeeds";

static EMAILS: LazyLock<Vec<Email>> = LazyLock::new(emails);

fn email(number: i64) -> &'static Email {
    &EMAILS[number as usize - 1]
}

/// Times the driver's operation; each gets the next number up to `most`.
fn raw_each(raw: Raw, most: i64, operation: impl Fn(&Raw, i64) + 'static) -> Side {
    let mut picks = Picks::new(1, most);
    Box::new(move |times| {
        let started = Instant::now();
        for _ in 0..times {
            operation(&raw, picks.pick());
        }
        started.elapsed()
    })
}

/// Times Larder's operation on one task, one after the other.
fn larder_each(
    fixture: &Fixture,
    db: Db,
    most: i64,
    operation: impl AsyncFn(&Db, i64) + 'static,
) -> Side {
    let runtime = fixture.runtime();
    let mut picks = Picks::new(1, most);
    Box::new(move |times| {
        runtime.block_on(async {
            let started = Instant::now();
            for _ in 0..times {
                operation(&db, picks.pick()).await;
            }
            started.elapsed()
        })
    })
}

fn raw_get(raw: &Raw, id: i64) {
    black_box(raw.user_by_key(id).expect(READ).expect(FOUND));
}

fn raw_find(raw: &Raw, number: i64) {
    black_box(
        raw.user_by_email(email(number).as_str())
            .expect(READ)
            .expect(FOUND),
    );
}

async fn get(db: &Db, id: i64) {
    black_box(db.get::<User>(Id::new(id)).await.expect(READ).expect(FOUND));
}

async fn find(db: &Db, number: i64) {
    let query = db
        .query::<User>()
        .filter(User::EMAIL.eq(email(number).clone()));
    black_box(query.first().await.expect(READ).expect(FOUND));
}

pub(super) fn by_key(fixture: &Fixture) -> Pair {
    let (raw, db) = fixture.pair(Normal);
    Pair {
        raw: raw_each(raw, USERS, raw_get),
        larder: larder_each(fixture, db, USERS, get),
    }
}

pub(super) fn by_key_unparked(fixture: &Fixture) -> Pair {
    let raw = fixture.raw(&fixture.copy(), Normal);
    let options = SqliteOptions::new(fixture.copy()).parked_snapshots(false);
    let db = fixture.larder_with(options);
    Pair {
        raw: raw_each(raw, USERS, raw_get),
        larder: larder_each(fixture, db, USERS, get),
    }
}

pub(super) fn by_email(fixture: &Fixture) -> Pair {
    let (raw, db) = fixture.pair(Normal);
    Pair {
        raw: raw_each(raw, USERS, raw_find),
        larder: larder_each(fixture, db, USERS, find),
    }
}

pub(super) fn by_key_tasks(fixture: &Fixture) -> Pair {
    Pair {
        raw: raw_threads(fixture, raw_get),
        larder: larder_tasks(fixture, |db, id| async move { get(&db, id).await }),
    }
}

pub(super) fn by_email_tasks(fixture: &Fixture) -> Pair {
    Pair {
        raw: raw_threads(fixture, raw_find),
        larder: larder_tasks(fixture, |db, number| async move { find(&db, number).await }),
    }
}

/// Splits the operations over bare threads, each with a connection of its own that was used
/// before.
fn raw_threads(fixture: &Fixture, operation: fn(&Raw, i64)) -> Side {
    let path = fixture.copy();
    let mut raws: Vec<Raw> = (0..THREADS).map(|_| fixture.raw(&path, Normal)).collect();
    let mut round = 0;
    Box::new(move |times| {
        round += 1;
        let each = times / THREADS as u64;
        let barrier = Barrier::new(THREADS + 1);
        std::thread::scope(|scope| {
            for (number, raw) in raws.iter_mut().enumerate() {
                let barrier = &barrier;
                scope.spawn(move || {
                    let mut picks = Picks::new(round * 100 + number as u64, USERS);
                    operation(raw, 1);
                    barrier.wait();
                    for _ in 0..each {
                        operation(raw, picks.pick());
                    }
                    barrier.wait();
                });
            }
            barrier.wait();
            let started = Instant::now();
            barrier.wait();
            started.elapsed()
        })
    })
}

/// Splits the operations over many tasks of the runtime.
fn larder_tasks<F: Future<Output = ()> + Send + 'static>(
    fixture: &Fixture,
    operation: fn(Db, i64) -> F,
) -> Side {
    let (runtime, db) = (fixture.runtime(), fixture.larder(&fixture.copy(), Normal));
    let mut round = 0;
    Box::new(move |times| {
        round += 1;
        run_tasks(&runtime, times, |number| {
            let (db, mut picks) = (db.clone(), Picks::new(round * 100 + number, USERS));
            move || operation(db.clone(), picks.pick())
        })
    })
}

/// Runs so many operations in [`TASKS`] tasks that start together; times them.
pub(super) fn run_tasks<O, F>(
    runtime: &tokio::runtime::Runtime,
    times: u64,
    mut task: impl FnMut(u64) -> O,
) -> Duration
where
    O: FnMut() -> F + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let each = times.div_ceil(TASKS as u64);
    runtime.block_on(async {
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
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

pub(super) fn page(fixture: &Fixture) -> Pair {
    const LAST: i64 = AUTHORS * POSTS_EACH;
    let (raw, db) = fixture.pair(Normal);
    let first = db
        .query::<Post>()
        .filter(Post::STATUS.eq(PostStatus::Published))
        .order(Post::CREATED_AT.desc())
        .page(PAGE);
    let first = fixture.runtime().block_on(first).expect(READ);
    let last = first.items.last().expect(FOUND);
    let (created_at, id) = (last.created_at.as_micros(), last.id.get());
    assert!(
        created_at > FIRST_CREATED && id < LAST,
        "the newest posts come first"
    );
    Pair {
        raw: raw_each(raw, 1, move |raw, _| {
            let (posts, more) = raw.page_after(created_at, id).expect(READ);
            assert!(posts.len() == PAGE as usize && more);
            black_box(posts);
        }),
        larder: larder_each(fixture, db, 1, async move |db: &Db, _| {
            let page = first.next(db).await.expect(READ);
            assert!(page.items.len() == PAGE as usize && page.next.is_some());
            black_box(page);
        }),
    }
}

pub(super) fn scan(fixture: &Fixture) -> Pair {
    let (raw, db) = fixture.pair(Normal);
    Pair {
        raw: raw_each(raw, 1, |raw, _| {
            let users = raw.all_users().expect(READ);
            assert_eq!(users.len(), USERS as usize);
            black_box(users);
        }),
        larder: larder_each(fixture, db, 1, async |db: &Db, _| {
            let users = db.query::<User>().all().await.expect(READ);
            assert_eq!(users.len(), USERS as usize);
            black_box(users);
        }),
    }
}

pub(super) fn loading_plan(fixture: &Fixture) -> Pair {
    let (raw, db) = fixture.pair(Normal);
    let expected = raw.authors(LOADED).expect(READ);
    let loaded = fixture.runtime().block_on(load_authors(&db));
    assert_eq!(loaded, expected, "both sides build the same");
    Pair {
        raw: raw_each(raw, 1, |raw, _| {
            black_box(raw.authors(LOADED).expect(READ));
        }),
        larder: larder_each(fixture, db, 1, async |db: &Db, _| {
            black_box(load_authors(db).await);
        }),
    }
}

async fn load_authors(db: &Db) -> Vec<Author> {
    let first = User::ID.le(Id::new(LOADED));
    db.query::<User>()
        .filter(first)
        .order(User::ID.asc())
        .load::<Author>()
        .await
        .expect(READ)
}
