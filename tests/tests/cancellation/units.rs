//! Transactions.

use larder_core::models::{NewTag, NewUser, Post, User};
use larder_core::{Db, Email, Result, Tx, TxOptions};

use crate::calls::{Call, Done, new_post};
use crate::writes::tags;

pub(crate) fn calls() -> Vec<Call> {
    vec![
        Call::new("transaction", transaction, written),
        Call::new("commit", commit, written),
        Call::new("rollback", roll_back, not_written),
        Call::new("nested", nested, written),
        Call::new("nested_transaction", nested_transaction, written),
    ]
}

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
    let tx = db.begin(TxOptions::new()).await?;
    work(&tx, number).await?;
    tx.commit().await
}

async fn roll_back(db: Db, number: usize) -> Result<()> {
    let tx = db.begin(TxOptions::new()).await?;
    work(&tx, number).await?;
    tx.rollback().await
}

async fn nested(db: Db, number: usize) -> Result<()> {
    let tx = db.begin(TxOptions::new()).await?;
    work(&tx, number).await?;
    let inner = tx.begin(TxOptions::new()).await?;
    inner
        .insert(NewTag::new(format!("tx-{number}-inner")))
        .await?;
    inner.rollback().await?;
    let inner = tx.begin(TxOptions::new()).await?;
    inner
        .query::<Post>()
        .filter(Post::CONTENT.contains("no"))
        .all()
        .await?;
    inner.commit().await?;
    tx.commit().await
}

async fn nested_transaction(db: Db, number: usize) -> Result<()> {
    db.transaction(|tx| async move { tx.transaction(|inner| inside(inner, number)).await })
        .await
}

async fn inside(tx: Tx, number: usize) -> Result<()> {
    work(&tx, number).await
}

async fn done_by_transaction(db: &Db, number: usize) -> Result<u64> {
    let email = format!("tx{number}@example.com").parse::<Email>()?;
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

async fn written(db: Db, number: usize) -> Done {
    Ok((done_by_transaction(&db, number).await?, 42))
}

async fn not_written(db: Db, number: usize) -> Done {
    Ok((done_by_transaction(&db, number).await?, 0))
}
