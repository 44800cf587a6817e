//! Reads.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

use larder_core::Db;
use larder_sqlite::SqliteOptions;

use super::Durability::Normal;
use super::Fixture;
use super::raw::Raw;
use crate::data::{LOADED, PAGE, Picks, THREADS, USERS, address};
use crate::{Pair, Side, larder, run};

const FOUND: &str = "the row is there";
const READ: &str = "the read succeeds";

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

fn raw_get(raw: &Raw, id: i64) {
    black_box(raw.user_by_key(id).expect(READ).expect(FOUND));
}

fn raw_find(raw: &Raw, number: i64) {
    let user = raw.user_by_email(address(number).as_str());
    black_box(user.expect(READ).expect(FOUND));
}

pub(super) fn by_key(fixture: &Fixture) -> Pair {
    let (raw, db) = fixture.pair(Normal);
    Pair {
        raw: raw_each(raw, USERS, raw_get),
        larder: run::each(fixture.runtime(), db, USERS, larder::get),
    }
}

pub(super) fn by_key_unparked(fixture: &Fixture) -> Pair {
    let raw = fixture.raw(&fixture.copy(), Normal);
    let options = SqliteOptions::new(fixture.copy()).parked_snapshots(false);
    let db = fixture.larder_with(options);
    Pair {
        raw: raw_each(raw, USERS, raw_get),
        larder: run::each(fixture.runtime(), db, USERS, larder::get),
    }
}

pub(super) fn by_email(fixture: &Fixture) -> Pair {
    let (raw, db) = fixture.pair(Normal);
    Pair {
        raw: raw_each(raw, USERS, raw_find),
        larder: run::each(fixture.runtime(), db, USERS, larder::find),
    }
}

pub(super) fn by_key_tasks(fixture: &Fixture) -> Pair {
    let db = fixture.larder(&fixture.copy(), Normal);
    Pair {
        raw: raw_threads(fixture, raw_get),
        larder: larder::get_tasks(fixture.runtime(), db),
    }
}

pub(super) fn by_email_tasks(fixture: &Fixture) -> Pair {
    let db = fixture.larder(&fixture.copy(), Normal);
    Pair {
        raw: raw_threads(fixture, raw_find),
        larder: larder::find_tasks(fixture.runtime(), db),
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

pub(super) fn page(fixture: &Fixture) -> Pair {
    let (raw, db) = fixture.pair(Normal);
    let (first, created_at, id) = fixture.runtime().block_on(larder::first_page(&db));
    let next = async move |db: &Db, _| larder::second_page(db, &first).await;
    Pair {
        raw: raw_each(raw, 1, move |raw, _| {
            let (posts, more) = raw.page_after(created_at, id).expect(READ);
            assert!(posts.len() == PAGE as usize && more);
            black_box(posts);
        }),
        larder: run::each(fixture.runtime(), db, 1, next),
    }
}

pub(super) fn scan(fixture: &Fixture) -> Pair {
    let (raw, db) = fixture.pair(Normal);
    let scan = async |db: &Db, _| larder::scan(db).await;
    Pair {
        raw: raw_each(raw, 1, |raw, _| {
            let users = raw.all_users().expect(READ);
            assert_eq!(users.len(), USERS as usize);
            black_box(users);
        }),
        larder: run::each(fixture.runtime(), db, 1, scan),
    }
}

pub(super) fn loading_plan(fixture: &Fixture) -> Pair {
    let (raw, db) = fixture.pair(Normal);
    let expected = raw.authors(LOADED).expect(READ);
    let loaded = fixture.runtime().block_on(larder::load_authors(&db));
    assert_eq!(loaded, expected, "both sides build the same");
    let load = async |db: &Db, _| {
        black_box(larder::load_authors(db).await);
    };
    Pair {
        raw: raw_each(raw, 1, |raw, _| {
            black_box(raw.authors(LOADED).expect(READ));
        }),
        larder: run::each(fixture.runtime(), db, 1, load),
    }
}
