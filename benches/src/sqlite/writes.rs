//! Writes. A timed write is a committed one.

use std::path::PathBuf;
use std::time::Instant;

use larder_core::Db;

use super::Durability::{self, Full, Normal};
use super::fixture::{self, Fixture};
use super::raw::Raw;
use crate::data::{RawNewUser, USERS, bulk_comments, bulk_users, new_comments, new_user};
use crate::{Pair, Side, larder, run};

const WRITTEN: &str = "the write succeeds";

pub(super) fn insert_normal(fixture: &Fixture) -> Pair {
    insert(fixture, Normal)
}

pub(super) fn insert_full(fixture: &Fixture) -> Pair {
    insert(fixture, Full)
}

pub(super) fn insert_tasks_normal(fixture: &Fixture) -> Pair {
    insert_tasks(fixture, Normal)
}

pub(super) fn insert_tasks_full(fixture: &Fixture) -> Pair {
    insert_tasks(fixture, Full)
}

fn insert(fixture: &Fixture, durability: Durability) -> Pair {
    let db = fixture.larder(&fixture.copy(), durability);
    Pair {
        raw: raw_inserts(fixture, durability),
        larder: larder::inserts(fixture.runtime(), db),
    }
}

fn insert_tasks(fixture: &Fixture, durability: Durability) -> Pair {
    let db = fixture.larder(&fixture.copy(), durability);
    Pair {
        raw: raw_inserts(fixture, durability),
        larder: larder::insert_tasks(fixture.runtime(), db),
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
        let numbers = run::numbers(&mut next, times);
        let users: Vec<_> = numbers.map(RawNewUser::new).collect();
        let started = Instant::now();
        for user in &users {
            raw.insert_user(user).expect(WRITTEN);
        }
        started.elapsed()
    })
}

pub(super) fn bulk_insert_users(fixture: &Fixture) -> Pair {
    bulk(
        fixture,
        bulk_users().map(RawNewUser::new).collect::<Vec<_>>(),
        bulk_users().map(new_user).collect::<Vec<_>>(),
        |raw, users| raw.insert_users(&users).expect(WRITTEN),
        larder::insert_users,
    )
}

pub(super) fn bulk_insert_comments(fixture: &Fixture) -> Pair {
    let comments = bulk_comments();
    let new = new_comments(&comments);
    bulk(
        fixture,
        comments,
        new,
        |raw, comments| raw.insert_comments(&comments).expect(WRITTEN),
        larder::insert_comments,
    )
}

pub(super) fn bulk_update(fixture: &Fixture) -> Pair {
    let db = fixture.larder(&fixture.copy(), Normal);
    let users = fixture.runtime().block_on(larder::changed_users(&db));
    bulk(
        fixture,
        users.clone(),
        users,
        |raw, users| raw.update_users(&users).expect(WRITTEN),
        larder::update_users,
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
    let open_raw = move || {
        let path = for_raw.copy();
        let raw = for_raw.raw(&path, Normal);
        raw.connection()
            .execute_batch("PRAGMA wal_autocheckpoint = 0")
            .expect(WRITTEN);
        raw.user_by_key(1).expect("the read succeeds");
        (path, raw)
    };
    let close_raw = |(path, raw): (PathBuf, Raw)| {
        drop(raw);
        fixture::remove(&path);
    };
    let open_larder = move || {
        let path = for_larder.copy();
        let db = for_larder.larder(&path, Normal);
        (path, db)
    };
    let (writing, closing) = (fixture.runtime(), fixture.runtime());
    let close_larder = move |(path, db): (PathBuf, Db)| {
        let closed = closing.block_on(db.close());
        closed.expect("nothing is open any more");
        fixture::remove(&path);
    };
    Pair {
        raw: run::bulk(
            raw_rows,
            open_raw,
            move |(_, raw), rows| raw_write(raw, rows),
            close_raw,
        ),
        larder: run::bulk(
            larder_rows,
            open_larder,
            move |(_, db), rows| writing.block_on(larder_write(db, rows)),
            close_larder,
        ),
    }
}
