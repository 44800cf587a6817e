//! A PostgreSQL primary and its replica: who serves what, how old it may be, and what happens when
//! one of them goes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::time::{Duration, Instant};

use larder_core::models::{self, NewTag, Tag};
use larder_core::{Db, ErrorKind, Result, Storage};
use larder_postgres::{Postgres, PostgresOptions, Replicated};
use larder_tests::cluster::Cluster;
use tokio::time::sleep;
use tokio_postgres::NoTls;

/// A bound on staleness that no test waits for.
const HOURS: Duration = Duration::from_secs(10_000);
/// How long a store may take to find its primary again.
const RESUMES_WITHIN: Duration = Duration::from_secs(10);
/// How long a replica of an idle machine may take to be used, and then some.
const CATCHES_UP_WITHIN: Duration = Duration::from_secs(20);

/// Two servers with the tables of the models.
struct Pair {
    primary: Cluster,
    replica: Cluster,
}

impl Pair {
    async fn start() -> Self {
        let settings = [("synchronous_commit", "on"), ("hot_standby_feedback", "on")];
        let primary = blocking(|| Cluster::start_with(&settings)).unwrap();
        let store = Postgres::connect(&primary.url("postgres")).await.unwrap();
        store.create_tables(&models::tables()).await.unwrap();
        store.close().await.unwrap();
        let replica = blocking(|| Cluster::replica_of(&primary)).unwrap();
        Self { primary, replica }
    }

    /// The URL of whichever takes writes.
    fn url(&self) -> String {
        let (first, second) = (self.primary.port(), self.replica.port());
        let url = self.primary.url("postgres");
        let both = format!("127.0.0.1:{first},127.0.0.1:{second}/");
        url.replace(&format!("127.0.0.1:{first}/"), &both) + "?target_session_attrs=read-write"
    }

    async fn store(&self, staleness_max: Duration) -> Replicated {
        let primary = Postgres::connect(&self.url()).await.unwrap();
        let replica = (Postgres::connect(&self.replica.url("postgres")).await).unwrap();
        let store = Replicated::new(primary, vec![replica], staleness_max);
        caught_up(&store).await;
        store
    }

    /// Has the replica stay as it is.
    async fn pause(&self) {
        run(&self.replica, "SELECT pg_wal_replay_pause()").await;
        while run(&self.replica, "SELECT pg_get_wal_replay_pause_state()").await != "paused" {
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn resume(&self) {
        run(&self.replica, "SELECT pg_wal_replay_resume()").await;
    }
}

/// A cluster's methods block; the test's other tasks go on meanwhile.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

/// Runs a statement on one server and answers the first value as text.
async fn run(server: &Cluster, sql: &str) -> String {
    let connecting = tokio_postgres::connect(&server.url("postgres"), NoTls).await;
    let (client, connection) = connecting.unwrap();
    tokio::spawn(connection);
    let messages = client.simple_query(sql).await.unwrap();
    let text = messages.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(ToOwned::to_owned),
        _ => None,
    });
    text.unwrap_or_default()
}

/// Waits until the replica shows everything that was written before the call.
async fn caught_up(store: &Replicated) {
    let started = Instant::now();
    while !matches!(store.staleness()[..], [Some(age)] if age < started.elapsed()) {
        let waited = started.elapsed();
        assert!(waited < CATCHES_UP_WITHIN, "{:?}", store.staleness());
        sleep(Duration::from_millis(10)).await;
    }
}

async fn count(db: &Db) -> Result<u64> {
    db.query::<Tag>().count().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_go_to_the_replica_and_everything_else_to_the_primary() -> Result<()> {
    let pair = Pair::start().await;
    let store = pair.store(HOURS).await;
    let (writer, other) = (Db::new(store.session()), Db::new(store.session()));
    pair.pause().await;
    let tag = writer.insert(NewTag::new("first")).await?;

    // What the replica does not show yet tells who answers.
    assert_eq!(count(&other).await?, 0);
    assert_eq!(other.get::<Tag>(tag.id).await?, None);
    assert!(other.query::<Tag>().stream().next().await.is_none());
    let inside = other.transaction(|tx| async move { count(&tx).await });
    assert_eq!(inside.await?, 1);
    let port = "SELECT inet_server_port()";
    let (answered,) = other.sql(port).one::<(i32,)>().await?;
    assert_eq!(answered, i32::from(pair.primary.port()));
    assert_eq!(count(&writer).await?, 1, "a session reads its own writes");
    let clone = Db::new(store.clone());
    assert_eq!(count(&clone).await?, 0, "this is the session of `store`");
    clone.insert(NewTag::new("second")).await?;
    assert_eq!(count(&Db::new(store.clone())).await?, 2);
    assert_eq!(count(&other).await?, 0);

    pair.resume().await;
    caught_up(&store).await;
    assert_eq!(count(&other).await?, 2);
    store.close().await?;
    assert_eq!(count(&other).await.unwrap_err().kind(), ErrorKind::Closed);
    Ok(())
}

/// Writes and reads what was written, in all the ways there are to write.
async fn write_and_read(db: &Db, name: &str) -> Result<()> {
    for at in 0..200 {
        let name = format!("{name}-{at}");
        let tag = match at % 3 {
            0 => db.insert(NewTag::new(name)).await?,
            1 => {
                let unit = db.transaction(|tx| {
                    let name = name.clone();
                    async move { tx.insert(NewTag::new(name)).await }
                });
                unit.await?
            }
            _ => {
                let insert = "INSERT INTO tags (name) VALUES ($1)";
                db.sql(insert).bind(name.clone()).execute().await?;
                db.query::<Tag>().filter(Tag::NAME.eq(name)).one().await?
            }
        };
        assert!(db.get::<Tag>(tag.id).await?.is_some(), "{at}");
        db.delete::<Tag>(tag.id).await?;
        assert_eq!(db.get::<Tag>(tag.id).await?, None, "{at}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_always_reads_its_own_writes() -> Result<()> {
    let pair = Pair::start().await;
    let store = pair.store(HOURS).await;
    let mut load = tokio::task::JoinSet::new();
    for task in 0..4 {
        let db = Db::new(store.session());
        load.spawn(async move {
            for at in 0.. {
                let tag = db.insert(NewTag::new(format!("load-{task}-{at}"))).await;
                db.find::<Tag>(tag.unwrap().id).await.unwrap();
            }
        });
    }
    let session = Db::new(store.session());
    write_and_read(&session, "running").await?;
    pair.pause().await;
    write_and_read(&session, "paused").await?;
    pair.resume().await;
    write_and_read(&session, "resumed").await?;
    load.abort_all();
    while let Some(ended) = load.join_next().await {
        assert!(ended.unwrap_err().is_cancelled(), "a task failed");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_is_older_than_the_bound() -> Result<()> {
    const BOUND: Duration = Duration::from_secs(1);
    let pair = Pair::start().await;
    let store = pair.store(BOUND).await;
    let writer = Db::new(store.session());
    pair.pause().await;
    writer.insert(NewTag::new("new")).await?;
    let written = Instant::now();
    let (mut old, mut new) = (0, 0);
    while written.elapsed() < BOUND * 2 {
        let age = written.elapsed();
        match count(&Db::new(store.session())).await? {
            0 => {
                assert!(age <= BOUND, "a state of {age:?} ago");
                old += 1;
            }
            _ => new += 1,
        }
    }
    assert!(old > 0 && new > 0, "{old} old, {new} new");
    pair.resume().await;
    caught_up(&store).await;
    Ok(())
}

/// There are records that no replica can be seen to have replayed before the next one: those at
/// the end of a page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_of_an_idle_primary_stays_in_use() -> Result<()> {
    let pair = Pair::start().await;
    let store = pair.store(HOURS).await;
    Db::new(store.clone()).insert(NewTag::new("one")).await?;
    run(&pair.primary, "SELECT pg_switch_wal()").await;
    sleep(Duration::from_millis(500)).await;
    let idle = Instant::now();
    caught_up(&store).await;
    let waited = idle.elapsed();
    assert!(waited < Duration::from_secs(5), "{waited:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_go_on_without_the_replica_and_return_to_it() -> Result<()> {
    let pair = Pair::start().await;
    let store = pair.store(HOURS).await;
    let tag = Db::new(store.clone()).insert(NewTag::new("kept")).await?;
    caught_up(&store).await;
    let reader = tokio::spawn({
        let store = store.clone();
        async move {
            let mut slowest = Duration::ZERO;
            for _ in 0..300 {
                let db = Db::new(store.session());
                let started = Instant::now();
                db.find::<Tag>(tag.id).await?;
                assert_eq!(count(&db).await?, 1);
                let loaded = (db.query::<Tag>(), db.query::<Tag>().count());
                assert_eq!(loaded.0.all().await?.len(), 1);
                assert_eq!(loaded.1.await?, 1);
                slowest = slowest.max(started.elapsed());
                sleep(Duration::from_millis(10)).await;
            }
            Ok::<_, larder_core::Error>(slowest)
        }
    });
    sleep(Duration::from_millis(300)).await;
    blocking(|| pair.replica.stop_immediate()).unwrap();
    let slowest = reader.await.unwrap()?;
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    assert_eq!(store.staleness(), [None]);
    Db::new(store.clone())
        .insert(NewTag::new("meanwhile"))
        .await?;

    blocking(|| pair.replica.start()).unwrap();
    caught_up(&store).await;
    pair.pause().await;
    Db::new(store.clone()).insert(NewTag::new("late")).await?;
    let other = Db::new(store.session());
    assert_eq!(count(&other).await?, 2, "the replica answers again");
    Ok(())
}

/// Writes until told to stop; answers the names that were acknowledged.
async fn keep_writing(
    db: Db,
    writer: usize,
    stop: tokio::sync::watch::Receiver<bool>,
) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let mut at = 0;
    while !*stop.borrow() {
        let name = format!("{writer}-{at}");
        at += 1;
        match db.insert(NewTag::new(name.clone())).await {
            Ok(_) => acknowledged.push(name),
            Err(error) => {
                let kinds = [ErrorKind::Unavailable, ErrorKind::Unknown, ErrorKind::Busy];
                assert!(kinds.contains(&error.kind()), "{error:?}");
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
    acknowledged
}

/// Tries until a write is taken, and answers how long that took.
async fn writes_resume(db: &Db, name: &str) -> Duration {
    let started = Instant::now();
    while let Err(error) = db.insert(NewTag::new(name)).await {
        assert!(started.elapsed() < RESUMES_WITHIN, "{error:?}");
        sleep(Duration::from_millis(20)).await;
    }
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promotion_is_followed_without_a_loss() -> Result<()> {
    let pair = Pair::start().await;
    let synchronous = "ALTER SYSTEM SET synchronous_standby_names = '*'";
    run(&pair.primary, synchronous).await;
    run(&pair.primary, "SELECT pg_reload_conf()").await;
    let synchronous = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
    while run(&pair.primary, synchronous).await != "1" {
        sleep(Duration::from_millis(50)).await;
    }
    let store = pair.store(Duration::from_secs(1)).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let db = Db::new(store.session());
            tokio::spawn(keep_writing(db, writer, stopped.clone()))
        })
        .collect();
    sleep(Duration::from_millis(500)).await;

    let killed = Instant::now();
    blocking(|| pair.primary.stop_immediate()).unwrap();
    blocking(|| pair.replica.promote()).unwrap();
    let db = Db::new(store.session());
    writes_resume(&db, "resumed").await;
    let away = killed.elapsed();
    assert!(away < RESUMES_WITHIN, "{away:?}");
    sleep(Duration::from_millis(300)).await;
    stop.send(true).unwrap();
    let mut acknowledged = HashSet::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }

    let reader = Db::new(store.session());
    let found = reader.query::<Tag>().all().await?;
    let found: HashSet<String> = found.into_iter().map(|tag| tag.name).collect();
    assert!(found.contains("resumed"));
    let lost: Vec<&String> = acknowledged.difference(&found).collect();
    assert!(lost.is_empty(), "{lost:?} of {}", acknowledged.len());
    assert!(acknowledged.len() > 10);
    let (port,) = db.sql("SELECT inet_server_port()").one::<(i32,)>().await?;
    assert_eq!(port, i32::from(pair.replica.port()));
    store.close().await
}

/// Without a connection that breaks: the old primary goes on answering, but takes no writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_became_read_only_is_left() -> Result<()> {
    let pair = Pair::start().await;
    let store = pair.store(Duration::from_secs(1)).await;
    let options = PostgresOptions::new(&pair.url())?;
    let alone = Postgres::connect_with(options.max_size(4)).await?;
    let single = Db::new(alone.clone());
    // Several connections of each sort lead to the old one.
    let id = single.insert(NewTag::new("kept")).await?.id;
    let mut writes = tokio::task::JoinSet::new();
    for at in 0..20 {
        let db = single.clone();
        writes.spawn(async move {
            db.insert(NewTag::new(format!("{at}"))).await?;
            db.find::<Tag>(id).await
        });
    }
    while let Some(outcome) = writes.join_next().await {
        outcome.unwrap()?;
    }
    caught_up(&store).await;
    blocking(|| pair.replica.promote()).unwrap();
    let read_only = "ALTER SYSTEM SET default_transaction_read_only = on";
    run(&pair.primary, read_only).await;
    run(&pair.primary, "SELECT pg_reload_conf()").await;
    while run(&pair.primary, "SHOW transaction_read_only").await != "on" {
        sleep(Duration::from_millis(10)).await;
    }
    sleep(Duration::from_millis(300)).await; // the others have yet to hear of it

    let refused = single.insert(NewTag::new("refused")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ReadOnly);
    for at in 0..10 {
        single.insert(NewTag::new(format!("new {at}"))).await?;
    }
    let tag = single.insert(NewTag::new("newest")).await?;
    assert!(
        single.get::<Tag>(tag.id).await?.is_some(),
        "point reads too"
    );

    let db = Db::new(store.session());
    let name = writes_resume(&db, "through the replicated store").await;
    assert!(name < RESUMES_WITHIN);
    let reader = Db::new(store.session());
    sleep(Duration::from_secs(1)).await;
    assert!(reader.get::<Tag>(tag.id).await?.is_some());
    Ok(())
}
