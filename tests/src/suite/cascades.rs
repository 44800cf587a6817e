//! What deleting a parent does to its children: cascade and set null.

use larder_core::models::{
    Comment, Favorite, Follow, NewFavorite, NewFollow, Post, PostTag, Tag, User,
};
use larder_core::{Db, ErrorKind, Result, TxOptions};

use crate::fixtures::{comment, post, refused, tag, tagged, user};
use crate::harness::{TestDb, tests};
use crate::schema::{DoorKey, House, NewDoorKey, NewHouse, NewNode, Node, Roof, Tile};

async fn counts(db: &Db) -> Result<[u64; 7]> {
    Ok([
        db.query::<User>().count().await?,
        db.query::<Post>().count().await?,
        db.query::<Comment>().count().await?,
        db.query::<Tag>().count().await?,
        db.query::<PostTag>().count().await?,
        db.query::<Favorite>().count().await?,
        db.query::<Follow>().count().await?,
    ])
}

/// Two users who write a post each, comment on both, like both and follow each other.
async fn village(db: &Db) -> Result<[User; 2]> {
    let users = [user(db, 1).await?, user(db, 2).await?];
    let tag = tag(db, "t").await?;
    for author in &users {
        let post = post(db, author, &format!("by-{}", author.id)).await?;
        tagged(db, &post, &tag).await?;
        for reader in &users {
            comment(db, &post, reader, "hm").await?;
            db.insert(NewFavorite {
                user_id: reader.id,
                post_id: post.id,
            })
            .await?;
        }
    }
    for (follower, followed) in [(0, 1), (1, 0)] {
        let (follower_id, followed_id) = (users[follower].id, users[followed].id);
        db.insert(NewFollow {
            follower_id,
            followed_id,
        })
        .await?;
    }
    assert_eq!(counts(db).await?, [2, 2, 4, 1, 2, 4, 2]);
    Ok(users)
}

async fn children_go_with_their_parent_and_take_theirs_along(db: TestDb) -> Result<()> {
    let users = village(&db).await?;
    assert!(db.delete::<User>(users[0].id).await?);
    assert_eq!(counts(&db).await?, [1, 1, 1, 1, 1, 1, 0]);
    let left = db.query::<Comment>().one().await?;
    assert_eq!(left.author_id, users[1].id);
    assert_eq!(db.query::<User>().delete().await?, 1);
    assert_eq!(counts(&db).await?, [0, 0, 0, 1, 0, 0, 0]);
    Ok(())
}

async fn a_cascade_is_undone_with_its_transaction(db: TestDb) -> Result<()> {
    let users = village(&db).await?;
    let tx = db.begin(TxOptions::new()).await?;
    tx.delete::<User>(users[0].id).await?;
    assert_eq!(counts(&tx).await?, [1, 1, 1, 1, 1, 1, 0]);
    tx.rollback().await?;
    assert_eq!(counts(&db).await?, [2, 2, 4, 1, 2, 4, 2]);
    Ok(())
}

async fn a_tree_goes_with_its_root(db: TestDb) -> Result<()> {
    let node = |parent_id, name: &str| NewNode {
        parent_id,
        name: name.into(),
    };
    let root = db.insert(node(None, "root")).await?;
    let other = db.insert(node(None, "other")).await?;
    let mut parent = root.id;
    for depth in 0..50 {
        let rows = [
            node(Some(parent), &format!("{depth}a")),
            node(Some(parent), &format!("{depth}b")),
        ];
        parent = db.insert_all_returning(rows).await?[0].id;
    }
    assert_eq!(db.query::<Node>().count().await?, 102);
    assert!(db.delete::<Node>(root.id).await?);
    assert_eq!(db.query::<Node>().one().await?, other);
    Ok(())
}

async fn a_ring_goes_whole(db: TestDb) -> Result<()> {
    let node = |parent_id, name: &str| NewNode {
        parent_id,
        name: name.into(),
    };
    let a = db.insert(node(None, "a")).await?;
    let b = db.insert(node(Some(a.id), "b")).await?;
    db.update::<Node>(a.id, Node::PARENT_ID.set(b.id)).await?;
    assert!(db.delete::<Node>(a.id).await?);
    assert!(!db.query::<Node>().exists().await?);
    Ok(())
}

async fn set_null_forgets_the_parent(db: TestDb) -> Result<()> {
    let house = db.insert(NewHouse { name: "a".into() }).await?;
    let other = db.insert(NewHouse { name: "b".into() }).await?;
    let key = |house: &House, label: &str| NewDoorKey {
        house_id: Some(house.id),
        label: label.into(),
    };
    let keys = db
        .insert_all_returning([key(&house, "1"), key(&other, "2")])
        .await?;
    db.insert(Roof {
        house_id: house.id,
        material: "slate".into(),
    })
    .await?;
    assert!(db.delete::<House>(house.id).await?);
    assert!(!db.query::<Roof>().exists().await?);
    let expected = [
        DoorKey {
            house_id: None,
            ..keys[0].clone()
        },
        keys[1].clone(),
    ];
    assert_eq!(
        db.query::<DoorKey>().order(DoorKey::ID.asc()).all().await?,
        expected
    );
    Ok(())
}

async fn what_keeps_a_child_keeps_its_parent(db: TestDb) -> Result<()> {
    let mut houses = Vec::new();
    for name in ["a", "b"] {
        let house = db.insert(NewHouse { name: name.into() }).await?;
        let material = "slate".into();
        db.insert(Roof {
            house_id: house.id,
            material,
        })
        .await?;
        houses.push(house);
    }
    let roof_id = houses[1].id;
    db.insert(Tile { number: 1, roof_id }).await?;
    for outcome in [
        db.delete::<House>(roof_id).await.map(drop),
        db.query::<House>().delete().await.map(drop),
        db.delete::<Roof>(roof_id).await.map(drop),
    ] {
        let error = refused(outcome, ErrorKind::Reference);
        assert!(error.violates(Tile::ROOF_ID), "{error:?}");
        assert_eq!(
            (error.table(), error.column()),
            (Some("tiles"), Some("roof_id"))
        );
    }
    assert_eq!(db.query::<Roof>().count().await?, 2, "all or nothing");
    assert!(db.delete::<House>(houses[0].id).await?);
    assert!(db.delete::<Tile>(1).await?);
    assert!(db.delete::<House>(roof_id).await?);
    Ok(())
}

tests![
    children_go_with_their_parent_and_take_theirs_along,
    a_cascade_is_undone_with_its_transaction,
    a_tree_goes_with_its_root,
    a_ring_goes_whole,
    set_null_forgets_the_parent,
    what_keeps_a_child_keeps_its_parent,
];
