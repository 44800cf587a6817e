//! Filters through relations: `whose`, `any`, `none`, nested.

use larder_core::models::{
    Comment, Favorite, Follow, NewFavorite, NewFollow, Post, PostStatus, PostTag, Tag, User,
};
use larder_core::{Db, ErrorKind, Id, Predicate, Result};

use crate::fixtures::{comment, new_post, post, refused, tag, tagged, user};
use crate::harness::{TestDb, tests};
use crate::schema::{DoorKey, House, NewDoorKey, NewHouse, NewNode, Node};

async fn emails(db: &Db, predicate: Predicate<User>) -> Result<Vec<String>> {
    let rows = db
        .query::<User>()
        .filter(predicate)
        .order(User::ID.asc())
        .all()
        .await?;
    Ok(rows.into_iter().map(|user| user.name).collect())
}

async fn slugs(db: &Db, predicate: Predicate<Post>) -> Result<Vec<String>> {
    db.query::<Post>()
        .filter(predicate)
        .order(Post::ID.asc())
        .select(Post::SLUG)
        .all()
        .await
}

/// Users 1 (posts a, b), 2 (post c, a draft), 3 (none); user 3 comments on a, user 1 on c.
async fn blog(db: &Db) -> Result<Vec<User>> {
    let users = vec![user(db, 1).await?, user(db, 2).await?, user(db, 3).await?];
    let a = post(db, &users[0], "a").await?;
    let b = post(db, &users[0], "b").await?;
    let c = db
        .insert(new_post(users[1].id, "c", PostStatus::Draft))
        .await?;
    comment(db, &a, &users[2], "first").await?;
    comment(db, &a, &users[2], "second").await?;
    comment(db, &c, &users[0], "third").await?;
    let (red, blue) = (tag(db, "red").await?, tag(db, "blue").await?);
    tagged(db, &a, &red).await?;
    tagged(db, &b, &red).await?;
    tagged(db, &b, &blue).await?;
    Ok(users)
}

async fn whose_asks_the_parent(db: TestDb) -> Result<()> {
    let users = blog(&db).await?;
    db.update::<User>(users[1].id, User::IS_ACTIVE.set(false))
        .await?;
    let active = Post::AUTHOR_ID.whose(User::IS_ACTIVE.eq(true));
    assert_eq!(slugs(&db, active).await?, ["a", "b"]);
    let inactive = Post::AUTHOR_ID.whose(User::IS_ACTIVE.eq(true)).not();
    assert_eq!(slugs(&db, inactive).await?, ["c"]);
    Ok(())
}

async fn any_and_none_ask_the_children(db: TestDb) -> Result<()> {
    blog(&db).await?;
    let published = || Post::STATUS.eq(PostStatus::Published);
    assert_eq!(
        emails(&db, Post::AUTHOR_ID.any(Predicate::all())).await?,
        ["User 1", "User 2"]
    );
    assert_eq!(
        emails(&db, Post::AUTHOR_ID.any(published())).await?,
        ["User 1"],
        "once each"
    );
    assert_eq!(
        emails(&db, Post::AUTHOR_ID.none(published())).await?,
        ["User 2", "User 3"]
    );
    assert_eq!(
        emails(&db, Post::AUTHOR_ID.none(Predicate::all())).await?,
        ["User 3"]
    );
    Ok(())
}

async fn relations_nest(db: TestDb) -> Result<()> {
    blog(&db).await?;
    // Authors of posts that user 3 commented on.
    let by_three = Comment::AUTHOR_ID.whose(User::NAME.eq("User 3"));
    let commented = Comment::POST_ID.any::<Post>(by_three);
    assert_eq!(
        emails(&db, Post::AUTHOR_ID.any(commented)).await?,
        ["User 1"]
    );
    // Users without a post that has a blue tag.
    let blue = PostTag::TAG_ID.whose(Tag::NAME.eq("blue"));
    let has_blue = PostTag::POST_ID.any::<Post>(blue);
    assert_eq!(
        emails(&db, Post::AUTHOR_ID.none(has_blue)).await?,
        ["User 2", "User 3"]
    );
    // Comments on posts of authors who commented on a draft.
    let on_draft = Comment::POST_ID.whose(Post::STATUS.eq(PostStatus::Draft));
    let author = Post::AUTHOR_ID.whose(Comment::AUTHOR_ID.any::<User>(on_draft));
    let comments = db.query::<Comment>().filter(Comment::POST_ID.whose(author));
    assert_eq!(comments.count().await?, 2);
    Ok(())
}

async fn relations_combine_with_plain_conditions(db: TestDb) -> Result<()> {
    blog(&db).await?;
    let red = PostTag::POST_ID.any::<Post>(PostTag::TAG_ID.whose(Tag::NAME.eq("red")));
    let blue = PostTag::POST_ID.any::<Post>(PostTag::TAG_ID.whose(Tag::NAME.eq("blue")));
    assert_eq!(slugs(&db, red.and(blue.not())).await?, ["a"]);
    let draft = Post::STATUS.eq(PostStatus::Draft);
    let commented = Comment::POST_ID.any::<Post>(Comment::CONTENT.starts_with("fir"));
    assert_eq!(slugs(&db, draft.or(commented)).await?, ["a", "c"]);
    Ok(())
}

async fn two_ways_between_the_same_models_stay_apart(db: TestDb) -> Result<()> {
    let users = blog(&db).await?;
    db.insert(NewFollow {
        follower_id: users[0].id,
        followed_id: users[1].id,
    })
    .await?;
    db.insert(NewFollow {
        follower_id: users[2].id,
        followed_id: users[1].id,
    })
    .await?;
    let post = db.query::<Post>().filter(Post::SLUG.eq("c")).one().await?;
    db.insert(NewFavorite {
        user_id: users[0].id,
        post_id: post.id,
    })
    .await?;
    assert_eq!(
        emails(&db, Follow::FOLLOWER_ID.any(Predicate::all())).await?,
        ["User 1", "User 3"]
    );
    assert_eq!(
        emails(&db, Follow::FOLLOWED_ID.any(Predicate::all())).await?,
        ["User 2"]
    );
    let followed_by_a_fan = Follow::FOLLOWED_ID
        .any(Follow::FOLLOWER_ID.whose(Favorite::USER_ID.any::<User>(Predicate::all())));
    assert_eq!(emails(&db, followed_by_a_fan).await?, ["User 2"]);
    Ok(())
}

async fn an_empty_reference_is_nobodys(db: TestDb) -> Result<()> {
    let house = db
        .insert(NewHouse {
            name: "home".into(),
        })
        .await?;
    let key = |house_id, label: &str| NewDoorKey {
        house_id,
        label: label.into(),
    };
    db.insert_all([key(Some(house.id), "front"), key(None, "lost")])
        .await?;
    let labels = async |predicate| {
        db.query::<DoorKey>()
            .filter(predicate)
            .select(DoorKey::LABEL)
            .all()
            .await
    };
    assert_eq!(
        labels(DoorKey::HOUSE_ID.whose::<House>(Predicate::all())).await?,
        ["front"]
    );
    // Never neither: the opposite takes the rows without a parent.
    assert_eq!(
        labels(DoorKey::HOUSE_ID.whose::<House>(Predicate::all()).not()).await?,
        ["lost"]
    );
    let empty = db
        .insert(NewHouse {
            name: "empty".into(),
        })
        .await?;
    let keyless = db
        .query::<House>()
        .filter(DoorKey::HOUSE_ID.none(Predicate::all()));
    assert_eq!(
        keyless.one().await?,
        empty,
        "a lost key is no key of every house"
    );
    Ok(())
}

async fn a_tree_asks_itself(db: TestDb) -> Result<()> {
    let node = |parent_id, name: &str| NewNode {
        parent_id,
        name: name.into(),
    };
    let root = db.insert(node(None, "root")).await?;
    let inner = db.insert(node(Some(root.id), "inner")).await?;
    db.insert(node(Some(inner.id), "leaf")).await?;
    let names = async |predicate| {
        db.query::<Node>()
            .filter(predicate)
            .order(Node::ID.asc())
            .select(Node::NAME)
            .all()
            .await
    };
    assert_eq!(
        names(Node::PARENT_ID.whose::<Node>(Node::NAME.eq("root"))).await?,
        ["inner"]
    );
    assert_eq!(
        names(Node::PARENT_ID.any::<Node>(Predicate::all())).await?,
        ["root", "inner"]
    );
    assert_eq!(
        names(Node::PARENT_ID.none::<Node>(Predicate::all())).await?,
        ["leaf"]
    );
    let grandchild = Node::PARENT_ID.whose::<Node>(Node::PARENT_ID.whose(Node::NAME.eq("root")));
    assert_eq!(names(grandchild).await?, ["leaf"]);
    Ok(())
}

async fn a_condition_on_the_inner_row_does_not_see_the_outer_one(db: TestDb) -> Result<()> {
    let users = blog(&db).await?;
    // Both tables have the columns `id` and `created_at`.
    let id: Id<User> = users[1].id;
    let of_two = Post::AUTHOR_ID.whose(User::ID.eq(id));
    assert_eq!(slugs(&db, of_two).await?, ["c"]);
    Ok(())
}

async fn a_relation_that_does_not_exist_is_refused(db: TestDb) -> Result<()> {
    let query = db
        .query::<Post>()
        .filter(Post::AUTHOR_ID.whose(Tag::NAME.eq("x")));
    let error = refused(query.all().await, ErrorKind::Misuse);
    assert_eq!(
        (error.table(), error.column()),
        (Some("posts"), Some("author_id"))
    );
    assert!(
        error.message().contains("tags") && error.message().contains("references"),
        "{error}"
    );
    let query = db
        .query::<Post>()
        .filter(Post::TITLE.whose(User::NAME.eq("x")));
    assert_eq!(
        refused(query.count().await, ErrorKind::Misuse).column(),
        Some("title")
    );
    Ok(())
}

async fn updates_and_deletes_take_relations(db: TestDb) -> Result<()> {
    blog(&db).await?;
    let red = PostTag::POST_ID.any::<Post>(PostTag::TAG_ID.whose(Tag::NAME.eq("red")));
    let changed = db
        .query::<Post>()
        .filter(red)
        .update(Post::TITLE.set("red"))
        .await?;
    assert_eq!(changed, 2);
    let on_red = Comment::POST_ID.whose(Post::TITLE.eq("red"));
    assert_eq!(db.query::<Comment>().filter(on_red).delete().await?, 2);
    let own = Post::AUTHOR_ID.any::<User>(Post::TITLE.eq("red"));
    assert_eq!(db.query::<User>().filter(own).delete().await?, 1);
    assert_eq!(slugs(&db, Predicate::all()).await?, ["c"]);
    Ok(())
}

tests![
    whose_asks_the_parent,
    any_and_none_ask_the_children,
    relations_nest,
    relations_combine_with_plain_conditions,
    two_ways_between_the_same_models_stay_apart,
    an_empty_reference_is_nobodys,
    a_tree_asks_itself,
    a_condition_on_the_inner_row_does_not_see_the_outer_one,
    a_relation_that_does_not_exist_is_refused,
    updates_and_deletes_take_relations,
];
