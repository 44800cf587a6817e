//! The shortest tour of Larder; the README shows the same lines.

use larder::{Db, Email, Entity, Id, Result, sqlite::Sqlite};

#[derive(Entity, Clone, Debug)]
#[entity(table = "users")]
struct User {
    #[key(auto)]
    id: Id<User>,
    #[unique]
    email: Email,
    name: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let sqlite = Sqlite::in_memory().await?; // or Sqlite::open("app.db")
    sqlite.create_tables(&[User::TABLE]).await?; // or migrations
    let db = Db::new(sqlite);
    let (id, email, name) = (Id::new(1), "ada@example.com".parse()?, "Ada".into());
    let mut ada = db.insert(User { id, email, name }).await?;
    let query = db.query::<User>().filter(User::NAME.starts_with("A"));
    let page = query.order(User::NAME.asc()).page(20).await?;
    println!("{:?}, then {:?}", page.items, page.next(&db).await?.items);
    ada.id = Id::new(2);
    let again = db.insert(ada).await;
    assert!(again.is_err_and(|error| error.violates(User::EMAIL)));
    Ok(())
}
