//! The shared connections: point reads of many tasks, pipelined.
//!
//! A point read needs nothing of its connection but to be answered in turn. So it takes no
//! connection out of the pool: it is sent at once behind those of other tasks, and the driver
//! writes what has gathered with one system call. What may take long must not travel here: all
//! behind it would wait.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use larder_core::Result;
use tokio::sync::Mutex;

use crate::connection::{Connection, Connector};
use crate::error;

/// How many reads are under way on each open connection before another one is opened.
const CROWDED: usize = 4;
/// After how long without an answer a connection is given up.
const STALLED: Duration = Duration::from_secs(1);

/// The shared connections.
#[derive(Debug)]
pub(crate) struct Lanes {
    connector: Connector,
    slots: Box<[Slot]>,
    closed: AtomicBool,
    since: Instant,
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
    fn is_usable(&self) -> bool {
        !self.retired.load(Ordering::Relaxed)
            && !self.connection.is_closed()
            && !self.connection.is_left()
    }
}

impl Slot {
    fn usable(&self) -> Option<Arc<Lane>> {
        let lane = self.lane.read().unwrap_or_else(PoisonError::into_inner);
        lane.as_ref().filter(|lane| lane.is_usable()).cloned()
    }

    fn put(&self, lane: Option<Arc<Lane>>) {
        *self.lane.write().unwrap_or_else(PoisonError::into_inner) = lane;
    }
}

impl Lanes {
    pub(crate) fn new(connector: Connector, count: usize) -> Self {
        Self {
            connector,
            slots: (0..count.max(1)).map(|_| Slot::default()).collect(),
            closed: AtomicBool::new(false),
            since: Instant::now(),
        }
    }

    /// A place on the connection that is least in use; opens one more if all have enough to do.
    pub(crate) async fn enter(self: &Arc<Self>) -> Result<OnLane> {
        let mut least: Option<Arc<Lane>> = None;
        let mut empty = None;
        for slot in &self.slots {
            let Some(lane) = slot.usable() else {
                empty = empty.or(Some(slot));
                continue;
            };
            let load = lane.under_way.load(Ordering::Relaxed);
            if load == 0 {
                return self.on(lane);
            }
            let busier = least
                .as_ref()
                .is_none_or(|least| load < least.under_way.load(Ordering::Relaxed));
            if busier {
                least = Some(lane);
            }
        }
        match (least, empty) {
            (Some(lane), Some(slot))
                if lane.under_way.load(Ordering::Relaxed) >= CROWDED
                    && slot.opening.try_lock().is_ok() =>
            {
                // Nobody waits for it: the next ones will find it.
                self.open_in_background();
                self.on(lane)
            }
            (Some(lane), _) => self.on(lane),
            (None, Some(slot)) => {
                let lane = self.open(slot).await?;
                self.on(lane)
            }
            (None, None) => Err(error::closed()), // there is at least one slot
        }
    }

    fn on(self: &Arc<Self>, lane: Arc<Lane>) -> Result<OnLane> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(error::closed());
        }
        lane.under_way.fetch_add(1, Ordering::Relaxed);
        Ok(OnLane {
            lane,
            lanes: Arc::clone(self),
            started: Instant::now(),
            answered: false,
        })
    }

    /// Opens the connection of a slot, unless somebody else has just done it.
    async fn open(&self, slot: &Slot) -> Result<Arc<Lane>> {
        let _opening = slot.opening.lock().await;
        if let Some(lane) = slot.usable() {
            return Ok(lane);
        }
        if self.closed.load(Ordering::Relaxed) {
            return Err(error::closed());
        }
        let lane = Arc::new(Lane {
            connection: self.connector.connect().await?,
            under_way: AtomicUsize::new(0),
            answered: AtomicU64::new(self.now()),
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
            let slot = lanes.slots.iter().find(|slot| slot.usable().is_none());
            if let Some(slot) = slot
                && let Err(error) = lanes.open(slot).await
            {
                tracing::debug!(%error, "a further shared connection could not be opened");
            }
        });
    }

    /// Refuses further reads; those under way are answered.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        for slot in &self.slots {
            slot.put(None);
        }
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
        if waited >= STALLED / 10 && silent >= STALLED.as_millis() as u64 {
            self.lane.retired.store(true, Ordering::Relaxed);
        }
    }
}
