//! Ends statements early: past a budget of steps, or when someone cancels them.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::Notify;

/// The number of virtual machine steps between two looks at the budget.
const STEPS_PER_TICK: u32 = 500;

/// How long [`Patience::Brief`] waits.
const BRIEF: Duration = Duration::from_millis(20);

/// What a connection's statements may do, shared with the two handlers installed on it.
///
/// The handlers are installed once. Before each query [`arm`](Self::arm) stores a few atomics,
/// which costs a few nanoseconds; afterwards [`ending`](Self::ending) tells why it ended.
/// Only the one thread that uses the connection arms, so the loads and stores are relaxed.
#[derive(Debug)]
pub(crate) struct Interrupt {
    ticks: AtomicU32,
    patience: AtomicU8,
    cancellable: AtomicBool,
    cancel: Mutex<Option<Cancel>>,
    ending: AtomicU8,
}

/// How many virtual machine steps a query may take.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Budget {
    Unlimited,
    /// About this many steps; SQLite looks up every 500.
    Steps(u32),
}

/// Whether a statement waits when another connection holds a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Answers "busy" at once: for statements that run on a task of the runtime.
    None,
    /// Waits 20 ms at most: for work that may as well be done later.
    Brief,
    /// Sleeps and tries again for as long as the busy timeout: for blocking threads.
    BusyTimeout,
}

/// Why the last statement ended, as far as the handlers had a part in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By itself: done, or failed for a reason of its own.
    Own,
    Budget,
    Cancelled,
}

/// Cancels the query it was handed to, from any thread, before or while it runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cancel(Arc<Cancelled>);

#[derive(Debug, Default)]
struct Cancelled {
    flag: AtomicBool,
    /// Wakes who waits for it.
    notify: Notify,
}

impl Cancel {
    pub(crate) fn cancel(&self) {
        self.0.flag.store(true, Ordering::SeqCst);
        self.0.notify.notify_waiters();
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.flag.load(Ordering::SeqCst)
    }

    /// Waits until it is cancelled.
    pub(crate) async fn cancelled(&self) {
        let mut notified = pin!(self.0.notify.notified());
        // Listens before it looks, so that none is missed in between.
        notified.as_mut().enable();
        if !self.is_cancelled() {
            notified.await;
        }
    }
}

impl Interrupt {
    /// Installs the progress and the busy handler on a connection.
    pub(crate) fn install(
        connection: &mut Connection,
        busy_timeout: Duration,
    ) -> rusqlite::Result<Arc<Self>> {
        let interrupt = Arc::new(Self {
            ticks: AtomicU32::new(u32::MAX),
            patience: AtomicU8::new(Patience::BusyTimeout as u8),
            cancellable: AtomicBool::new(false),
            cancel: Mutex::new(None),
            ending: AtomicU8::new(0),
        });
        let shared = Arc::clone(&interrupt);
        let steps = STEPS_PER_TICK.cast_signed();
        connection.progress_handler(steps, Some(move || shared.tick()))?;
        let shared = Arc::clone(&interrupt);
        let mut since = Instant::now();
        connection.busy_handler(Some(move |attempt| {
            if attempt == 0 {
                since = Instant::now();
            }
            shared.wait_for_lock(attempt, since, busy_timeout)
        }))?;
        Ok(interrupt)
    }

    /// Sets what the next statements may do, until armed anew.
    pub(crate) fn arm(&self, budget: Budget, patience: Patience) {
        let ticks = match budget {
            Budget::Unlimited => u32::MAX,
            // One more, because the first look may come after a single step.
            Budget::Steps(steps) => steps / STEPS_PER_TICK + 1,
        };
        self.ticks.store(ticks, Ordering::Relaxed);
        self.patience.store(patience as u8, Ordering::Relaxed);
        self.cancellable.store(false, Ordering::Relaxed);
        self.ending.store(0, Ordering::Relaxed);
    }

    /// Sets what the next statements may do, and who may cancel them.
    pub(crate) fn arm_cancellable(&self, budget: Budget, patience: Patience, cancel: Cancel) {
        self.arm(budget, patience);
        *self.cancel.lock().unwrap_or_else(PoisonError::into_inner) = Some(cancel);
        self.cancellable.store(true, Ordering::Relaxed);
    }

    /// Why the last statement ended.
    pub(crate) fn ending(&self) -> Ending {
        match self.ending.load(Ordering::Relaxed) {
            0 => Ending::Own,
            1 => Ending::Budget,
            _ => Ending::Cancelled,
        }
    }

    /// Called by SQLite every [`STEPS_PER_TICK`] steps; true interrupts the statement.
    fn tick(&self) -> bool {
        if self.is_cancelled() {
            self.ending.store(2, Ordering::Relaxed);
            return true;
        }
        match self.ticks.load(Ordering::Relaxed) {
            u32::MAX => false,
            0 => {
                self.ending.store(1, Ordering::Relaxed);
                true
            }
            left => {
                self.ticks.store(left - 1, Ordering::Relaxed);
                false
            }
        }
    }

    /// Called by SQLite when a lock is taken; true tries again.
    fn wait_for_lock(&self, attempt: i32, since: Instant, timeout: Duration) -> bool {
        // The pauses SQLite's own handler makes, in milliseconds.
        const PAUSES: [u64; 12] = [1, 2, 5, 10, 15, 20, 25, 25, 25, 50, 50, 100];
        let patience = self.patience.load(Ordering::Relaxed);
        if patience == Patience::None as u8 || self.is_cancelled() {
            return false;
        }
        let brief = patience == Patience::Brief as u8;
        let timeout = if brief { timeout.min(BRIEF) } else { timeout };
        let left = timeout.saturating_sub(since.elapsed());
        let nth = usize::try_from(attempt).unwrap_or(0).min(PAUSES.len() - 1);
        std::thread::sleep(left.min(Duration::from_millis(PAUSES[nth])));
        !left.is_zero()
    }

    fn is_cancelled(&self) -> bool {
        self.cancellable.load(Ordering::Relaxed)
            && self
                .cancel
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .as_ref()
                .is_some_and(Cancel::is_cancelled)
    }
}
