//! `created_at` and `updated_at` come from the handle's clock, on every way a row is written.

use std::sync::Arc;
use std::time::Duration;

use larder_core::models::{NewUser, User, UserPatch};
use larder_core::{Db, ManualClock, Result, Timestamp};

use crate::fixtures::{new_user, user};
use crate::harness::{TestDb, tests};
use crate::schema::{Account, NewAccount};

const MINUTE: Duration = Duration::from_mins(1);

/// A handle whose clock stands at a known time.
fn stopped(db: &TestDb) -> (Arc<ManualClock>, Db) {
    let at = Timestamp::from_micros(1_700_000_000_123_456).expect("within the years kept");
    let clock = Arc::new(ManualClock::at(at));
    let handle = db.with_clock(&clock);
    (clock, handle)
}

/// Moves the clock and says what it shows.
fn tick(clock: &ManualClock, db: &Db) -> Timestamp {
    clock.advance(MINUTE);
    db.now()
}

async fn an_insert_sets_created_at(db: TestDb) -> Result<()> {
    let (clock, db) = stopped(&db);
    let first = db.now();
    let ada = user(&db, 1).await?;
    assert_eq!(
        (ada.created_at, ada.updated_at),
        (first, None),
        "an optional updated_at is empty"
    );
    let account = db.insert(NewAccount::new("ada", 1)).await?;
    assert_eq!(
        (account.created_at, account.updated_at),
        (first, first),
        "a required one is set"
    );
    let second = tick(&clock, &db);
    db.insert_all([new_user(2)?, new_user(3)?]).await?;
    let later = db
        .query::<User>()
        .filter(User::CREATED_AT.eq(second))
        .count()
        .await?;
    assert_eq!(later, 2);
    Ok(())
}

async fn updates_by_key_set_updated_at_only(db: TestDb) -> Result<()> {
    let (clock, db) = stopped(&db);
    let ada = user(&db, 1).await?;
    let at = tick(&clock, &db);
    let patch = UserPatch {
        name: Some("Ada".into()),
        ..UserPatch::default()
    };
    let patched = db.update::<User>(ada.id, patch).await?;
    assert_eq!(
        (patched.created_at, patched.updated_at),
        (ada.created_at, Some(at))
    );
    let at = tick(&clock, &db);
    let changed = db.update::<User>(ada.id, User::NAME.set("A")).await?;
    assert_eq!(
        (changed.created_at, changed.updated_at),
        (ada.created_at, Some(at))
    );
    let at = tick(&clock, &db);
    let saved = db
        .save(User {
            created_at: at,
            ..changed
        })
        .await?;
    assert_eq!(
        (saved.created_at, saved.updated_at),
        (ada.created_at, Some(at))
    );
    tick(&clock, &db);
    let same = db.update::<User>(ada.id, UserPatch::default()).await?;
    assert_eq!(
        same, saved,
        "a patch that changes nothing leaves the time alone"
    );
    Ok(())
}

async fn bulk_updates_set_updated_at(db: TestDb) -> Result<()> {
    let (clock, db) = stopped(&db);
    let rows = db
        .insert_all_returning((0..3).map(new_user).collect::<Result<Vec<_>>>()?)
        .await?;
    let at = tick(&clock, &db);
    let two = User::ID.in_([rows[0].id, rows[1].id]);
    assert_eq!(
        db.query::<User>()
            .filter(two)
            .update(User::IS_ACTIVE.set(false))
            .await?,
        2
    );
    let times = db
        .query::<User>()
        .order(User::ID.asc())
        .select(User::UPDATED_AT);
    assert_eq!(times.all().await?, [Some(at), Some(at), None]);
    let later = tick(&clock, &db);
    assert_eq!(
        db.update_all(vec![rows[1].clone(), rows[2].clone()])
            .await?,
        2
    );
    let times = db
        .query::<User>()
        .order(User::ID.asc())
        .select((User::UPDATED_AT, User::CREATED_AT));
    let created = rows[0].created_at;
    let expected = [
        (Some(at), created),
        (Some(later), created),
        (Some(later), created),
    ];
    assert_eq!(times.all().await?, expected);
    Ok(())
}

async fn an_upsert_sets_updated_at_of_the_rows_it_changes(db: TestDb) -> Result<()> {
    let (clock, db) = stopped(&db);
    let ada = user(&db, 1).await?;
    let at = tick(&clock, &db);
    let rows = [
        NewUser::without_password("user1@example.com", "Changed")?,
        new_user(2)?,
    ];
    let rows = db
        .upsert(rows)
        .on(User::EMAIL)
        .update(User::NAME)
        .returning()
        .await?;
    let times: Vec<_> = rows
        .iter()
        .map(|row| (row.created_at, row.updated_at))
        .collect();
    assert_eq!(times, [(ada.created_at, Some(at)), (at, None)]);
    Ok(())
}

async fn an_entity_brings_its_own_times(db: TestDb) -> Result<()> {
    let (clock, db) = stopped(&db);
    let account = db.insert(NewAccount::new("ada", 1)).await?;
    db.delete::<Account>(account.id).await?;
    tick(&clock, &db);
    assert_eq!(db.insert(account.clone()).await?, account);
    Ok(())
}

async fn transactions_keep_the_clock(db: TestDb) -> Result<()> {
    let (clock, db) = stopped(&db);
    let at = tick(&clock, &db);
    let ada: User = db
        .transaction(|tx| async move { user(&tx, 1).await })
        .await?;
    assert_eq!(ada.created_at, at);
    Ok(())
}

tests![
    an_insert_sets_created_at,
    updates_by_key_set_updated_at_only,
    bulk_updates_set_updated_at,
    an_upsert_sets_updated_at_of_the_rows_it_changes,
    an_entity_brings_its_own_times,
    transactions_keep_the_clock,
];
