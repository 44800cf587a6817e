//! Tables of a Redis namespace made, changed and dropped; indexes that have drifted.

use larder_core::migration::MigrationState;
use larder_core::models::{self, NewTag, Tag};
use larder_core::{Db, Entity, ErrorKind, Id, Insert, Result, Table};
use larder_redis::{Redis, RedisOptions};
use larder_tests::redis_server::{Namespaces, RedisServer, TestNamespace};

/// A model, and what became of it.
mod before {
    use super::*;

    #[derive(Entity, Clone, Debug, PartialEq)]
    #[entity(table = "notes")]
    pub(super) struct Note {
        #[key(auto)]
        pub(super) id: Id<Note>,
        pub(super) title: String,
        pub(super) words: i64,
    }

    #[derive(Insert, Clone)]
    #[insert(Note)]
    pub(super) struct NewNote {
        pub(super) title: String,
        pub(super) words: i64,
    }
}

mod after {
    use super::*;

    #[derive(Entity, Clone, Debug, PartialEq)]
    #[entity(table = "notes", index(words))]
    pub(super) struct Note {
        #[key(auto)]
        pub(super) id: Id<Note>,
        #[unique]
        pub(super) title: String,
        pub(super) words: i64,
        #[column(default = 3)]
        pub(super) stars: i64,
        pub(super) author: Option<String>,
    }
}

const ROWS: usize = 1_234;

fn namespaces() -> Namespaces {
    Namespaces::open().unwrap_or_else(|error| panic!("{error}"))
}

async fn connect(namespace: &TestNamespace) -> Result<Redis> {
    Redis::connect_with(RedisOptions::new(&namespace.url())?.connections(1)).await
}

async fn filled(namespace: &TestNamespace, title: fn(usize) -> String) -> Result<Redis> {
    let redis = connect(namespace).await?;
    redis.migrate(&[before::Note::TABLE]).await?;
    let notes = (0..ROWS).map(|number| before::NewNote {
        title: title(number),
        words: number as i64,
    });
    Db::new(redis.clone()).insert_all(notes).await?;
    Ok(redis)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_model_gets_its_columns_and_indexes() -> Result<()> {
    let namespaces = namespaces();
    let namespace = namespaces.fresh();
    let old = Db::new(filled(&namespace, |number| format!("note {number}")).await?);
    let redis = connect(&namespace).await?;
    let tables: [&'static Table; 1] = [after::Note::TABLE];
    let status = redis.migration_status(&tables).await?;
    assert_eq!(status[0].state, MigrationState::Changed);
    let refused = Db::new(redis.clone()).query::<after::Note>().count().await;
    assert_eq!(refused.expect_err("not migrated").kind(), ErrorKind::Schema);

    let done = redis.migrate(&tables).await?;
    assert_eq!((done.len(), done[0].name.as_str()), (1, "notes"));
    assert!(redis.migrate(&tables).await?.is_empty(), "nothing is left");
    let db = Db::new(redis.clone());
    let found = db
        .query::<after::Note>()
        .filter(after::Note::WORDS.ge(ROWS as i64 - 2));
    let found = found.order(after::Note::WORDS.asc()).all().await?;
    let stars: Vec<_> = found
        .iter()
        .map(|note| (note.stars, note.author.clone()))
        .collect();
    assert_eq!(stars, [(3, None), (3, None)]);
    assert!(redis.check_indexes(after::Note::TABLE).await?.is_none());
    let twice = found[0].title.as_str();
    let query = db
        .query::<after::Note>()
        .filter(after::Note::TITLE.eq("note 7"));
    let error = query.update(after::Note::TITLE.set(twice)).await;
    assert!(error.expect_err("taken").violates(after::Note::TITLE));

    // Who knows the old model is refused, and does no harm.
    let note = before::NewNote {
        title: "late".into(),
        words: 1,
    };
    assert!(old.insert(note.clone()).await.is_err());
    assert_eq!(
        old.insert(note).await.expect_err("old").kind(),
        ErrorKind::Schema
    );
    let read = old.query::<before::Note>().all().await;
    assert_eq!(read.expect_err("old").kind(), ErrorKind::Schema);
    assert_eq!(db.query::<after::Note>().count().await?, ROWS as u64);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_do_not_keep_a_new_constraint_stop_it_until_they_do() -> Result<()> {
    let namespaces = namespaces();
    let namespace = namespaces.fresh();
    let redis = filled(&namespace, |number| format!("note {}", number % 1_000)).await?;
    let error = redis
        .migrate(&[after::Note::TABLE])
        .await
        .expect_err("twice the same");
    assert_eq!(error.kind(), ErrorKind::Unique, "{error:?}");
    let status = redis.migration_status(&[after::Note::TABLE]).await?;
    assert_eq!(status[0].state, MigrationState::Changed, "as it was before");
    let old = Db::new(connect(&namespace).await?);
    assert_eq!(old.query::<before::Note>().count().await?, ROWS as u64);
    let twice = old
        .query::<before::Note>()
        .filter(before::Note::WORDS.ge(1_000));
    assert_eq!(twice.delete().await?, ROWS as u64 - 1_000);
    assert_eq!(redis.migrate(&[after::Note::TABLE]).await?.len(), 1);
    assert!(redis.check_indexes(after::Note::TABLE).await?.is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_tables_leave_nothing_behind() -> Result<()> {
    let namespaces = namespaces();
    let namespace = namespaces.fresh();
    let redis = connect(&namespace).await?;
    let tables = models::tables();
    assert_eq!(redis.migrate(&tables).await?.len(), tables.len());
    let db = Db::new(redis.clone());
    db.insert_all((0..700).map(|number| NewTag::new(format!("tag {number}"))))
        .await?;
    assert_eq!(redis.migrate_down(&tables, 0).await?.len(), tables.len());
    let error = db.query::<Tag>().count().await.expect_err("it is gone");
    assert!(
        [ErrorKind::Schema, ErrorKind::Conflict].contains(&error.kind()),
        "{error:?}"
    );
    redis.migrate(&tables).await?;
    assert_eq!(db.query::<Tag>().count().await?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_is_found_and_repaired() -> Result<()> {
    let server = RedisServer::start().unwrap_or_else(|error| panic!("{error}"));
    let namespaces = Namespaces::of(server).expect("namespaces");
    let server = namespaces.server().expect("its own");
    let namespace = namespaces.fresh();
    let redis = connect(&namespace).await?;
    redis.migrate(&models::tables()).await?;
    let db = Db::new(redis.clone());
    db.insert_all((0..10).map(|number| NewTag::new(format!("tag {number}"))))
        .await?;
    assert!(redis.check_indexes(Tag::TABLE).await?.is_none());
    let index = format!(
        "{{{}}}:index:tags:{}",
        namespace.name(),
        Tag::TABLE.uniques[0].name
    );
    let command = |words: &[&str]| server.command(words).expect("the server takes it");
    command(&["ZREMRANGEBYRANK", &index, "0", "2"]);
    command(&["ZADD", &index, "0", "nonsense"]);
    let drift = redis.check_indexes(Tag::TABLE).await?;
    assert_eq!((drift.missing, drift.dangling), (3, 1));
    redis.repair_indexes(Tag::TABLE).await?;
    assert!(redis.check_indexes(Tag::TABLE).await?.is_none());
    let names = db
        .query::<Tag>()
        .order(Tag::NAME.asc())
        .select(Tag::NAME)
        .all()
        .await?;
    assert_eq!(names.len(), 10);
    Ok(())
}
