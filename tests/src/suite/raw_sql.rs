//! Statements in the engine's own SQL: window functions, recursive queries, typed on both sides.

use std::time::Duration;

use larder_core::models::{NewTag, Tag, User};
use larder_core::{
    Date, Db, Decimal, ErrorKind, Result, SqlRow, SqlText, Timestamp, TxOptions, Uuid,
};

use crate::fixtures::{post, refused, tag, tags, user};
use crate::harness::{TestDb, tests};

/// Whether the engine takes no SQL, and says so.
async fn takes_none(db: &Db) -> Result<bool> {
    if db.capabilities().raw_sql.is_some() {
        return Ok(false);
    }
    let engine = db.capabilities().engine;
    let read = db.sql("SELECT 1").rows::<(i64,)>().await;
    let error = refused(read, ErrorKind::Unsupported);
    assert!(error.message().contains(engine), "{error}");
    let write = db.sql("DELETE FROM tags").execute().await;
    refused(write, ErrorKind::Unsupported);
    let tx = db.begin(TxOptions::new()).await?;
    refused(
        tx.sql("SELECT 1").first::<(i64,)>().await,
        ErrorKind::Unsupported,
    );
    Ok(true)
}

#[derive(SqlRow, Debug, PartialEq)]
struct Ranked {
    place: i64,
    title: String,
    #[sql(name = "previous title")]
    previous: Option<String>,
}

async fn window_functions_come_back_as_structs(db: TestDb) -> Result<()> {
    if takes_none(&db).await? {
        return Ok(());
    }
    let (ada, bob) = (user(&db, 1).await?, user(&db, 2).await?);
    for (author, slug) in [(&ada, "a"), (&bob, "b"), (&ada, "c")] {
        post(&db, author, slug).await?;
    }
    let rows = db
        .sql(
            "SELECT title, slug, ROW_NUMBER() OVER (ORDER BY id DESC) AS place,
                    lag(title) OVER (ORDER BY id DESC) AS \"previous title\"
             FROM posts WHERE author_id = $1 ORDER BY place",
        )
        .bind(ada.id)
        .rows::<Ranked>()
        .await?;
    let ranked = |place, title: &str, previous: Option<&str>| Ranked {
        place,
        title: title.to_owned(),
        previous: previous.map(str::to_owned),
    };
    assert_eq!(
        rows,
        [ranked(1, "On c", None), ranked(2, "On a", Some("On c"))]
    );
    Ok(())
}

async fn recursive_queries_come_back_as_tuples(db: TestDb) -> Result<()> {
    if takes_none(&db).await? {
        return Ok(());
    }
    let count = |most: i64| {
        db.sql(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
             SELECT i FROM n ORDER BY i",
        )
        .bind(most)
    };
    assert_eq!(count(4).rows::<(i64,)>().await?, [(1,), (2,), (3,), (4,)]);
    assert_eq!(count(3).first::<(i64,)>().await?, Some((1,)));
    assert_eq!(count(1).one::<(i64,)>().await?, (1,));
    refused(count(2).one::<(i64,)>().await, ErrorKind::Misuse);
    let none = || db.sql("SELECT id FROM tags WHERE id < $1").bind(0_i64);
    refused(none().one::<(i64,)>().await, ErrorKind::NotFound);
    assert_eq!(none().first::<(i64,)>().await?, None);
    Ok(())
}

async fn models_are_read_by_the_names_of_their_columns(db: TestDb) -> Result<()> {
    if takes_none(&db).await? {
        return Ok(());
    }
    let ada = user(&db, 1).await?;
    let read = db.sql("SELECT 7 AS extra, users.* FROM users WHERE name LIKE $1");
    assert_eq!(read.bind("User%").rows::<User>().await?, [ada]);
    Ok(())
}

async fn every_kind_can_be_bound_and_read(db: TestDb) -> Result<()> {
    if takes_none(&db).await? {
        return Ok(());
    }
    type Numbers = (bool, i16, i32, i64, f32, f64, Decimal, Option<i64>);
    let numbers: Numbers = (
        true,
        -7,
        70_000,
        i64::MIN,
        0.5,
        -1e300,
        Decimal::new(-1_050, 2),
        None,
    );
    let read = db.sql("SELECT $1, $2, $3, $4, $5, $6, $7, $8");
    let read = read.bind(numbers.0).bind(numbers.1).bind(numbers.2);
    let read = read.bind(numbers.3).bind(numbers.4).bind(numbers.5);
    let read = read.bind(numbers.6).bind(numbers.7);
    assert_eq!(read.one::<Numbers>().await?, numbers);

    type Others = (String, Vec<u8>, Timestamp, Date, Uuid, Option<String>);
    let others: Others = (
        "'; DROP TABLE tags; --".to_owned(),
        vec![0, 255],
        Timestamp::from_micros(-1)?,
        Date::constant(2024, 2, 29),
        Uuid::from_u128(7),
        Some("é".to_owned()),
    );
    let given = others.clone();
    let read = db.sql("SELECT $1, $2, $3, $4, $5, $6").bind(given.0);
    let read = read.bind(given.1).bind(given.2).bind(given.3);
    let read = read.bind(given.4).bind(given.5);
    assert_eq!(read.one::<Others>().await?, others);
    Ok(())
}

async fn values_are_bound_by_their_numbers(db: TestDb) -> Result<()> {
    if takes_none(&db).await? {
        return Ok(());
    }
    tags(&db, 5).await?;
    let read = || db.sql("SELECT name FROM tags WHERE name > $2 AND name < $1 AND $1 <> $2");
    let bound = read().bind("tag 00003").bind("tag 00001");
    assert_eq!(bound.one::<(String,)>().await?.0, "tag 00002");
    for wrong in [
        read(),
        read().bind("a"),
        read().bind("a").bind("b").bind("c"),
    ] {
        refused(wrong.rows::<(String,)>().await, ErrorKind::Misuse);
    }
    let nul = read().bind("a\0").bind("b").rows::<(String,)>().await;
    refused(nul, ErrorKind::Invalid);
    Ok(())
}

async fn writes_count_their_rows_and_return_them(db: TestDb) -> Result<()> {
    if takes_none(&db).await? {
        return Ok(());
    }
    tags(&db, 4).await?;
    let changed = db.sql("UPDATE tags SET name = name || $1 WHERE name >= $2");
    assert_eq!(changed.bind("!").bind("tag 00002").execute().await?, 2);
    let added = db.sql("INSERT INTO tags (name) VALUES ($1), ($2) RETURNING name, id");
    let added = added.bind("x").bind("y").returning::<Tag>().await?;
    let stored = db
        .query::<Tag>()
        .order(Tag::ID.asc())
        .offset(4)
        .all()
        .await?;
    assert_eq!(added, stored);
    let none = db.sql("DELETE FROM tags WHERE name = $1").bind("nobody's");
    assert_eq!(none.execute().await?, 0);
    let named = db.sql(
        "WITH gone AS (SELECT id FROM tags) DELETE FROM tags WHERE id IN (SELECT id FROM gone)",
    );
    assert_eq!(named.execute().await?, 6);
    assert_eq!(db.sql("SELECT id FROM tags").execute().await?, 0);
    Ok(())
}

async fn a_refused_write_leaves_nothing_behind(db: TestDb) -> Result<()> {
    if takes_none(&db).await? {
        return Ok(());
    }
    tag(&db, "taken").await?;
    let twice = || {
        db.sql("INSERT INTO tags (name) VALUES ($1), ($2)")
            .bind("free")
            .bind("taken")
    };
    refused(twice().execute().await, ErrorKind::Unique);
    assert_eq!(db.query::<Tag>().count().await?, 1);
    let tx = db.begin(TxOptions::new()).await?;
    tag(&tx, "inside").await?;
    let error = tx
        .sql("INSERT INTO tags (name) VALUES ('free'), ('taken')")
        .execute();
    refused(error.await, ErrorKind::Unique);
    tx.commit().await?;
    assert_eq!(
        db.query::<Tag>().count().await?,
        2,
        "the transaction went on"
    );
    Ok(())
}

async fn what_reads_cannot_write(db: TestDb) -> Result<()> {
    if takes_none(&db).await? {
        return Ok(());
    }
    tag(&db, "kept").await?;
    let plain = db
        .sql("DELETE FROM tags RETURNING id")
        .rows::<(i64,)>()
        .await;
    refused(plain, ErrorKind::Misuse);
    let hidden = || match db.capabilities().raw_sql {
        Some("sqlite") => {
            "WITH x (i) AS (SELECT 1) INSERT INTO tags (name) SELECT 'new' RETURNING id"
        }
        _ => "WITH x AS (DELETE FROM tags RETURNING id) SELECT id FROM x",
    };
    refused(db.sql(hidden()).rows::<(i64,)>().await, ErrorKind::ReadOnly);
    let tx = db.begin(TxOptions::new().read_only()).await?;
    let refusal = tx.sql("DELETE FROM tags").execute().await;
    refused(refusal, ErrorKind::ReadOnly);
    tx.rollback().await?;
    assert_eq!(db.query::<Tag>().one().await?.name, "kept");
    Ok(())
}

async fn only_one_statement_that_reads_or_changes_rows(db: TestDb) -> Result<()> {
    if takes_none(&db).await? {
        return Ok(());
    }
    tag(&db, "kept").await?;
    let tx = db.begin(TxOptions::new()).await?;
    tag(&tx, "undone").await?;
    for text in [
        "COMMIT",
        "/* SELECT */ COMMIT",
        "SELECT 1; COMMIT",
        "DELETE FROM tags; DELETE FROM users",
        "DROP TABLE tags",
        "",
    ] {
        refused(tx.sql(text).execute().await, ErrorKind::Misuse);
        refused(db.sql(text).rows::<(i64,)>().await, ErrorKind::Misuse);
    }
    tx.rollback().await?;
    assert_eq!(db.query::<Tag>().one().await?.name, "kept");
    Ok(())
}

async fn columns_that_do_not_fit_are_listed(db: TestDb) -> Result<()> {
    if takes_none(&db).await? {
        return Ok(());
    }
    let read = || db.sql("SELECT name AS title, id AS place FROM tags");
    let error = refused(read().rows::<Ranked>().await, ErrorKind::Misuse);
    let message = error.message();
    for part in [
        "`previous title` text is missing",
        "wanted: `place` i64",
        "came: `title`",
    ] {
        assert!(message.contains(part), "{message}");
    }
    refused(read().rows::<(String,)>().await, ErrorKind::Misuse);
    refused(read().rows::<(String, i64, i64)>().await, ErrorKind::Misuse);
    let twice = db.sql("SELECT id, id, name FROM tags").rows::<Tag>().await;
    refused(twice, ErrorKind::Misuse);
    assert!(
        read().rows::<(String, i64)>().await?.is_empty(),
        "these fit"
    );
    let missing = db.sql("SELECT nothing FROM tags").rows::<(i64,)>().await;
    assert!(
        refused(missing, ErrorKind::Misuse)
            .message()
            .contains("nothing")
    );
    Ok(())
}

async fn values_of_another_type_are_refused(db: TestDb) -> Result<()> {
    if takes_none(&db).await? {
        return Ok(());
    }
    tag(&db, "a").await?;
    // Some engines know the type of a column, others only that of a value.
    let text = db.sql("SELECT name FROM tags").rows::<(i64,)>().await;
    let error = text.expect_err("a name is no number");
    assert!(matches!(
        error.kind(),
        ErrorKind::Misuse | ErrorKind::Decode
    ));
    let null = db.sql("SELECT bio FROM users").rows::<(String,)>();
    user(&db, 1).await?;
    let error = refused(null.await, ErrorKind::Decode);
    assert_eq!(error.column(), Some("bio"));
    Ok(())
}

async fn statements_belong_to_their_transaction(db: TestDb) -> Result<()> {
    if takes_none(&db).await? {
        return Ok(());
    }
    let names = |db: &Db| {
        let db = db.clone();
        async move {
            db.sql("SELECT name FROM tags ORDER BY name")
                .rows::<(String,)>()
                .await
        }
    };
    let tx = db.begin(TxOptions::new()).await?;
    tag(&tx, "a").await?;
    let insert = tx.sql("INSERT INTO tags (name) VALUES ($1)").bind("b");
    assert_eq!(insert.execute().await?, 1);
    assert_eq!(names(&tx).await?.len(), 2);
    let inner = tx.begin(TxOptions::new()).await?;
    assert_eq!(inner.sql("DELETE FROM tags").execute().await?, 2);
    inner.rollback().await?;
    tx.commit().await?;
    assert_eq!(names(&db).await?.len(), 2);
    Ok(())
}

async fn statements_are_seen_without_their_values(db: TestDb) -> Result<()> {
    if takes_none(&db).await? {
        return Ok(());
    }
    let read = db.sql("SELECT id FROM tags WHERE name = $1").bind("secret");
    let (rows, report) = db.observe(read.rows::<(i64,)>()).await;
    rows?;
    assert_eq!(
        report.statements()[0].shape,
        "SELECT id FROM tags WHERE name = $1"
    );
    report.assert_round_trips(1);
    Ok(())
}

async fn a_long_statement_ends_by_its_deadline(db: TestDb) -> Result<()> {
    if takes_none(&db).await? {
        return Ok(());
    }
    let read = db.sql(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT 1 - i FROM n)
         SELECT count(*) FROM n",
    );
    let late = read.timeout(Duration::from_millis(50)).rows::<(i64,)>();
    refused(late.await, ErrorKind::Timeout);
    db.insert(NewTag::new("after")).await?;
    assert_eq!(db.query::<Tag>().count().await?, 1);
    Ok(())
}

async fn a_text_made_at_run_time_says_that_it_is_trusted(db: TestDb) -> Result<()> {
    if takes_none(&db).await? {
        return Ok(());
    }
    tags(&db, 3).await?;
    for (direction, first) in [("ASC", "tag 00000"), ("DESC", "tag 00002")] {
        let text = format!("SELECT name FROM tags ORDER BY name {direction}");
        let read = db.sql(SqlText::from_trusted(text));
        assert_eq!(read.first::<(String,)>().await?, Some((first.to_owned(),)));
    }
    Ok(())
}

async fn lists_are_one_value(db: TestDb) -> Result<()> {
    if takes_none(&db).await? {
        return Ok(());
    }
    tags(&db, 5).await?;
    let text = match db.capabilities().raw_sql {
        Some("sqlite") => "SELECT name FROM tags WHERE name IN rarray($1) ORDER BY name",
        _ => "SELECT name FROM tags WHERE name = ANY($1) ORDER BY name",
    };
    let wanted = ["tag 00001", "tag 00004", "no tag"].map(str::to_owned);
    let found = db.sql(text).bind_list(wanted).rows::<(String,)>().await?;
    let found: Vec<_> = found.iter().map(|(name,)| name.as_str()).collect();
    assert_eq!(found, ["tag 00001", "tag 00004"]);
    Ok(())
}

tests![
    window_functions_come_back_as_structs,
    recursive_queries_come_back_as_tuples,
    models_are_read_by_the_names_of_their_columns,
    every_kind_can_be_bound_and_read,
    values_are_bound_by_their_numbers,
    writes_count_their_rows_and_return_them,
    a_refused_write_leaves_nothing_behind,
    what_reads_cannot_write,
    only_one_statement_that_reads_or_changes_rows,
    columns_that_do_not_fit_are_listed,
    values_of_another_type_are_refused,
    statements_belong_to_their_transaction,
    statements_are_seen_without_their_values,
    a_long_statement_ends_by_its_deadline,
    a_text_made_at_run_time_says_that_it_is_trusted,
    lists_are_one_value,
];
