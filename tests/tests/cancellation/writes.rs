//! Writes, of one row and of many.

use larder_core::models::{NewTag, NewUser, Post, Tag, User};
use larder_core::{Db, Email, Predicate, Result};

use crate::calls::{Call, Done, USERS, new_post, new_user};
use crate::reads::some_user;

/// How many rows the bulk inserts have.
const BULK: usize = 1_000;

pub(crate) fn calls() -> Vec<Call> {
    vec![
        Call::new("insert", insert, tagged),
        Call::new("insert_all", insert_all, bulk_tagged),
        Call::new("insert_all_returning", insert_all_returning, bulk_tagged),
        Call::new("upsert", upsert, renamed),
        Call::new("upsert_returning", upsert_returning, renamed),
        Call::new("update", update, first_renamed),
        Call::new("save", save, first_renamed),
        Call::new("update_where", update_where, renamed),
        Call::new("update_all", update_all, renamed),
        Call::new("delete", delete, deleted).after(author),
        Call::new("delete_where", delete_where, deleted).after(author),
    ]
}

pub(crate) async fn tags(db: &Db, prefix: String) -> Result<u64> {
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

async fn tagged(db: Db, number: usize) -> Done {
    Ok((tags(&db, format!("one-{number}-")).await?, 1))
}

fn bulk(number: usize) -> impl Iterator<Item = NewTag> {
    (0..BULK).map(move |at| NewTag::new(format!("bulk-{number}-{at}")))
}

async fn insert_all(db: Db, number: usize) -> Result<()> {
    db.insert_all(bulk(number)).await.map(drop)
}

async fn insert_all_returning(db: Db, number: usize) -> Result<()> {
    db.insert_all_returning(bulk(number)).await.map(drop)
}

async fn bulk_tagged(db: Db, number: usize) -> Done {
    let done = tags(&db, format!("bulk-{number}-")).await?;
    // So that the table does not grow with every call.
    db.query::<Tag>()
        .filter(Tag::NAME.starts_with("bulk-"))
        .delete()
        .await?;
    Ok((done, BULK as u64))
}

fn everybody(number: usize) -> Result<Vec<NewUser>> {
    let name = format!("name {number}");
    (0..USERS).map(|at| new_user(at, &name)).collect()
}

async fn upsert(db: Db, number: usize) -> Result<()> {
    let upsert = db.upsert(everybody(number)?).on(User::EMAIL);
    upsert.update(User::NAME).run().await.map(drop)
}

async fn upsert_returning(db: Db, number: usize) -> Result<()> {
    let upsert = db.upsert(everybody(number)?).on(User::EMAIL);
    let users = upsert.update(User::NAME).returning().await?;
    assert_eq!(users.len(), USERS);
    Ok(())
}

async fn update(db: Db, number: usize) -> Result<()> {
    let user = some_user(&db).await?;
    db.update::<User>(user.id, User::NAME.set(format!("first {number}")))
        .await
        .map(drop)
}

async fn save(db: Db, number: usize) -> Result<()> {
    let mut user = some_user(&db).await?;
    user.name = format!("first {number}");
    db.save(user).await.map(drop)
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

async fn renamed(db: Db, number: usize) -> Done {
    Ok((named(&db, format!("name {number}")).await?, USERS as u64))
}

async fn first_renamed(db: Db, number: usize) -> Done {
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

fn gone(number: usize) -> Predicate<User> {
    let email = format!("gone{number}@example.com").parse::<Email>();
    User::EMAIL.eq(email.expect("an address"))
}

async fn delete(db: Db, number: usize) -> Result<()> {
    let Some(user) = db.query::<User>().filter(gone(number)).first().await? else {
        return Ok(());
    };
    db.delete::<User>(user.id).await.map(drop)
}

async fn delete_where(db: Db, number: usize) -> Result<()> {
    let found = db.query::<User>().filter(gone(number));
    found.delete().await.map(drop)
}

async fn deleted(db: Db, number: usize) -> Done {
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
