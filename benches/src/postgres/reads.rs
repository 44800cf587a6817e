//! Reads.

use std::hint::black_box;
use std::sync::Arc;

use larder_core::Db;

use super::Fixture;
use super::raw::Raw;
use crate::data::{LOADED, PAGE, USERS, address};
use crate::{Pair, larder, run};

const FOUND: &str = "the row is there";
const READ: &str = "the read succeeds";
/// The connections that the driver's reads of many tasks are pipelined on, as many as Larder's.
const CONNECTIONS: usize = 4;

async fn raw_get(raw: &Raw, id: i64) {
    black_box(raw.user_by_key(id).await.expect(READ).expect(FOUND));
}

async fn raw_find(raw: &Raw, number: i64) {
    let user = raw.user_by_email(address(number).as_str()).await;
    black_box(user.expect(READ).expect(FOUND));
}

pub(super) fn by_key(fixture: &Fixture) -> Pair {
    let (raw, db) = fixture.pair();
    Pair {
        raw: run::each(fixture.runtime(), raw, USERS, raw_get),
        larder: run::each(fixture.runtime(), db, USERS, larder::get),
    }
}

pub(super) fn by_email(fixture: &Fixture) -> Pair {
    let (raw, db) = fixture.pair();
    Pair {
        raw: run::each(fixture.runtime(), raw, USERS, raw_find),
        larder: run::each(fixture.runtime(), db, USERS, larder::find),
    }
}

pub(super) fn by_key_tasks(fixture: &Fixture) -> Pair {
    let (raws, db) = several(fixture);
    let get = |raw: Arc<Raw>, id| async move { raw_get(&raw, id).await };
    Pair {
        raw: run::tasks(fixture.runtime(), raws, get),
        larder: larder::get_tasks(fixture.runtime(), db),
    }
}

pub(super) fn by_email_tasks(fixture: &Fixture) -> Pair {
    let (raws, db) = several(fixture);
    let find = |raw: Arc<Raw>, number| async move { raw_find(&raw, number).await };
    Pair {
        raw: run::tasks(fixture.runtime(), raws, find),
        larder: larder::find_tasks(fixture.runtime(), db),
    }
}

/// One database, open with several connections of the driver and with Larder.
fn several(fixture: &Fixture) -> (Vec<Arc<Raw>>, Db) {
    let url = fixture.kept();
    let raws = (0..CONNECTIONS).map(|_| Arc::new(fixture.raw(&url)));
    (raws.collect(), fixture.larder(&url))
}

pub(super) fn page(fixture: &Fixture) -> Pair {
    let (raw, db) = fixture.pair();
    let (first, created_at, id) = fixture.runtime().block_on(larder::first_page(&db));
    let raw_next = async move |raw: &Raw, _| {
        let (posts, more) = raw.page_after(created_at, id).await.expect(READ);
        assert!(posts.len() == PAGE as usize && more);
        black_box(posts);
    };
    let next = async move |db: &Db, _| larder::second_page(db, &first).await;
    Pair {
        raw: run::each(fixture.runtime(), raw, 1, raw_next),
        larder: run::each(fixture.runtime(), db, 1, next),
    }
}

pub(super) fn scan(fixture: &Fixture) -> Pair {
    let (raw, db) = fixture.pair();
    let raw_scan = async |raw: &Raw, _| {
        let users = raw.all_users().await.expect(READ);
        assert_eq!(users.len(), USERS as usize);
        black_box(users);
    };
    let scan = async |db: &Db, _| larder::scan(db).await;
    Pair {
        raw: run::each(fixture.runtime(), raw, 1, raw_scan),
        larder: run::each(fixture.runtime(), db, 1, scan),
    }
}

pub(super) fn loading_plan(fixture: &Fixture) -> Pair {
    let (raw, db) = fixture.pair();
    let expected = fixture.runtime().block_on(raw.authors(LOADED));
    let loaded = fixture.runtime().block_on(larder::load_authors(&db));
    assert_eq!(loaded, expected.expect(READ), "both sides build the same");
    let raw_load = async |raw: &Raw, _| {
        black_box(raw.authors(LOADED).await.expect(READ));
    };
    let load = async |db: &Db, _| {
        black_box(larder::load_authors(db).await);
    };
    Pair {
        raw: run::each(fixture.runtime(), raw, 1, raw_load),
        larder: run::each(fixture.runtime(), db, 1, load),
    }
}
