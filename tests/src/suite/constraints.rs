//! Constraint violations say which constraint, on every engine and every way in.

use std::borrow::Cow;

use larder_core::models::{NewUser, Post, PostStatus, PostTag, Tag, User, UserPatch};
use larder_core::rows::Rows;
use larder_core::value::Value;
use larder_core::write::{InsertRows, Write, WriteOp};
use larder_core::{Db, Entity, Error, ErrorKind, Id, Result, Table, TxOptions};

use crate::fixtures::{comment, new_post, new_user, post, refused, tag, tagged, user};
use crate::harness::{TestDb, tests};
use crate::schema::{Defaulted, House, NewHouse, NewRoom, Node, Paper, Room};

/// Writes a row past the typed layer.
async fn raw_insert(
    db: &Db,
    table: &'static Table,
    columns: Vec<usize>,
    values: Vec<Value>,
) -> Result<u64> {
    let insert = InsertRows {
        table,
        columns,
        values,
        on_conflict: None,
    };
    let (written, _) = db
        .storage()
        .write(Write::new(WriteOp::Insert(insert)), Rows::discard())
        .await?;
    Ok(written.rows)
}

fn is_unique(error: &Error, table: &str, columns: &[&str]) {
    assert!(
        error.is_unique_violation() && !error.is_retryable(),
        "{error:?}"
    );
    assert_eq!(error.table(), Some(table));
    assert!(error.columns().eq(columns.iter().copied()), "{error:?}");
    for column in columns {
        assert!(error.to_string().contains(column), "{error}");
    }
}

async fn a_unique_column(db: TestDb) -> Result<()> {
    user(&db, 1).await?;
    let other = user(&db, 2).await?;
    let error = refused(user(&db, 1).await, ErrorKind::Unique);
    is_unique(&error, "users", &["email"]);
    assert!(error.violates(User::EMAIL));
    assert!(!error.violates(User::NAME) && !error.violates(User::ID) && !error.violates(Tag::NAME));
    assert!(
        !error.to_string().contains("user1@"),
        "no data in the text: {error}"
    );
    let email = Some("user1@example.com".parse()?);
    let patch = || UserPatch {
        email: email.clone(),
        ..UserPatch::default()
    };
    let outcomes = [
        db.update::<User>(other.id, patch()).await.map(drop),
        db.query::<User>().update(patch()).await.map(drop),
        db.insert_all([new_user(3)?, new_user(1)?]).await.map(drop),
        db.insert_all_returning([new_user(1)?]).await.map(drop),
        db.save(User {
            email: "user1@example.com".parse()?,
            ..other.clone()
        })
        .await
        .map(drop),
        db.update_all([User {
            email: "user1@example.com".parse()?,
            ..other
        }])
        .await
        .map(drop),
    ];
    for outcome in outcomes {
        assert!(refused(outcome, ErrorKind::Unique).violates(User::EMAIL));
    }
    assert_eq!(db.query::<User>().count().await?, 2);
    Ok(())
}

async fn unique_text_is_told_apart_by_code_point(db: TestDb) -> Result<()> {
    for name in ["tag", "TAG", "täg", "ta\u{308}g", "tag ", " tag", ""] {
        tag(&db, name).await?;
        assert!(refused(tag(&db, name).await, ErrorKind::Unique).violates(Tag::NAME));
    }
    Ok(())
}

async fn the_primary_key(db: TestDb) -> Result<()> {
    let ada = user(&db, 1).await?;
    let double = User {
        email: "other@example.com".parse()?,
        ..ada.clone()
    };
    let error = refused(db.insert(double).await, ErrorKind::Unique);
    is_unique(&error, "users", &["id"]);
    assert!(error.violates(User::ID) && !error.violates(User::EMAIL));
    let paper = Paper {
        id: larder_core::Uuid::nil(),
        title: "a".into(),
    };
    db.insert(paper.clone()).await?;
    assert!(refused(db.insert(paper).await, ErrorKind::Unique).violates(Paper::ID));
    Ok(())
}

async fn a_composite_key(db: TestDb) -> Result<()> {
    let author = user(&db, 1).await?;
    let (post, tag) = (post(&db, &author, "p").await?, tag(&db, "t").await?);
    tagged(&db, &post, &tag).await?;
    let error = refused(tagged(&db, &post, &tag).await, ErrorKind::Unique);
    is_unique(&error, "post_tags", &["post_id", "tag_id"]);
    assert!(error.violates(PostTag::KEY));
    assert!(
        !error.violates(PostTag::POST_ID),
        "neither column is unique alone"
    );
    assert_eq!(error.column(), None);
    Ok(())
}

async fn a_composite_and_a_named_constraint(db: TestDb) -> Result<()> {
    let house = db.insert(NewHouse { name: "a".into() }).await?;
    let other = db.insert(NewHouse { name: "b".into() }).await?;
    let door = |house: &House, number, door| NewRoom {
        wall: Some("north".into()),
        door,
        ..NewRoom::new(house.id, number)
    };
    db.insert(door(&house, 1, Some(1))).await?;
    db.insert(door(&other, 1, Some(2))).await?;
    let error = refused(
        db.insert(NewRoom::new(house.id, 1)).await,
        ErrorKind::Unique,
    );
    is_unique(&error, "rooms", &["house_id", "number"]);
    assert!(error.violates(Room::UNIQUE_HOUSE_ID_NUMBER) && !error.violates(Room::NUMBER));
    assert_eq!(error.constraint(), Some("rooms_house_id_number_key"));
    let error = refused(db.insert(door(&house, 2, Some(1))).await, ErrorKind::Unique);
    is_unique(&error, "rooms", &["wall", "door"]);
    assert!(error.violates(Room::UNIQUE_WALL_DOOR));
    assert_eq!(error.constraint(), Some("one_door_per_wall"));
    Ok(())
}

async fn null_equals_nothing_in_a_unique_constraint(db: TestDb) -> Result<()> {
    let house = db.insert(NewHouse { name: "a".into() }).await?;
    for number in 0..3 {
        db.insert(NewRoom {
            wall: Some("north".into()),
            ..NewRoom::new(house.id, number)
        })
        .await?;
    }
    for number in 3..6 {
        db.insert(NewRoom {
            door: Some(1),
            ..NewRoom::new(house.id, number)
        })
        .await?;
    }
    assert_eq!(db.query::<Room>().count().await?, 6);
    Ok(())
}

async fn a_missing_parent(db: TestDb) -> Result<()> {
    let author = user(&db, 1).await?;
    let stored = post(&db, &author, "p").await?;
    let lost = new_post(Id::new(99), "lost", PostStatus::Draft);
    let check = |error: Error| {
        assert!(
            error.is_reference_violation() && error.violates(Post::AUTHOR_ID),
            "{error:?}"
        );
        assert_eq!(
            (error.table(), error.column()),
            (Some("posts"), Some("author_id"))
        );
        assert!(!error.is_retryable());
    };
    check(refused(db.insert(lost.clone()).await, ErrorKind::Reference));
    let rows = [new_post(author.id, "ok", PostStatus::Draft), lost];
    check(refused(db.insert_all(rows).await, ErrorKind::Reference));
    let update = db
        .update::<Post>(stored.id, Post::AUTHOR_ID.set(Id::new(99)))
        .await;
    check(refused(update, ErrorKind::Reference));
    let update = db
        .query::<Post>()
        .update(Post::AUTHOR_ID.set(Id::new(99)))
        .await;
    check(refused(update, ErrorKind::Reference));
    check(refused(
        db.save(Post {
            author_id: Id::new(99),
            ..stored.clone()
        })
        .await,
        ErrorKind::Reference,
    ));
    assert_eq!(db.query::<Post>().one().await?, stored);
    // Of two references, the one that is broken.
    let ghost = User {
        id: Id::new(98),
        ..author.clone()
    };
    let error = refused(
        comment(&db, &stored, &ghost, "boo").await,
        ErrorKind::Reference,
    );
    assert!(
        error.violates(larder_core::models::Comment::AUTHOR_ID),
        "{error:?}"
    );
    let error = refused(
        comment(
            &db,
            &Post {
                id: Id::new(97),
                ..stored
            },
            &author,
            "boo",
        )
        .await,
        ErrorKind::Reference,
    );
    assert!(
        error.violates(larder_core::models::Comment::POST_ID),
        "{error:?}"
    );
    Ok(())
}

async fn a_row_may_refer_to_itself_and_to_rows_beside_it(db: TestDb) -> Result<()> {
    let node = |id: i64, parent: Option<i64>| Node {
        id: Id::new(id),
        parent_id: parent.map(Id::new),
        name: format!("node {id}"),
    };
    db.insert_all([node(1, None), node(2, Some(1)), node(3, Some(2))])
        .await?;
    db.insert(node(7, Some(7))).await?;
    let error = refused(db.insert(node(8, Some(99))).await, ErrorKind::Reference);
    assert!(error.violates(Node::PARENT_ID), "{error:?}");
    Ok(())
}

async fn a_restricted_parent_stays(db: TestDb) -> Result<()> {
    let house = db.insert(NewHouse { name: "a".into() }).await?;
    let empty = db.insert(NewHouse { name: "b".into() }).await?;
    let room = db.insert(NewRoom::new(house.id, 1)).await?;
    let error = refused(db.delete::<House>(house.id).await, ErrorKind::Reference);
    assert!(error.violates(Room::HOUSE_ID), "{error:?}");
    assert_eq!(
        (error.table(), error.column()),
        (Some("rooms"), Some("house_id"))
    );
    let error = refused(db.query::<House>().delete().await, ErrorKind::Reference);
    assert!(error.violates(Room::HOUSE_ID), "{error:?}");
    assert_eq!(db.query::<House>().count().await?, 2, "all or nothing");
    assert!(db.delete::<House>(empty.id).await?);
    assert!(db.delete::<Room>(room.id).await?);
    assert!(
        db.delete::<House>(house.id).await?,
        "free once the room is gone"
    );
    Ok(())
}

async fn a_parents_key_does_not_change_under_its_children(db: TestDb) -> Result<()> {
    let house = db.insert(NewHouse { name: "a".into() }).await?;
    db.insert(NewRoom::new(house.id, 1)).await?;
    let moved = db
        .update::<House>(house.id, House::ID.set(Id::new(500)))
        .await;
    assert!(refused(moved, ErrorKind::Reference).violates(Room::HOUSE_ID));
    assert_eq!(db.query::<House>().one().await?, house);
    Ok(())
}

async fn a_missing_value_is_named(db: TestDb) -> Result<()> {
    let text = |text: &'static str| Value::Text(Cow::Borrowed(text));
    let name = Defaulted::NAME.index();
    let null = raw_insert(&db, Defaulted::TABLE, vec![name], vec![Value::Null]).await;
    let error = refused(null, ErrorKind::NotNull);
    assert_eq!(
        (error.table(), error.column()),
        (Some("defaulted"), Some("name"))
    );
    assert!(
        !error.violates(Defaulted::NAME),
        "no unique key and no reference"
    );
    let columns = vec![Tag::ID.index(), Tag::NAME.index()];
    let rows = vec![Value::Int(1), text("a"), Value::Int(2), Value::Null];
    let error = refused(
        raw_insert(&db, Tag::TABLE, columns, rows).await,
        ErrorKind::NotNull,
    );
    assert_eq!(
        (error.table(), error.column()),
        (Some("tags"), Some("name"))
    );
    assert!(!db.query::<Tag>().exists().await?);
    Ok(())
}

async fn a_stored_value_that_is_no_variant_is_a_decode_error(db: TestDb) -> Result<()> {
    let author = user(&db, 1).await?;
    let stored = post(&db, &author, "p").await?;
    let columns = vec![
        Post::AUTHOR_ID.index(),
        Post::SLUG.index(),
        Post::TITLE.index(),
        Post::SUMMARY.index(),
        Post::CONTENT.index(),
        Post::STATUS.index(),
        Post::CREATED_AT.index(),
    ];
    let text = |text: &'static str| Value::Text(Cow::Borrowed(text));
    let at = Value::Timestamp(stored.created_at);
    let values = vec![
        Value::Int(author.id.get()),
        text("bad"),
        text("t"),
        text("s"),
        text("c"),
        text("lost"),
        at,
    ];
    raw_insert(&db, Post::TABLE, columns, values).await?;
    let error = refused(db.query::<Post>().all().await, ErrorKind::Decode);
    assert_eq!(
        (error.column(), error.value()),
        (Some("status"), Some("lost"))
    );
    assert!(
        error.message().contains("published"),
        "the known ones are named: {error}"
    );
    let titles = db
        .query::<Post>()
        .order(Post::ID.asc())
        .select(Post::SLUG)
        .all()
        .await?;
    assert_eq!(
        titles,
        ["p", "bad"],
        "what is not asked for does not matter"
    );
    Ok(())
}

async fn inside_a_transaction_too(db: TestDb) -> Result<()> {
    user(&db, 1).await?;
    let tx = db.begin(TxOptions::new()).await?;
    assert!(refused(user(&tx, 1).await, ErrorKind::Unique).violates(User::EMAIL));
    let lost = new_post(Id::new(99), "lost", PostStatus::Draft);
    assert!(refused(tx.insert(lost).await, ErrorKind::Reference).violates(Post::AUTHOR_ID));
    user(&tx, 2).await?; // a refused write undoes itself alone
    tx.commit().await?;
    assert_eq!(db.query::<User>().count().await?, 2);
    Ok(())
}

async fn a_new_user_is_checked_at_the_edge(_: TestDb) -> Result<()> {
    let error = refused(NewUser::new("nobody", " ", "short"), ErrorKind::Invalid);
    assert!(
        error
            .fields()
            .map(|(field, _)| field)
            .eq(["email", "name", "password"])
    );
    Ok(())
}

tests![
    a_unique_column,
    unique_text_is_told_apart_by_code_point,
    the_primary_key,
    a_composite_key,
    a_composite_and_a_named_constraint,
    null_equals_nothing_in_a_unique_constraint,
    a_missing_parent,
    a_row_may_refer_to_itself_and_to_rows_beside_it,
    a_restricted_parent_stays,
    a_parents_key_does_not_change_under_its_children,
    a_missing_value_is_named,
    a_stored_value_that_is_no_variant_is_a_decode_error,
    inside_a_transaction_too,
    a_new_user_is_checked_at_the_edge,
];
