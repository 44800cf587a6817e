//! What SQLite cannot take in one statement is refused by name.

use larder_core::models::{self, NewTag, Tag};
use larder_core::{Db, ErrorKind, Predicate, Result};
use larder_sqlite::{Sqlite, SqliteOptions};

/// A predicate of so many values.
fn values(many: usize) -> Predicate<Tag> {
    let names = (0..many).map(|n| Tag::NAME.ne(n.to_string()));
    names.reduce(Predicate::and).expect("not empty")
}

#[tokio::test]
async fn too_many_values_in_one_statement_are_refused() -> Result<()> {
    let sqlite = Sqlite::open_with(SqliteOptions::in_memory()).await?;
    sqlite.create_tables(&models::tables()).await?;
    let db = Db::new(sqlite);
    db.insert(NewTag::new("tea")).await?;
    let too_many = || db.query::<Tag>().filter(values(32_767));
    let refusals = [
        too_many().all().await.map(|_| ()),
        too_many().delete().await.map(|_| ()),
        too_many().update(Tag::NAME.set("mate")).await.map(|_| ()),
    ];
    for refusal in refusals {
        let error = refusal.expect_err("one too many");
        assert_eq!(error.kind(), ErrorKind::Misuse, "{error:?}");
        assert!(error.message().contains("32766"), "{error}");
    }
    let fewer = db.query::<Tag>().filter(values(2_000));
    assert_eq!(fewer.delete().await?, 1);
    Ok(())
}
