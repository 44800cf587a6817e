//! The reader connections: lent for a point read without waiting, or checked out for longer work.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::connection::{Opened, Opener};
use crate::error::EngineError;
use crate::interrupt::{Budget, Interrupt, Patience};
use crate::snapshot::{Parking, Snapshots};

/// How often the sweeper looks for idle snapshots. One is let go of after one or two of these.
const SWEEP_EVERY: Duration = Duration::from_millis(4);

/// The most readers beyond the pool.
const EXTRA_MAX: usize = 64;

/// How long a checkpoint waits for a reader that is in the middle of a point read.
const RELEASE_WAIT: Duration = Duration::from_millis(2);

/// The pool of a database's reader connections.
///
/// Point reads borrow one with [`try_lend`](Self::try_lend), on the calling task, and never wait.
/// Longer work takes one out with [`check_out`](Self::check_out); one connection always stays
/// behind for the point reads, and up to 64 more are opened when all others are out. Parked snapshots are let go of a few milliseconds after the last
/// read by a thread that sleeps while nothing is parked.
#[derive(Debug)]
pub(crate) struct Readers {
    shared: Arc<Shared>,
    opener: Opener,
    /// All of the pool's readers but one.
    spare: Arc<Semaphore>,
    /// Readers opened for one piece of longer work while all spare ones are out.
    extra: Arc<Semaphore>,
    sweeper: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    slots: Box<[Slot]>,
    /// Even: snapshots may be parked. Odd: a checkpoint is going on. Snapshots of an earlier epoch
    /// are not used again.
    epoch: AtomicU64,
    closed: AtomicBool,
    /// How many readers the sweeper has to look after.
    watched: AtomicUsize,
    stop: Mutex<bool>,
    wake: Condvar,
}

/// A place for one reader; empty while it is checked out and after closing.
#[derive(Debug)]
struct Slot {
    reader: Mutex<Option<Reader>>,
    /// Counts the point reads, for the sweeper.
    uses: AtomicU64,
}

/// One connection for reading.
#[derive(Debug)]
pub(crate) struct Reader {
    parking: Parking,
    interrupt: Arc<Interrupt>,
    /// Whether the sweeper looks after this reader: from its first parked snapshot on until it
    /// has been idle for a while.
    watched: bool,
}

impl Readers {
    /// Opens all connections. The writer's must be open already. Blocks on the disk.
    pub(crate) fn open(opener: &Opener) -> rusqlite::Result<Self> {
        let wanted = opener.options().parked_snapshots;
        let slots = (0..opener.options().readers)
            .map(|_| Ok(Slot::new(Reader::new(opener.reader()?, wanted))))
            .collect::<rusqlite::Result<Box<[Slot]>>>()?;
        let spare = Semaphore::new(slots.len().saturating_sub(1).max(1));
        Ok(Self {
            shared: Arc::new(Shared {
                slots,
                epoch: AtomicU64::new(0),
                closed: AtomicBool::new(false),
                watched: AtomicUsize::new(0),
                stop: Mutex::new(false),
                wake: Condvar::new(),
            }),
            opener: opener.clone(),
            spare: Arc::new(spare),
            extra: Arc::new(Semaphore::new(EXTRA_MAX)),
            sweeper: Mutex::new(None),
        })
    }

    /// Borrows a reader that nobody uses at the moment; `None` if all are in use. Never waits.
    ///
    /// The guard is not `Send`: it is for reads that begin and end between two await points.
    pub(crate) fn try_lend(&self) -> Option<Lent<'_>> {
        let slots = &self.shared.slots;
        let first = thread_hint() % slots.len();
        (0..slots.len()).find_map(|offset| {
            let slot = &slots[(first + offset) % slots.len()];
            let guard = slot.try_lock().filter(|reader| reader.is_some())?;
            Some(Lent {
                readers: self,
                slot,
                guard,
            })
        })
    }

    /// Takes a reader out of the pool, or opens one beyond it if none is spare, so that a task that
    /// holds one (an open stream) can use another. Waits, until `deadline`, only while the bound
    /// on those is reached. It goes back, or is closed, on drop.
    ///
    /// Its snapshot has been let go of: it is in autocommit mode.
    pub(crate) async fn check_out(
        &self,
        deadline: Option<Instant>,
    ) -> Result<CheckedOut, EngineError> {
        match Arc::clone(&self.spare).try_acquire_owned() {
            Ok(permit) => self.take_spare(permit).await,
            Err(TryAcquireError::NoPermits) => self.open_extra(deadline).await,
            Err(TryAcquireError::Closed) => Err(EngineError::Closed),
        }
    }

    async fn take_spare(&self, permit: OwnedSemaphorePermit) -> Result<CheckedOut, EngineError> {
        loop {
            if let Some(reader) = self.shared.take() {
                let mut out = CheckedOut {
                    reader: Some(reader),
                    pool: Some(Arc::clone(&self.shared)),
                    _permit: permit,
                };
                let reader = out.reader_mut();
                reader.unwatch(&self.shared);
                reader.parking.release()?;
                return Ok(out);
            }
            // With a permit there is a reader for us; it is only being lent for a point read.
            if self.shared.closed.load(Ordering::Acquire) {
                return Err(EngineError::Closed);
            }
            tokio::task::yield_now().await;
        }
    }

    async fn open_extra(&self, deadline: Option<Instant>) -> Result<CheckedOut, EngineError> {
        let permit = Arc::clone(&self.extra).acquire_owned();
        let permit = match deadline {
            None => permit.await,
            Some(deadline) => tokio::time::timeout_at(deadline.into(), permit)
                .await
                .map_err(|_| EngineError::Timeout)?,
        }
        .map_err(|_| EngineError::Closed)?;
        let opener = self.opener.clone();
        let opened = tokio::task::spawn_blocking(move || opener.reader());
        let opened = opened.await.map_err(|_| EngineError::Closed)??;
        Ok(CheckedOut {
            reader: Some(Reader::new(opened, false)),
            pool: None,
            _permit: permit,
        })
    }

    /// Whether point reads can run on parked snapshots in this database.
    #[cfg(test)]
    pub(crate) fn parking_supported(&self) -> bool {
        let first = self.shared.slots[0].lock();
        first
            .as_ref()
            .is_some_and(|reader| reader.parking.is_supported())
    }

    /// The switch by which the writer keeps snapshots from being parked while it checkpoints.
    pub(crate) fn gate(&self) -> Gate {
        Gate(Arc::clone(&self.shared))
    }

    /// Closes every connection. Waits for point reads that are under way; readers that are checked
    /// out are closed when they come back. Blocks.
    pub(crate) fn close(&self) {
        self.spare.close();
        self.extra.close();
        self.shared.closed.store(true, Ordering::Release);
        self.stop_sweeper();
        for slot in &self.shared.slots {
            slot.lock().take();
        }
    }

    fn start_sweeper(&self) {
        let mut sweeper = self.sweeper.lock().unwrap_or_else(PoisonError::into_inner);
        if sweeper.is_none() {
            let shared = Arc::clone(&self.shared);
            let thread = std::thread::Builder::new().name("larder-sweeper".into());
            *sweeper = thread.spawn(move || shared.sweep()).ok();
        }
    }

    fn stop_sweeper(&self) {
        *self
            .shared
            .stop
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.wake.notify_all();
        let mut sweeper = self.sweeper.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = sweeper.take() {
            // It catches nothing and runs no one else's code; a panic in it changes nothing here.
            let _ = thread.join();
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn snapshots(&self) -> Snapshots {
        match self.epoch.load(Ordering::Acquire) {
            epoch if epoch % 2 == 0 => Snapshots::Allowed { epoch },
            _ => Snapshots::Refused,
        }
    }

    fn take(&self) -> Option<Reader> {
        // From the far end, because point reads look from the front.
        let mut slots = self.slots.iter().rev();
        slots.find_map(|slot| slot.try_lock()?.take())
    }

    fn put_back(&self, reader: Reader) {
        for slot in &self.slots {
            let mut place = slot.lock();
            if self.closed.load(Ordering::Acquire) {
                return;
            }
            if place.is_none() {
                *place = Some(reader);
                return;
            }
        }
    }

    /// Lets go of snapshots that were not used between two looks, until told to stop.
    fn sweep(&self) {
        let mut seen = vec![u64::MAX; self.slots.len()];
        let mut stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        while !*stop {
            if self.watched.load(Ordering::SeqCst) == 0 {
                seen.fill(u64::MAX);
                stop = self.wake.wait(stop).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited = self.wake.wait_timeout(stop, SWEEP_EVERY);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
            for (slot, seen) in self.slots.iter().zip(&mut seen) {
                let uses = slot.uses.load(Ordering::Relaxed);
                if uses == std::mem::replace(seen, uses) {
                    slot.forget(self);
                }
            }
            stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn watch_one(&self) {
        if self.watched.fetch_add(1, Ordering::SeqCst) == 0 {
            // Taking the lock orders this after the sweeper's look at the count: either it sees
            // the new count, or it is waiting already.
            drop(self.stop.lock().unwrap_or_else(PoisonError::into_inner));
            self.wake.notify_all();
        }
    }
}

impl Slot {
    fn new(reader: Reader) -> Self {
        Self {
            reader: Mutex::new(Some(reader)),
            uses: AtomicU64::new(0),
        }
    }

    /// A panic while a reader was lent leaves it usable: its statements were reset.
    fn lock(&self) -> MutexGuard<'_, Option<Reader>> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, Option<Reader>>> {
        match self.reader.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Lets go of this slot's snapshot. False if the slot is being used.
    fn release(&self) -> bool {
        let Some(mut guard) = self.try_lock() else {
            return false;
        };
        if let Some(reader) = guard.as_mut() {
            reader.release();
        }
        true
    }

    /// Lets go of an idle slot's snapshot, and does not look after it any more.
    fn forget(&self, shared: &Shared) {
        if let Some(reader) = self.try_lock().as_deref_mut().and_then(Option::as_mut) {
            reader.release();
            reader.unwatch(shared);
        }
    }
}

impl Reader {
    fn new(opened: Opened, parked_snapshots: bool) -> Self {
        Self {
            parking: Parking::new(opened.connection, parked_snapshots),
            interrupt: opened.interrupt,
            watched: false,
        }
    }

    fn release(&mut self) {
        if let Err(error) = self.parking.release() {
            // The snapshot is still there; whoever uses the reader next tries again.
            tracing::warn!(%error, "a parked snapshot could not be released");
        }
    }

    fn unwatch(&mut self, shared: &Shared) {
        if std::mem::take(&mut self.watched) {
            shared.watched.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// A reader on loan for a read on the calling task.
pub(crate) struct Lent<'a> {
    readers: &'a Readers,
    slot: &'a Slot,
    guard: MutexGuard<'a, Option<Reader>>,
}

impl Lent<'_> {
    /// The connection for one read that sees every commit acknowledged so far, on a parked
    /// snapshot if possible. Call it again before each read.
    pub(crate) fn fresh(&mut self) -> Result<&Connection, EngineError> {
        // The only one who writes it, thanks to the lock.
        let uses = self.slot.uses.load(Ordering::Relaxed);
        self.slot
            .uses
            .store(uses.wrapping_add(1), Ordering::Relaxed);
        let shared = &*self.readers.shared;
        let reader = self.guard.as_mut().ok_or(EngineError::Closed)?;
        reader.parking.refresh(shared.snapshots())?;
        if !reader.watched && reader.parking.is_parked() {
            reader.watched = true;
            shared.watch_one();
            self.readers.start_sweeper();
        }
        Ok(reader.parking.connection())
    }

    /// The connection as [`fresh`](Self::fresh) left it.
    pub(crate) fn connection(&self) -> &Connection {
        let reader = self.guard.as_ref();
        reader
            .expect("a slot is lent only with its reader")
            .parking
            .connection()
    }

    /// What its statements may do.
    pub(crate) fn interrupt(&self) -> &Interrupt {
        let reader = self.guard.as_ref();
        &reader
            .expect("a slot is lent only with its reader")
            .interrupt
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        // A checkpoint that began meanwhile could not release this reader.
        if self.readers.shared.snapshots() == Snapshots::Refused
            && let Some(reader) = self.guard.as_mut()
        {
            reader.release();
        }
    }
}

/// A reader taken out of the pool, for a scan, a stream or a read-only transaction.
#[derive(Debug)]
pub(crate) struct CheckedOut {
    reader: Option<Reader>,
    /// Where it goes back to; `None` if it is closed instead.
    pool: Option<Arc<Shared>>,
    _permit: OwnedSemaphorePermit,
}

impl CheckedOut {
    pub(crate) fn connection(&self) -> &Connection {
        self.reader().parking.connection()
    }

    pub(crate) fn interrupt(&self) -> &Arc<Interrupt> {
        &self.reader().interrupt
    }

    fn reader(&self) -> &Reader {
        self.reader.as_ref().expect("taken only by drop")
    }

    fn reader_mut(&mut self) -> &mut Reader {
        self.reader.as_mut().expect("taken only by drop")
    }
}

impl Drop for CheckedOut {
    fn drop(&mut self) {
        let Some(reader) = self.reader.take() else {
            return;
        };
        let Some(pool) = self.pool.take() else { return };
        // A transaction that was left open, for reading only, ends here.
        reader.interrupt.arm(Budget::Unlimited, Patience::None);
        let connection = reader.parking.connection();
        if connection.is_autocommit() || connection.execute_batch("ROLLBACK").is_ok() {
            pool.put_back(reader);
        }
    }
}

/// Lets the writer keep snapshots from being parked.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<Shared>);

impl Gate {
    /// Releases the parked snapshots, and keeps new ones from being parked while `work` runs.
    ///
    /// A reader in the middle of a point read is waited for up to 2 ms; after that it is left to
    /// release its snapshot itself. Blocks. Must not be called by two threads at once, which the
    /// writer's connection sees to.
    pub(crate) fn without_snapshots<R>(&self, work: impl FnOnce() -> R) -> R {
        struct Open<'a>(&'a AtomicU64);
        impl Drop for Open<'_> {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        self.0.epoch.fetch_add(1, Ordering::SeqCst);
        let _open = Open(&self.0.epoch);
        let until = Instant::now() + RELEASE_WAIT;
        for slot in &self.0.slots {
            while !slot.release() && Instant::now() < until {
                std::thread::yield_now();
            }
        }
        work()
    }
}

/// A number for the calling thread, so that each thread tends to use its own reader.
fn thread_hint() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static HINT: Cell<Option<usize>> = const { Cell::new(None) };
    }
    HINT.with(|hint| {
        hint.get().unwrap_or_else(|| {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            hint.set(Some(number));
            number
        })
    })
}
