//! Loading plans: every kind of relation, one query each, whatever the number of parents.

use larder_core::models::{
    Comment, Favorite, Follow, NewFavorite, NewFollow, Post, PostStatus, PostTag, Tag, User,
};
use larder_core::{Db, ErrorKind, Id, Load, Result};

use crate::fixtures::{comment, new_post, post, refused, tag, tagged, user};
use crate::harness::{TestDb, tests};
use crate::schema::{DoorKey, House, NewDoorKey, NewHouse, NewNode, NewRoom, Node, Roof, Room};

#[derive(Load, Clone, Debug, PartialEq)]
#[load(User)]
struct Author {
    name: String,
}

#[derive(Load, Debug)]
#[load(Comment)]
struct CommentView {
    content: String,
    #[load(via = Comment::AUTHOR_ID)]
    author: Author,
}

#[derive(Load, Debug)]
#[load(Post)]
struct PostView {
    slug: String,
    #[load(via = Comment::POST_ID, order = Comment::ID.desc())]
    comments: Vec<CommentView>,
    #[load(via = PostTag::POST_ID, to = PostTag::TAG_ID, order = Tag::NAME.asc())]
    tags: Vec<Tag>,
}

#[derive(Load, Debug)]
#[load(User)]
struct UserPage {
    id: Id<User>,
    name: String,
    #[load(via = Post::AUTHOR_ID, filter = Post::STATUS.eq(PostStatus::Published), order = Post::SLUG.asc(), limit = 2)]
    posts: Vec<PostView>,
    #[load(count, via = Post::AUTHOR_ID)]
    post_count: u64,
    #[load(count, via = Post::AUTHOR_ID, filter = Post::STATUS.eq(PostStatus::Draft))]
    drafts: u64,
}

/// `users` users; the first has `posts` posts, the second one less, and so on; every post has
/// two comments by the next user, and every second one a tag.
async fn blog(db: &Db, users: usize, posts: usize) -> Result<Vec<User>> {
    let mut all = Vec::new();
    for number in 0..users {
        all.push(user(db, number).await?);
    }
    let tag = tag(db, "even").await?;
    for (at, author) in all.iter().enumerate() {
        for number in 0..posts.saturating_sub(at) {
            let post = post(db, author, &format!("u{at}-p{number}")).await?;
            for text in ["first", "second"] {
                comment(db, &post, &all[(at + 1) % users], text).await?;
            }
            if number % 2 == 0 {
                tagged(db, &post, &tag).await?;
            }
        }
    }
    Ok(all)
}

async fn a_plan_three_levels_deep_is_loaded_whole(db: TestDb) -> Result<()> {
    let users = blog(&db, 3, 3).await?;
    db.insert(new_post(users[0].id, "draft", PostStatus::Draft))
        .await?;
    let pages = db
        .query::<User>()
        .order(User::ID.asc())
        .load::<UserPage>()
        .await?;
    let counts: Vec<_> = pages
        .iter()
        .map(|p| (p.posts.len(), p.post_count, p.drafts))
        .collect();
    assert_eq!(
        counts,
        [(2, 4, 1), (2, 2, 0), (1, 1, 0)],
        "two each at most, all counted"
    );
    assert_eq!(
        (pages[0].id, pages[0].name.as_str()),
        (users[0].id, "User 0")
    );
    let first = &pages[0].posts[0];
    assert_eq!(first.slug, "u0-p0");
    let texts: Vec<_> = first.comments.iter().map(|c| c.content.as_str()).collect();
    assert_eq!(texts, ["second", "first"], "in the plan's order");
    assert_eq!(
        first.comments[0].author,
        Author {
            name: "User 1".into()
        }
    );
    assert_eq!(
        first
            .tags
            .iter()
            .map(|tag| tag.name.as_str())
            .collect::<Vec<_>>(),
        ["even"]
    );
    assert!(pages[0].posts[1].tags.is_empty());
    Ok(())
}

async fn the_number_of_statements_does_not_grow_with_the_rows(db: TestDb) -> Result<()> {
    let users = blog(&db, 6, 5).await?;
    // users; posts, two counts; comments, tags; authors.
    for first in [0, 5] {
        let query = db.query::<User>().filter(User::ID.ge(users[first].id));
        let (pages, report) = db.observe(query.load::<UserPage>()).await;
        assert_eq!(pages?.len(), 6 - first);
        assert!(report.count() <= 7, "{report}");
        report.assert_no_repeats();
        report.assert_round_trips(4);
    }
    let (pages, report) = db.observe(db.query::<User>().load::<UserPage>()).await;
    pages?;
    assert_eq!((report.count(), report.round_trips()), (7, 4), "{report}");
    Ok(())
}

async fn without_parents_nothing_is_asked(db: TestDb) -> Result<()> {
    let (pages, report) = db.observe(db.query::<User>().load::<UserPage>()).await;
    assert!(pages?.is_empty());
    assert_eq!(report.count(), 1, "{report}");
    user(&db, 1).await?;
    let (pages, report) = db.observe(db.query::<User>().load::<UserPage>()).await;
    assert!(pages?[0].posts.is_empty());
    assert_eq!(
        report.count(),
        4,
        "no posts, so nobody asks for comments:\n{report}"
    );
    Ok(())
}

async fn a_plan_by_key_loads_one_row(db: TestDb) -> Result<()> {
    let users = blog(&db, 2, 1).await?;
    let page = db
        .query::<User>()
        .by_key(users[0].id)
        .load::<UserPage>()
        .await?;
    assert_eq!(page.map(|page| page.posts.len()), Some(1));
    let none = db
        .query::<User>()
        .by_key(Id::new(99_999))
        .load::<UserPage>()
        .await?;
    assert!(none.is_none());
    Ok(())
}

#[derive(Load, Debug)]
#[load(Post)]
struct Limited {
    slug: String,
    #[load(via = Comment::POST_ID, order = Comment::CONTENT.desc(), limit = 2)]
    last: Vec<Comment>,
    #[load(via = PostTag::POST_ID, to = PostTag::TAG_ID, filter = Tag::NAME.ne("hidden"), order = Tag::NAME.desc(), limit = 2)]
    tags: Vec<Tag>,
}

async fn order_and_limit_are_for_each_parent(db: TestDb) -> Result<()> {
    let author = user(&db, 1).await?;
    let (a, b, c) = (
        post(&db, &author, "a").await?,
        post(&db, &author, "b").await?,
        post(&db, &author, "c").await?,
    );
    for (post, texts) in [(&a, &["1", "2", "3", "4"][..]), (&b, &["9"]), (&c, &[])] {
        for text in texts {
            comment(&db, post, &author, text).await?;
        }
    }
    for name in ["x", "y", "z", "hidden"] {
        let tag = tag(&db, name).await?;
        tagged(&db, &a, &tag).await?;
        if name == "x" || name == "hidden" {
            tagged(&db, &c, &tag).await?;
        }
    }
    let rows = db
        .query::<Post>()
        .order(Post::SLUG.asc())
        .load::<Limited>()
        .await?;
    let found: Vec<_> = rows
        .iter()
        .map(|row| {
            let texts: String = row
                .last
                .iter()
                .map(|comment| comment.content.as_str())
                .collect();
            let tags: String = row.tags.iter().map(|tag| tag.name.as_str()).collect();
            (row.slug.as_str(), texts, tags)
        })
        .collect();
    let expected = [("a", "43", "zy"), ("b", "9", ""), ("c", "", "x")];
    let expected = expected.map(|(slug, texts, tags)| (slug, texts.to_owned(), tags.to_owned()));
    assert_eq!(found, expected);
    Ok(())
}

#[derive(Load, Clone, Debug)]
#[load(House)]
struct HouseView {
    name: String,
    #[load(via = Roof::HOUSE_ID)]
    roof: Option<Roof>,
    #[load(via = DoorKey::HOUSE_ID, order = DoorKey::LABEL.asc())]
    keys: Vec<DoorKey>,
    #[load(count, via = Room::HOUSE_ID)]
    rooms: u64,
}

#[derive(Load, Debug)]
#[load(DoorKey)]
struct KeyView {
    label: String,
    #[load(via = DoorKey::HOUSE_ID)]
    house: Option<HouseView>,
}

async fn houses(db: &Db) -> Result<(House, House)> {
    let grand = db
        .insert(NewHouse {
            name: "grand".into(),
        })
        .await?;
    let open = db
        .insert(NewHouse {
            name: "open".into(),
        })
        .await?;
    db.insert(Roof {
        house_id: grand.id,
        material: "slate".into(),
    })
    .await?;
    db.insert_all([NewRoom::new(grand.id, 1), NewRoom::new(grand.id, 2)])
        .await?;
    let key = |house_id, label: &str| NewDoorKey {
        house_id,
        label: label.into(),
    };
    db.insert_all([
        key(Some(grand.id), "front"),
        key(Some(grand.id), "back"),
        key(Some(open.id), "gate"),
        key(None, "lost"),
    ])
    .await?;
    Ok((grand, open))
}

async fn has_one_is_an_option(db: TestDb) -> Result<()> {
    houses(&db).await?;
    let (rows, report) = db
        .observe(
            db.query::<House>()
                .order(House::NAME.asc())
                .load::<HouseView>(),
        )
        .await;
    let rows = rows?;
    let roof = |at: usize| rows[at].roof.as_ref().map(|roof| roof.material.as_str());
    assert_eq!((roof(0), roof(1)), (Some("slate"), None));
    let labels: Vec<_> = rows[0].keys.iter().map(|key| key.label.as_str()).collect();
    assert_eq!(labels, ["back", "front"]);
    assert_eq!((rows[0].rooms, rows[1].rooms), (2, 0));
    assert_eq!((report.count(), report.round_trips()), (4, 2), "{report}");
    Ok(())
}

async fn an_optional_reference_is_an_option(db: TestDb) -> Result<()> {
    houses(&db).await?;
    let rows = db
        .query::<DoorKey>()
        .order(DoorKey::ID.asc())
        .load::<KeyView>()
        .await?;
    let found: Vec<_> = rows
        .iter()
        .map(|key| {
            (
                key.label.as_str(),
                key.house.as_ref().map(|house| house.name.as_str()),
            )
        })
        .collect();
    let grand = Some("grand");
    assert_eq!(
        found,
        [
            ("front", grand),
            ("back", grand),
            ("gate", Some("open")),
            ("lost", None)
        ]
    );
    let shared = rows[1].house.as_ref().expect("the key of the grand house");
    assert_eq!(
        shared.keys.len(),
        2,
        "the shared parent is loaded whole for each"
    );
    let lost = db.query::<DoorKey>().filter(DoorKey::HOUSE_ID.is_null());
    let (rows, report) = db.observe(lost.load::<KeyView>()).await;
    assert!(rows?[0].house.is_none());
    assert_eq!(report.count(), 1, "nobody to ask for:\n{report}");
    Ok(())
}

#[derive(Load, Debug)]
#[load(Node)]
struct Branch {
    name: String,
    #[load(via = Node::PARENT_ID)]
    parent: Option<Node>,
    #[load(via = Node::PARENT_ID, order = Node::NAME.desc())]
    children: Vec<Twig>,
}

#[derive(Load, Debug)]
#[load(Node)]
struct Twig {
    name: String,
    #[load(count, via = Node::PARENT_ID)]
    children: u64,
}

async fn a_tree_loads_upward_and_downward(db: TestDb) -> Result<()> {
    let node = |parent_id, name: &str| NewNode {
        parent_id,
        name: name.into(),
    };
    let root = db.insert(node(None, "root")).await?;
    let a = db.insert(node(Some(root.id), "a")).await?;
    db.insert_all([
        node(Some(root.id), "b"),
        node(Some(a.id), "a1"),
        node(Some(a.id), "a2"),
    ])
    .await?;
    let rows = db
        .query::<Node>()
        .order(Node::NAME.asc())
        .load::<Branch>()
        .await?;
    let found: Vec<_> = rows
        .iter()
        .map(|row| {
            let children = row
                .children
                .iter()
                .map(|twig| format!("{}{}", twig.name, twig.children));
            let parent = row.parent.as_ref().map(|node| node.name.as_str());
            (
                row.name.as_str(),
                parent,
                children.collect::<Vec<_>>().join(" "),
            )
        })
        .collect();
    let expected = [
        ("a", Some("root"), "a20 a10".to_owned()),
        ("a1", Some("a"), String::new()),
        ("a2", Some("a"), String::new()),
        ("b", Some("root"), String::new()),
        ("root", None, "b0 a2".to_owned()),
    ];
    assert_eq!(found, expected);
    Ok(())
}

/// A plan that contains itself: loads a tree to its leaves.
#[derive(Load, Debug)]
#[load(Node)]
struct Whole {
    name: String,
    #[load(via = Node::PARENT_ID, order = Node::NAME.asc())]
    children: Vec<Whole>,
}

impl Whole {
    fn outline(&self) -> String {
        let inner: Vec<_> = self.children.iter().map(Self::outline).collect();
        if inner.is_empty() {
            self.name.clone()
        } else {
            format!("{}({})", self.name, inner.join(" "))
        }
    }
}

async fn a_plan_that_contains_itself_ends_at_the_leaves(db: TestDb) -> Result<()> {
    let mut parent = None;
    for name in ["1", "2", "3", "4"] {
        let rows = [(parent, name), (parent, "leaf")].map(|(parent_id, name)| NewNode {
            parent_id,
            name: name.into(),
        });
        parent = Some(db.insert_all_returning(rows).await?[0].id);
    }
    let query = db
        .query::<Node>()
        .filter(Node::PARENT_ID.is_null())
        .order(Node::NAME.asc());
    let (roots, report) = db.observe(query.load::<Whole>()).await;
    let outlines: Vec<_> = roots?.iter().map(Whole::outline).collect();
    assert_eq!(outlines, ["1(2(3(4 leaf) leaf) leaf)", "leaf"]);
    assert_eq!(report.count(), 5, "one query a level:\n{report}");
    Ok(())
}

#[derive(Load, Debug)]
#[load(User)]
struct Popular {
    #[load(flatten)]
    user: User,
    #[load(via = Follow::FOLLOWED_ID, to = Follow::FOLLOWER_ID, order = User::NAME.asc())]
    followers: Vec<Author>,
    #[load(via = Follow::FOLLOWER_ID, to = Follow::FOLLOWED_ID, order = User::NAME.asc())]
    follows: Vec<Author>,
    #[load(via = Favorite::USER_ID, to = Favorite::POST_ID)]
    favorites: Vec<Post>,
    #[load(count, via = Favorite::USER_ID)]
    favorite_count: u64,
}

async fn many_to_many_in_both_directions_beside_a_flattened_model(db: TestDb) -> Result<()> {
    let users = blog(&db, 3, 1).await?;
    let post = db.query::<Post>().one().await?;
    for (follower, followed) in [(0, 2), (1, 2), (2, 0)] {
        let (follower_id, followed_id) = (users[follower].id, users[followed].id);
        db.insert(NewFollow {
            follower_id,
            followed_id,
        })
        .await?;
    }
    db.insert(NewFavorite {
        user_id: users[2].id,
        post_id: post.id,
    })
    .await?;
    let rows = db
        .query::<User>()
        .order(User::ID.asc())
        .load::<Popular>()
        .await?;
    assert!(rows.iter().map(|row| &row.user).eq(&users));
    let names = |list: &[Author]| list.iter().map(|a| a.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&rows[2].followers), ["User 0", "User 1"]);
    assert_eq!(names(&rows[2].follows), ["User 0"]);
    assert_eq!(names(&rows[1].followers), [""; 0]);
    assert_eq!(
        (rows[2].favorites.as_slice(), rows[2].favorite_count),
        (&[post][..], 1)
    );
    assert_eq!(rows[0].favorite_count, 0);
    Ok(())
}

async fn a_filter_on_a_required_reference_is_explained(db: TestDb) -> Result<()> {
    #[derive(Load, Debug)]
    #[load(Post)]
    #[allow(dead_code)] // only the error is looked at
    struct Strict {
        #[load(via = Post::AUTHOR_ID, filter = User::IS_ACTIVE.eq(true))]
        author: Author,
    }
    let users = blog(&db, 1, 1).await?;
    assert_eq!(db.query::<Post>().load::<Strict>().await?.len(), 1);
    db.update::<User>(users[0].id, User::IS_ACTIVE.set(false))
        .await?;
    let error = refused(
        db.query::<Post>().load::<Strict>().await,
        ErrorKind::NotFound,
    );
    assert!(
        error.message().contains("author") && error.message().contains("Option"),
        "{error}"
    );
    Ok(())
}

async fn thousands_of_parents_are_one_query(db: TestDb) -> Result<()> {
    let author = user(&db, 1).await?;
    let posts = (0..3_000).map(|n| new_post(author.id, &format!("p{n:04}"), PostStatus::Published));
    let posts = db.insert_all_returning(posts).await?;
    let comments = posts.iter().map(|post| larder_core::models::NewComment {
        post_id: post.id,
        author_id: author.id,
        content: post.slug.clone(),
    });
    db.insert_all(comments.collect::<Vec<_>>()).await?;
    let query = db.query::<Post>().order(Post::SLUG.asc());
    let (rows, report) = db.observe(query.load::<Limited>()).await;
    let rows = rows?;
    assert_eq!(rows.len(), 3_000);
    assert!(
        rows.iter()
            .all(|row| row.last.len() == 1 && row.last[0].content == row.slug)
    );
    assert_eq!(report.count(), 3, "{report}");
    Ok(())
}

async fn a_plan_inside_a_transaction_sees_its_work(db: TestDb) -> Result<()> {
    let tx = db.begin(larder_core::TxOptions::new()).await?;
    blog(&tx, 1, 2).await?;
    assert_eq!(
        tx.query::<User>().load::<UserPage>().await?[0].posts.len(),
        2
    );
    tx.rollback().await?;
    assert!(db.query::<User>().load::<UserPage>().await?.is_empty());
    Ok(())
}

#[derive(Load, Debug)]
#[load(Tag)]
struct TagWithPosts {
    name: String,
    #[load(via = PostTag::TAG_ID, to = PostTag::POST_ID, order = Post::SLUG.asc())]
    posts: Vec<Post>,
    #[load(count, via = PostTag::TAG_ID)]
    count: u64,
}

#[derive(Load, Debug)]
#[load(Post)]
struct PostAndKin {
    #[load(via = PostTag::POST_ID, to = PostTag::TAG_ID, order = Tag::NAME.asc())]
    tags: Vec<TagWithPosts>,
}

async fn a_row_that_several_share_brings_its_relations_to_each(db: TestDb) -> Result<()> {
    let author = user(&db, 1).await?;
    let (one, two) = (tag(&db, "one").await?, tag(&db, "two").await?);
    for slug in ["a", "b", "c"] {
        let post = post(&db, &author, slug).await?;
        tagged(&db, &post, &one).await?;
        tagged(&db, &post, &two).await?;
    }
    let (posts, report) = db
        .observe(
            db.query::<Post>()
                .order(Post::SLUG.asc())
                .load::<PostAndKin>(),
        )
        .await;
    report.assert_no_repeats();
    let posts = posts?;
    assert_eq!(posts.len(), 3);
    for post in posts {
        assert_eq!(post.tags.len(), 2);
        for tag in post.tags {
            let slugs: Vec<&str> = tag.posts.iter().map(|post| post.slug.as_str()).collect();
            assert_eq!((slugs, tag.count), (vec!["a", "b", "c"], 3), "{}", tag.name);
        }
    }
    Ok(())
}

tests![
    a_row_that_several_share_brings_its_relations_to_each,
    a_plan_three_levels_deep_is_loaded_whole,
    the_number_of_statements_does_not_grow_with_the_rows,
    without_parents_nothing_is_asked,
    a_plan_by_key_loads_one_row,
    order_and_limit_are_for_each_parent,
    has_one_is_an_option,
    an_optional_reference_is_an_option,
    a_tree_loads_upward_and_downward,
    a_plan_that_contains_itself_ends_at_the_leaves,
    many_to_many_in_both_directions_beside_a_flattened_model,
    a_filter_on_a_required_reference_is_explained,
    thousands_of_parents_are_one_query,
    a_plan_inside_a_transaction_sees_its_work,
];
