//! What goes wrong around a SQLite file: other writers, a copy meanwhile, no room, the end.

use std::path::Path;
use std::time::Duration;

use larder_core::models::{self, NewTag, Tag};
use larder_core::{Db, DbOptions, ErrorKind, Result, Storage};
use larder_sqlite::{Sqlite, SqliteOptions};
use tempfile::TempDir;

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory for the database")
}

async fn open(path: &Path) -> Result<Sqlite> {
    Sqlite::open_with(SqliteOptions::new(path)).await
}

async fn create(path: &Path) -> Result<Sqlite> {
    let store = open(path).await?;
    store.create_tables(&models::tables()).await?;
    Ok(store)
}

fn tags(prefix: &str, count: usize) -> Vec<NewTag> {
    (0..count)
        .map(|at| NewTag::new(format!("{prefix}-{at:05}")))
        .collect()
}

/// Handles opened apart lock each other out as processes do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_handles_write_at_once() -> Result<()> {
    let directory = directory();
    let path = directory.path().join("shared.db");
    let mut stores = vec![create(&path).await?];
    for _ in 0..3 {
        stores.push(open(&path).await?);
    }
    let mut tasks = Vec::new();
    for (number, store) in stores.iter().enumerate() {
        let db = Db::new(store.clone());
        tasks.push(tokio::spawn(async move {
            for at in 0..40 {
                match at % 3 {
                    0 => db
                        .insert(NewTag::new(format!("{number}-{at}")))
                        .await
                        .map(drop)?,
                    1 => drop(db.insert_all(tags(&format!("{number}-{at}"), 30)).await?),
                    _ => {
                        let name = format!("{number}-{at}");
                        let write = db.transaction(|tx| {
                            let name = name.clone();
                            async move { tx.insert(NewTag::new(name)).await }
                        });
                        write.await.map(drop)?;
                    }
                }
            }
            Ok::<(), larder_core::Error>(())
        }));
    }
    for task in tasks {
        task.await.expect("no task panics")?;
    }
    let expected = 4 * (27 + 13 * 30);
    for store in stores {
        assert_eq!(
            Db::new(store.clone()).query::<Tag>().count().await?,
            expected
        );
        store.close().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_made_while_others_write_is_of_one_moment() -> Result<()> {
    let directory = directory();
    let store = create(&directory.path().join("source.db")).await?;
    let db = Db::new(store.clone());
    // Twenty rows or none of each, so that half of a write would show.
    let writer = tokio::spawn({
        let db = db.clone();
        async move {
            for number in 0..150 {
                db.insert_all(tags(&format!("w{number}"), 20)).await?;
            }
            Ok::<(), larder_core::Error>(())
        }
    });
    let mut copies = Vec::new();
    for number in 0..4 {
        tokio::time::sleep(Duration::from_millis(15)).await;
        let before = db.query::<Tag>().count().await?;
        let path = directory.path().join(format!("copy{number}.db"));
        store.backup_to(&path).await?;
        copies.push((path, before));
    }
    writer.await.expect("the writer does not panic")?;
    for (path, before) in &copies {
        let copy = open(path).await?;
        let found = Db::new(copy.clone()).query::<Tag>().count().await?;
        assert!(
            found >= *before && found % 20 == 0,
            "{found} rows, {before} before"
        );
        copy.close().await?;
        let bytes = std::fs::read(path).expect("the copy is there");
        let error = store.backup_to(path).await.expect_err("the file exists");
        assert_eq!(error.kind(), ErrorKind::Misuse);
        assert_eq!(
            std::fs::read(path).expect("still there"),
            bytes,
            "and was left alone"
        );
    }
    store.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_empties_the_log_and_ends_everything() -> Result<()> {
    let directory = directory();
    let path = directory.path().join("closed.db");
    let store = create(&path).await?;
    let db = Db::new(store.clone());
    db.insert_all(tags("kept", 500)).await?;
    db.close().await?;
    let log = path.with_extension("db-wal");
    let length = std::fs::metadata(&log).map_or(0, |log| log.len());
    assert_eq!(length, 0, "the log is empty or gone");
    assert_eq!(
        db.query::<Tag>().all().await.expect_err("closed").kind(),
        ErrorKind::Closed
    );
    assert_eq!(
        db.get::<Tag>(larder_core::Id::new(1))
            .await
            .expect_err("closed")
            .kind(),
        ErrorKind::Closed
    );
    let insert = db.insert(NewTag::new("late")).await;
    assert_eq!(insert.expect_err("closed").kind(), ErrorKind::Closed);
    let begun = db.begin(larder_core::TxOptions::default()).await;
    assert_eq!(begun.expect_err("closed").kind(), ErrorKind::Closed);
    let copied = store.backup_to(directory.path().join("late.db")).await;
    assert_eq!(copied.expect_err("closed").kind(), ErrorKind::Closed);
    db.close().await?;
    let again = open(&path).await?;
    assert_eq!(Db::new(again.clone()).query::<Tag>().count().await?, 500);
    again.close().await
}

/// A table whose keys are used up: SQLite answers the code of a full disk, and rolls an open
/// transaction back in the same way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_table_refuses_and_goes_on() -> Result<()> {
    let directory = directory();
    let path = directory.path().join("full.db");
    let store = create(&path).await?;
    let db = Db::with_options(store.clone(), DbOptions::default());
    let largest = i64::MAX;
    let last = larder_core::Write::new(larder_core::write::WriteOp::Insert(
        larder_core::write::InsertRows {
            table: <Tag as larder_core::Entity>::TABLE,
            columns: vec![0, 1],
            values: vec![
                larder_core::Value::Int(largest),
                larder_core::Value::Text("last".into()),
            ],
            on_conflict: None,
        },
    ));
    store
        .write(last, larder_core::rows::Rows::discard())
        .await?;
    let refused = db
        .insert(NewTag::new("one too many"))
        .await
        .expect_err("no key is left");
    assert_eq!(refused.kind(), ErrorKind::Full);

    let tx = db.begin(larder_core::TxOptions::default()).await?;
    tx.query::<Tag>().update(Tag::NAME.set("changed")).await?;
    let refused = tx
        .insert(NewTag::new("one too many"))
        .await
        .expect_err("no key is left");
    assert_eq!(refused.kind(), ErrorKind::Full);
    // SQLite has rolled back; nothing that follows may be committed by itself.
    let next = tx
        .query::<Tag>()
        .update(Tag::NAME.set("changed again"))
        .await;
    assert_eq!(
        next.expect_err("the transaction has ended").kind(),
        ErrorKind::Closed
    );
    assert!(tx.commit().await.is_err());
    let names: Vec<String> = db
        .query::<Tag>()
        .all()
        .await?
        .into_iter()
        .map(|tag| tag.name)
        .collect();
    assert_eq!(names, ["last"]);
    db.query::<Tag>().update(Tag::NAME.set("usable")).await?;
    store.close().await
}
