//! One row by its key: insert, get, find, update, save, delete.

use larder_core::models::{NewUser, PostTag, User, UserPatch};
use larder_core::{Entity, ErrorKind, Id, Result, Uuid};

use crate::fixtures::{post, refused, tag, tagged, user};
use crate::harness::{TestDb, tests};
use crate::schema::{House, NewHouse, Paper};

async fn insert_returns_the_row_as_stored(db: TestDb) -> Result<()> {
    let before = db.now();
    let ada = db
        .insert(NewUser::without_password("ada@example.com", "Ada")?.bio("Countess"))
        .await?;
    assert_eq!(
        (ada.email.as_str(), ada.name.as_str()),
        ("ada@example.com", "Ada")
    );
    assert_eq!(
        (ada.bio.as_deref(), ada.is_active),
        (Some("Countess"), true)
    );
    assert!(ada.created_at >= before && ada.created_at <= db.now());
    assert_eq!(ada.updated_at, None);
    assert_eq!(db.find::<User>(ada.id).await?, ada);
    Ok(())
}

async fn keys_made_by_the_store_differ_and_grow(db: TestDb) -> Result<()> {
    let mut last = Id::new(0);
    for number in 0..5 {
        let user = user(&db, number).await?;
        assert!(user.id > last, "{} after {last}", user.id);
        last = user.id;
    }
    Ok(())
}

async fn get_answers_none_and_find_an_error_for_a_missing_key(db: TestDb) -> Result<()> {
    user(&db, 1).await?;
    let missing = Id::new(4_711);
    assert_eq!(db.get::<User>(missing).await?, None);
    let error = refused(db.find::<User>(missing).await, ErrorKind::NotFound);
    assert_eq!(error.table(), Some("users"));
    assert!(error.is_not_found() && !error.is_retryable());
    assert!(error.to_string().contains("users"), "{error}");
    Ok(())
}

async fn an_entity_is_inserted_as_it_is(db: TestDb) -> Result<()> {
    let mut ada = user(&db, 1).await?;
    assert!(db.delete::<User>(ada.id).await?);
    ada.id = Id::new(1_000_000);
    ada.created_at = "1815-12-10T00:00:00Z".parse()?;
    ada.updated_at = Some("1852-11-27T12:30:00.123456Z".parse()?);
    assert_eq!(db.insert(ada.clone()).await?, ada);
    assert_eq!(db.get::<User>(ada.id).await?, Some(ada.clone()));
    let next = user(&db, 2).await?;
    assert!(
        next.id > ada.id,
        "a made key comes after the given one: {}",
        next.id
    );
    Ok(())
}

async fn update_changes_what_the_patch_names_and_returns_the_row(db: TestDb) -> Result<()> {
    let ada = db
        .insert(NewUser::without_password("ada@example.com", "Ada")?.bio("Countess"))
        .await?;
    let other = user(&db, 1).await?;
    let patch = UserPatch {
        name: Some("Augusta".into()),
        bio: Some(None),
        ..UserPatch::default()
    };
    let changed = db.update::<User>(ada.id, patch).await?;
    assert_eq!(
        (changed.name.as_str(), changed.bio.as_deref()),
        ("Augusta", None)
    );
    assert_eq!(
        (&changed.email, changed.created_at),
        (&ada.email, ada.created_at)
    );
    assert_eq!(db.find::<User>(ada.id).await?, changed);
    assert_eq!(
        db.find::<User>(other.id).await?,
        other,
        "nobody else changed"
    );
    Ok(())
}

async fn update_takes_changes_too(db: TestDb) -> Result<()> {
    let ada = user(&db, 1).await?;
    let changed = db
        .update::<User>(ada.id, User::IS_ACTIVE.set(false))
        .await?;
    assert!(!changed.is_active);
    let changed = db
        .update::<User>(ada.id, [User::NAME.set("A"), User::BIO.set("b".to_owned())])
        .await?;
    assert_eq!(
        (changed.name.as_str(), changed.bio.as_deref()),
        ("A", Some("b"))
    );
    let changed = db.update::<User>(ada.id, User::BIO.set(None)).await?;
    assert_eq!(changed.bio, None);
    Ok(())
}

async fn an_empty_patch_reads_the_row(db: TestDb) -> Result<()> {
    let ada = user(&db, 1).await?;
    assert_eq!(db.update::<User>(ada.id, UserPatch::default()).await?, ada);
    refused(
        db.update::<User>(Id::new(99), UserPatch::default()).await,
        ErrorKind::NotFound,
    );
    Ok(())
}

async fn update_of_a_missing_key_is_not_found(db: TestDb) -> Result<()> {
    let patch = UserPatch {
        name: Some("Nobody".into()),
        ..UserPatch::default()
    };
    let error = refused(
        db.update::<User>(Id::new(99), patch).await,
        ErrorKind::NotFound,
    );
    assert_eq!(error.table(), Some("users"));
    Ok(())
}

async fn save_writes_all_columns(db: TestDb) -> Result<()> {
    let mut ada = user(&db, 1).await?;
    ada.name = "Augusta".into();
    ada.is_active = false;
    ada.bio = Some("Countess".into());
    let saved = db.save(ada.clone()).await?;
    assert!(saved.updated_at.is_some());
    assert_eq!(
        User {
            updated_at: None,
            ..saved.clone()
        },
        ada
    );
    assert_eq!(db.find::<User>(ada.id).await?, saved);
    db.delete::<User>(ada.id).await?;
    refused(db.save(ada).await, ErrorKind::NotFound);
    Ok(())
}

async fn delete_says_whether_there_was_a_row(db: TestDb) -> Result<()> {
    let (ada, other) = (user(&db, 1).await?, user(&db, 2).await?);
    assert!(db.delete::<User>(ada.id).await?);
    assert!(!db.delete::<User>(ada.id).await?);
    assert_eq!(db.get::<User>(ada.id).await?, None);
    assert_eq!(db.query::<User>().all().await?, [other]);
    Ok(())
}

async fn a_key_made_by_the_application_works(db: TestDb) -> Result<()> {
    let low = Paper {
        id: Uuid::nil(),
        title: "nil".into(),
    };
    let high = Paper {
        id: Uuid::max(),
        title: "max".into(),
    };
    let middle = Paper {
        id: Uuid::from_u128(0x8000 << 112),
        title: "middle".into(),
    };
    for paper in [&high, &low, &middle] {
        assert_eq!(&db.insert(paper.clone()).await?, paper);
    }
    assert_eq!(db.find::<Paper>(Uuid::nil()).await?, low);
    let all = db.query::<Paper>().order(Paper::ID.asc()).all().await?;
    assert_eq!(all, [low, middle.clone(), high], "bytewise order");
    let changed = db
        .update::<Paper>(middle.id, Paper::TITLE.set("new"))
        .await?;
    assert_eq!(changed.title, "new");
    assert!(db.delete::<Paper>(middle.id).await?);
    assert_eq!(db.query::<Paper>().count().await?, 2);
    Ok(())
}

async fn a_composite_key_is_a_tuple(db: TestDb) -> Result<()> {
    let author = user(&db, 1).await?;
    let (one, two) = (
        post(&db, &author, "one").await?,
        post(&db, &author, "two").await?,
    );
    let (red, blue) = (tag(&db, "red").await?, tag(&db, "blue").await?);
    for (post, tag) in [(&one, &red), (&one, &blue), (&two, &red)] {
        tagged(&db, post, tag).await?;
    }
    let found = db.find::<PostTag>((one.id, blue.id)).await?;
    assert_eq!(
        found,
        PostTag {
            post_id: one.id,
            tag_id: blue.id,
            position: 0,
        }
    );
    assert_eq!(found.key(), (one.id, blue.id));
    assert_eq!(db.get::<PostTag>((two.id, blue.id)).await?, None);
    assert!(db.delete::<PostTag>((one.id, blue.id)).await?);
    assert_eq!(
        db.query::<PostTag>().count().await?,
        2,
        "only the one with both values"
    );
    Ok(())
}

async fn one_wants_exactly_one(db: TestDb) -> Result<()> {
    refused(db.query::<House>().one().await, ErrorKind::NotFound);
    let house = db.insert(NewHouse { name: "a".into() }).await?;
    assert_eq!(db.query::<House>().one().await?, house);
    db.insert(NewHouse { name: "b".into() }).await?;
    let error = refused(db.query::<House>().one().await, ErrorKind::Misuse);
    assert!(error.message().contains("several"), "{error}");
    assert_eq!(
        db.query::<House>()
            .filter(House::NAME.eq("a"))
            .one()
            .await?,
        house
    );
    Ok(())
}

tests![
    insert_returns_the_row_as_stored,
    keys_made_by_the_store_differ_and_grow,
    get_answers_none_and_find_an_error_for_a_missing_key,
    an_entity_is_inserted_as_it_is,
    update_changes_what_the_patch_names_and_returns_the_row,
    update_takes_changes_too,
    an_empty_patch_reads_the_row,
    update_of_a_missing_key_is_not_found,
    save_writes_all_columns,
    delete_says_whether_there_was_a_row,
    a_key_made_by_the_application_works,
    a_composite_key_is_a_tuple,
    one_wants_exactly_one,
];
