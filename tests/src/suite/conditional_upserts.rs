//! Upserts with a condition: a new row replaces an old one only where it should.

use larder_core::models::{NewUser, Post, User};
use larder_core::{ErrorKind, Result};

use crate::fixtures::{refused, user};
use crate::harness::{TestDb, tests};
use crate::schema::{Account, NewAccount};

fn named(number: usize, name: &str, bio: Option<&str>) -> Result<NewUser> {
    let user = NewUser::without_password(&format!("user{number}@example.com"), name)?;
    Ok(match bio {
        Some(bio) => user.bio(bio),
        None => user,
    })
}

async fn refused_rows_are_neither_changed_nor_counted_nor_returned(db: TestDb) -> Result<()> {
    db.insert_all([named(1, "a", None)?, named(2, "x", None)?])
        .await?;
    let rows = [
        named(1, "m", None)?,
        named(2, "m", None)?,
        named(3, "m", None)?,
    ];
    let upsert = || db.upsert(rows.clone()).on(User::EMAIL).update(User::NAME);
    let written = upsert().when(User::NAME.lt_new()).returning().await?;
    let names: Vec<_> = written.iter().map(|row| row.email.as_str()).collect();
    assert_eq!(names, ["user1@example.com", "user3@example.com"]);
    assert!(written.iter().all(|row| row.name == "m"));
    let kept = db.query::<User>().filter(User::NAME.eq("x")).one().await?;
    assert_eq!((kept.name.as_str(), kept.updated_at), ("x", None));
    assert_eq!(upsert().when(User::NAME.lt_new()).run().await?, 0);
    assert_eq!(upsert().when(User::NAME.ne_new()).run().await?, 1);
    assert_eq!(upsert().when(User::NAME.gt_new()).run().await?, 0);
    assert_eq!(upsert().run().await?, 3, "without a condition all are set");
    Ok(())
}

async fn the_condition_sees_the_old_row(db: TestDb) -> Result<()> {
    db.insert_all([named(1, "locked", None)?, named(2, "free", None)?])
        .await?;
    let rows = [named(1, "new", None)?, named(2, "new", None)?];
    let upsert = db.upsert(rows).on(User::EMAIL).update(User::NAME);
    let upsert = upsert.when(User::NAME.starts_with("fr") & User::BIO.is_null());
    assert_eq!(upsert.run().await?, 1);
    let names = db.query::<User>().order(User::ID.asc()).select(User::NAME);
    assert_eq!(names.all().await?, ["locked", "new"]);
    Ok(())
}

async fn several_conditions_must_all_hold(db: TestDb) -> Result<()> {
    db.insert(named(1, "b", Some("old"))?).await?;
    for (name, bio, expected) in [("c", "old", 0), ("a", "new", 0), ("c", "new", 1)] {
        let upsert = db.upsert([named(1, name, Some(bio))?]).on(User::EMAIL);
        let upsert = upsert.update((User::NAME, User::BIO));
        let upsert = upsert.when(User::NAME.lt_new()).when(User::BIO.ne_new());
        assert_eq!(upsert.run().await?, expected, "{name} {bio}");
    }
    Ok(())
}

async fn null_is_neither_equal_nor_unequal(db: TestDb) -> Result<()> {
    db.insert(named(1, "a", None)?).await?;
    let upsert = |bio: Option<&str>| -> Result<_> {
        let rows = [named(1, "a", bio)?];
        Ok(db.upsert(rows).on(User::EMAIL).update(User::BIO))
    };
    for condition in [User::BIO.ne_new(), !User::BIO.ne_new(), User::BIO.lt_new()] {
        assert_eq!(upsert(Some("new"))?.when(condition).run().await?, 0);
    }
    let fills = User::BIO.ne_new() | User::BIO.is_null();
    assert_eq!(upsert(Some("new"))?.when(fills).run().await?, 1);
    assert_eq!(upsert(None)?.when(User::BIO.ne_new()).run().await?, 0);
    Ok(())
}

async fn rows_of_one_upsert_meet_each_other_in_their_order(db: TestDb) -> Result<()> {
    let rows = ["c", "a", "d", "b"].map(|name| named(1, name, None));
    let rows = rows.into_iter().collect::<Result<Vec<_>>>()?;
    let upsert = db.upsert(rows).on(User::EMAIL).update(User::NAME);
    assert_eq!(upsert.when(User::NAME.lt_new()).run().await?, 2, "c and d");
    assert_eq!(db.query::<User>().one().await?.name, "d");
    Ok(())
}

async fn many_rows_and_a_version(db: TestDb) -> Result<()> {
    const ROWS: i64 = 450; // several statements on most engines
    let account = |number: i64, balance| NewAccount::new(format!("owner {number:03}"), balance);
    db.insert_all((0..ROWS).map(|number| account(number, number % 3)))
        .await?;
    let accounts = (0..ROWS).map(|number| account(number, 1));
    let upsert = db.upsert(accounts).on(Account::OWNER);
    let upsert = upsert
        .update(Account::BALANCE)
        .when(Account::BALANCE.lt_new());
    assert_eq!(upsert.run().await?, ROWS.unsigned_abs() / 3);
    let raised = db.query::<Account>().filter(Account::VERSION.eq(2));
    assert_eq!(raised.count().await?, ROWS.unsigned_abs() / 3);
    Ok(())
}

async fn what_makes_no_sense_is_refused(db: TestDb) -> Result<()> {
    let kept = user(&db, 1).await?;
    let rows = [named(1, "new", None)?];
    let upsert = || db.upsert(rows.clone()).on(User::EMAIL);
    let by_name = || upsert().update(User::NAME);
    let related = Post::AUTHOR_ID.any(Post::SLUG.eq("a"));
    let old = || db.query::<User>().filter(User::NAME.lt_new());
    for refusal in [
        upsert().ignore().when(User::NAME.lt_new()).run().await,
        by_name().when(related).run().await,
        old().count().await,
        old().delete().await,
        old().update(User::NAME.set("new")).await,
    ] {
        refused(refusal, ErrorKind::Misuse);
    }
    let unset = by_name().when(User::ID.ne_new()).run().await;
    assert_eq!(refused(unset, ErrorKind::Misuse).column(), Some("id"));
    assert_eq!(db.query::<User>().one().await?.id, kept.id);
    Ok(())
}

tests![
    refused_rows_are_neither_changed_nor_counted_nor_returned,
    the_condition_sees_the_old_row,
    several_conditions_must_all_hold,
    null_is_neither_equal_nor_unequal,
    rows_of_one_upsert_meet_each_other_in_their_order,
    many_rows_and_a_version,
    what_makes_no_sense_is_refused,
];
