//! Reads and streams.

use larder_core::models::{Post, Tag, User};
use larder_core::{Db, Load, Result, TxOptions, count};

use crate::calls::{Call, Done, USERS};

pub(crate) fn calls() -> Vec<Call> {
    vec![
        Call::new("get", get, unchanged),
        Call::new("first", first, unchanged),
        Call::new("all", all, unchanged),
        Call::new("count", number_of, unchanged),
        Call::new("groups", groups, unchanged),
        Call::new("page", page, unchanged),
        Call::new("load", load, unchanged),
        Call::new("explain", explain, unchanged),
        Call::new("stream", stream, unchanged),
        Call::new("stream_in_transaction", stream_in_transaction, unchanged),
        Call::new("read_only_transaction", read_only, unchanged),
    ]
}

pub(crate) async fn some_user(db: &Db) -> Result<User> {
    let found = db.query::<User>().order(User::ID.asc()).first().await?;
    Ok(found.expect("there are users"))
}

async fn get(db: Db, _: usize) -> Result<()> {
    let user = some_user(&db).await?;
    db.get::<User>(user.id).await.map(drop)
}

async fn first(db: Db, _: usize) -> Result<()> {
    db.query::<Post>()
        .order(Post::CONTENT.desc())
        .first()
        .await
        .map(drop)
}

async fn all(db: Db, _: usize) -> Result<()> {
    db.query::<Tag>()
        .filter(Tag::NAME.contains("x"))
        .all()
        .await
        .map(drop)
}

async fn number_of(db: Db, _: usize) -> Result<()> {
    let some = db.query::<Post>().filter(Post::CONTENT.contains("some"));
    assert_eq!(some.count().await?, USERS as u64);
    assert!(db.query::<Post>().exists().await?);
    Ok(())
}

async fn groups(db: Db, _: usize) -> Result<()> {
    let posts = db.query::<Post>().group_by(Post::AUTHOR_ID);
    let found = posts.select((Post::AUTHOR_ID, count())).all().await?;
    assert_eq!(found.len(), USERS);
    Ok(())
}

async fn page(db: Db, _: usize) -> Result<()> {
    let first = db.query::<User>().order(User::NAME.asc()).page(20).await?;
    let Some(next) = first.next else {
        return Ok(());
    };
    db.query::<User>()
        .order(User::NAME.asc())
        .after(next)
        .with_total()
        .page(20)
        .await
        .map(drop)
}

#[derive(Load)]
#[load(User)]
struct Author {
    #[load(via = Post::AUTHOR_ID, order = Post::ID.asc(), limit = 2)]
    posts: Vec<Post>,
    #[load(count, via = Post::AUTHOR_ID)]
    count: u64,
}

async fn load(db: Db, _: usize) -> Result<()> {
    let authors = db.query::<User>().load::<Author>().await?;
    assert!(
        authors
            .iter()
            .all(|author| author.posts.len() as u64 == author.count.min(2))
    );
    Ok(())
}

async fn explain(db: Db, _: usize) -> Result<()> {
    db.query::<Post>().explain().await.map(drop)
}

async fn stream(db: Db, _: usize) -> Result<()> {
    let mut posts = db.query::<Post>().order(Post::CONTENT.asc()).stream();
    let mut found = 0;
    while let Some(post) = posts.next().await {
        post?;
        found += 1;
    }
    assert_eq!(found, USERS);
    Ok(())
}

async fn stream_in_transaction(db: Db, number: usize) -> Result<()> {
    let tx = db.begin(TxOptions::new()).await?;
    stream(Db::clone(&tx), number).await?;
    tx.commit().await
}

async fn read_only(db: Db, number: usize) -> Result<()> {
    let tx = db.begin(TxOptions::new().read_only()).await?;
    get(Db::clone(&tx), number).await?;
    all(Db::clone(&tx), number).await?;
    tx.commit().await
}

async fn unchanged(db: Db, _: usize) -> Done {
    assert_eq!(db.query::<User>().count().await?, USERS as u64);
    Ok((0, 0))
}
