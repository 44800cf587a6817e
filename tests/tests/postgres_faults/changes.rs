//! Tables that change while the pool has statements prepared on them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::try_join_all;
use larder_core::models::{NewTag, Tag};
use larder_core::{Db, Result, Storage};

use tokio::sync::Barrier;

use crate::{POOL_SIZE, beside, connect, database, db};

/// Runs one of each kind, on every connection.
async fn use_all(db: &Db, round: usize) -> Result<()> {
    let all_at_once = Barrier::new(POOL_SIZE);
    let scans = (0..POOL_SIZE).map(|_| async {
        let first = AtomicBool::new(true);
        let (first, all_at_once) = (&first, &all_at_once);
        let scan = db.transaction(|tx| async move {
            if first.swap(false, Ordering::Relaxed) {
                all_at_once.wait().await;
            }
            tx.query::<Tag>().order(Tag::NAME.asc()).all().await
        });
        scan.await
    });
    try_join_all(scans).await?;
    for at in 0..4 {
        let tag = db.insert(NewTag::new(format!("{round}-{at}"))).await?;
        assert_eq!(db.find::<Tag>(tag.id).await?, tag);
        db.update::<Tag>(tag.id, Tag::NAME.set(format!("{round}:{at}")))
            .await?;
        let rows = db.query::<Tag>().order(Tag::NAME.asc()).all().await?;
        assert_eq!(rows.len(), round * 4 + at + 1);
        let mut stream = db.query::<Tag>().order(Tag::NAME.desc()).stream();
        stream.next().await.expect("there are rows")?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_call_after_a_change_works() -> Result<()> {
    let database = database().await?;
    let store = connect(&database.url()).await?;
    let db = db(&store, Duration::from_secs(10));
    let client = beside(&database.url()).await;
    use_all(&db, 0).await?;
    for (round, change) in [
        "ALTER TABLE tags ADD COLUMN note text",
        "ALTER TABLE tags ALTER COLUMN name TYPE varchar(200) COLLATE \"C\"",
        "ALTER TABLE tags ALTER COLUMN name TYPE text COLLATE \"C\"",
        "ALTER TABLE tags DROP COLUMN note",
        "ANALYZE tags",
        "DISCARD ALL",
    ]
    .into_iter()
    .enumerate()
    {
        client
            .batch_execute(change)
            .await
            .expect("it may be changed");
        use_all(&db, round + 1).await?;
    }
    store.close().await
}
