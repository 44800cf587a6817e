//! Feeds when servers restart, readers sleep and programs start at once.

use std::sync::Arc;
use std::time::Duration;

use larder_core::feed::{
    ChangeFeed, ChangeFeedOptions, Feed, Gap, GapReason, Position, Recorded, Recording,
    SubscribeOptions, Subscription,
};
use larder_core::models::{self, NewTag, Tag};
use larder_core::{Db, ErrorKind, Result, Storage};
use larder_postgres::feed::PostgresFeed;
use larder_postgres::{Postgres, PostgresOptions};
use larder_redis::Redis;
use larder_redis::feed::RedisFeed;
use larder_sqlite::Sqlite;
use larder_sqlite::feed::{FeedOptions, SqliteFeed};
use larder_tests::cluster::Cluster;
use larder_tests::databases::Databases;
use larder_tests::redis_server::RedisServer;

/// How long anything may take.
const SOON: Duration = Duration::from_secs(20);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(SOON, future).await;
    outcome.expect("does not take that long")
}

async fn reason(subscription: &mut Subscription) -> GapReason {
    let missed = soon(subscription.next()).await.expect_err("a gap");
    assert_eq!(missed.kind(), ErrorKind::Gap, "{missed:?}");
    Gap::of(&missed).expect("a gap says what it is").reason()
}

/// A subscriber is told when the server goes and when it is back, and gets what comes then.
async fn a_restart_is_a_gap(feed: Arc<dyn Feed>, restart: impl FnOnce() + Send) -> Result<()> {
    let mut news = feed.subscribe(&["news"], SubscribeOptions::new()).await?;
    feed.publish("news", b"before").await?;
    assert_eq!(soon(news.next()).await?.payload(), b"before");
    tokio::task::block_in_place(restart);
    assert_eq!(reason(&mut news).await, GapReason::Reconnected);
    // Subscribing waits until the server listens again.
    let mut late = soon(feed.subscribe(&["late"], SubscribeOptions::new())).await?;
    let published = async {
        // The connections that publish may have broken as well.
        while feed.publish("news", b"after").await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon(published).await;
    let after = loop {
        match soon(news.next()).await {
            Ok(message) => break message,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Gap),
        }
    };
    assert_eq!(after.payload(), b"after");
    feed.publish("late", b"too").await?;
    loop {
        match soon(late.next()).await {
            Ok(message) => {
                assert_eq!(message.payload(), b"too");
                return Ok(());
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Gap),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_postgres_is_a_gap() -> Result<()> {
    let cluster = Cluster::start_with(&[]).expect("a server");
    let postgres = Postgres::connect(&cluster.url("postgres")).await?;
    let feed = Arc::new(PostgresFeed::open(&postgres).await?);
    a_restart_is_a_gap(feed, || cluster.restart().expect("restarted")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_redis_is_a_gap() -> Result<()> {
    let server = RedisServer::start().expect("a server");
    let redis = Redis::connect(&server.url()).await?;
    let feed = Arc::new(RedisFeed::open(&redis).await?);
    a_restart_is_a_gap(feed, || server.restart().expect("restarted")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_looks_too_late_is_told_how_much_it_missed() -> Result<()> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("test.db");
    let options = FeedOptions::new().rows_max(10);
    let here = SqliteFeed::open(&Sqlite::open(&path).await?, options).await?;
    // It looks once, when it subscribes, and not again for an hour.
    let sleepy = options.poll_interval(Duration::from_hours(1));
    let there = SqliteFeed::open(&Sqlite::open(&path).await?, sleepy).await?;
    let mut news = there.subscribe(&["news"], SubscribeOptions::new()).await?;
    // Until the look that subscribing asks for is over.
    tokio::time::sleep(Duration::from_millis(200)).await;
    for number in 1..=128 {
        here.publish("news", format!("{number}").as_bytes()).await?;
    }
    there.publish("news", b"wake").await?;
    let missed = soon(news.next()).await.expect_err("a gap");
    let gap = *Gap::of(&missed).expect("a gap says what it is");
    let missed = gap.missed().expect("SQLite counts");
    assert_eq!(gap.reason(), GapReason::Lagged);
    assert!((64..128).contains(&missed), "{missed}");
    for number in missed + 1..=128 {
        let expected = format!("{number}");
        assert_eq!(soon(news.next()).await?.payload(), expected.as_bytes());
    }
    assert_eq!(soon(news.next()).await?.payload(), b"wake");
    Ok(())
}

#[tokio::test]
async fn nobody_listens_through_a_transaction_pooler() -> Result<()> {
    let databases = Databases::open().expect("a server");
    let database = databases.empty().await?;
    let options = PostgresOptions::new(&database.url())?.prepared_statements(false);
    let postgres = Postgres::connect_with(options).await?;
    let refused = PostgresFeed::open(&postgres).await.expect_err("refused");
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_may_make_the_tables_at_once() -> Result<()> {
    let databases = Databases::open().expect("a server");
    let database = databases.empty().await?;
    let url = database.url();
    let postgres = (0..6).map(|_| {
        let url = url.clone();
        tokio::spawn(async move {
            let postgres = Postgres::connect(&url).await?;
            postgres.create_change_log().await?;
            postgres.create_change_log().await
        })
    });
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("test.db");
    let sqlite = (0..6).map(|_| {
        let path = path.clone();
        tokio::spawn(async move {
            let sqlite = Sqlite::open(&path).await?;
            sqlite.create_change_log().await?;
            SqliteFeed::open(&sqlite, FeedOptions::new())
                .await
                .map(drop)
        })
    });
    for made in postgres.chain(sqlite).collect::<Vec<_>>() {
        made.await.expect("does not panic")?;
    }
    Ok(())
}

/// Readers in another process that look once an hour are woken by messages.
async fn a_feed_wakes_the_readers(
    stores: [Arc<dyn Storage>; 2],
    feeds: [Arc<dyn Feed>; 2],
) -> Result<()> {
    let [here, there] = stores;
    let [announces, hears] = feeds;
    let store = Recorded::from_shared(here, [Recording::of::<Tag>()]).announced_by(announces);
    let db = Db::new(store);
    let options = ChangeFeedOptions::new().poll_interval(Duration::from_hours(1));
    let changes = ChangeFeed::new(there, options)?.woken_by(hears).await?;
    let mut tail = changes.tail(Position::START);
    let early = tokio::time::timeout(Duration::from_millis(100), tail.next()).await;
    assert!(early.is_err(), "nothing was written");
    let waiting = tokio::spawn(async move { tail.next().await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let tag = db.insert(NewTag::new("a")).await?;
    let change = soon(waiting).await.expect("does not panic")?;
    assert_eq!(change.key_of::<Tag>()?, tag.id);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_are_woken_by_notifications() -> Result<()> {
    let databases = Databases::open().expect("a server");
    let database = databases.empty().await?;
    let (here, there) = (
        Postgres::connect(&database.url()).await?,
        Postgres::connect(&database.url()).await?,
    );
    here.create_tables(&models::tables()).await?;
    here.create_change_log().await?;
    let feeds: [Arc<dyn Feed>; 2] = [
        Arc::new(PostgresFeed::open(&here).await?),
        Arc::new(PostgresFeed::open(&there).await?),
    ];
    a_feed_wakes_the_readers([Arc::new(here), Arc::new(there)], feeds).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_a_file_are_woken_by_messages() -> Result<()> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("test.db");
    let (here, there) = (Sqlite::open(&path).await?, Sqlite::open(&path).await?);
    here.create_tables(&models::tables()).await?;
    here.create_change_log().await?;
    let feeds: [Arc<dyn Feed>; 2] = [
        Arc::new(SqliteFeed::open(&here, FeedOptions::new()).await?),
        Arc::new(SqliteFeed::open(&there, FeedOptions::new()).await?),
    ];
    a_feed_wakes_the_readers([Arc::new(here), Arc::new(there)], feeds).await
}

#[tokio::test]
async fn redis_has_no_feed_of_changes_and_says_so() -> Result<()> {
    let server = RedisServer::start().expect("a server");
    let redis = Arc::new(Redis::connect(&server.url()).await?);
    let refused = ChangeFeed::new(redis, ChangeFeedOptions::new()).expect_err("refused");
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    Ok(())
}
