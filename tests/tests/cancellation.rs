//! Every call's future is dropped after 0 to 4, 6, 8, 11, .. polls; the next user must find a clean store:
//! no open transaction, nothing half done, and an answer in time.
//!
//! A call is polled at the pace of a busy task (again at once) and of a patient one (after the
//! work behind it had time to go on), so that it is dropped before, during and after that work;
//! and while somebody else's transaction keeps writes waiting, so that it is dropped in the queue.

use std::future::{Ready, poll_fn, ready};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use larder_core::models::{self, NewPost, NewTag, NewUser, Post, PostStatus, Tag, User};
use larder_core::rows::BoxFuture;
use larder_core::{Db, DbOptions, Load, Memory, Result, Storage, TxOptions};
use larder_sqlite::{Sqlite, SqliteOptions};

/// How many rows the bulk insert has.
const BULK: usize = 5_000;
/// How many users there are to read and to change.
const USERS: usize = 60;
/// How soon the next user must be through.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long a patient task waits between two polls.
const PATIENCE: Duration = Duration::from_micros(400);

/// How a call is polled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Again at once.
    Busy,
    /// After a while.
    Patient,
    /// After a while, behind an open transaction.
    Blocked,
}

impl Pace {
    /// The most polls a dropped call gets, where its end is further away.
    fn polls_max(self) -> usize {
        if self == Self::Blocked { 4 } else { 600 }
    }
}

/// How much is done, and how much that can be.
type Done = Result<(u64, u64)>;

/// A call to be dropped. The number is another one each time.
struct Call {
    name: &'static str,
    /// Makes what the call is about.
    prepare: fn(Db, usize) -> BoxFuture<'static, Result<()>>,
    run: fn(Db, usize) -> BoxFuture<'static, Result<()>>,
    /// How much of the call's work is done, and how much that can be: it must be nothing or all.
    done: fn(Db, usize) -> BoxFuture<'static, Done>,
}

macro_rules! call {
    ($name:literal, $prepare:expr, $run:expr, $done:expr) => {
        Call {
            name: $name,
            prepare: |db, n| Box::pin($prepare(db, n)),
            run: |db, n| Box::pin($run(db, n)),
            done: |db, n| Box::pin($done(db, n)),
        }
    };
}

fn calls() -> Vec<Call> {
    vec![
        call!("get", nothing, get, unchanged),
        call!("first", nothing, first, unchanged),
        call!("all", nothing, all, unchanged),
        call!("page", nothing, page, unchanged),
        call!("load", nothing, load, unchanged),
        call!("stream", nothing, stream, unchanged),
        call!("insert", nothing, insert, tagged),
        call!("insert_all", nothing, insert_all, bulk_tagged),
        call!("upsert", nothing, upsert, renamed),
        call!("update", nothing, update, first_renamed),
        call!("update where", nothing, update_where, renamed),
        call!("update_all", nothing, update_all, renamed),
        call!("delete", author, delete, deleted),
        call!("transaction", nothing, transaction, written),
        call!("begin and commit", nothing, commit, written),
        call!("begin and roll back", nothing, roll_back, not_written),
        call!("nested", nothing, nested, written),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory() -> Result<()> {
    drop_everything(Arc::new(Memory::with_tables(&models::tables()))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_file() -> Result<()> {
    on_file(|options| options).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_durable() -> Result<()> {
    on_file(SqliteOptions::durable).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_in_memory() -> Result<()> {
    let store = Sqlite::in_memory().await?;
    store.create_tables(&models::tables()).await?;
    drop_everything(Arc::new(store)).await
}

async fn on_file(profile: fn(SqliteOptions) -> SqliteOptions) -> Result<()> {
    let directory = tempfile::tempdir().expect("a directory for the database");
    let options = profile(SqliteOptions::new(directory.path().join("dropped.db")));
    let store = Sqlite::open_with(options).await?;
    store.create_tables(&models::tables()).await?;
    drop_everything(Arc::new(store)).await
}

async fn drop_everything(store: Arc<dyn Storage>) -> Result<()> {
    let db = Db::from_shared(Arc::clone(&store), DbOptions::default().timeout(DEADLINE));
    for number in 0..USERS {
        let user = db.insert(new_user(number, "nobody")?).await?;
        db.insert(new_post(&user, &format!("post-{number}")))
            .await?;
    }
    let mut number = 0;
    for call in calls() {
        for pace in [Pace::Busy, Pace::Patient, Pace::Blocked] {
            let mut polls = 0;
            loop {
                number += 1;
                (call.prepare)(db.clone(), number).await?;
                let blocker = match pace {
                    Pace::Blocked => Some(db.begin(TxOptions::default()).await?),
                    Pace::Busy | Pace::Patient => None,
                };
                let ended = poll_times((call.run)(db.clone(), number), polls, pace).await?;
                drop(blocker);
                let done = check(&db, &call, number, polls).await?;
                assert!(
                    pace != Pace::Blocked || ended || done == 0,
                    "`{}` was dropped in the queue, and yet done",
                    call.name
                );
                if ended || polls > pace.polls_max() {
                    break;
                }
                polls += 1 + polls / 4;
            }
        }
    }
    tokio::time::timeout(DEADLINE, store.close())
        .await
        .expect("nobody is left to wait for")
}

/// Polls so many times and drops the future. Whether it came to its end.
async fn poll_times(
    mut future: BoxFuture<'static, Result<()>>,
    polls: usize,
    pace: Pace,
) -> Result<bool> {
    for _ in 0..polls {
        let polled = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
        if let Poll::Ready(outcome) = polled {
            return outcome.map(|()| true);
        }
        match pace {
            Pace::Patient | Pace::Blocked => tokio::time::sleep(PATIENCE).await,
            Pace::Busy => tokio::task::yield_now().await,
        }
    }
    Ok(false)
}

/// The next user: a transaction that writes, and then a look at what the call has left.
async fn check(db: &Db, call: &Call, number: usize, polls: usize) -> Result<u64> {
    let what = format!("`{}` dropped after {polls} polls", call.name);
    let next = async {
        let tx = db.begin(TxOptions::default()).await?;
        tx.insert(NewTag::new(format!("next-{number}"))).await?;
        tx.commit().await?;
        db.insert(NewTag::new(format!("after-{number}"))).await
    };
    match tokio::time::timeout(DEADLINE, next).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => panic!("{what}: the next user got {error:?}"),
        Err(late) => panic!("{what}: the next user waits in vain: {late}"),
    }
    let (done, whole) = (call.done)(db.clone(), number).await?;
    assert!(done == 0 || done == whole, "{what}: {done} of {whole} done");
    Ok(done)
}

fn new_user(number: usize, name: &str) -> Result<NewUser> {
    NewUser::without_password(&format!("user{number}@example.com"), name)
}

fn new_post(author: &User, slug: &str) -> NewPost {
    NewPost {
        author_id: author.id,
        slug: slug.to_owned(),
        title: "a title".to_owned(),
        content: "some content".to_owned(),
        status: PostStatus::Draft,
    }
}

fn nothing(_: Db, _: usize) -> Ready<Result<()>> {
    ready(Ok(()))
}

// Reads

async fn some_user(db: &Db) -> Result<User> {
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

async fn stream(db: Db, _: usize) -> Result<()> {
    let mut posts = db.query::<Post>().order(Post::CONTENT.asc()).stream();
    while let Some(post) = posts.next().await {
        post?;
    }
    Ok(())
}

async fn unchanged(db: Db, _: usize) -> Result<(u64, u64)> {
    assert!(db.query::<User>().count().await? >= USERS as u64);
    Ok((0, 0))
}

// Writes

async fn tags(db: &Db, prefix: String) -> Result<u64> {
    db.query::<Tag>()
        .filter(Tag::NAME.starts_with(&prefix))
        .count()
        .await
}

async fn insert(db: Db, number: usize) -> Result<()> {
    db.insert(NewTag::new(format!("one-{number}-")))
        .await
        .map(drop)
}

async fn tagged(db: Db, number: usize) -> Result<(u64, u64)> {
    Ok((tags(&db, format!("one-{number}-")).await?, 1))
}

async fn insert_all(db: Db, number: usize) -> Result<()> {
    let rows = (0..BULK).map(|at| NewTag::new(format!("bulk-{number}-{at}")));
    db.insert_all(rows).await.map(drop)
}

async fn bulk_tagged(db: Db, number: usize) -> Result<(u64, u64)> {
    let done = tags(&db, format!("bulk-{number}-")).await?;
    // So that the table does not grow with every call.
    db.query::<Tag>()
        .filter(Tag::NAME.starts_with("bulk-"))
        .delete()
        .await?;
    Ok((done, BULK as u64))
}

async fn upsert(db: Db, number: usize) -> Result<()> {
    let name = format!("name {number}");
    let rows = (0..USERS)
        .map(|at| new_user(at, &name))
        .collect::<Result<Vec<_>>>()?;
    db.upsert(rows)
        .on(User::EMAIL)
        .update(User::NAME)
        .run()
        .await
        .map(drop)
}

async fn update(db: Db, number: usize) -> Result<()> {
    let user = some_user(&db).await?;
    db.update::<User>(user.id, User::NAME.set(format!("first {number}")))
        .await
        .map(drop)
}

async fn update_where(db: Db, number: usize) -> Result<()> {
    let users = db.query::<User>().filter(User::EMAIL.starts_with("user"));
    users
        .update(User::NAME.set(format!("name {number}")))
        .await
        .map(drop)
}

async fn update_all(db: Db, number: usize) -> Result<()> {
    let mut users = db.query::<User>().all().await?;
    for user in &mut users {
        user.name = format!("name {number}");
    }
    db.update_all(users).await.map(drop)
}

async fn named(db: &Db, name: String) -> Result<u64> {
    db.query::<User>().filter(User::NAME.eq(name)).count().await
}

async fn renamed(db: Db, number: usize) -> Result<(u64, u64)> {
    Ok((named(&db, format!("name {number}")).await?, USERS as u64))
}

async fn first_renamed(db: Db, number: usize) -> Result<(u64, u64)> {
    Ok((named(&db, format!("first {number}")).await?, 1))
}

async fn author(db: Db, number: usize) -> Result<()> {
    let user = db
        .insert(NewUser::without_password(
            &format!("gone{number}@example.com"),
            "soon gone",
        )?)
        .await?;
    let posts = (0..3).map(|at| new_post(&user, &format!("gone-{number}-{at}")));
    db.insert_all(posts).await.map(drop)
}

fn gone(number: usize) -> larder_core::Predicate<User> {
    let email = format!("gone{number}@example.com").parse::<larder_core::Email>();
    User::EMAIL.eq(email.expect("an address"))
}

async fn delete(db: Db, number: usize) -> Result<()> {
    let Some(user) = db.query::<User>().filter(gone(number)).first().await? else {
        return Ok(());
    };
    db.delete::<User>(user.id).await.map(drop)
}

async fn deleted(db: Db, number: usize) -> Result<(u64, u64)> {
    let users = db.query::<User>().filter(gone(number)).count().await?;
    let slug = format!("gone-{number}-");
    let posts = db
        .query::<Post>()
        .filter(Post::SLUG.starts_with(&slug))
        .count()
        .await?;
    db.query::<User>().filter(gone(number)).delete().await?;
    Ok((4 - users - posts, 4))
}

// Transactions

/// Several statements, some of them long.
async fn work(db: &Db, number: usize) -> Result<()> {
    let user = db
        .insert(NewUser::without_password(
            &format!("tx{number}@example.com"),
            "tx",
        )?)
        .await?;
    db.insert(new_post(&user, &format!("tx-{number}"))).await?;
    db.query::<Post>()
        .filter(Post::CONTENT.contains("no"))
        .all()
        .await?;
    let rows = (0..40).map(|at| NewTag::new(format!("tx-{number}-{at}")));
    db.insert_all(rows).await.map(drop)
}

async fn transaction(db: Db, number: usize) -> Result<()> {
    db.transaction(|tx| async move { work(&tx, number).await })
        .await
}

async fn commit(db: Db, number: usize) -> Result<()> {
    let tx = db.begin(TxOptions::default()).await?;
    work(&tx, number).await?;
    tx.commit().await
}

async fn roll_back(db: Db, number: usize) -> Result<()> {
    let tx = db.begin(TxOptions::default()).await?;
    work(&tx, number).await?;
    tx.rollback().await
}

async fn nested(db: Db, number: usize) -> Result<()> {
    let tx = db.begin(TxOptions::default()).await?;
    work(&tx, number).await?;
    let inner = tx.begin(TxOptions::default()).await?;
    inner
        .insert(NewTag::new(format!("tx-{number}-inner")))
        .await?;
    inner.rollback().await?;
    let inner = tx.begin(TxOptions::default()).await?;
    inner
        .query::<Post>()
        .filter(Post::CONTENT.contains("no"))
        .all()
        .await?;
    inner.commit().await?;
    tx.commit().await
}

async fn done_by_transaction(db: &Db, number: usize) -> Result<u64> {
    let email = format!("tx{number}@example.com").parse::<larder_core::Email>()?;
    let users = db
        .query::<User>()
        .filter(User::EMAIL.eq(email))
        .count()
        .await?;
    let posts = db
        .query::<Post>()
        .filter(Post::SLUG.eq(format!("tx-{number}")))
        .count()
        .await?;
    Ok(users + posts + tags(db, format!("tx-{number}-")).await?)
}

async fn written(db: Db, number: usize) -> Result<(u64, u64)> {
    Ok((done_by_transaction(&db, number).await?, 42))
}

async fn not_written(db: Db, number: usize) -> Result<(u64, u64)> {
    Ok((done_by_transaction(&db, number).await?, 0))
}
