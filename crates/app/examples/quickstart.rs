//! The shortest tour of Larder, that of the README.

use larder::{Db, Email, Entity, Id, Insert, Result, sqlite::Sqlite};

#[derive(Entity, Debug)]
#[entity(table = "users")]
struct User {
    #[key(auto)]
    id: Id<User>,
    #[unique]
    email: Email,
    #[index]
    name: String,
}

#[derive(Insert, Clone)]
#[insert(User)]
struct NewUser {
    email: Email,
    name: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let sqlite = Sqlite::in_memory().await?; // or Sqlite::open("app.db")
    sqlite.create_tables(&[User::TABLE]).await?; // a service runs migrations
    let db = Db::new(sqlite);
    let new = NewUser {
        email: "ada@example.com".parse()?,
        name: "Ada".into(),
    };
    let ada = db.insert(new.clone()).await?;
    let named = db.query::<User>().filter(User::NAME.starts_with("A"));
    let page = named.order(User::NAME.asc()).page(20).await?;
    assert_eq!(page.items[0].id, ada.id);
    let again = db.insert(new).await; // refused, and it says by which constraint
    assert!(again.is_err_and(|error| error.violates(User::EMAIL)));
    Ok(())
}
