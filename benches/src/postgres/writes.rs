//! Writes. A timed write is a committed one.

use std::hint::black_box;

use deadpool_postgres::{Manager, Pool};
use larder_core::Db;
use larder_tests::databases::Database;
use tokio_postgres::NoTls;

use super::Fixture;
use super::raw::{INSERT, Raw, insert_user, raw_comments};
use crate::data::{
    BULK_INSERT, BULK_UPDATE, RawNewUser, USERS, bulk_comments, bulk_users, new_comments, new_user,
};
use crate::{Pair, Side, larder, run};

const WRITTEN: &str = "the write succeeds";
/// The connections of the driver's pool, as many as Larder's.
const POOLED: usize = 10;

pub(super) fn insert(fixture: &Fixture) -> Pair {
    let raw = fixture.raw(&fixture.kept());
    let db = fixture.larder(&fixture.kept());
    let remove = async |raw: &Raw| raw.remove_inserted().await.expect(WRITTEN);
    let raw_insert = async |raw: &Raw, user: RawNewUser| {
        black_box(raw.insert_user(&user).await.expect(WRITTEN));
    };
    let runtime = fixture.runtime();
    Pair {
        raw: run::inserts(runtime, raw, RawNewUser::new, remove, raw_insert),
        larder: larder::inserts(fixture.runtime(), db),
    }
}

pub(super) fn insert_tasks(fixture: &Fixture) -> Pair {
    let db = fixture.larder(&fixture.kept());
    Pair {
        raw: raw_insert_tasks(fixture),
        larder: larder::insert_tasks(fixture.runtime(), db),
    }
}

/// The tasks share a pool.
fn raw_insert_tasks(fixture: &Fixture) -> Side {
    let config = fixture.kept().parse().expect("the server's URL is one");
    let pool = Pool::builder(Manager::new(config, NoTls)).max_size(POOLED);
    let pool = pool.build().expect("nothing in it needs a runtime");
    let remove = async |pool: &Pool| {
        let client = pool.get().await.expect("the server is there");
        let delete = "DELETE FROM users WHERE id > $1";
        client.execute(delete, &[&USERS]).await.expect(WRITTEN);
    };
    let insert = |pool: Pool, user: RawNewUser| async move {
        let client = pool.get().await.expect("the server is there");
        let statement = client.prepare_cached(INSERT).await.expect(WRITTEN);
        let inserted = insert_user(&client, &statement, &user).await;
        black_box(inserted.expect(WRITTEN));
    };
    run::insert_tasks(fixture.runtime(), pool, RawNewUser::new, remove, insert)
}

pub(super) fn bulk_insert_users(fixture: &Fixture) -> Pair {
    bulk(
        fixture,
        bulk_users().map(RawNewUser::new).collect::<Vec<_>>(),
        bulk_users().map(new_user).collect::<Vec<_>>(),
        async |raw, users| {
            let written = raw.insert_users(&users).await.expect(WRITTEN);
            assert_eq!(written, BULK_INSERT as u64);
        },
        larder::insert_users,
    )
}

pub(super) fn bulk_insert_comments(fixture: &Fixture) -> Pair {
    let comments = bulk_comments();
    let new = new_comments(&comments);
    bulk(
        fixture,
        raw_comments(comments),
        new,
        async |raw, comments| {
            let written = raw.insert_comments(&comments).await.expect(WRITTEN);
            assert_eq!(written, BULK_INSERT as u64);
        },
        larder::insert_comments,
    )
}

pub(super) fn bulk_update(fixture: &Fixture) -> Pair {
    let db = fixture.larder(&fixture.kept());
    let users = fixture.runtime().block_on(larder::changed_users(&db));
    bulk(
        fixture,
        users.clone(),
        users,
        async |raw, users| {
            let written = raw.update_users(&users).await.expect(WRITTEN);
            assert_eq!(written, BULK_UPDATE as u64);
        },
        larder::update_users,
    )
}

/// Times one big write into a fresh copy of the filled database.
fn bulk<R: Clone + 'static, L: Clone + 'static>(
    fixture: &Fixture,
    raw_rows: R,
    larder_rows: L,
    raw_write: impl AsyncFn(&Raw, R) + 'static,
    larder_write: impl AsyncFn(&Db, L) + 'static,
) -> Pair {
    Pair {
        raw: bulk_side(fixture, raw_rows, Fixture::raw, raw_write),
        larder: bulk_side(fixture, larder_rows, Fixture::larder, larder_write),
    }
}

fn bulk_side<C: 'static, R: Clone + 'static>(
    fixture: &Fixture,
    rows: R,
    connect: fn(&Fixture, &str) -> C,
    write: impl AsyncFn(&C, R) + 'static,
) -> Side {
    let (opening, runtime) = (fixture.clone(), fixture.runtime());
    let open = move || {
        let database = opening.copy();
        let client = connect(&opening, &database.url());
        (client, database)
    };
    let write = move |(client, _): &mut (C, Database), rows| runtime.block_on(write(client, rows));
    run::bulk(rows, open, write, drop)
}
