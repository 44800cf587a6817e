//! Updates and deletes of many rows.

use std::time::Duration;

use larder_core::models::{Post, PostPatch, PostStatus, PostTag, Tag};
use larder_core::{ErrorKind, Id, Result};

use crate::fixtures::{measures, new_post, post, refused, tag, tagged, tags, user};
use crate::harness::{TestDb, tests};
use crate::schema::{Account, Measure, NewAccount, NewMeasure};

async fn update_changes_the_rows_a_filter_takes(db: TestDb) -> Result<()> {
    let author = user(&db, 1).await?;
    for slug in ["a", "b", "c"] {
        post(&db, &author, slug).await?;
    }
    let patch = PostPatch {
        status: Some(PostStatus::Archived),
        ..PostPatch::default()
    };
    let query = || db.query::<Post>().filter(Post::SLUG.in_(["a", "c"]));
    assert_eq!(query().update(patch).await?, 2);
    let archived = db
        .query::<Post>()
        .filter(Post::STATUS.eq(PostStatus::Archived));
    assert_eq!(
        archived
            .order(Post::SLUG.asc())
            .select(Post::SLUG)
            .all()
            .await?,
        ["a", "c"]
    );
    assert_eq!(
        query().update(PostPatch::default()).await?,
        0,
        "nothing to change"
    );
    let none = db
        .query::<Post>()
        .filter(Post::SLUG.eq("x"))
        .update(Post::TITLE.set("t"))
        .await?;
    assert_eq!(none, 0);
    assert_eq!(db.query::<Post>().update(Post::TITLE.set("all")).await?, 3);
    Ok(())
}

async fn add_counts_in_the_store(db: TestDb) -> Result<()> {
    let account = db.insert(NewAccount::new("a", 10)).await?;
    let changed = db
        .update::<Account>(account.id, Account::BALANCE.add(-3))
        .await?;
    assert_eq!(changed.balance, 7);
    let changes = [
        Account::BALANCE.add(1),
        Account::POINTS.add(5),
        Account::OWNER.set("b"),
    ];
    db.query::<Account>().update(changes).await?;
    let row = db.find::<Account>(account.id).await?;
    assert_eq!((row.balance, row.points, row.owner.as_str()), (8, 5, "b"));
    Ok(())
}

async fn adding_to_null_stays_null(db: TestDb) -> Result<()> {
    measures(&db, [Some(1), None]).await?;
    assert_eq!(
        db.query::<Measure>().update(Measure::NUMBER.add(2)).await?,
        2
    );
    let numbers = db
        .query::<Measure>()
        .order(Measure::ID.asc())
        .select(Measure::NUMBER);
    assert_eq!(numbers.all().await?, [Some(3), None]);
    Ok(())
}

async fn floats_and_decimals_can_be_added_to(db: TestDb) -> Result<()> {
    let exact = |text: &str| text.parse().ok();
    let row = NewMeasure {
        float: Some(0.5),
        exact: exact("0.10"),
        ..NewMeasure::default()
    };
    let row = db.insert(row).await?;
    let one: larder_core::Decimal = exact("0.20").expect("a decimal");
    let changes = [Measure::FLOAT.add(0.25), Measure::EXACT.add(one)];
    let changed = db.update::<Measure>(row.id, changes).await?;
    assert_eq!((changed.float, changed.exact), (Some(0.75), exact("0.3")));
    Ok(())
}

async fn an_addition_that_overflows_is_refused_whole(db: TestDb) -> Result<()> {
    let rows = db
        .insert_all_returning([NewAccount::new("a", 1), NewAccount::new("b", i64::MAX)])
        .await?;
    let error = db.query::<Account>().update(Account::BALANCE.add(1)).await;
    let error = error.expect_err("the second leaves the range of i64");
    assert!(!error.is_retryable(), "{error:?}");
    assert_eq!(
        db.query::<Account>().order(Account::ID.asc()).all().await?,
        rows
    );
    // A narrower column has a narrower range.
    db.update::<Account>(rows[0].id, Account::POINTS.set(i32::MAX))
        .await?;
    let error = db.query::<Account>().update(Account::POINTS.add(1)).await;
    assert!(error.is_err(), "the sum leaves the range of i32");
    let row = db.find::<Account>(rows[0].id).await?;
    assert_eq!(row.points, i32::MAX);
    let lower = db
        .update::<Account>(row.id, Account::POINTS.add(-1))
        .await?;
    assert_eq!(lower.points, i32::MAX - 1);
    Ok(())
}

async fn concurrent_additions_all_count(db: TestDb) -> Result<()> {
    let account = db.insert(NewAccount::new("a", 0)).await?;
    let mut tasks = Vec::new();
    for _ in 0..20 {
        let db = larder_core::Db::clone(&db);
        tasks.push(tokio::spawn(async move {
            for _ in 0..10 {
                db.update::<Account>(account.id, Account::BALANCE.add(1))
                    .await?;
            }
            Ok::<_, larder_core::Error>(())
        }));
    }
    for task in tasks {
        task.await.expect("the task does not panic")?;
    }
    let row = db.find::<Account>(account.id).await?;
    assert_eq!((row.balance, row.version), (200, 201));
    Ok(())
}

async fn update_all_writes_each_row_by_its_key(db: TestDb) -> Result<()> {
    tags(&db, 1_000).await?;
    let rows = db.query::<Tag>().order(Tag::ID.asc()).all().await?;
    let changed: Vec<_> = rows
        .iter()
        .rev()
        .map(|tag| Tag {
            id: tag.id,
            name: format!("new {}", tag.name),
        })
        .collect();
    let (count, report) = db.observe(db.update_all(changed[..999].to_vec())).await;
    assert_eq!((count?, report.count()), (999, 1));
    let mut expected: Vec<_> = changed[..999].iter().rev().cloned().collect();
    expected.insert(0, rows[0].clone());
    assert_eq!(
        db.query::<Tag>().order(Tag::ID.asc()).all().await?,
        expected
    );
    Ok(())
}

async fn update_all_passes_over_rows_that_are_gone(db: TestDb) -> Result<()> {
    let (a, b) = (tag(&db, "a").await?, tag(&db, "b").await?);
    db.delete::<Tag>(a.id).await?;
    let rows = [
        Tag {
            name: "A".into(),
            ..a
        },
        Tag {
            name: "B".into(),
            ..b
        },
    ];
    assert_eq!(db.update_all(rows).await?, 1);
    assert_eq!(db.query::<Tag>().one().await?.name, "B");
    assert_eq!(db.update_all(Vec::<Tag>::new()).await?, 0);
    Ok(())
}

async fn update_all_is_all_or_nothing(db: TestDb) -> Result<()> {
    tags(&db, 100).await?;
    let rows = db.query::<Tag>().order(Tag::ID.asc()).all().await?;
    let mut changed: Vec<_> = rows
        .iter()
        .map(|tag| Tag {
            id: tag.id,
            name: format!("new {}", tag.name),
        })
        .collect();
    changed[60].name = format!("new {}", rows[10].name);
    let error = refused(db.update_all(changed).await, ErrorKind::Unique);
    assert!(error.violates(Tag::NAME), "{error:?}");
    assert_eq!(db.query::<Tag>().order(Tag::ID.asc()).all().await?, rows);
    let twice = [rows[0].clone(), rows[0].clone()];
    refused(db.update_all(twice).await, ErrorKind::Misuse);
    Ok(())
}

async fn update_all_of_wide_rows_with_versions(db: TestDb) -> Result<()> {
    let clock = std::sync::Arc::new(larder_core::ManualClock::at(db.now()));
    let db = db.with_clock(&clock);
    let new = (0..1_000).map(|n| NewAccount::new(format!("owner {n}"), n));
    let rows = db.insert_all_returning(new).await?;
    clock.advance(Duration::from_secs(1));
    let changed = rows.iter().cloned().map(|row| Account {
        balance: -row.balance,
        ..row
    });
    assert_eq!(db.update_all(changed).await?, 1_000);
    let stored = db.query::<Account>().order(Account::ID.asc()).all().await?;
    for (old, new) in rows.iter().zip(&stored) {
        let expected = Account {
            balance: -old.balance,
            version: 2,
            updated_at: db.now(),
            ..old.clone()
        };
        assert_eq!(new, &expected);
    }
    Ok(())
}

async fn delete_takes_the_rows_of_a_filter(db: TestDb) -> Result<()> {
    tags(&db, 10).await?;
    assert_eq!(
        db.query::<Tag>()
            .filter(Tag::NAME.lt("tag 00004"))
            .delete()
            .await?,
        4
    );
    assert_eq!(
        db.query::<Tag>()
            .filter(Tag::NAME.eq("tag 00001"))
            .delete()
            .await?,
        0
    );
    assert_eq!(db.query::<Tag>().count().await?, 6);
    assert_eq!(db.query::<Tag>().delete().await?, 6);
    assert!(!db.query::<Tag>().exists().await?);
    Ok(())
}

async fn rows_a_cascade_takes_are_not_counted(db: TestDb) -> Result<()> {
    let author = user(&db, 1).await?;
    let post = post(&db, &author, "a").await?;
    let tag = tag(&db, "t").await?;
    tagged(&db, &post, &tag).await?;
    assert_eq!(db.query::<Post>().delete().await?, 1);
    assert!(!db.query::<PostTag>().exists().await?);
    assert!(db.query::<Tag>().exists().await?);
    Ok(())
}

async fn order_limit_and_offset_are_refused(db: TestDb) -> Result<()> {
    tags(&db, 3).await?;
    let query = || db.query::<Tag>();
    let outcomes = [
        query().limit(1).delete().await,
        query().offset(1).delete().await,
        query().order(Tag::ID.asc()).delete().await,
        query().limit(1).update(Tag::NAME.set("x")).await,
        query()
            .order(Tag::ID.asc())
            .update(Tag::NAME.set("x"))
            .await,
    ];
    for outcome in outcomes {
        assert_eq!(refused(outcome, ErrorKind::Misuse).table(), Some("tags"));
    }
    assert_eq!(db.query::<Tag>().count().await?, 3);
    Ok(())
}

async fn a_key_can_be_changed(db: TestDb) -> Result<()> {
    let old = tag(&db, "a").await?;
    let other = tag(&db, "b").await?;
    let moved = db.update::<Tag>(old.id, Tag::ID.set(Id::new(500))).await?;
    assert_eq!((moved.id, moved.name.as_str()), (Id::new(500), "a"));
    assert_eq!(db.get::<Tag>(old.id).await?, None);
    let error = refused(
        db.update::<Tag>(other.id, Tag::ID.set(Id::new(500))).await,
        ErrorKind::Unique,
    );
    assert!(error.violates(Tag::ID), "{error:?}");
    Ok(())
}

async fn a_unique_value_may_stay_where_it_is(db: TestDb) -> Result<()> {
    let author = user(&db, 1).await?;
    let posts = ["a", "b"].map(|slug| new_post(author.id, slug, PostStatus::Draft));
    let rows = db.insert_all_returning(posts).await?;
    db.update::<Post>(rows[0].id, Post::SLUG.set("a")).await?;
    assert_eq!(db.update_all(rows).await?, 2);
    Ok(())
}

async fn a_model_of_keys_only_can_be_saved(db: TestDb) -> Result<()> {
    let author = user(&db, 1).await?;
    let (post, tag) = (post(&db, &author, "a").await?, tag(&db, "t").await?);
    let pair = tagged(&db, &post, &tag).await?;
    assert_eq!(db.save(pair.clone()).await?, pair);
    db.delete::<PostTag>((post.id, tag.id)).await?;
    refused(db.save(pair).await, ErrorKind::NotFound);
    Ok(())
}

tests![
    a_model_of_keys_only_can_be_saved,
    update_changes_the_rows_a_filter_takes,
    add_counts_in_the_store,
    adding_to_null_stays_null,
    floats_and_decimals_can_be_added_to,
    an_addition_that_overflows_is_refused_whole,
    concurrent_additions_all_count,
    update_all_writes_each_row_by_its_key,
    update_all_passes_over_rows_that_are_gone,
    update_all_is_all_or_nothing,
    update_all_of_wide_rows_with_versions,
    delete_takes_the_rows_of_a_filter,
    rows_a_cascade_takes_are_not_counted,
    order_limit_and_offset_are_refused,
    a_key_can_be_changed,
    a_unique_value_may_stay_where_it_is,
];
