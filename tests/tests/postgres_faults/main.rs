//! What goes wrong around a PostgreSQL server: it stops, the network breaks, connections run out,
//! transactions stand in each other's way, tables change, and somebody leaves a mess.

mod changes;
mod conflicts;
mod exhausted;
mod locked;
mod mess;
mod network;
mod restart;
mod writes;

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use larder_core::models::{self, NewTag, Tag};
use larder_core::{Db, DbOptions, Error, ErrorKind, Result, Storage, Table};
use larder_postgres::{Postgres, PostgresOptions};
use larder_tests::databases::{Database, Databases};
use larder_tests::schema;
use tokio_postgres::{Client, NoTls};

/// One server for all of these tests; it goes with the process.
static DATABASES: LazyLock<Databases> =
    LazyLock::new(|| Databases::open().expect("a server, or its programs"));

fn tables() -> Vec<&'static Table> {
    models::tables()
        .into_iter()
        .chain(schema::tables())
        .collect()
}

/// A fresh database with all tables.
async fn database() -> Result<Database> {
    let create = |url: String| async move {
        let store = Postgres::connect(&url).await?;
        store.create_tables(&tables()).await?;
        store.close().await
    };
    DATABASES.with_tables(&tables(), create).await
}

/// How many connections a store's pool has.
const POOL_SIZE: usize = 6;

/// A store at this URL, with few connections and short waits.
async fn connect(url: &str) -> Result<Postgres> {
    Postgres::connect_with(quick(url)?).await
}

fn quick(url: &str) -> Result<PostgresOptions> {
    Ok(PostgresOptions::new(url)?
        .max_size(POOL_SIZE)
        .shared_connections(2)
        .connect_timeout(Duration::from_secs(2))
        .acquire_timeout(Duration::from_secs(2)))
}

/// Calls on this store that end after so long.
fn db(store: &Postgres, timeout: Duration) -> Db {
    Db::with_options(store.clone(), DbOptions::default().timeout(timeout))
}

/// A connection beside Larder's.
async fn beside(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .expect("the server takes connections");
    tokio::spawn(connection);
    client
}

/// What became of each insert, by the tag's name.
#[derive(Debug, Default)]
struct Outcomes {
    done: Vec<String>,
    failed: Vec<String>,
    unknown: Vec<String>,
}

impl Outcomes {
    /// Notes how the insert of this tag ended.
    fn note(&mut self, name: String, outcome: &Result<Tag>) {
        match outcome {
            Ok(_) => self.done.push(name),
            Err(error) if error.kind() == ErrorKind::Unknown => self.unknown.push(name),
            Err(_) => self.failed.push(name),
        }
    }

    fn merge(&mut self, other: Self) {
        self.done.extend(other.done);
        self.failed.extend(other.failed);
        self.unknown.extend(other.unknown);
    }

    /// Every insert that was acknowledged is there, none that failed, and no other.
    async fn check(&self, db: &Db) -> Result<()> {
        let mut found: HashMap<String, usize> = HashMap::new();
        for tag in db.query::<Tag>().all().await? {
            *found.entry(tag.name).or_default() += 1;
        }
        for name in &self.done {
            assert_eq!(found.remove(name), Some(1), "{name} was acknowledged");
        }
        for name in &self.failed {
            assert_eq!(found.remove(name), None, "{name} failed");
        }
        for name in &self.unknown {
            found.remove(name);
        }
        // Their answers may have been lost as well.
        found.retain(|name, _| !name.starts_with("healed-"));
        assert!(found.is_empty(), "nobody inserted {found:?}");
        Ok(())
    }
}

/// An error that says that the server was not there, or that it did not answer.
#[track_caller]
fn assert_broken(error: &Error) {
    let kind = error.kind();
    let right = matches!(kind, ErrorKind::Unknown | ErrorKind::Unavailable);
    assert!(right, "{error:?}");
    assert_eq!(
        error.is_retryable(),
        kind == ErrorKind::Unavailable,
        "{error:?}"
    );
}

/// Inserts until it works, for at most so long.
async fn heals_within(db: &Db, limit: Duration) {
    let started = std::time::Instant::now();
    for number in 0.. {
        match db.insert(NewTag::new(format!("healed-{number}"))).await {
            Ok(tag) => {
                db.delete::<Tag>(tag.id).await.expect("it has healed");
                return;
            }
            Err(error) if started.elapsed() < limit => assert_broken(&error),
            Err(error) => panic!("broken after {:?}: {error:?}", started.elapsed()),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
