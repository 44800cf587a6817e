//! A database that outlives its store: everything acknowledged is there when it is opened again,
//! and two stores on one database see each other's commits at once.

use larder_core::models::{Tag, User};
use larder_core::{ErrorKind, Result, TxOptions};

use crate::fixtures::{numbered_tag, refused, tag, tags, user};
use crate::harness::{TestDb, tests};

async fn what_was_acknowledged_is_there_again(db: TestDb) -> Result<()> {
    let ada = user(&db, 1).await?;
    tags(&db, 2_000).await?;
    let tx = db.begin(TxOptions::new()).await?;
    tag(&tx, "undone").await?;
    drop(tx);
    db.close().await?;
    let Some(again) = db.again().await? else {
        return Ok(());
    };
    assert_eq!(again.find::<User>(ada.id).await?, ada);
    assert_eq!(again.query::<Tag>().count().await?, 2_000);
    refused(user(&again, 1).await, ErrorKind::Unique);
    let next = user(&again, 2).await?;
    assert!(next.id > ada.id);
    again.close().await
}

async fn a_store_dropped_without_closing_loses_nothing(db: TestDb) -> Result<()> {
    let Some(second) = db.again().await? else {
        return Ok(());
    };
    let row = tag(&second, "a").await?;
    drop(second);
    let third = db.again().await?.expect("it was opened before");
    assert_eq!(third.find::<Tag>(row.id).await?, row);
    assert_eq!(db.find::<Tag>(row.id).await?, row);
    Ok(())
}

async fn two_stores_see_each_others_commits_at_once(db: TestDb) -> Result<()> {
    let Some(other) = db.again().await? else {
        return Ok(());
    };
    for number in 0..200 {
        let (writer, reader) = if number % 2 == 0 {
            (&*db, &other)
        } else {
            (&other, &*db)
        };
        let row = writer.insert(numbered_tag(number)).await?;
        assert_eq!(
            reader.get::<Tag>(row.id).await?,
            Some(row.clone()),
            "by key"
        );
        assert_eq!(
            reader.query::<Tag>().count().await?,
            number as u64 + 1,
            "by a scan"
        );
        let changed = reader
            .update::<Tag>(row.id, Tag::NAME.set(format!("new {number}")))
            .await?;
        assert_eq!(writer.get::<Tag>(row.id).await?, Some(changed));
    }
    Ok(())
}

async fn writers_of_two_stores_take_turns(db: TestDb) -> Result<()> {
    let Some(other) = db.again().await? else {
        return Ok(());
    };
    let mut tasks = Vec::new();
    for task in 0..8 {
        let db = if task % 2 == 0 {
            larder_core::Db::clone(&db)
        } else {
            other.clone()
        };
        tasks.push(tokio::spawn(async move {
            for round in 0..25 {
                tag(&db, &format!("{task}/{round}")).await?;
            }
            Ok::<_, larder_core::Error>(())
        }));
    }
    for task in tasks {
        task.await.expect("the task does not panic")?;
    }
    assert_eq!(db.query::<Tag>().count().await?, 200);
    assert_eq!(other.query::<Tag>().count().await?, 200);
    Ok(())
}

tests![
    what_was_acknowledged_is_there_again,
    a_store_dropped_without_closing_loses_nothing,
    two_stores_see_each_others_commits_at_once,
    writers_of_two_stores_take_turns,
];
