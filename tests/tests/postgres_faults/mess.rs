//! Settings that somebody's SQL has changed do not reach the next user of the connection.

use std::time::Duration;

use larder_core::models::{NewTag, Tag};
use larder_core::{Result, Storage, TxOptions};
use larder_postgres::Postgres;

use crate::{database, db, quick};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_setting_stays_with_who_changed_it() -> Result<()> {
    let database = database().await?;
    let options = quick(&database.url())?.max_size(1);
    let store = Postgres::connect_with(options).await?;
    let db = db(&store, Duration::from_secs(10));
    let tag = db.insert(NewTag::new("there")).await?;
    for mess in [
        "SET search_path TO pg_temp",
        "SET default_transaction_read_only TO on",
        "SET statement_timeout TO '1ms'",
        "SET ROLE pg_monitor",
    ] {
        // Refusing it would be as good.
        let _ = db.sql(mess).execute().await;
        let name = format!("after {mess}");
        db.insert(NewTag::new(name.as_str())).await?;
        let tx = db.begin(TxOptions::new()).await?;
        let _ = tx.sql(mess).execute().await;
        drop(tx);
        let tx = db.begin(TxOptions::new()).await?;
        let _ = tx.sql(mess).execute().await;
        let _ = tx.commit().await;
        assert_eq!(db.find::<Tag>(tag.id).await?, tag, "after {mess}");
        let rows = db.query::<Tag>().filter(Tag::NAME.eq(name)).count().await?;
        assert_eq!(rows, 1, "after {mess}");
        db.insert(NewTag::new(format!("again {mess}"))).await?;
    }
    store.close().await
}
