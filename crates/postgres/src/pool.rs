//! The pool: connections that one task has to itself for a while.
//!
//! A connection comes back clean or not at all. Whoever lets go of one in the middle of something
//! (a dropped future, an open transaction) leaves it to a task that stops the statement, rolls
//! back and only then returns it; its place in the pool stays taken until then.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use deadpool::managed::{
    self, Metrics, Object, PoolConfig, PoolError, QueueMode, RecycleError, RecycleResult,
    TimeoutType, Timeouts,
};
use larder_core::{Error, Result};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use crate::connection::{Connection, Connector, Failure};
use crate::error;
use crate::options::{PostgresOptions, PrePing};

/// How long a connection may take to be clean again before it is closed instead.
const CLEAN_MAX: Duration = Duration::from_secs(5);
/// How long to wait for an answer when a connection is tried out.
const PING_MAX: Duration = Duration::from_secs(2);
/// How long work in flight may take when the pool is closed.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// How a pool stands at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolMetrics {
    /// The most connections that may be open, overflow included.
    pub max: usize,
    /// Connections that somebody has.
    pub in_use: usize,
    /// Open connections that nobody has.
    pub idle: usize,
    /// Tasks that wait for one.
    pub waiting: usize,
}

/// The pool.
pub(crate) struct Pool {
    pool: managed::Pool<Manager>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: Arc<PostgresOptions>,
    /// Connections that somebody has, or that are being cleaned.
    leased: AtomicUsize,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("metrics", &self.metrics())
            .finish()
    }
}

impl Pool {
    pub(crate) fn new(connector: Connector, options: Arc<PostgresOptions>) -> Result<Self> {
        let manager = Manager {
            connector,
            options: Arc::clone(&options),
            doubted: Mutex::new(None),
        };
        let pool = managed::Pool::builder(manager)
            .config(PoolConfig {
                max_size: options.max_size.saturating_add(options.overflow),
                timeouts: Timeouts {
                    wait: Some(options.acquire_timeout),
                    // The manager keeps its own, and says more when they pass.
                    create: None,
                    recycle: None,
                },
                // What was used last is warm, and what is superfluous gets old.
                queue_mode: QueueMode::Lifo,
            })
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            .map_err(|error| Error::misuse("the pool cannot be made").with_source(error))?;
        Ok(Self {
            pool,
            shared: Arc::new(Shared {
                options,
                leased: AtomicUsize::new(0),
            }),
        })
    }

    /// Closes idle connections from time to time, for as long as there is a pool.
    pub(crate) fn reap_idle(&self) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let (pool, limit) = (self.pool.weak(), self.shared.options.idle_timeout);
        // The runtime's clock is then always due before a call's deadline. Were it not, every call
        // would wake the thread that sleeps until the next one, only to set it.
        let pause = (limit / 4).clamp(Duration::from_millis(100), Duration::from_secs(1));
        runtime.spawn(async move {
            loop {
                sleep(pause).await;
                let Some(pool) = pool.upgrade() else { return };
                if pool.is_closed() {
                    return;
                }
                pool.retain(|_, metrics| metrics.last_used() < limit);
            }
        });
    }

    /// A connection, for as long as the lease is kept; by the deadline, if there is one.
    ///
    /// # Errors
    /// `Busy` if none becomes free in time, or too many wait; `Unavailable` if none can be opened;
    /// `Timeout` by the deadline; `Closed`.
    pub(crate) async fn acquire(&self, deadline: Option<Instant>) -> Result<Lease> {
        let options = &self.shared.options;
        if self.pool.status().waiting >= options.waiting_max {
            return Err(error::too_many_waiting(options.waiting_max));
        }
        let getting = self.pool.get();
        let got = match deadline {
            None => getting.await,
            Some(deadline) => (tokio::time::timeout_at(deadline.into(), getting).await)
                .map_err(|_| error::late_for_a_connection())?,
        };
        let object = got.map_err(|error| match error {
            PoolError::Backend(error) => error,
            PoolError::Timeout(TimeoutType::Wait) => error::no_free_connection(
                options.acquire_timeout,
                options.max_size + options.overflow,
            ),
            PoolError::Closed => error::closed(),
            other => error::no_connection(other),
        })?;
        self.shared.leased.fetch_add(1, Ordering::Relaxed);
        Ok(Lease {
            object: Some(object),
            shared: Arc::clone(&self.shared),
            state: State::Clean,
        })
    }

    pub(crate) fn metrics(&self) -> PoolMetrics {
        let status = self.pool.status();
        PoolMetrics {
            max: status.max_size,
            in_use: status.size.saturating_sub(status.available),
            idle: status.available,
            waiting: status.waiting,
        }
    }

    /// Refuses further work and waits for what is under way.
    ///
    /// # Errors
    /// `Busy` if something stays open: closing again goes on waiting.
    pub(crate) async fn close(&self) -> Result<()> {
        self.pool.close();
        let until = Instant::now() + CLOSE_MAX;
        while self.shared.leased.load(Ordering::Relaxed) > 0 {
            if Instant::now() >= until {
                return Err(error::still_in_use());
            }
            sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }
}

/// Makes connections for the pool, and looks at those that are to be used again.
#[derive(Debug)]
struct Manager {
    connector: Connector,
    options: Arc<PostgresOptions>,
    /// When a connection was tried out last that did not answer.
    doubted: Mutex<Option<Instant>>,
}

impl Manager {
    /// Whether one that was used later, or as late, did not answer: the way to the server has
    /// changed, and to wait for each takes longer than to open another.
    fn is_doubted(&self, used: Instant) -> bool {
        let doubted = *self.doubted.lock().unwrap_or_else(PoisonError::into_inner);
        doubted.is_some_and(|since| used <= since)
    }

    /// Tries the connection out.
    async fn ping(&self, connection: &Connection, used: Instant) -> RecycleResult<Error> {
        if self.is_doubted(used) {
            return Err(RecycleError::message("another one did not answer"));
        }
        let started = Instant::now();
        match timeout(PING_MAX, connection.check_connection()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(RecycleError::message("answers with an error")),
            Err(_) => {
                let mut doubted = self.doubted.lock().unwrap_or_else(PoisonError::into_inner);
                *doubted = Some(started);
                Err(RecycleError::message("does not answer"))
            }
        }
    }
}

impl managed::Manager for Manager {
    type Type = Connection;
    type Error = Error;

    async fn create(&self) -> Result<Connection> {
        self.connector.connect().await
    }

    async fn recycle(
        &self,
        connection: &mut Connection,
        metrics: &Metrics,
    ) -> RecycleResult<Error> {
        let idle = metrics.last_used();
        let options = &self.options;
        if connection.is_closed() {
            return Err(RecycleError::message("closed"));
        }
        if connection.is_left() {
            return Err(RecycleError::message("leads to a server that was left"));
        }
        if connection.age() >= options.max_lifetime || idle >= options.idle_timeout {
            return Err(RecycleError::message("old"));
        }
        let ping = match options.pre_ping {
            PrePing::Never => false,
            PrePing::AfterIdle(limit) => idle >= limit,
            PrePing::Always => true,
        };
        match Instant::now().checked_sub(idle) {
            Some(used) if ping => self.ping(connection, used).await,
            _ => Ok(()),
        }
    }
}

/// A connection of one's own. Dropping it returns it, clean.
#[derive(Debug)]
pub(crate) struct Lease {
    object: Option<Object<Manager>>,
    shared: Arc<Shared>,
    state: State,
}

/// What a connection would leave behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing.
    Clean,
    /// An open transaction.
    Open,
    /// A statement that runs, perhaps in a transaction.
    Running,
    /// It is of no more use.
    Useless,
}

impl Lease {
    /// Says that a statement is under way: dropped now, the connection has to be cleaned.
    pub(crate) fn begin(&mut self) {
        self.state = State::Running;
    }

    /// Says that the server has answered, and a transaction is open.
    pub(crate) fn pause(&mut self) {
        self.state = State::Open;
    }

    /// Has the connection closed instead of used again.
    pub(crate) fn retire(&mut self) {
        self.state = State::Useless;
    }

    /// Looks at what a write was answered: a connection to a server that takes none is not used
    /// again. Nothing may be under way.
    pub(crate) fn heed(&mut self, error: &Error) {
        if error.is_read_only() {
            Connection::heed(self, error);
            self.retire();
        }
    }

    /// Says that the server has answered, and no transaction is open.
    pub(crate) fn end(&mut self) {
        self.state = State::Clean;
    }

    /// The same, unless what came instead of the answer says that the connection is lost: the
    /// driver may not have seen yet that it is closed.
    pub(crate) fn end_after<T>(&mut self, outcome: &Result<T, Failure>) {
        match outcome {
            Err(failure) if failure.is_lost() => self.retire(),
            _ => self.end(),
        }
    }
}

impl Deref for Lease {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.object.as_ref().expect("taken only by drop")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(object) = self.object.take() else {
            return;
        };
        let place = Place {
            object: Some(object),
            shared: Arc::clone(&self.shared),
        };
        let runs = match self.state {
            State::Clean => return place.give_back(),
            State::Open => false,
            State::Running => true,
            State::Useless => return drop(place),
        };
        if !place.is_closed()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move {
                if place.clean(runs).await {
                    place.give_back();
                }
            });
        }
    }
}

/// A connection's place in the pool. Dropping it closes the connection.
struct Place {
    object: Option<Object<Manager>>,
    shared: Arc<Shared>,
}

impl Place {
    fn is_closed(&self) -> bool {
        self.object.as_ref().is_none_or(|object| object.is_closed())
    }

    /// Stops what runs and rolls back. False if that takes too long, or fails.
    async fn clean(&self, runs: bool) -> bool {
        let Some(connection) = &self.object else {
            return false;
        };
        if runs {
            connection.cancel().await;
        }
        if connection.is_tainted() {
            return false;
        }
        matches!(
            timeout(CLEAN_MAX, connection.batch_execute("ROLLBACK")).await,
            Ok(Ok(()))
        )
    }

    fn give_back(mut self) {
        let Some(object) = self.object.take() else {
            return;
        };
        let superfluous = Object::pool(&object).is_some_and(|pool| {
            let status = pool.status();
            // One that somebody waits for is not.
            status.size > self.shared.options.max_size && status.waiting == 0
        });
        if superfluous || object.is_closed() || object.is_tainted() {
            drop(Object::take(object));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            drop(Object::take(object));
        }
        self.shared.leased.fetch_sub(1, Ordering::Relaxed);
    }
}
