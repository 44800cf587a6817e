//! [`Replicated`]: reads from replicas, writes to the primary.
//!
//! ```text
//!   every 100 ms:  primary's end of log, and when it was asked ──> a sample
//!                  replica's replayed log ──> the newest sample that it has reached
//!   a read:        a replica that is not older than allowed, and than the session's last write;
//!                  else the primary
//! ```
//!
//! A sample that was taken after a write was answered covers it. So no write costs a round trip
//! more, and no read waits for a replica: until one has caught up, the session stays on the
//! primary.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use larder_core::raw::RawAccess;
use larder_core::{
    Capabilities, Error, RawStatement, Result, Rows, Select, Storage, Transaction, TxOptions,
    Write, Written,
};
use tokio::time::{sleep, timeout};

use crate::read;
use crate::storage::Postgres;

/// How many samples of the primary's log are kept: those of 100 seconds.
const SAMPLES_MAX: usize = 1_000;
/// How long a server may take to say how far it is.
const ASK_MAX: Duration = Duration::from_secs(2);
/// How often they are asked.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// A time before all others.
const NEVER: u64 = 0;

/// A PostgreSQL primary and its replicas as one store.
///
/// Reads outside of transactions go to a replica that is no older than the bound on staleness and
/// has replayed the session's last write; the primary serves them if there is none, and when a
/// replica fails. Everything else goes to the primary. A clone is the same session;
/// [`session`](Self::session) begins another one, as for the next request of a service.
///
/// To follow a promotion, give the primary's URL all the hosts and
/// `target_session_attrs=read-write`: when the connections to the old one break, or turn out
/// read-only, the next ones find the new one.
///
/// ```no_run
/// # use std::time::Duration;
/// use larder_core::Db;
/// use larder_postgres::{Postgres, Replicated};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// let primary = Postgres::connect(
///     "postgres://app:secret@db1,db2/app?target_session_attrs=read-write",
/// ).await?;
/// let replica = Postgres::connect("postgres://app:secret@db2/app").await?;
/// let store = Replicated::new(primary, vec![replica], Duration::from_secs(1));
/// let request = Db::new(store.session());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Replicated {
    servers: Arc<Servers>,
    /// When this session last wrote.
    wrote: Arc<AtomicU64>,
}

struct Servers {
    primary: Postgres,
    replicas: Vec<Replica>,
    staleness_max: Duration,
    next: AtomicUsize,
    since: Instant,
}

struct Replica {
    store: Postgres,
    /// As of when it shows the primary's state, in microseconds of [`Servers::now`].
    as_of: AtomicU64,
}

impl fmt::Debug for Replicated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replicated")
            .field("primary", &self.servers.primary)
            .field("replicas", &self.servers.replicas.len())
            .field("staleness_max", &self.servers.staleness_max)
            .finish_non_exhaustive()
    }
}

impl Replicated {
    /// A primary and its replicas. No read outside of a transaction shows a state older than
    /// `staleness_max`.
    ///
    /// Asks each server every 100 ms how far it is, on the runtime of the caller and for as long
    /// as the store is kept. Until a replica has answered, the primary serves all.
    pub fn new(primary: Postgres, replicas: Vec<Postgres>, staleness_max: Duration) -> Self {
        let replicas = replicas.into_iter().map(|store| Replica {
            store,
            as_of: AtomicU64::new(NEVER),
        });
        let servers = Arc::new(Servers {
            primary,
            replicas: replicas.collect(),
            staleness_max,
            next: AtomicUsize::new(0),
            since: Instant::now(),
        });
        tokio::spawn(watch(Arc::downgrade(&servers)));
        Self {
            servers,
            wrote: Arc::new(AtomicU64::new(NEVER)),
        }
    }

    /// A session of its own: it need not see the writes of others at once, only its own.
    #[must_use]
    pub fn session(&self) -> Self {
        Self {
            servers: Arc::clone(&self.servers),
            wrote: Arc::new(AtomicU64::new(NEVER)),
        }
    }

    /// How old the state is that each replica shows, in the order given; `None` for one that has
    /// not been reached yet.
    pub fn staleness(&self) -> Vec<Option<Duration>> {
        let now = self.servers.now();
        let as_of = (self.servers.replicas.iter()).map(|r| r.as_of.load(Ordering::Acquire));
        as_of
            .map(|as_of| (as_of != NEVER).then(|| Duration::from_micros(now.saturating_sub(as_of))))
            .collect()
    }

    fn has_written(&self) {
        self.wrote.fetch_max(self.servers.now(), Ordering::AcqRel);
    }

    /// A replica that may serve this session, if there is one.
    fn replica(&self) -> Option<&Postgres> {
        let servers = &self.servers;
        let count = servers.replicas.len();
        let oldest = servers.now().saturating_sub(micros(servers.staleness_max));
        let wrote = self.wrote.load(Ordering::Acquire);
        let first = servers.next.fetch_add(1, Ordering::Relaxed);
        (0..count)
            .map(|step| &servers.replicas[(first + step) % count])
            .find(|replica| {
                let as_of = replica.as_of.load(Ordering::Acquire);
                as_of != NEVER && as_of >= oldest && as_of > wrote
            })
            .map(|replica| &replica.store)
    }
}

impl Servers {
    /// A moment, later than [`NEVER`].
    fn now(&self) -> u64 {
        micros(self.since.elapsed()).saturating_add(1)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Whether the primary may do better than a replica that answered this.
fn is_the_replicas(error: &Error) -> bool {
    error.is_unavailable() || error.is_busy() || error.is_conflict() || error.is_closed()
}

#[async_trait]
impl Storage for Replicated {
    fn capabilities(&self) -> &Capabilities {
        self.servers.primary.capabilities()
    }

    async fn read(&self, query: Select, mut rows: Rows) -> Result<Rows> {
        if let Some(replica) = self.replica() {
            match read::run(replica.database(), &query, &mut rows).await {
                Ok(()) => return Ok(rows),
                Err(error) if is_the_replicas(&error) && rows.restart() => {}
                Err(error) => return Err(error),
            }
        }
        self.servers.primary.read(query, rows).await
    }

    async fn read_all(&self, mut queries: Vec<(Select, Rows)>) -> Result<Vec<Rows>> {
        if let Some(replica) = self.replica() {
            match read::run_all(replica.database(), &mut queries).await {
                Ok(()) => return Ok(queries.into_iter().map(|(_, rows)| rows).collect()),
                Err(error)
                    if is_the_replicas(&error)
                        && queries.iter_mut().all(|(_, rows)| rows.restart()) => {}
                Err(error) => return Err(error),
            }
        }
        self.servers.primary.read_all(queries).await
    }

    async fn write(&self, write: Write, rows: Rows) -> Result<(Written, Rows)> {
        let written = self.servers.primary.write(write, rows).await;
        // Also after an error: it may have been applied.
        self.has_written();
        written
    }

    /// On the primary, also what only reads.
    async fn sql(&self, statement: RawStatement, rows: Rows) -> Result<(Written, Rows)> {
        let writes = statement.access == RawAccess::Write;
        let done = self.servers.primary.sql(statement, rows).await;
        if writes {
            self.has_written();
        }
        done
    }

    async fn begin(&self, options: TxOptions) -> Result<Box<dyn Transaction>> {
        Ok(Box::new(OnPrimary {
            inner: self.servers.primary.begin(options).await?,
            session: self.clone(),
        }))
    }

    async fn explain(&self, query: Select) -> Result<String> {
        self.servers.primary.explain(query).await
    }

    /// Closes the replicas, and then the primary.
    async fn close(&self) -> Result<()> {
        for replica in &self.servers.replicas {
            replica.store.close().await?;
        }
        self.servers.primary.close().await
    }
}

/// A transaction on the primary, whose end its session remembers.
#[derive(Debug)]
struct OnPrimary {
    inner: Box<dyn Transaction>,
    session: Replicated,
}

#[async_trait]
impl Storage for OnPrimary {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn read(&self, query: Select, rows: Rows) -> Result<Rows> {
        self.inner.read(query, rows).await
    }

    async fn read_all(&self, queries: Vec<(Select, Rows)>) -> Result<Vec<Rows>> {
        self.inner.read_all(queries).await
    }

    async fn write(&self, write: Write, rows: Rows) -> Result<(Written, Rows)> {
        self.inner.write(write, rows).await
    }

    async fn sql(&self, statement: RawStatement, rows: Rows) -> Result<(Written, Rows)> {
        self.inner.sql(statement, rows).await
    }

    async fn begin(&self, options: TxOptions) -> Result<Box<dyn Transaction>> {
        self.inner.begin(options).await
    }

    async fn explain(&self, query: Select) -> Result<String> {
        self.inner.explain(query).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

#[async_trait]
impl Transaction for OnPrimary {
    async fn commit(&self) -> Result<()> {
        let committed = self.inner.commit().await;
        self.session.has_written();
        committed
    }

    async fn rollback(&self) -> Result<()> {
        self.inner.rollback().await
    }
}

/// A moment, and where the primary's log ended then.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: u64,
    log: u64,
}

/// Asks the servers how far they are, for as long as somebody keeps them.
async fn watch(servers: Weak<Servers>) {
    let mut samples = VecDeque::new();
    while let Some(servers) = servers.upgrade() {
        let at = servers.now();
        if let Some(log) = ask(&servers.primary, PRIMARY).await {
            if samples.len() == SAMPLES_MAX {
                samples.pop_front();
            }
            samples.push_back(Sample { at, log });
        }
        for replica in &servers.replicas {
            if let Some(replayed) = ask(&replica.store, REPLICA).await {
                let reached = samples
                    .iter()
                    .rfind(|sample: &&Sample| sample.log <= replayed);
                if let Some(sample) = reached {
                    replica.as_of.store(sample.at, Ordering::Release);
                }
            }
        }
        drop(servers);
        sleep(ASK_EVERY).await;
    }
}

/// The end of the log, what is not flushed included; nothing if it is no primary.
const PRIMARY: &str = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint \
                       WHERE NOT pg_is_in_recovery()";
/// How much of the log is replayed; nothing if it is no replica.
const REPLICA: &str = "SELECT (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint \
                       WHERE pg_is_in_recovery()";

/// Asks a server for a position in the log. `None` if it does not say.
async fn ask(store: &Postgres, sql: &str) -> Option<u64> {
    let asking = async {
        let lane = store.database().lanes().enter().await.ok()?;
        let rows = lane.query_typed(sql, &[]).await;
        lane.answered();
        let rows = rows.ok()?;
        let position: Option<i64> = rows.first()?.try_get(0).ok()?;
        u64::try_from(position?).ok()
    };
    timeout(ASK_MAX, asking).await.ok()?
}
