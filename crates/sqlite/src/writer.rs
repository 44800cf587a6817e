//! The writer: one connection, and many writes in one transaction.
//!
//! ```text
//! submit ──> queue ──> leader: BEGIN IMMEDIATE, every job in its savepoint, COMMIT ──> answers
//! ```
//!
//! Whoever finds the queue without a leader leads. A writer that comes alone, and whose commit does
//! not wait for the disk, runs its job at once, on its own task. Otherwise a task made for it, or a
//! blocking thread, takes the connection, runs what has queued meanwhile in one transaction,
//! answers after the commit, and goes on for as long as jobs keep coming. There is no standing
//! writer thread, and no answer before the commit.
//!
//! The lead is never held across an await point by a caller's future: one that is alive but not
//! polled (a lost branch of a `select!`) would stop everybody's writes. Between BEGIN and COMMIT
//! there is no await point at all, so dropping a future cannot leave a transaction half done.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::error::EngineError;
use crate::interrupt::{Interrupt, Patience};
use crate::write_batch::{Batch, Cost, JobOptions, Queued, Request, Waited};
use crate::write_connection::WriteConnection;

/// The most jobs that share a transaction.
const BATCH_MAX: usize = 256;

/// How many batches a blocking thread runs before it lets someone else lead.
const ROUNDS_MAX: usize = 1_000;

/// Once in this many batches, company is looked for that did not come by itself.
const PROBE_EVERY: u32 = 16;

/// How often a leader lets other tasks run before it starts.
const YIELDS_MAX: usize = 3;

/// The longest a blocking thread waits for further jobs before it gives up the lead.
const LINGER_MAX: Duration = Duration::from_micros(200);

/// A database's one writer.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    line: Mutex<Line>,
    /// Wakes a blocking leader that waits for jobs.
    arrived: Condvar,
    /// Empty after closing. Fair: explicit transactions and leaders get it in turn.
    connection: Arc<AsyncMutex<Option<WriteConnection>>>,
    /// Those who have their answer and are still to be woken.
    unwoken: Unwoken,
    /// How many wait for the connection outside the queue.
    exclusive_waiting: AtomicUsize,
    /// Whether a batch of short jobs may run on the calling task.
    inline: bool,
    queue_max: usize,
}

/// The queue and who is in charge of it.
#[derive(Debug, Default)]
struct Line {
    queue: VecDeque<Arc<dyn Queued>>,
    /// Whether someone leads. While the queue holds a job that is still wanted, someone does.
    led: bool,
    closed: bool,
    /// A blocking leader waits until the queue is this long.
    awaited: Option<usize>,
    pace: Pace,
}

/// Decides for how many jobs a leader lets other tasks run before it starts.
#[derive(Debug, Default)]
struct Pace {
    /// The jobs of the last batch.
    last: usize,
    batches: u32,
    /// How many jobs have been queued.
    arrived: u64,
}

impl Pace {
    fn note(&mut self, batch: usize) {
        self.batches = self.batches.wrapping_add(1);
        self.last = batch;
    }

    /// A leader looks for one job more than the last time now and then; who is alone does not,
    /// because waiting costs more than the job. See [`Shared::look_around`].
    fn expected(&self) -> usize {
        if self.last > 1 && self.is_probing() {
            self.last + 1
        } else {
            self.last
        }
    }

    fn is_probing(&self) -> bool {
        self.batches % PROBE_EVERY == PROBE_EVERY - 1
    }
}

impl Writer {
    /// Takes charge of the database's write connection.
    pub(crate) fn new(connection: WriteConnection, queue_max: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                line: Mutex::default(),
                arrived: Condvar::new(),
                inline: connection.commits_without_waiting(),
                connection: Arc::new(AsyncMutex::new(Some(connection))),
                unwoken: Unwoken::default(),
                exclusive_waiting: AtomicUsize::new(0),
                queue_max,
            }),
        }
    }

    /// Runs `job` in a transaction and answers after its commit.
    ///
    /// If the job fails, what it did is undone and its error is the answer; the other jobs of its
    /// transaction are not affected. The job must not begin or end transactions.
    ///
    /// Dropping the future before the job has started means that it never runs. Dropped later,
    /// the job is either applied as a whole or not at all.
    ///
    /// # Errors
    ///
    /// [`EngineError::QueueFull`] and [`EngineError::Closed`] at once, [`EngineError::Timeout`] if
    /// the deadline passes before the job has started: nothing was applied.
    /// [`EngineError::Unknown`] if it passes later, or if the commit fails half-way.
    /// [`EngineError::BatchAborted`] if SQLite rolled the transaction back because of another job
    /// or because the disk is full: nothing was applied. [`EngineError::Panicked`] if it panicked.
    pub(crate) fn submit<T, E, F>(
        &self,
        options: JobOptions,
        job: F,
    ) -> impl Future<Output = Result<T, E>> + Send + use<T, E, F>
    where
        T: Send + 'static,
        E: From<EngineError> + Send + 'static,
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        async move {
            if shared.inline {
                shared.look_around().await;
            }
            let request = Arc::new(Request::new(options, Box::new(job)));
            let lead = shared.enqueue(Arc::clone(&request) as Arc<dyn Queued>)?;
            let place = Place { shared, request };
            if let Some(lead) = lead {
                lead.start();
            }
            loop {
                match place.request.wait(options.deadline).await {
                    Waited::Answer(answer) => {
                        place.shared.unwoken.wake_all();
                        return answer;
                    }
                    Waited::Lead => {
                        Lead::of(&place.shared).take_over();
                        // If this runtime shuts down, the lead may be back at once, again and
                        // again: whoever has the connection here is gone only once this is.
                        tokio::task::yield_now().await;
                    }
                }
            }
        }
    }

    /// Waits for the connection, to hold it across await points: for explicit transactions.
    ///
    /// # Errors
    ///
    /// [`EngineError::Timeout`] and [`EngineError::Closed`].
    pub(crate) async fn exclusive(
        &self,
        deadline: Option<Instant>,
    ) -> Result<OwnedWriter, EngineError> {
        struct Waiting<'a>(&'a AtomicUsize);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.shared
            .exclusive_waiting
            .fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.shared.exclusive_waiting);
        self.shared.check_open()?;
        let lease = self.shared.lease(deadline).await?;
        // It may have been closed by someone who did not wait for the connection for ever.
        self.shared.check_open()?;
        Ok(OwnedWriter(lease))
    }

    /// Refuses new jobs, answers the waiting ones with [`EngineError::Closed`], waits for the
    /// connection and hands it out, to be closed on a blocking thread. `None` if closed already.
    pub(crate) async fn close(&self) -> Option<WriteConnection> {
        let waiting = {
            let mut line = self.shared.line();
            line.closed = true;
            std::mem::take(&mut line.queue)
        };
        for request in waiting {
            request.refuse(EngineError::Closed);
        }
        self.shared.connection.lock().await.take()
    }
}

impl Shared {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_open(&self) -> Result<(), EngineError> {
        if self.line().closed {
            return Err(EngineError::Closed);
        }
        Ok(())
    }

    /// Queues a request. If nobody leads, whoever asked does now.
    fn enqueue(self: &Arc<Self>, request: Arc<dyn Queued>) -> Result<Option<Lead>, EngineError> {
        let mut line = self.line();
        if line.closed {
            return Err(EngineError::Closed);
        }
        if line.queue.len() >= self.queue_max {
            line.queue.retain(|request| request.is_wanted());
            if line.queue.len() >= self.queue_max {
                return Err(EngineError::QueueFull);
            }
        }
        line.queue.push_back(request);
        line.pace.arrived += 1;
        if line
            .awaited
            .is_some_and(|length| line.queue.len() >= length)
        {
            line.awaited = None;
            self.arrived.notify_all();
        }
        let leads = !std::mem::replace(&mut line.led, true);
        drop(line);
        Ok(leads.then(|| Lead::of(self)))
    }

    /// Waits for the connection until `deadline`.
    async fn lease(self: &Arc<Self>, deadline: Option<Instant>) -> Result<Lease, EngineError> {
        if let Some(lease) = self.try_lease() {
            return Ok(lease);
        }
        let lock = Arc::clone(&self.connection).lock_owned();
        let guard = match deadline {
            None => lock.await,
            Some(deadline) => tokio::time::timeout_at(deadline.into(), lock)
                .await
                .map_err(|_| EngineError::Timeout)?,
        };
        if guard.is_none() {
            return Err(EngineError::Closed);
        }
        Ok(Lease(Some(guard)))
    }

    /// The connection, if nobody has it.
    fn try_lease(&self) -> Option<Lease> {
        let guard = Arc::clone(&self.connection).try_lock_owned().ok()?;
        guard.is_some().then_some(Lease(Some(guard)))
    }

    /// Whether there is nothing to do and the last batch was a single job.
    fn is_quiet(&self) -> bool {
        let line = self.line();
        line.queue.is_empty() && line.pace.last <= 1
    }

    /// Whether more jobs are to be expected than there are.
    fn expects_company(&self) -> bool {
        let line = self.line();
        line.queue.len() < line.pace.expected()
    }

    /// Lets other tasks run, now and then, while writers come one by one: if another one
    /// writes meanwhile, the next leader waits for company. Tasks that share a thread would
    /// otherwise never meet. Nobody waits for whoever is here.
    async fn look_around(&self) {
        let arrived = {
            let mut line = self.line();
            if line.led || line.pace.last > 1 || !line.pace.is_probing() {
                return;
            }
            line.pace.batches = 0; // once, whatever comes of it
            line.pace.arrived
        };
        // Twice, for of tasks that yield the runtime may resume the last one first.
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        let mut line = self.line();
        if line.pace.arrived > arrived {
            line.pace.last = line.pace.last.max(2);
        }
    }

    /// Lets every task that is ready to write join the batch, if some are to be expected: until
    /// as many have come as the last time, or no more come.
    async fn let_others_join(&self) {
        for _ in 0..YIELDS_MAX {
            let (waiting, expected) = {
                let line = self.line();
                (line.queue.len(), line.pace.expected())
            };
            if waiting >= expected {
                break;
            }
            tokio::task::yield_now().await;
        }
    }

    fn next_batch(&self) -> Vec<Arc<dyn Queued>> {
        let mut line = self.line();
        let length = line.queue.len().min(BATCH_MAX);
        let batch: Vec<_> = line.queue.drain(..length).collect();
        line.pace.note(batch.len());
        batch
    }

    /// Waits a fraction of the time a batch takes for as many jobs as the last one had: their
    /// askers were answered just now, and may well come back. Blocks.
    fn linger(&self, jobs: usize, batch_took: Duration) {
        let until = Instant::now() + (batch_took / 4).min(LINGER_MAX);
        let mut line = self.line();
        while line.queue.len() < jobs {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            line.awaited = Some(jobs);
            let waited = self.arrived.wait_timeout(line, left);
            line = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        line.awaited = None;
    }
}

/// Askers that have their answer and are woken in two waves.
///
/// To wake a task is cheap if every thread of the runtime is at work, and costs a system call if
/// one sleeps: as much as several inserts. A leader that wakes 64 askers in a row wakes the other
/// thread, which has the few tasks there are done and sleeps again before the next one is woken.
/// So it wakes two. Whoever of them gets to run first wakes the rest, on a thread that is awake;
/// and the leader looks after it that nobody is forgotten.
#[derive(Debug, Default)]
struct Unwoken {
    wakers: Mutex<Vec<Waker>>,
    /// Whether there are any, to spare the others the lock.
    some: AtomicBool,
}

impl Unwoken {
    /// Wakes the first two; the rest waits for [`wake_all`](Self::wake_all).
    fn wake_two_of(&self, mut wakers: Vec<Waker>) {
        let rest = wakers.split_off(wakers.len().min(2));
        if !rest.is_empty() {
            self.lock().extend(rest);
            self.some.store(true, Ordering::Release);
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    fn wake_all(&self) {
        if !self.some.load(Ordering::Acquire) {
            return;
        }
        let wakers = {
            let mut wakers = self.lock();
            self.some.store(false, Ordering::Release);
            std::mem::take(&mut *wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue. Dropping it gives up the request, and the lead if it was offered.
struct Place<T, E> {
    shared: Arc<Shared>,
    request: Arc<Request<T, E>>,
}

impl<T, E> Drop for Place<T, E> {
    fn drop(&mut self) {
        if self.request.abandon() {
            drop(Lead::of(&self.shared));
        }
    }
}

/// Being in charge of the queue. There is one at most; dropping it hands the lead on.
#[derive(Debug)]
struct Lead {
    shared: Arc<Shared>,
    /// Whether this is a task's, which is dropped unfinished only when its runtime shuts down.
    relayed: bool,
}

impl Lead {
    fn of(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
            relayed: false,
        }
    }

    /// Runs a batch at once if there is nobody to wait for, else has it run elsewhere.
    fn start(self) {
        if self.shared.inline && self.shared.expects_company() {
            self.relay();
        } else {
            self.take_over();
        }
    }

    /// Runs a batch at once if the connection is free, else has it run elsewhere. Waits for no
    /// company: a lead that is offered comes from a task that could not go on.
    fn take_over(self) {
        let Some(lease) = self.shared.try_lease() else {
            return self.relay();
        };
        if let Some((lead, answered)) = self.run_batch(lease) {
            lead.shared.unwoken.wake_two_of(answered);
        }
    }

    /// Goes on in a task of its own.
    fn relay(mut self) {
        self.relayed = true;
        tokio::spawn(self.run());
    }

    /// Runs batches until no jobs are left or a blocking thread takes over.
    async fn run(self) {
        let mut lead = self;
        for _ in 0..ROUNDS_MAX {
            let Ok(lease) = lead.shared.lease(None).await else {
                break; // closed
            };
            if lead.shared.inline {
                lead.shared.let_others_join().await;
            }
            if lead.shared.line().queue.is_empty() {
                break;
            }
            let Some((next, answered)) = lead.run_batch(lease) else {
                return;
            };
            lead = next;
            let shared = Arc::clone(&lead.shared);
            if shared.is_quiet() {
                // Whoever it was writes alone, and may do so at once the next time.
                lead.relayed = false;
                drop(lead);
                shared.unwoken.wake_two_of(answered);
                return;
            }
            shared.unwoken.wake_two_of(answered);
            tokio::task::yield_now().await;
            shared.unwoken.wake_all();
        }
        lead.relayed = false;
    }

    /// Runs what is queued, here or on a blocking thread. The lead comes back if it was here, with
    /// those to be woken.
    fn run_batch(self, mut lease: Lease) -> Option<(Self, Vec<Waker>)> {
        let batch = self.shared.next_batch();
        let short = batch.iter().all(|request| request.cost() == Cost::Inline);
        let batch = Batch::new(batch);
        let ran = if self.shared.inline && short {
            batch.run(lease.connection(), Patience::None)
        } else {
            Err(batch)
        };
        let batch = match ran {
            Ok(answered) => {
                drop(lease);
                return Some((self, answered));
            }
            Err(batch) => batch,
        };
        // The lead goes along. If the runtime shuts down instead, both are dropped, which hands
        // them on.
        tokio::task::spawn_blocking(move || self.run_blocking(lease, batch));
        None
    }

    /// Runs batches for as long as there are jobs. Blocks.
    fn run_blocking(self, mut lease: Lease, first: Batch) {
        let mut batch = first;
        for round in 1.. {
            let started = Instant::now();
            let jobs = batch.len();
            // A patient batch does not come back.
            let answered = batch.run(lease.connection(), Patience::BusyTimeout);
            let took = started.elapsed();
            self.shared
                .unwoken
                .wake_two_of(answered.unwrap_or_default());
            if lease.connection().checkpoint_is_due() {
                self.shared.unwoken.wake_all();
                lease.connection().checkpoint_if_due();
            }
            // Before the next batch is taken, for then it has to be run.
            if round >= ROUNDS_MAX || self.shared.exclusive_waiting.load(Ordering::Relaxed) > 0 {
                break;
            }
            self.shared.linger(jobs, took);
            self.shared.unwoken.wake_all();
            batch = Batch::new(self.shared.next_batch());
            if batch.len() == 0 {
                break;
            }
        }
        // The next leader finds the connection free.
        drop(lease);
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.shared.unwoken.wake_all();
        let mut line = self.shared.line();
        while line
            .queue
            .front()
            .is_some_and(|request| !request.is_wanted())
        {
            line.queue.pop_front();
        }
        if line.queue.is_empty() {
            line.led = false;
            return;
        }
        if !self.relayed && Handle::try_current().is_ok() {
            drop(line);
            Self::of(&self.shared).relay();
            return;
        }
        // No runtime here, or one that shuts down: someone who waits has another.
        while let Some(request) = line.queue.front() {
            if let Some(waker) = request.offer_lead() {
                drop(line);
                waker.wake();
                return;
            }
            line.queue.pop_front();
        }
        line.led = false;
    }
}

/// The connection, for a while. Dropping it cleans up and lets the next one have it.
#[derive(Debug)]
struct Lease(Option<OwnedMutexGuard<Option<WriteConnection>>>);

impl Lease {
    fn connection(&mut self) -> &mut WriteConnection {
        let guard = self.0.as_mut().expect("taken only by drop");
        guard
            .as_mut()
            .expect("checked when leased, and taken only by who holds the lock")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(mut guard) = self.0.take() else {
            return;
        };
        let Some(connection) = guard.as_mut() else {
            return;
        };
        connection.roll_back();
        if connection.checkpoint_is_due()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn_blocking(move || {
                if let Some(connection) = guard.as_mut() {
                    connection.checkpoint_if_due();
                }
            });
        }
    }
}

/// The write connection, held across await points. Dropping it rolls back what is not committed
/// and lets the queue go on. It may be moved to a blocking thread and back.
#[derive(Debug)]
pub(crate) struct OwnedWriter(Lease);

impl OwnedWriter {
    /// Sets whether statements wait for locks of other processes. Default: as last used.
    pub(crate) fn arm(&mut self, patience: Patience) {
        self.0.connection().arm(patience);
    }

    /// What its statements may do.
    pub(crate) fn interrupt(&self) -> &Interrupt {
        self.held().interrupt()
    }

    /// The connection, for work that needs it for itself.
    pub(crate) fn connection_mut(&mut self) -> &mut Connection {
        self.0.connection().connection_mut()
    }

    fn held(&self) -> &WriteConnection {
        let guard = self.0.0.as_ref().and_then(|guard| guard.as_ref());
        guard.expect("checked when leased, and taken only by who holds the lock")
    }
}

impl Deref for OwnedWriter {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.held().connection()
    }
}
