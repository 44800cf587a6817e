//! What Larder is asked to do, as an application asks it. The same on every engine.

use std::hint::black_box;
use std::sync::Arc;

use larder_core::models::{NewComment, NewUser, Post, PostStatus, User};
use larder_core::{Db, Id, Insert, Page, TxOptions};
use tokio::runtime::Runtime;

use crate::data::{
    AUTHORS, BULK_INSERT, BULK_UPDATE, FIRST_CREATED, LOADED, PAGE, POSTS_EACH, USERS, address,
};
use crate::plan::Author;
use crate::{Side, run};

const FOUND: &str = "the row is there";
const READ: &str = "the read succeeds";
const WRITTEN: &str = "the write succeeds";

/// Reads a user by key.
pub async fn get(db: &Db, id: i64) {
    black_box(db.get::<User>(Id::new(id)).await.expect(READ).expect(FOUND));
}

/// Reads a user by address.
pub async fn find(db: &Db, number: i64) {
    let query = db
        .query::<User>()
        .filter(User::EMAIL.eq(address(number).clone()));
    black_box(query.first().await.expect(READ).expect(FOUND));
}

/// [`get`] by many tasks.
pub fn get_tasks(runtime: Arc<Runtime>, db: Db) -> Side {
    let get = |db, id| async move { get(&db, id).await };
    run::tasks(runtime, vec![db], get)
}

/// [`find`] by many tasks.
pub fn find_tasks(runtime: Arc<Runtime>, db: Db) -> Side {
    let find = |db, number| async move { find(&db, number).await };
    run::tasks(runtime, vec![db], find)
}

/// The newest published posts, and the place after them: when the last was created, and its key.
pub async fn first_page(db: &Db) -> (Page<Post>, i64, i64) {
    let page = db
        .query::<Post>()
        .filter(Post::STATUS.eq(PostStatus::Published))
        .order(Post::CREATED_AT.desc())
        .page(PAGE)
        .await
        .expect(READ);
    let last = page.items.last().expect(FOUND);
    let (created_at, id) = (last.created_at.as_micros(), last.id.get());
    assert!(
        created_at > FIRST_CREATED && id < AUTHORS * POSTS_EACH,
        "the newest posts come first"
    );
    (page, created_at, id)
}

/// Reads the page after the first.
pub async fn second_page(db: &Db, first: &Page<Post>) {
    let page = first.next(db).await.expect(READ);
    assert!(page.items.len() == PAGE as usize && page.next.is_some());
    black_box(page);
}

/// Reads all users.
pub async fn scan(db: &Db) {
    let users = db.query::<User>().all().await.expect(READ);
    assert_eq!(users.len(), USERS as usize);
    black_box(users);
}

/// The first users with their posts and comments.
pub async fn load_authors(db: &Db) -> Vec<Author> {
    let first = User::ID.le(Id::new(LOADED));
    db.query::<User>()
        .filter(first)
        .order(User::ID.asc())
        .load::<Author>()
        .await
        .expect(READ)
}

/// Inserts users one by one.
pub fn inserts(runtime: Arc<Runtime>, db: Db) -> Side {
    let insert = async |db: &Db, user: NewUser| {
        black_box(db.insert(user).await.expect(WRITTEN));
    };
    run::inserts(runtime, db, crate::data::new_user, remove_inserted, insert)
}

/// Inserts users in many tasks.
pub fn insert_tasks(runtime: Arc<Runtime>, db: Db) -> Side {
    let insert = |db: Db, user: NewUser| async move {
        black_box(db.insert(user).await.expect(WRITTEN));
    };
    run::insert_tasks(runtime, db, crate::data::new_user, remove_inserted, insert)
}

async fn remove_inserted(db: &Db) {
    let inserted = db.query::<User>().filter(User::ID.gt(Id::new(USERS)));
    inserted.delete().await.expect(WRITTEN);
    // The checkpoint that the deletion may have made due is not part of what comes next, as the
    // driver's is not.
    let writer = db.begin(TxOptions::new()).await.expect(WRITTEN);
    writer.rollback().await.expect(WRITTEN);
}

/// Inserts the rows of the bulk insert of users.
pub async fn insert_users(db: &Db, users: Vec<NewUser>) {
    insert_all(db, users).await;
}

/// Inserts the rows of the bulk insert of comments.
pub async fn insert_comments(db: &Db, comments: Vec<NewComment>) {
    insert_all(db, comments).await;
}

async fn insert_all<I: Insert>(db: &Db, rows: Vec<I>) {
    let written = db.insert_all(rows).await.expect(WRITTEN);
    assert_eq!(written, BULK_INSERT as u64);
}

/// The rows of the bulk update, changed already.
pub async fn changed_users(db: &Db) -> Vec<User> {
    let read = db.query::<User>().limit(BULK_UPDATE as u64).all();
    let mut users = read.await.expect(READ);
    for user in &mut users {
        user.name.push_str(", esq.");
    }
    users
}

/// Writes the changed users back.
pub async fn update_users(db: &Db, users: Vec<User>) {
    let written = db.update_all(users).await.expect(WRITTEN);
    assert_eq!(written, BULK_UPDATE as u64);
}
