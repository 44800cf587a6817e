//! Bulk inserts: any number of rows, in order, all or nothing.

use larder_core::models::{NewTag, Post, PostStatus, Tag};
use larder_core::{ErrorKind, Result};

use crate::fixtures::{new_post, numbered_tag, refused, tag, tags, user};
use crate::harness::{TestDb, tests};
use crate::schema::{Account, NewAccount};

async fn no_rows_are_no_statement(db: TestDb) -> Result<()> {
    let (done, report) = db.observe(db.insert_all(Vec::<NewTag>::new())).await;
    assert_eq!((done?, report.count()), (0, 0));
    let (rows, report) = db
        .observe(db.insert_all_returning(Vec::<NewTag>::new()))
        .await;
    assert!(rows?.is_empty() && report.count() == 0);
    Ok(())
}

async fn one_row_is_like_an_insert(db: TestDb) -> Result<()> {
    assert_eq!(db.insert_all([numbered_tag(1)]).await?, 1);
    let rows = db.insert_all_returning([numbered_tag(2)]).await?;
    assert_eq!(
        db.query::<Tag>()
            .filter(Tag::NAME.eq("tag 00002"))
            .all()
            .await?,
        rows
    );
    Ok(())
}

async fn thirty_thousand_rows_are_one_call(db: TestDb) -> Result<()> {
    let (count, report) = db
        .observe(db.insert_all((0..30_000).map(numbered_tag)))
        .await;
    assert_eq!((count?, report.count()), (30_000, 1));
    assert_eq!(db.query::<Tag>().count().await?, 30_000);
    let names = db
        .query::<Tag>()
        .order(Tag::NAME.asc())
        .offset(29_999)
        .select(Tag::NAME)
        .all()
        .await?;
    assert_eq!(names, ["tag 29999"]);
    Ok(())
}

async fn returned_rows_come_in_the_order_given(db: TestDb) -> Result<()> {
    // An order that is neither the key's nor the name's.
    let names: Vec<_> = (0..30_000_usize)
        .map(|n| numbered_tag(n * 7_919 % 30_000))
        .collect();
    let rows = db.insert_all_returning(names.clone()).await?;
    assert!(
        rows.iter()
            .map(|row| &row.name)
            .eq(names.iter().map(|new| &new.name))
    );
    assert!(
        rows.is_sorted_by(|a, b| a.id < b.id),
        "keys are made in the same order"
    );
    let stored = db.query::<Tag>().order(Tag::ID.asc()).all().await?;
    assert_eq!(stored, rows);
    Ok(())
}

async fn wide_rows_meet_no_bind_limit(db: TestDb) -> Result<()> {
    let author = user(&db, 1).await?;
    let posts = (0..20_000).map(|n| new_post(author.id, &format!("p{n}"), PostStatus::Draft));
    assert_eq!(db.insert_all(posts).await?, 20_000);
    assert_eq!(
        db.query::<Post>()
            .filter(Post::STATUS.eq(PostStatus::Draft))
            .count()
            .await?,
        20_000
    );
    Ok(())
}

async fn a_duplicate_in_the_middle_undoes_the_whole(db: TestDb) -> Result<()> {
    tag(&db, "tag 02500").await?;
    let error = refused(
        db.insert_all((0..5_000).map(numbered_tag)).await,
        ErrorKind::Unique,
    );
    assert!(error.violates(Tag::NAME), "{error:?}");
    assert_eq!(db.query::<Tag>().count().await?, 1);
    let error = refused(
        db.insert_all_returning((0..5_000).map(numbered_tag)).await,
        ErrorKind::Unique,
    );
    assert!(error.violates(Tag::NAME), "{error:?}");
    assert_eq!(db.query::<Tag>().count().await?, 1);
    assert_eq!(tags(&db, 100).await?, 100, "and the next one works");
    Ok(())
}

async fn a_duplicate_within_the_rows_undoes_the_whole(db: TestDb) -> Result<()> {
    let rows = (0..1_000).chain([500]).map(numbered_tag);
    let error = refused(db.insert_all(rows).await, ErrorKind::Unique);
    assert!(error.violates(Tag::NAME), "{error:?}");
    assert!(!db.query::<Tag>().exists().await?);
    Ok(())
}

async fn entities_are_inserted_in_bulk_as_they_are(db: TestDb) -> Result<()> {
    let rows = db
        .insert_all_returning((0..10).map(|n| NewAccount::new(format!("{n}"), n)))
        .await?;
    let changed: Vec<_> = rows
        .iter()
        .map(|row| Account {
            version: 7,
            ..row.clone()
        })
        .collect();
    db.query::<Account>().delete().await?;
    assert_eq!(db.insert_all(changed.clone()).await?, 10);
    assert_eq!(
        db.query::<Account>().order(Account::ID.asc()).all().await?,
        changed
    );
    Ok(())
}

async fn a_bad_value_is_found_before_anything_is_sent(db: TestDb) -> Result<()> {
    let rows = [
        numbered_tag(1),
        NewTag {
            name: "a\0b".into(),
        },
        numbered_tag(2),
    ];
    let (outcome, report) = db.observe(db.insert_all(rows)).await;
    assert_eq!(refused(outcome, ErrorKind::Invalid).column(), Some("name"));
    assert_eq!(report.count(), 0);
    Ok(())
}

tests![
    no_rows_are_no_statement,
    one_row_is_like_an_insert,
    thirty_thousand_rows_are_one_call,
    returned_rows_come_in_the_order_given,
    wide_rows_meet_no_bind_limit,
    a_duplicate_in_the_middle_undoes_the_whole,
    a_duplicate_within_the_rows_undoes_the_whole,
    entities_are_inserted_in_bulk_as_they_are,
    a_bad_value_is_found_before_anything_is_sent,
];
