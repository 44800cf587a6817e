//! Columns that an insert leaves out get their default; lengths are counted in characters.

use larder_core::models::{NewPost, Post, PostPatch, PostStatus, User, UserPatch};
use larder_core::{ErrorKind, Result};

use crate::fixtures::{new_post, post, refused, user};
use crate::harness::{TestDb, tests};
use crate::schema::{Account, Defaulted, Mood, NewAccount, NewDefaulted, NewExplicit};

async fn columns_left_out_get_their_default(db: TestDb) -> Result<()> {
    let row = db.insert(NewDefaulted { name: "a".into() }).await?;
    let expected = Defaulted {
        id: row.id,
        name: "a".into(),
        flag: true,
        number: -7,
        ratio: 0.5,
        text: "it's \"so\"".into(),
        mood: Mood::VeryHappy,
        note: None,
    };
    assert_eq!(row, expected);
    assert_eq!(db.find::<Defaulted>(row.id).await?, expected);
    let many = db
        .insert_all_returning(["b", "c"].map(|name| NewDefaulted { name: name.into() }))
        .await?;
    for row in many {
        assert_eq!(
            Defaulted {
                id: expected.id,
                name: "a".into(),
                ..row
            },
            expected
        );
    }
    Ok(())
}

async fn a_value_that_is_given_wins_over_the_default(db: TestDb) -> Result<()> {
    let new = NewExplicit {
        name: "a".into(),
        flag: false,
        number: 0,
        note: Some(String::new()),
    };
    let row = db.insert(new).await?;
    assert_eq!(
        (row.flag, row.number, row.note.as_deref()),
        (false, 0, Some(""))
    );
    assert_eq!((row.ratio, row.mood), (0.5, Mood::VeryHappy));
    Ok(())
}

async fn max_len_counts_characters(db: TestDb) -> Result<()> {
    let fits = "🦀".repeat(20);
    let account = db.insert(NewAccount::new(fits.clone(), 0)).await?;
    assert_eq!(account.owner, fits);
    let error = refused(
        db.insert(NewAccount::new("x".repeat(21), 0)).await,
        ErrorKind::TooLong,
    );
    assert_eq!(
        (error.table(), error.column()),
        (Some("accounts"), Some("owner"))
    );
    assert!(
        error.message().contains("21") && error.message().contains("20"),
        "{error}"
    );
    let error = refused(
        db.insert(NewAccount::new("é".repeat(21), 0)).await,
        ErrorKind::TooLong,
    );
    assert!(error.is_too_long() && error.value().is_some_and(|value| value.contains('é')));
    assert!(
        !format!("{error} {error:?}").contains('é'),
        "the value stays out of the text"
    );
    Ok(())
}

async fn max_len_is_checked_on_every_way_in(db: TestDb) -> Result<()> {
    let author = user(&db, 1).await?;
    let stored = post(&db, &author, "a").await?;
    let long = "t".repeat(201);
    let column = Some("title");
    let new = |slug: &str| NewPost {
        title: long.clone(),
        ..new_post(author.id, slug, PostStatus::Draft)
    };
    assert_eq!(
        refused(db.insert(new("b")).await, ErrorKind::TooLong).column(),
        column
    );
    let rows = [new_post(author.id, "c", PostStatus::Draft), new("d")];
    assert_eq!(
        refused(db.insert_all(rows).await, ErrorKind::TooLong).column(),
        column
    );
    let patch = PostPatch {
        title: Some(long.clone()),
        ..PostPatch::default()
    };
    let update = db.update::<Post>(stored.id, patch.clone()).await;
    assert_eq!(refused(update, ErrorKind::TooLong).column(), column);
    let update = db.query::<Post>().update(patch).await;
    assert_eq!(refused(update, ErrorKind::TooLong).column(), column);
    let mut changed = stored.clone();
    changed.title = long.clone();
    assert_eq!(
        refused(db.save(changed.clone()).await, ErrorKind::TooLong).column(),
        column
    );
    assert_eq!(
        refused(db.update_all([changed]).await, ErrorKind::TooLong).column(),
        column
    );
    let upsert = db.upsert([new("a")]).on(Post::SLUG);
    let upsert = upsert.update(Post::TITLE).run().await;
    assert_eq!(refused(upsert, ErrorKind::TooLong).column(), column);
    assert_eq!(
        db.query::<Post>().all().await?,
        [stored],
        "nothing was sent"
    );
    Ok(())
}

async fn names_of_exactly_the_limit_fit(db: TestDb) -> Result<()> {
    let ada = user(&db, 1).await?;
    let name = "名".repeat(100);
    let patch = UserPatch {
        name: Some(name.clone()),
        ..UserPatch::default()
    };
    assert_eq!(db.update::<User>(ada.id, patch).await?.name, name);
    let row = db
        .query::<User>()
        .filter(User::NAME.eq(name.as_str()))
        .one()
        .await?;
    assert_eq!(row.name.chars().count(), 100);
    let longer = UserPatch {
        name: Some(name + "x"),
        ..UserPatch::default()
    };
    refused(db.update::<User>(ada.id, longer).await, ErrorKind::TooLong);
    assert!(!db.query::<Account>().exists().await?);
    Ok(())
}

tests![
    columns_left_out_get_their_default,
    a_value_that_is_given_wins_over_the_default,
    max_len_counts_characters,
    max_len_is_checked_on_every_way_in,
    names_of_exactly_the_limit_fit,
];
