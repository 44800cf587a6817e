//! What `#[derive(Load)]` writes, run on the in-memory store.

use larder_core::models::{
    Comment, NewComment, NewPost, NewTag, NewUser, Post, PostStatus, PostTag, Tag, User,
};
use larder_core::{Db, Entity, Id, Insert, Load, Memory, Result};

#[derive(Load, Debug)]
#[load(User)]
struct UserPage {
    id: Id<User>,
    #[load(column = User::NAME)]
    called: String,
    #[load(
        via = Post::AUTHOR_ID,
        filter = Post::STATUS.eq(PostStatus::Published),
        order = (Post::TITLE.desc(), Post::SLUG.asc()),
        limit = 2
    )]
    posts: Vec<PostPage>,
    #[load(count, via = Post::AUTHOR_ID, filter = Post::STATUS.eq(PostStatus::Published))]
    post_count: u64,
    #[load(via = Post::AUTHOR_ID, order = Post::ID.desc())]
    last_post: Option<Post>,
}

#[derive(Load, Debug)]
#[load(Post)]
struct PostPage {
    #[load(flatten)]
    post: Post,
    #[load(via = Post::AUTHOR_ID)]
    author: UserName,
    #[load(via = Comment::POST_ID, order = Comment::ID.desc())]
    comments: Vec<Comment>,
    #[load(via = PostTag::POST_ID, to = PostTag::TAG_ID, order = Tag::NAME.asc())]
    tags: Vec<Tag>,
}

#[derive(Load, Clone, Debug)]
#[load(User)]
struct UserName {
    name: String,
}

async fn filled() -> Result<(Db, Id<User>)> {
    let db = Db::new(Memory::new());
    let ada = db
        .insert(NewUser::without_password("ada@example.com", "Ada")?)
        .await?
        .id;
    db.insert(NewUser::without_password("bob@example.com", "Bob")?)
        .await?;
    for (at, title) in ["B", "A", "C", "draft"].into_iter().enumerate() {
        let status = if at == 3 {
            PostStatus::Draft
        } else {
            PostStatus::Published
        };
        let post = NewPost {
            author_id: ada,
            slug: title.to_lowercase(),
            title: title.into(),
            content: String::new(),
            status,
        };
        let post = db.insert(post).await?.id;
        for word in ["first", "second"] {
            let content = format!("{word} on {title}");
            db.insert(NewComment {
                post_id: post,
                author_id: ada,
                content,
            })
            .await?;
        }
        let tag = db
            .insert(NewTag {
                name: format!("tag {title}"),
            })
            .await?
            .id;
        db.insert(PostTag {
            post_id: post,
            tag_id: tag,
            position: 0,
        })
        .await?;
    }
    Ok((db, ada))
}

#[tokio::test]
async fn a_plan_brings_its_relations() -> Result<()> {
    let (db, ada) = filled().await?;
    let users = db
        .query::<User>()
        .order(User::ID.asc())
        .load::<UserPage>()
        .await?;
    let [first, second] = users.as_slice() else {
        panic!("two users: {users:?}")
    };
    assert_eq!(
        (first.id, first.called.as_str(), first.post_count),
        (ada, "Ada", 3)
    );
    let titles: Vec<_> = first
        .posts
        .iter()
        .map(|page| page.post.title.as_str())
        .collect();
    assert_eq!(titles, ["C", "B"]);
    assert_eq!(
        first.last_post.as_ref().map(|post| post.title.as_str()),
        Some("draft")
    );
    let page = &first.posts[0];
    assert_eq!(
        (page.author.name.as_str(), page.post.author_id),
        ("Ada", ada)
    );
    let comments: Vec<_> = page
        .comments
        .iter()
        .map(|one| one.content.as_str())
        .collect();
    assert_eq!(comments, ["second on C", "first on C"]);
    assert_eq!(
        page.tags
            .iter()
            .map(|tag| tag.name.as_str())
            .collect::<Vec<_>>(),
        ["tag C"]
    );

    assert_eq!((second.called.as_str(), second.post_count), ("Bob", 0));
    assert!(second.posts.is_empty() && second.last_post.is_none());
    Ok(())
}

#[derive(Entity, Clone, Debug)]
#[entity(table = "nodes")]
struct Node {
    #[key]
    id: i64,
    #[references(Node)]
    parent_id: Option<i64>,
}

/// A plan that contains itself.
#[derive(Load, Debug)]
#[load(Node)]
struct Tree {
    id: i64,
    #[load(via = Node::PARENT_ID, order = Node::ID.asc())]
    children: Vec<Tree>,
    #[load(via = Node::PARENT_ID)]
    parent: Option<Node>,
    #[load(has_one, via = Node::PARENT_ID, order = Node::ID.desc())]
    last_child: Option<Node>,
    #[load(via = Node::PARENT_ID, filter = Node::ID.gt(1))]
    parent_above_one: Option<Node>,
}

#[tokio::test]
async fn a_plan_may_contain_itself() -> Result<()> {
    let db = Db::new(Memory::new());
    for (id, parent_id) in [(1, None), (2, Some(1)), (3, Some(1)), (4, Some(3))] {
        db.insert(Node { id, parent_id }).await?;
    }
    let root = db
        .query::<Node>()
        .by_key(1)
        .load::<Tree>()
        .await?
        .expect("inserted");
    assert_eq!(
        root.children
            .iter()
            .map(|child| child.id)
            .collect::<Vec<_>>(),
        [2, 3]
    );
    assert_eq!(root.children[1].children[0].id, 4);
    assert!(root.parent.is_none() && root.children[1].last_child.is_some());
    assert_eq!(root.last_child.map(|node| node.id), Some(3));
    let leaf = &root.children[1].children[0];
    assert_eq!(leaf.parent.as_ref().map(|node| node.id), Some(3));
    assert_eq!(
        leaf.parent_above_one.as_ref().map(|node| node.parent_id),
        Some(Some(1))
    );
    assert!(root.children[0].parent_above_one.is_none());
    Ok(())
}

#[test]
fn columns_are_those_of_the_fields_and_links() {
    assert_eq!(UserName::columns(), [User::NAME.index()]);
    assert_eq!(
        UserPage::columns(),
        [User::ID.index(), User::NAME.index(), User::ID.index()]
    );
    let page = PostPage::columns();
    assert_eq!(page[..2], [Post::AUTHOR_ID.index(), Post::ID.index()]);
    assert_eq!(page[2..], *<Post as Insert>::COLUMNS);
}
