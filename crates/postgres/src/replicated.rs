//! [`Replicated`]: reads from replicas, writes to the primary.
//!
//! ```text
//!   every 100 ms:  primary's end of log, and when it was asked ──> a sample
//!                  replica's replayed log ──> the newest sample that it has reached;
//!                  no answer, or a read that fails ──> out of use until the next answer
//!   a read:        a replica that is not older than allowed, and than the session's last write;
//!                  else the primary
//! ```
//!
//! A sample that was taken after a write was answered covers it. So no write costs a round trip
//! more, and no read waits for a replica: until one has caught up, the session stays on the
//! primary.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use larder_core::raw::RawAccess;
use larder_core::{
    Capabilities, Error, ErrorKind, NamedLock, RawStatement, Result, Rows, Select, Storage,
    Transaction, TxOptions, Write, Written,
};
use tokio::time::{sleep, timeout};

use crate::read;
use crate::storage::Postgres;

/// How many samples of the primary's log are kept: those of 50 seconds, and of hours at ever longer
/// distances.
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
/// [`session`](Self::session) begins another one, as for the next request of a service. Reads of
/// one session may go to several servers, and so see a later state first and then an earlier one,
/// within these bounds.
///
/// To follow a promotion, give the primary's URL all the hosts and
/// `target_session_attrs=read-write`: when the connections to the old one break, or turn out
/// read-only, the next ones find the new one. A replica's URL has one host: its own.
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
    /// Where the primary's log ended, the newest last.
    samples: Mutex<VecDeque<Sample>>,
}

struct Replica {
    store: Postgres,
    /// As of when it shows the primary's state, in microseconds of [`Servers::now`]; [`NEVER`] if
    /// it does not answer.
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
    /// A primary and its replicas. A read outside of a transaction shows everything that was
    /// written up to `staleness_max` before it began. Below some 200 ms the replicas are hardly
    /// used: they are not asked that often.
    ///
    /// Asks each server every 100 ms how far it is, for as long as the store is kept. Until a
    /// replica has answered, the primary serves all.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
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
            samples: Mutex::default(),
        });
        tokio::spawn(watch_primary(Arc::downgrade(&servers)));
        for at in 0..servers.replicas.len() {
            tokio::spawn(watch_replica(Arc::downgrade(&servers), at));
        }
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

    /// How old the state is that each replica shows, in the order given; `None` for one that does
    /// not answer.
    pub fn staleness(&self) -> Vec<Option<Duration>> {
        let now = self.servers.now();
        let as_of = (self.servers.replicas.iter()).map(|r| r.as_of.load(Ordering::Acquire));
        as_of
            .map(|as_of| (as_of != NEVER).then(|| Duration::from_micros(now.saturating_sub(as_of))))
            .collect()
    }

    /// Notes a write of the session when this is dropped: also one that failed, or was not waited
    /// for. It may have been applied.
    fn writing(&self) -> Writing<'_> {
        Writing(self)
    }

    /// A replica that may serve this session, if there is one.
    fn replica(&self) -> Option<&Replica> {
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
    }
}

/// A write under way.
struct Writing<'a>(&'a Replicated);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let session = self.0;
        let now = session.servers.now();
        session.wrote.fetch_max(now, Ordering::AcqRel);
    }
}

impl Replica {
    /// Whether the primary may do better than this replica, which answered with the error.
    fn yields(&self, error: &Error) -> bool {
        if error.is_unavailable() || error.is_closed() {
            // Back after a restart it may show less than before.
            self.as_of.store(NEVER, Ordering::Release);
            return true;
        }
        // A table may be there that the replica has yet to hear of.
        error.is_busy() || error.is_conflict() || error.kind() == ErrorKind::Schema
    }
}

impl Servers {
    /// A moment, later than [`NEVER`].
    fn now(&self) -> u64 {
        micros(self.since.elapsed()).saturating_add(1)
    }

    fn samples(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add_sample(&self, sample: Sample) {
        let mut samples = self.samples();
        if samples.len() == SAMPLES_MAX {
            // A replica that is far behind needs old ones, but not all.
            let mut at = 0;
            samples.retain(|_| {
                at += 1;
                at % 2 == 0 || at > SAMPLES_MAX / 2
            });
        }
        samples.push_back(sample);
    }

    /// When the primary's log ended where the replica is now, or before.
    fn as_of(&self, replayed: u64) -> u64 {
        let samples = self.samples();
        let reached = samples.iter().rfind(|sample| sample.log <= replayed);
        reached.map_or(NEVER, |sample| sample.at)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Whether a read can be run elsewhere: it has shown nothing, or what can be taken back.
fn may_repeat(rows: &mut Rows) -> bool {
    rows.count() == 0 || rows.restart()
}

#[async_trait]
impl Storage for Replicated {
    fn capabilities(&self) -> &Capabilities {
        self.servers.primary.capabilities()
    }

    async fn read(&self, query: Select, mut rows: Rows) -> Result<Rows> {
        if let Some(replica) = self.replica() {
            match read::run(replica.store.database(), &query, &mut rows).await {
                Ok(()) => return Ok(rows),
                Err(error) if replica.yields(&error) && may_repeat(&mut rows) => {}
                Err(error) => return Err(error),
            }
        }
        self.servers.primary.read(query, rows).await
    }

    async fn read_all(&self, mut queries: Vec<(Select, Rows)>) -> Result<Vec<Rows>> {
        if let Some(replica) = self.replica() {
            match read::run_all(replica.store.database(), &mut queries).await {
                Ok(()) => return Ok(queries.into_iter().map(|(_, rows)| rows).collect()),
                Err(error)
                    if replica.yields(&error)
                        && queries.iter_mut().all(|(_, rows)| may_repeat(rows)) => {}
                Err(error) => return Err(error),
            }
        }
        self.servers.primary.read_all(queries).await
    }

    async fn write(&self, write: Write, rows: Rows) -> Result<(Written, Rows)> {
        let _writing = self.writing();
        self.servers.primary.write(write, rows).await
    }

    /// On the primary, also what only reads.
    async fn sql(&self, statement: RawStatement, rows: Rows) -> Result<(Written, Rows)> {
        let _writing = (statement.access == RawAccess::Write).then(|| self.writing());
        self.servers.primary.sql(statement, rows).await
    }

    async fn lock(&self, name: &str, wait: bool) -> Result<Option<Box<dyn NamedLock>>> {
        self.servers.primary.lock(name, wait).await
    }

    async fn begin(&self, options: TxOptions) -> Result<Box<dyn Transaction>> {
        Ok(Box::new(OnPrimary {
            inner: self.servers.primary.begin(options).await?,
            session: self.clone(),
            writes: AtomicBool::new(false),
        }))
    }

    async fn explain(&self, query: Select) -> Result<String> {
        self.servers.primary.explain(query).await
    }

    /// Closes the primary and the replicas, and answers the first error.
    async fn close(&self) -> Result<()> {
        let mut closed = self.servers.primary.close().await;
        for replica in &self.servers.replicas {
            closed = closed.and(replica.store.close().await);
        }
        closed
    }
}

/// A transaction on the primary, whose end its session remembers.
#[derive(Debug)]
struct OnPrimary {
    inner: Box<dyn Transaction>,
    session: Replicated,
    /// Whether it may have written.
    writes: AtomicBool,
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
        self.writes.store(true, Ordering::Relaxed);
        self.inner.write(write, rows).await
    }

    async fn sql(&self, statement: RawStatement, rows: Rows) -> Result<(Written, Rows)> {
        if statement.access == RawAccess::Write {
            self.writes.store(true, Ordering::Relaxed);
        }
        self.inner.sql(statement, rows).await
    }

    async fn begin(&self, options: TxOptions) -> Result<Box<dyn Transaction>> {
        self.writes.store(true, Ordering::Relaxed); // by the nested one
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
        let writes = self.writes.load(Ordering::Relaxed);
        let _writing = writes.then(|| self.session.writing());
        self.inner.commit().await
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

/// Asks the primary how far it is, for as long as somebody keeps the servers.
async fn watch_primary(servers: Weak<Servers>) {
    while let Some(servers) = servers.upgrade() {
        let at = servers.now();
        match ask(&servers.primary, PRIMARY).await {
            Some(Some(log)) => servers.add_sample(Sample { at, log }),
            Some(None) => servers.primary.database().connector().leave(),
            None => {}
        }
        drop(servers);
        sleep(ASK_EVERY).await;
    }
}

/// Asks a replica how far it is, for as long as somebody keeps the servers.
async fn watch_replica(servers: Weak<Servers>, at: usize) {
    while let Some(servers) = servers.upgrade() {
        let replica = &servers.replicas[at];
        let before = replica.as_of.load(Ordering::Acquire);
        let position = ask(&replica.store, REPLICA).await.flatten();
        let as_of = position.map_or(NEVER, |replayed| servers.as_of(replayed));
        // Where a read has failed meanwhile, the answer may be from before: the next one counts.
        let _ =
            (replica.as_of).compare_exchange(before, as_of, Ordering::AcqRel, Ordering::Acquire);
        drop(servers);
        sleep(ASK_EVERY).await;
    }
}

/// The end of the log, what is not flushed included; nothing if the server takes no writes. It is
/// where the next record begins: behind the header of a page (of at most 40 bytes) if the last
/// record filled the page before, and no replica gets there until there is a next one.
const PRIMARY: &str = "\
    SELECT CASE WHEN log % page <= 40 THEN log - log % page ELSE log END \
    FROM (SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint AS log, \
                 current_setting('wal_block_size')::bigint AS page \
          WHERE NOT pg_is_in_recovery() \
            AND NOT current_setting('transaction_read_only')::boolean) AS ended";
/// How much of the log is replayed; nothing if it is no replica.
const REPLICA: &str = "SELECT (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint \
                       WHERE pg_is_in_recovery()";

/// Asks a server for a position in the log. `None` if it does not answer, `Some(None)` if it is
/// not the one to ask.
async fn ask(store: &Postgres, sql: &str) -> Option<Option<u64>> {
    let asking = async {
        let lane = store.database().lanes().enter().await.ok()?;
        let rows = lane.query_typed(sql, &[]).await;
        lane.answered();
        let Some(row) = rows.ok()?.pop() else {
            return Some(None);
        };
        let position: Option<i64> = row.try_get(0).ok()?;
        Some(u64::try_from(position?).ok())
    };
    timeout(ASK_MAX, asking).await.ok()?
}
