//! The shared connections: point reads of many tasks, pipelined.
//!
//! A point read needs nothing of its connection but to be answered in turn. So it takes no
//! connection out of the pool: it is sent at once behind those of other tasks, and the driver
//! writes what has gathered with one system call. What may take long must not travel here: all
//! behind it would wait. A read that waits for a lock is taken back after a moment, and has a
//! connection to itself then. (Behind a pooler, which has no such setting, it is not until somebody
//! has waited in vain.)

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use larder_core::{Result, Table};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use crate::connection::{Connection, Connector};
use crate::error;
use crate::options::PostgresOptions;

/// How many reads are under way on each open connection before another one is opened.
const CROWDED: usize = 4;
/// After how long without an answer a connection is avoided, in milliseconds: whoever asked for
/// the next one may not take it.
const SILENT: u64 = 100;
/// How long work in flight may take when the store is closed.
const CLOSE_MAX: Duration = Duration::from_secs(5);
/// After how long without an answer a connection is given up.
const STALLED: Duration = Duration::from_secs(1);
/// How long a new connection may take to be set up.
const OPEN_MAX: Duration = Duration::from_secs(5);
/// How long a read waits here for a table that is locked: those behind it wait as well.
const LOCK_WAIT: &str = "SET lock_timeout = 50";
/// For how long reads of that table stay away then, in milliseconds.
const SHUNNED: u64 = 1_000;

/// The shared connections.
#[derive(Debug)]
pub(crate) struct Lanes {
    connector: Connector,
    slots: Box<[Slot]>,
    /// How old a connection may become before it is replaced when it is idle.
    max_lifetime: Duration,
    /// How many reads are under way on all of them, replaced ones included.
    under_way: AtomicUsize,
    closed: AtomicBool,
    since: Instant,
    /// Tables that were locked, and until when their reads stay away.
    shunned: RwLock<Vec<(&'static Table, u64)>>,
    /// When the last of them is not shunned any more.
    shunned_until: AtomicU64,
}

#[derive(Debug, Default)]
struct Slot {
    lane: RwLock<Option<Arc<Lane>>>,
    opening: Mutex<()>,
}

/// One of them.
struct Lane {
    connection: Connection,
    /// How many reads are under way.
    under_way: AtomicUsize,
    /// When it last answered, in milliseconds since the lanes were made.
    answered: AtomicU64,
    /// When it was last idle, in the same way.
    idle: AtomicU64,
    /// Set when it does not answer any more.
    retired: AtomicBool,
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane")
            .field("under_way", &self.under_way)
            .finish_non_exhaustive()
    }
}

impl Lane {
    fn is_usable(&self, max_lifetime: Duration) -> bool {
        !self.retired.load(Ordering::Relaxed)
            && !self.connection.is_closed()
            && !self.connection.is_left()
            && (self.load() > 0 || self.connection.age() < max_lifetime)
    }

    /// Has the server stop what it runs for this connection. Who waits behind it goes on, or is
    /// told and goes elsewhere.
    fn stop(self: &Arc<Self>) {
        if let Ok(runtime) = Handle::try_current() {
            let lane = Arc::clone(self);
            runtime.spawn(async move { lane.connection.cancel().await });
        }
    }

    fn load(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Whether the reads under way have waited for long, at this time.
    fn is_silent(&self, now: u64) -> bool {
        let answered = self.answered.load(Ordering::Relaxed);
        let busy_since = self.idle.load(Ordering::Relaxed);
        now.saturating_sub(answered.max(busy_since)) > SILENT
    }
}

impl Slot {
    fn usable(&self, max_lifetime: Duration) -> Option<Arc<Lane>> {
        let lane = self.lane.read().unwrap_or_else(PoisonError::into_inner);
        let usable = lane.as_ref().filter(|lane| lane.is_usable(max_lifetime));
        usable.cloned()
    }

    fn put(&self, lane: Option<Arc<Lane>>) {
        *self.lane.write().unwrap_or_else(PoisonError::into_inner) = lane;
    }
}

impl Lanes {
    pub(crate) fn new(connector: Connector, options: &PostgresOptions) -> Self {
        let count = options.shared_connections.max(1);
        Self {
            connector,
            slots: (0..count).map(|_| Slot::default()).collect(),
            max_lifetime: options.max_lifetime,
            under_way: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            since: Instant::now(),
            shunned: RwLock::default(),
            shunned_until: AtomicU64::new(0),
        }
    }

    /// Whether reads of the table stay away, because it was locked a moment ago.
    pub(crate) fn shuns(&self, table: &Table) -> bool {
        let until = self.shunned_until.load(Ordering::Relaxed);
        if until == 0 {
            return false; // as nearly always: nobody looks at the time
        }
        let now = self.now();
        let shunned = self.shunned.read().unwrap_or_else(PoisonError::into_inner);
        let mut shunned = shunned.iter();
        now < until && shunned.any(|(one, until)| now < *until && one.is(table))
    }

    /// Has reads of the table stay away for a moment: it is locked.
    pub(crate) fn shun(&self, table: &'static Table) {
        let now = self.now();
        let until = now + SHUNNED;
        let mut shunned = self.shunned.write().unwrap_or_else(PoisonError::into_inner);
        shunned.retain(|(one, until)| now < *until && !one.is(table));
        shunned.push((table, until));
        self.shunned_until.fetch_max(until, Ordering::Relaxed);
    }

    /// A place on the connection that is least in use; opens one more if all have enough to do, or
    /// do not answer.
    pub(crate) async fn enter(self: &Arc<Self>) -> Result<OnLane> {
        let mut best: Option<(bool, usize, Arc<Lane>)> = None;
        let mut empty = None;
        let now = self.now();
        for slot in &self.slots {
            let Some(lane) = slot.usable(self.max_lifetime) else {
                empty = empty.or(Some(slot));
                continue;
            };
            let load = lane.load();
            if load == 0 {
                return self.on(lane);
            }
            let silent = lane.is_silent(now);
            let better = best
                .as_ref()
                .is_none_or(|(other, more, _)| (silent, load) < (*other, *more));
            if better {
                best = Some((silent, load, lane));
            }
        }
        match (best, empty) {
            // Better behind those that wait than refused.
            (Some((true, _, lane)), Some(slot)) => {
                let opened = self.open(slot).await;
                self.on(opened.unwrap_or(lane))
            }
            (Some((false, load, lane)), Some(slot))
                if load >= CROWDED && slot.opening.try_lock().is_ok() =>
            {
                // Nobody waits for it: the next ones will find it.
                self.open_in_background();
                self.on(lane)
            }
            (Some((_, _, lane)), _) => self.on(lane),
            (None, Some(slot)) => {
                let lane = self.open(slot).await?;
                self.on(lane)
            }
            (None, None) => Err(error::closed()), // there is at least one slot
        }
    }

    fn on(self: &Arc<Self>, lane: Arc<Lane>) -> Result<OnLane> {
        if lane.under_way.fetch_add(1, Ordering::Relaxed) == 0 {
            lane.idle.store(self.now(), Ordering::Relaxed);
        }
        // Counted before looking: whoever closes looks the other way round.
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let place = OnLane {
            lane,
            lanes: Arc::clone(self),
            started: Instant::now(),
            answered: false,
        };
        if self.closed.load(Ordering::SeqCst) {
            return Err(error::closed());
        }
        Ok(place)
    }

    /// Opens the connection of a slot, unless somebody else has just done it.
    async fn open(&self, slot: &Slot) -> Result<Arc<Lane>> {
        let _opening = slot.opening.lock().await;
        if let Some(lane) = slot.usable(self.max_lifetime) {
            return Ok(lane);
        }
        if self.closed.load(Ordering::Relaxed) {
            return Err(error::closed());
        }
        let connection = self.connector.connect().await?;
        // A pooler would give the setting to others.
        if connection.is_named() {
            let set = timeout(OPEN_MAX, connection.batch_execute(LOCK_WAIT)).await;
            set.map_err(|_| error::connect_late(OPEN_MAX))?
                .map_err(error::connect_failed)?;
        }
        let lane = Arc::new(Lane {
            connection,
            under_way: AtomicUsize::new(0),
            answered: AtomicU64::new(self.now()),
            idle: AtomicU64::new(self.now()),
            retired: AtomicBool::new(false),
        });
        slot.put(Some(Arc::clone(&lane)));
        if self.closed.load(Ordering::Relaxed) {
            slot.put(None); // closed meanwhile
        }
        Ok(lane)
    }

    fn open_in_background(self: &Arc<Self>) {
        let lanes = Arc::clone(self);
        tokio::spawn(async move {
            let mut slots = lanes.slots.iter();
            let empty = slots.find(|slot| slot.usable(lanes.max_lifetime).is_none());
            if let Some(slot) = empty
                && let Err(error) = lanes.open(slot).await
            {
                tracing::debug!(%error, "a further shared connection could not be opened");
            }
        });
    }

    /// Refuses further reads and waits for those under way.
    ///
    /// # Errors
    /// `Busy` if one is not answered: closing again goes on waiting.
    pub(crate) async fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::SeqCst);
        for slot in &self.slots {
            slot.put(None);
        }
        let until = Instant::now() + CLOSE_MAX;
        while self.under_way.load(Ordering::SeqCst) > 0 {
            if Instant::now() >= until {
                return Err(error::still_in_use());
            }
            sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A read's place on a shared connection.
#[derive(Debug)]
pub(crate) struct OnLane {
    lane: Arc<Lane>,
    lanes: Arc<Lanes>,
    started: Instant,
    answered: bool,
}

impl OnLane {
    /// Whether the connection was given up, and what it runs stopped.
    pub(crate) fn is_retired(&self) -> bool {
        self.lane.retired.load(Ordering::Relaxed)
    }

    /// Says that the answer, or the error, has come.
    pub(crate) fn answered(mut self) {
        self.answered = true;
    }
}

impl Deref for OnLane {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.lane.connection
    }
}

impl Drop for OnLane {
    fn drop(&mut self) {
        self.lane.under_way.fetch_sub(1, Ordering::Relaxed);
        self.lanes.under_way.fetch_sub(1, Ordering::SeqCst);
        if self.answered {
            self.lane
                .answered
                .store(self.lanes.now(), Ordering::Relaxed);
            return;
        }
        // Whoever waited has gone. If nobody has had an answer for long, the server is not there
        // any more, and whoever comes next should not wait for it too.
        let answered = self.lane.answered.load(Ordering::Relaxed);
        let silent = self.lanes.now().saturating_sub(answered);
        let waited = self.started.elapsed();
        let given_up = waited >= STALLED / 10 && silent >= STALLED.as_millis() as u64;
        if given_up && !self.lane.retired.swap(true, Ordering::Relaxed) {
            self.lane.stop();
        }
    }
}
