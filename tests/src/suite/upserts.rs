//! Upserts: insert, or update the named columns, or leave alone.

use larder_core::models::{NewTag, NewUser, Post, PostStatus, PostTag, Tag, User};
use larder_core::{ErrorKind, Result};

use crate::fixtures::{new_post, numbered_tag, post, refused, tag, tags, user};
use crate::harness::{TestDb, tests};
use crate::schema::{Account, House, NewAccount, NewHouse, NewRoom, Paper, Room};

fn named(number: usize, name: &str, bio: &str) -> Result<NewUser> {
    Ok(NewUser::without_password(&format!("user{number}@example.com"), name)?.bio(bio))
}

async fn update_sets_the_named_columns_only(db: TestDb) -> Result<()> {
    let old = db.insert(named(1, "Old", "old")?).await?;
    let rows = [named(1, "New", "new")?, named(2, "Second", "new")?];
    let upsert = db.upsert(rows.clone()).on(User::EMAIL).update(User::NAME);
    let rows = upsert.returning().await?;
    assert_eq!(
        (rows[0].id, rows[0].name.as_str(), rows[0].bio.as_deref()),
        (old.id, "New", Some("old"))
    );
    assert_eq!(
        (rows[1].name.as_str(), rows[1].bio.as_deref()),
        ("Second", Some("new"))
    );
    assert_eq!(rows[0].created_at, old.created_at);
    assert!(rows[0].updated_at.is_some() && rows[1].updated_at.is_none());
    assert_eq!(db.query::<User>().order(User::ID.asc()).all().await?, rows);
    Ok(())
}

async fn several_columns_can_be_updated(db: TestDb) -> Result<()> {
    db.insert(named(1, "Old", "old")?).await?;
    let upsert = db.upsert([named(1, "New", "new")?]).on(User::EMAIL);
    assert_eq!(upsert.update((User::NAME, User::BIO)).run().await?, 1);
    let row = db.query::<User>().one().await?;
    assert_eq!(
        (row.name.as_str(), row.bio.as_deref()),
        ("New", Some("new"))
    );
    Ok(())
}

async fn ignore_keeps_the_old_row_and_does_not_count_it(db: TestDb) -> Result<()> {
    let old = tag(&db, "tag 00001").await?;
    let rows = db
        .upsert((0..4).map(numbered_tag))
        .on(Tag::NAME)
        .ignore()
        .returning()
        .await?;
    let names: Vec<_> = rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(
        names,
        ["tag 00000", "tag 00002", "tag 00003"],
        "in the order given"
    );
    assert_eq!(db.find::<Tag>(old.id).await?, old);
    for expected in [1, 0] {
        let upsert = db.upsert((0..5).map(numbered_tag)).on(Tag::NAME);
        assert_eq!(upsert.ignore().run().await?, expected);
    }
    Ok(())
}

async fn duplicates_within_the_rows_count_too(db: TestDb) -> Result<()> {
    let rows = ["a", "b", "a"].map(|name| NewTag { name: name.into() });
    assert_eq!(db.upsert(rows).on(Tag::NAME).ignore().run().await?, 2);
    let rows = [named(1, "First", "1")?, named(1, "Second", "2")?];
    db.upsert(rows)
        .on(User::EMAIL)
        .update((User::NAME, User::BIO))
        .run()
        .await?;
    let row = db.query::<User>().one().await?;
    assert_eq!(
        (row.name.as_str(), row.bio.as_deref()),
        ("Second", Some("2")),
        "the last one wins"
    );
    Ok(())
}

async fn a_conflict_on_another_key_stays_an_error(db: TestDb) -> Result<()> {
    let author = user(&db, 1).await?;
    let first = post(&db, &author, "taken").await?;
    let other = post(&db, &author, "free").await?;
    // The key is new, the slug is not.
    let clash = Post {
        id: larder_core::Id::new(1_000),
        ..first.clone()
    };
    let upsert = db.upsert([clash.clone()]).on(Post::ID).update(Post::TITLE);
    let error = refused(upsert.run().await, ErrorKind::Unique);
    assert!(error.violates(Post::SLUG), "{error:?}");
    let error = refused(
        db.upsert([clash]).on(Post::ID).ignore().run().await,
        ErrorKind::Unique,
    );
    assert!(error.violates(Post::SLUG), "{error:?}");
    // The key is taken, and so is the slug it is to get.
    let clash = Post {
        id: other.id,
        ..first.clone()
    };
    let upsert = db.upsert([clash]).on(Post::ID).update(Post::SLUG);
    let error = refused(upsert.run().await, ErrorKind::Unique);
    assert!(error.violates(Post::SLUG), "{error:?}");
    assert_eq!(
        db.query::<Post>().order(Post::ID.asc()).all().await?,
        [first, other]
    );
    Ok(())
}

async fn a_missing_parent_stays_an_error(db: TestDb) -> Result<()> {
    let lost = new_post(larder_core::Id::new(99), "lost", PostStatus::Draft);
    let upsert = db.upsert([lost]).on(Post::SLUG).ignore();
    let error = refused(upsert.run().await, ErrorKind::Reference);
    assert!(error.violates(Post::AUTHOR_ID), "{error:?}");
    Ok(())
}

async fn composite_and_primary_keys_are_unique_keys_too(db: TestDb) -> Result<()> {
    let house = db
        .insert(NewHouse {
            name: "home".into(),
        })
        .await?;
    let room = db.insert(NewRoom::new(house.id, 1)).await?;
    let wall = |number, wall: &str| NewRoom {
        wall: Some(wall.into()),
        ..NewRoom::new(house.id, number)
    };
    let upsert = db
        .upsert([wall(1, "north"), wall(2, "south")])
        .on(Room::UNIQUE_HOUSE_ID_NUMBER);
    let rows = upsert.update(Room::WALL).returning().await?;
    assert_eq!(
        (rows[0].id, rows[0].wall.as_deref()),
        (room.id, Some("north"))
    );
    assert_eq!(db.query::<Room>().count().await?, 2);
    let author = user(&db, 1).await?;
    let (post, tag) = (post(&db, &author, "p").await?, tag(&db, "t").await?);
    let pair = PostTag {
        post_id: post.id,
        tag_id: tag.id,
        position: 0,
    };
    for expected in [1, 0] {
        assert_eq!(
            db.upsert([pair.clone()])
                .on(PostTag::KEY)
                .ignore()
                .run()
                .await?,
            expected
        );
    }
    let paper = |title: &str| Paper {
        id: larder_core::Uuid::from_u128(7),
        title: title.into(),
    };
    for title in ["one", "two"] {
        let upsert = db.upsert([paper(title)]).on(Paper::ID);
        upsert.update(Paper::TITLE).run().await?;
    }
    assert_eq!(db.query::<Paper>().one().await?.title, "two");
    Ok(())
}

async fn null_is_in_no_conflict(db: TestDb) -> Result<()> {
    let house = db
        .insert(NewHouse {
            name: "home".into(),
        })
        .await?;
    let open = |number| NewRoom {
        wall: Some("north".into()),
        ..NewRoom::new(house.id, number)
    };
    db.insert(open(1)).await?;
    let upsert = db
        .upsert([open(2), open(3)])
        .on(Room::UNIQUE_WALL_DOOR)
        .ignore();
    assert_eq!(
        upsert.run().await?,
        2,
        "a door that is NULL differs from every other"
    );
    Ok(())
}

async fn thousands_of_rows_are_one_call(db: TestDb) -> Result<()> {
    tags(&db, 5_000).await?;
    let (count, report) = db
        .observe(
            db.upsert((2_500..12_500).map(numbered_tag))
                .on(Tag::NAME)
                .ignore()
                .run(),
        )
        .await;
    assert_eq!((count?, report.count()), (7_500, 1));
    let changed = db
        .upsert((0..12_500).map(numbered_tag))
        .on(Tag::NAME)
        .update(Tag::NAME);
    assert_eq!(changed.run().await?, 12_500);
    assert_eq!(db.query::<Tag>().count().await?, 12_500);
    Ok(())
}

async fn what_makes_no_sense_is_refused(db: TestDb) -> Result<()> {
    let rows = || [numbered_tag(1)];
    refused(db.upsert(rows()).ignore().run().await, ErrorKind::Misuse);
    refused(
        db.upsert(rows()).on(Tag::NAME).run().await,
        ErrorKind::Misuse,
    );
    let error = refused(
        db.upsert(rows()).on(User::EMAIL).ignore().run().await,
        ErrorKind::Misuse,
    );
    assert!(error.message().contains("unique"), "{error}");
    let house = NewHouse { name: "a".into() };
    refused(
        db.upsert([house]).on(House::NAME).ignore().run().await,
        ErrorKind::Misuse,
    );
    let upsert = db.upsert(rows()).on(Tag::NAME).update(Tag::ID).run().await;
    assert_eq!(refused(upsert, ErrorKind::Misuse).column(), Some("id"));
    assert!(!db.query::<Tag>().exists().await?);
    assert_eq!(
        db.upsert(Vec::<NewTag>::new())
            .on(Tag::NAME)
            .ignore()
            .run()
            .await?,
        0
    );
    Ok(())
}

async fn updated_columns_add_up(db: TestDb) -> Result<()> {
    db.insert(NewAccount::new("ada", 1)).await?;
    let mut new = NewAccount::new("ada", 2);
    new.points = 3;
    let upsert = db.upsert([new]).on(Account::OWNER);
    let both = upsert.update(Account::BALANCE).update(Account::POINTS);
    assert_eq!(both.run().await?, 1);
    let ada = db.query::<Account>().one().await?;
    assert_eq!((ada.balance, ada.points, ada.version), (2, 3, 2));
    Ok(())
}

tests![
    updated_columns_add_up,
    update_sets_the_named_columns_only,
    several_columns_can_be_updated,
    ignore_keeps_the_old_row_and_does_not_count_it,
    duplicates_within_the_rows_count_too,
    a_conflict_on_another_key_stays_an_error,
    a_missing_parent_stays_an_error,
    composite_and_primary_keys_are_unique_keys_too,
    null_is_in_no_conflict,
    thousands_of_rows_are_one_call,
    what_makes_no_sense_is_refused,
];
