//! Writes. A timed write is a committed one.

use std::time::{Duration, Instant};

use larder_core::models::{Comment, NewComment, User};
use larder_core::{Db, Id, Timestamp, TxOptions};

use super::Durability::{self, Full, Normal};
use super::fixture::{self, Fixture};
use super::raw::Raw;
use super::reads::run_tasks;
use crate::data::{
    AUTHORS, BULK_INSERT, BULK_UPDATE, POSTS_EACH, Picks, RawNewUser, TASKS, USERS, new_user,
};
use crate::{Pair, Side};

const WRITTEN: &str = "the write succeeds";

pub(super) fn insert_normal(fixture: &Fixture) -> Pair {
    Pair {
        raw: raw_inserts(fixture, Normal),
        larder: larder_inserts(fixture, Normal),
    }
}

pub(super) fn insert_full(fixture: &Fixture) -> Pair {
    Pair {
        raw: raw_inserts(fixture, Full),
        larder: larder_inserts(fixture, Full),
    }
}

pub(super) fn insert_tasks_normal(fixture: &Fixture) -> Pair {
    Pair {
        raw: raw_inserts(fixture, Normal),
        larder: larder_insert_tasks(fixture, Normal),
    }
}

pub(super) fn insert_tasks_full(fixture: &Fixture) -> Pair {
    Pair {
        raw: raw_inserts(fixture, Full),
        larder: larder_insert_tasks(fixture, Full),
    }
}

/// One commit per insert, one after the other.
fn raw_inserts(fixture: &Fixture, durability: Durability) -> Side {
    let raw = fixture.raw(&fixture.copy(), durability);
    let mut next = USERS;
    Box::new(move |times| {
        raw.connection()
            .execute("DELETE FROM users WHERE id > ?1", [USERS])
            .expect(WRITTEN);
        let users: Vec<_> = numbers(&mut next, times).map(RawNewUser::new).collect();
        let started = Instant::now();
        for user in &users {
            raw.insert_user(user).expect(WRITTEN);
        }
        started.elapsed()
    })
}

fn larder_inserts(fixture: &Fixture, durability: Durability) -> Side {
    let (runtime, db) = (
        fixture.runtime(),
        fixture.larder(&fixture.copy(), durability),
    );
    let mut next = USERS;
    Box::new(move |times| {
        runtime.block_on(async {
            delete_inserted(&db).await;
            let users: Vec<_> = numbers(&mut next, times).map(new_user).collect();
            let started = Instant::now();
            for user in users {
                db.insert(user).await.expect(WRITTEN);
            }
            started.elapsed()
        })
    })
}

/// The tasks insert as fast as they are answered.
fn larder_insert_tasks(fixture: &Fixture, durability: Durability) -> Side {
    let (runtime, db) = (
        fixture.runtime(),
        fixture.larder(&fixture.copy(), durability),
    );
    let mut next = USERS;
    Box::new(move |times| {
        runtime.block_on(delete_inserted(&db));
        let all = numbers(&mut next, times.next_multiple_of(TASKS as u64));
        run_tasks(&runtime, times, |task| {
            // In turn, so that the rows come in about the order in which the driver inserts them.
            let own = all.clone().skip(task as usize).step_by(TASKS);
            let users: Vec<_> = own.map(new_user).collect();
            let (db, mut users) = (db.clone(), users.into_iter());
            move || {
                let (db, user) = (db.clone(), users.next().expect("one for every call"));
                async move {
                    db.insert(user).await.expect(WRITTEN);
                }
            }
        })
    })
}

/// The next so many numbers.
fn numbers(next: &mut i64, count: u64) -> std::ops::Range<i64> {
    let first = *next + 1;
    *next += count.cast_signed();
    first..*next + 1
}

async fn delete_inserted(db: &Db) {
    let inserted = db.query::<User>().filter(User::ID.gt(Id::new(USERS)));
    inserted.delete().await.expect(WRITTEN);
    // The checkpoint that the deletion may have made due is not part of what comes next, as the
    // driver's is not.
    let writer = db.begin(TxOptions::new()).await.expect(WRITTEN);
    writer.rollback().await.expect(WRITTEN);
}

pub(super) fn bulk_insert_users(fixture: &Fixture) -> Pair {
    let numbers = USERS + 1..=USERS + BULK_INSERT as i64;
    let raws: Vec<_> = numbers.clone().map(RawNewUser::new).collect();
    let users: Vec<_> = numbers.map(new_user).collect();
    bulk(
        fixture,
        raws,
        users,
        |raw, users| raw.insert_users(&users).expect(WRITTEN),
        async |db: &Db, users: Vec<_>| assert_all(db.insert_all(users).await.expect(WRITTEN)),
    )
}

pub(super) fn bulk_insert_comments(fixture: &Fixture) -> Pair {
    let (mut posts, mut users) = (Picks::new(7, AUTHORS * POSTS_EACH), Picks::new(8, USERS));
    let raws: Vec<_> = (0..BULK_INSERT as i64)
        .map(|number| Comment {
            id: Id::new(number),
            post_id: Id::new(posts.pick()),
            author_id: Id::new(users.pick()),
            content: format!("Comment number {number}, of middling length, as most of them are."),
            created_at: Timestamp::UNIX_EPOCH,
        })
        .collect();
    let comments = raws
        .iter()
        .map(|comment| NewComment {
            post_id: comment.post_id,
            author_id: comment.author_id,
            content: comment.content.clone(),
        })
        .collect();
    bulk(
        fixture,
        raws,
        comments,
        |raw, comments| raw.insert_comments(&comments).expect(WRITTEN),
        async |db: &Db, comments: Vec<_>| assert_all(db.insert_all(comments).await.expect(WRITTEN)),
    )
}

fn assert_all(written: u64) {
    assert_eq!(written, BULK_INSERT as u64);
}

pub(super) fn bulk_update(fixture: &Fixture) -> Pair {
    let db = fixture.larder(&fixture.copy(), Normal);
    let read = db.query::<User>().limit(BULK_UPDATE as u64).all();
    let mut users = fixture.runtime().block_on(read).expect("the read succeeds");
    for user in &mut users {
        user.name.push_str(", esq.");
    }
    bulk(
        fixture,
        users.clone(),
        users,
        |raw, users| raw.update_users(&users).expect(WRITTEN),
        async |db: &Db, users| {
            assert_eq!(
                db.update_all(users).await.expect(WRITTEN),
                BULK_UPDATE as u64
            );
        },
    )
}

/// Times one big write into a fresh copy of the filled database. Neither side's time holds a
/// checkpoint: Larder's comes after the answer, the driver's is switched off.
fn bulk<R: Clone + 'static, L: Clone + 'static>(
    fixture: &Fixture,
    raw_rows: R,
    larder_rows: L,
    raw_write: impl Fn(&mut Raw, R) + 'static,
    larder_write: impl AsyncFn(&Db, L) + 'static,
) -> Pair {
    let (for_raw, for_larder) = (fixture.clone(), fixture.clone());
    let raw = move |times| {
        let run = |_| {
            let path = for_raw.copy();
            let mut raw = for_raw.raw(&path, Normal);
            raw.connection()
                .execute_batch("PRAGMA wal_autocheckpoint = 0")
                .expect(WRITTEN);
            raw.user_by_key(1).expect("the read succeeds");
            let rows = raw_rows.clone();
            let started = Instant::now();
            raw_write(&mut raw, rows);
            let took = started.elapsed();
            drop(raw);
            fixture::remove(&path);
            took
        };
        (0..times).map(run).sum::<Duration>()
    };
    let larder = move |times| {
        let run = |_| {
            let path = for_larder.copy();
            let db = for_larder.larder(&path, Normal);
            let took = for_larder.runtime().block_on(async {
                let rows = larder_rows.clone();
                let started = Instant::now();
                larder_write(&db, rows).await;
                let took = started.elapsed();
                db.close().await.expect("nothing is open any more");
                took
            });
            fixture::remove(&path);
            took
        };
        (0..times).map(run).sum::<Duration>()
    };
    Pair {
        raw: Box::new(raw),
        larder: Box::new(larder),
    }
}
