//! Writes that end early or fail late: half-way, at the commit, at their deadline.

use std::time::Duration;

use larder_core::models::{Comment, NewComment, NewPost, NewTag, NewUser, PostStatus, Tag};
use larder_core::{Db, Error, ErrorKind, Id, Result, Storage, TxOptions};
use larder_postgres::Postgres;
use larder_tests::databases::Database;
use tokio::time::timeout;
use tokio_postgres::Client;

use crate::{beside, database, db, quick};

/// Longer than anything here takes, unless it waits for a lock.
const LIMIT: Duration = Duration::from_secs(10);
/// A deadline that passes while somebody holds a lock.
const SOON: Duration = Duration::from_millis(300);

/// A store with one connection, so that what a write leaves behind meets the next one.
async fn one_connection() -> Result<(Database, Postgres, Db)> {
    let database = database().await?;
    let store = Postgres::connect_with(quick(&database.url())?.max_size(1)).await?;
    let db = db(&store, LIMIT);
    Ok((database, store, db))
}

/// Has somebody else change this tag, and not say yet whether it stays so.
async fn hold(url: &str, tag: &Tag) -> Client {
    let other = beside(url).await;
    let hold = format!("BEGIN; UPDATE tags SET name = name WHERE id = {}", tag.id);
    other
        .batch_execute(&hold)
        .await
        .expect("nobody else has it");
    other
}

async fn names(db: &Db) -> Result<Vec<String>> {
    let tags = db.query::<Tag>().order(Tag::NAME.asc());
    tags.select(Tag::NAME).all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nested_transaction_dropped_half_way_is_undone_alone() -> Result<()> {
    let (database, store, db) = one_connection().await?;
    let held = db.insert(NewTag::new("held")).await?;
    let other = hold(&database.url(), &held).await;
    let tx = db.begin(TxOptions::new()).await?;
    tx.insert(NewTag::new("outer")).await?;
    let inner = tx.begin(TxOptions::new()).await?;
    inner.insert(NewTag::new("inner")).await?;
    let waiting = inner.update::<Tag>(held.id, Tag::NAME.set("changed"));
    assert!(
        timeout(SOON, waiting).await.is_err(),
        "somebody holds the row"
    );
    drop(inner);
    tx.insert(NewTag::new("after")).await?;
    tx.commit().await?;
    other.batch_execute("ROLLBACK").await.expect("it was open");
    assert_eq!(names(&db).await?, ["after", "held", "outer"]);
    store.close().await
}

/// Has references of comments looked at when a transaction commits.
async fn defer(url: &str) {
    let defer = "ALTER TABLE comments
        ALTER CONSTRAINT comments_post_id_fkey DEFERRABLE INITIALLY DEFERRED";
    let client = beside(url).await;
    client
        .batch_execute(defer)
        .await
        .expect("the table is there");
}

/// So many comments, the last of them on a post that is not there.
async fn comments(db: &Db, count: usize) -> Result<Vec<NewComment>> {
    let ada = db.insert(NewUser::without_password("ada@example.com", "Ada")?);
    let ada = ada.await?;
    let post = db.insert(NewPost {
        author_id: ada.id,
        slug: "post".into(),
        title: "Post".into(),
        content: String::new(),
        status: PostStatus::Draft,
    });
    let post = post.await?;
    let comment = |at| NewComment {
        post_id: if at + 1 < count { post.id } else { Id::new(0) },
        author_id: ada.id,
        content: "text".into(),
    };
    Ok((0..count).map(comment).collect())
}

#[track_caller]
fn refers_to_nothing<T: std::fmt::Debug>(outcome: Result<T>) {
    let error = outcome.expect_err("one comment is on nothing");
    assert_eq!(error.kind(), ErrorKind::Reference, "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_by_copy_that_fail_at_the_commit_are_not_acknowledged() -> Result<()> {
    let (database, store, db) = one_connection().await?;
    defer(&database.url()).await;
    // As many as go by COPY, by arrays, alone.
    let rows = comments(&db, 500).await?;
    refers_to_nothing(db.insert_all(rows.clone()).await);
    refers_to_nothing(db.insert_all(rows[490..].to_vec()).await);
    refers_to_nothing(db.insert(rows[499].clone()).await);
    assert_eq!(db.query::<Comment>().count().await?, 0);
    db.insert(NewTag::new("after")).await?;
    store.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_fails_says_so_and_leaves_the_connection_clean() -> Result<()> {
    let (database, store, db) = one_connection().await?;
    defer(&database.url()).await;
    let rows = comments(&db, 3).await?;
    let tx = db.begin(TxOptions::new()).await?;
    tx.insert(NewTag::new("within")).await?;
    tx.insert_all(rows.clone()).await?; // nobody has looked yet
    refers_to_nothing(tx.clone().commit().await);
    let again = tx.insert(NewTag::new("late")).await;
    assert_eq!(again.expect_err("it has ended").kind(), ErrorKind::Closed);
    assert_eq!(names(&db).await?, [""; 0]);
    let unit: Result<u64> = db
        .transaction(|tx| {
            let rows = rows.clone();
            async move { tx.insert_all(rows).await }
        })
        .await;
    refers_to_nothing(unit);
    db.insert(NewTag::new("after")).await?;
    assert_eq!(names(&db).await?, ["after"]);
    assert_eq!(db.query::<Comment>().count().await?, 0);
    store.close().await
}

#[track_caller]
fn is_late(outcome: Result<impl std::fmt::Debug>) -> Error {
    let error = outcome.expect_err("somebody holds the row");
    let late = matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unknown);
    assert!(late, "{error:?}");
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_write_is_stopped_and_nothing_after_it() -> Result<()> {
    let (database, store, db) = one_connection().await?;
    let held = db.insert(NewTag::new("held")).await?;
    let hasty = crate::db(&store, SOON);
    for round in 0..5 {
        let other = hold(&database.url(), &held).await;
        let name = format!("late {round}");
        is_late(hasty.update::<Tag>(held.id, Tag::NAME.set(name)).await);
        // The next ones have the same connection, if it is still used.
        for at in 0..10 {
            db.insert(NewTag::new(format!("{round}-{at}"))).await?;
        }
        other.batch_execute("ROLLBACK").await.expect("it was open");
    }
    assert_eq!(db.find::<Tag>(held.id).await?.name, "held");
    assert_eq!(db.query::<Tag>().count().await?, 51);
    store.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_write_of_a_transaction_is_undone_alone() -> Result<()> {
    let (database, store, db) = one_connection().await?;
    let held = db.insert(NewTag::new("held")).await?;
    let other = hold(&database.url(), &held).await;
    let hasty = crate::db(&store, SOON);
    let tx = hasty.begin(TxOptions::new()).await?;
    tx.insert(NewTag::new("before")).await?;
    is_late(tx.update::<Tag>(held.id, Tag::NAME.set("late")).await);
    tx.insert(NewTag::new("after")).await?;
    tx.commit().await?;
    other.batch_execute("ROLLBACK").await.expect("it was open");
    assert_eq!(names(&db).await?, ["after", "before", "held"]);
    store.close().await
}
