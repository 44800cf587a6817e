//! Everything works inside spawned tasks, from many of them at once, and on other runtimes.

use std::sync::Arc;

use larder_core::models::{NewTag, Tag};
use larder_core::{Db, Entity, ErrorKind, Id, Result, TextEnum, Timestamp, TxOptions, count};

use crate::fixtures::{numbered_tag, refused, tag, tags};
use crate::harness::{TestDb, tests};
use crate::schema::{Account, NewAccount};

/// Runs the future as a task: it must be `Send` and own what it uses.
async fn spawned<T: Send + 'static>(
    future: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    tokio::spawn(future).await.expect("the task does not panic")
}

async fn every_read_can_be_spawned(test: TestDb) -> Result<()> {
    let first = tag(&test, "a").await?;
    let id = first.id;
    let db = || Db::clone(&test);
    let with = |work: fn(Db, Id<Tag>) -> larder_core::rows::BoxFuture<'static, Result<()>>| {
        spawned(work(db(), id))
    };
    with(|db, id| Box::pin(async move { db.get::<Tag>(id).await.map(drop) })).await?;
    with(|db, id| Box::pin(async move { db.find::<Tag>(id).await.map(drop) })).await?;
    with(|db, _| Box::pin(async move { db.query::<Tag>().all().await.map(drop) })).await?;
    with(|db, _| Box::pin(async move { db.query::<Tag>().first().await.map(drop) })).await?;
    with(|db, _| Box::pin(async move { db.query::<Tag>().one().await.map(drop) })).await?;
    with(|db, _| Box::pin(async move { db.query::<Tag>().count().await.map(drop) })).await?;
    with(|db, _| Box::pin(async move { db.query::<Tag>().exists().await.map(drop) })).await?;
    with(|db, _| Box::pin(async move { db.query::<Tag>().load::<Tag>().await.map(drop) })).await?;
    with(|db, id| Box::pin(async move { db.query::<Tag>().by_key(id).get().await.map(drop) }))
        .await?;
    with(|db, id| {
        Box::pin(async move { db.query::<Tag>().by_key(id).load::<Tag>().await.map(drop) })
    })
    .await?;
    with(|db, _| {
        Box::pin(async move { db.query::<Tag>().select(count()).first().await.map(drop) })
    })
    .await?;
    with(|db, _| {
        Box::pin(async move { db.query::<Tag>().select(Tag::NAME).all().await.map(drop) })
    })
    .await?;
    with(|db, _| Box::pin(async move { db.query::<Tag>().explain().await.map(drop) })).await?;
    with(|db, _| {
        Box::pin(async move {
            let page = db.query::<Tag>().page(1).await?;
            let page = page.next(&db).await?.previous(&db).await?;
            assert!(page.items.is_empty());
            Ok(())
        })
    })
    .await?;
    with(|db, _| {
        Box::pin(async move {
            let mut stream = db.query::<Tag>().stream();
            while let Some(row) = stream.next().await {
                row?;
            }
            Ok(())
        })
    })
    .await?;
    with(|db, id| Box::pin(async move { db.observe(db.get::<Tag>(id)).await.0.map(drop) })).await
}

async fn every_write_can_be_spawned(test: TestDb) -> Result<()> {
    let db = || Db::clone(&test);
    let handle = db();
    let row = spawned(async move { handle.insert(numbered_tag(1)).await }).await?;
    let handle = db();
    spawned(async move { handle.insert_all([numbered_tag(2)]).await }).await?;
    let handle = db();
    spawned(async move { handle.insert_all_returning([numbered_tag(3)]).await }).await?;
    let handle = db();
    spawned(async move {
        handle
            .upsert([numbered_tag(3)])
            .on(Tag::NAME)
            .ignore()
            .run()
            .await
    })
    .await?;
    let handle = db();
    let id = row.id;
    spawned(async move { handle.update::<Tag>(id, Tag::NAME.set("x")).await }).await?;
    let (handle, saved) = (db(), row.clone());
    spawned(async move { handle.save(saved).await }).await?;
    let handle = db();
    spawned(async move { handle.update_all([row]).await }).await?;
    let handle = db();
    spawned(async move {
        handle
            .query::<Tag>()
            .filter(Tag::ID.eq(id))
            .update(Tag::NAME.set("y"))
            .await
    })
    .await?;
    let handle = db();
    spawned(async move {
        let tx = handle.begin(TxOptions::new()).await?;
        tag(&tx, "in a task").await?;
        tx.after_commit(async {})?;
        tx.commit().await
    })
    .await?;
    let (handle, name) = (db(), Arc::<str>::from("captured"));
    spawned(async move {
        handle
            .transaction(|tx| {
                let name = name.clone();
                async move { tag(&tx, &name).await }
            })
            .await
    })
    .await?;
    let handle = db();
    spawned(async move { handle.delete::<Tag>(id).await }).await?;
    let handle = db();
    spawned(async move { handle.query::<Tag>().delete().await }).await?;
    let handle = db();
    spawned(async move { handle.close().await }).await
}

async fn a_transaction_moves_between_tasks(test: TestDb) -> Result<()> {
    let db = Db::clone(&test);
    let tx = spawned(async move { db.begin(TxOptions::new()).await }).await?;
    let inner = tx.clone();
    spawned(async move { tag(&inner, "a").await }).await?;
    spawned(async move { tx.commit().await }).await?;
    assert_eq!(test.query::<Tag>().count().await?, 1);
    Ok(())
}

async fn many_tasks_read_and_write_at_once(test: TestDb) -> Result<()> {
    tags(&test, 200).await?;
    let mut tasks = Vec::new();
    for task in 0..16_usize {
        let db = Db::clone(&test);
        tasks.push(tokio::spawn(async move {
            for round in 0..20_usize {
                let row = tag(&db, &format!("{task}/{round}")).await?;
                assert_eq!(
                    db.find::<Tag>(row.id).await?,
                    row,
                    "a write is seen once acknowledged"
                );
                let number = task * 7 + round;
                let name = numbered_tag(number % 200).name;
                let found = db
                    .query::<Tag>()
                    .filter(Tag::NAME.eq(name.as_str()))
                    .one()
                    .await?;
                assert_eq!(found.name, name, "nobody else's answer");
                if round % 5 == 0 {
                    assert!(db.query::<Tag>().count().await? >= 200);
                }
            }
            Ok::<_, larder_core::Error>(())
        }));
    }
    for task in tasks {
        task.await.expect("the task does not panic")?;
    }
    assert_eq!(test.query::<Tag>().count().await?, 200 + 16 * 20);
    Ok(())
}

async fn of_many_equal_inserts_one_wins(test: TestDb) -> Result<()> {
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let db = Db::clone(&test);
            tokio::spawn(async move { tag(&db, "only one").await })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        match task.await.expect("the task does not panic") {
            Ok(_) => won += 1,
            lost => assert!(refused(lost, ErrorKind::Unique).violates(Tag::NAME)),
        }
    }
    assert_eq!((won, test.query::<Tag>().count().await?), (1, 1));
    Ok(())
}

/// What a small service does: a bit of everything.
async fn bit_of_everything(db: &Db) -> Result<()> {
    tags(db, 500).await?;
    let row = tag(db, "x").await?;
    db.transaction(|tx| async move { tx.update::<Tag>(row.id, Tag::NAME.set("y")).await })
        .await?;
    let mut stream = db.query::<Tag>().stream();
    let mut rows = 0;
    while let Some(row) = stream.next().await {
        row?;
        rows += 1;
    }
    assert_eq!(rows, 501);
    assert_eq!(
        db.query::<Tag>()
            .filter(Tag::NAME.contains("0"))
            .count()
            .await?,
        500
    );
    assert!(db.delete::<Tag>(row.id).await?);
    let tx = db.begin(TxOptions::new()).await?;
    tx.insert(NewTag {
        name: "dropped".into(),
    })
    .await?;
    drop(tx);
    assert_eq!(db.query::<Tag>().delete().await?, 500);
    Ok(())
}

async fn a_current_thread_runtime_will_do(test: TestDb) -> Result<()> {
    for _ in 0..2 {
        let db = Db::clone(&test);
        let thread = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(bit_of_everything(&db))
        });
        thread.await.expect("the thread does not panic")?;
        bit_of_everything(&test).await?; // and the first runtime still works
    }
    Ok(())
}

async fn the_last_handle_may_go_outside_of_a_runtime(test: TestDb) -> Result<()> {
    tag(&test, "a").await?;
    std::thread::spawn(move || drop(test))
        .join()
        .expect("dropping does not panic");
    Ok(())
}

/// The owners that [`Picky`] accounts can be read with.
#[derive(TextEnum, Clone, Copy, Debug, PartialEq)]
enum Owner {
    Ada,
}

/// An [`Account`] that is unreadable unless it is Ada's.
#[derive(Entity, Clone, Debug, PartialEq)]
#[entity(table = "accounts")]
struct Picky {
    #[key(auto)]
    id: Id<Picky>,
    #[unique]
    #[column(max_len = 20)]
    owner: Owner,
    balance: i64,
    points: i32,
    #[version]
    version: i64,
    #[created_at]
    created_at: Timestamp,
    #[updated_at]
    updated_at: Timestamp,
}

/// Writes of many tasks share a commit, but not their fate.
async fn a_row_that_cannot_be_read_back_harms_nobody_else(db: TestDb) -> Result<()> {
    let strange = db.insert(NewAccount::new("strange", 1)).await?;
    let id = Id::<Picky>::new(strange.id.get());
    let picky = Db::clone(&db);
    let failing = tokio::spawn(async move {
        for _ in 0..100 {
            let update = picky.update::<Picky>(id, Picky::BALANCE.add(1)).await;
            let error = refused(update, ErrorKind::Decode);
            let says = error.to_string();
            assert!(says.ends_with("; the write itself was applied"), "{says}");
        }
    });
    let innocent: Vec<_> = (0..8)
        .map(|task| {
            let db = Db::clone(&db);
            tokio::spawn(async move {
                for number in 0..50 {
                    db.insert(numbered_tag(task * 50 + number)).await?;
                }
                Ok::<_, larder_core::Error>(())
            })
        })
        .collect();
    for task in innocent {
        task.await.expect("no task panics")?;
    }
    failing
        .await
        .expect("only the assertions of the task can fail");
    assert_eq!(db.query::<Tag>().count().await?, 400);
    let balance = db.find::<Account>(strange.id).await?.balance;
    assert_eq!(balance, 101, "each update was applied, as its error said");
    Ok(())
}

tests![
    a_row_that_cannot_be_read_back_harms_nobody_else,
    every_read_can_be_spawned,
    every_write_can_be_spawned,
    a_transaction_moves_between_tasks,
    many_tasks_read_and_write_at_once,
    of_many_equal_inserts_one_wins,
    a_current_thread_runtime_will_do,
    the_last_handle_may_go_outside_of_a_runtime,
];
