//! A batch of jobs in one transaction, and the requests it answers.

use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use rusqlite::Connection;

use crate::error::{EngineError, Failure, failure};
use crate::interrupt::Patience;
use crate::write_connection::WriteConnection;

/// How a job is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JobOptions {
    pub(crate) cost: Cost,
    pub(crate) statements: Statements,
    /// When the asker stops waiting.
    pub(crate) deadline: Option<Instant>,
}

/// Whether a job may run on a task of the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cost {
    /// It takes microseconds: a row or a few, found by an index.
    Inline,
    /// It may take longer, and runs on a blocking thread.
    Blocking,
}

/// How much a failing job may have changed before it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Statements {
    /// One statement, which SQLite itself undoes if it fails; the job fails only if the statement
    /// does. Saves the savepoint. If the job breaks this promise, its whole batch is rolled back.
    One,
    /// Anything; the job runs in a savepoint of its own.
    Many,
}

/// A request as the queue and the batch see it, whatever its type of result.
pub(crate) trait Queued: fmt::Debug + Send + Sync {
    fn cost(&self) -> Cost;
    fn statements(&self) -> Statements;
    /// Whether its asker still waits for it to start.
    fn is_wanted(&self) -> bool;
    /// Marks it as running; false if it is not wanted any more, or too late.
    fn start(&self, now: Instant) -> bool;
    /// Runs the job; true if it succeeded. Its result is kept until it is answered.
    fn run(&self, connection: &Connection) -> bool;
    /// Gives the asker its result, or the reason why it was not applied after all. Answers with
    /// whom to wake.
    fn answer(&self, verdict: &Verdict) -> Option<Waker>;
    /// Answers a request that was not started.
    fn refuse(&self, error: EngineError);
    /// Offers the lead to the asker. Answers with whom to wake, or `None` if it is gone.
    fn offer_lead(&self) -> Option<Waker>;
}

/// What became of a batch's transaction.
#[derive(Debug)]
pub(crate) enum Verdict {
    Committed,
    Aborted(Arc<rusqlite::Error>),
    Unknown(Arc<rusqlite::Error>),
}

/// Jobs that share a transaction. Dropping a batch that was not run refuses them.
#[derive(Debug)]
pub(crate) struct Batch {
    requests: Vec<Arc<dyn Queued>>,
}

impl Batch {
    pub(crate) fn new(requests: Vec<Arc<dyn Queued>>) -> Self {
        Self { requests }
    }

    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Runs every job that is still wanted in one transaction, commits, answers, and says whom to
    /// wake.
    ///
    /// Without patience, a batch that could not begin because of another process's lock comes
    /// back as it was.
    pub(crate) fn run(
        mut self,
        writer: &mut WriteConnection,
        patience: Patience,
    ) -> Result<Vec<Waker>, Self> {
        writer.arm(patience);
        if let Err(error) = writer.execute("BEGIN IMMEDIATE") {
            if patience == Patience::None && failure(&error) == Failure::Busy {
                return Err(self);
            }
            let error = Arc::new(error);
            for request in &self.requests {
                request.refuse(EngineError::BatchAborted(Arc::clone(&error)));
            }
            return Ok(Vec::new());
        }
        // Only now, so that a deadline that passed while waiting for the lock is a plain timeout.
        let now = Instant::now();
        let mut started = std::mem::take(&mut self.requests);
        started.retain(|request| request.start(now));
        let verdict = run_all(writer, &started);
        let answered = started
            .iter()
            .filter_map(|request| request.answer(&verdict));
        Ok(answered.collect())
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // Empty after a run. Not so if a runtime shuts down before its blocking thread starts.
        for request in &self.requests {
            request.refuse(EngineError::Closed);
        }
    }
}

/// Runs the jobs and ends the transaction.
fn run_all(writer: &mut WriteConnection, requests: &[Arc<dyn Queued>]) -> Verdict {
    let ran = if let [alone] = requests {
        if alone.run(writer.connection()) {
            Ok(())
        } else {
            // Nobody else is affected, so the transaction itself is the savepoint.
            writer.roll_back();
            return Verdict::Committed;
        }
    } else {
        (requests.iter()).try_for_each(|request| run_one(writer, &**request))
    };
    match ran.and_then(|()| still_open(writer)) {
        Err(error) => {
            writer.roll_back();
            Verdict::Aborted(Arc::new(error))
        }
        Ok(()) => match writer.execute("COMMIT") {
            Ok(()) => Verdict::Committed,
            Err(error) => {
                writer.roll_back();
                let applied_nothing = matches!(
                    failure(&error),
                    Failure::Busy
                        | Failure::ForeignKey
                        | Failure::Constraint
                        | Failure::Interrupted
                );
                let error = Arc::new(error);
                // A log that could not be flushed may still hold the commit after a crash.
                if applied_nothing {
                    Verdict::Aborted(error)
                } else {
                    Verdict::Unknown(error)
                }
            }
        },
    }
}

/// Runs one of several jobs. An error is one of the transaction, not of the job.
fn run_one(writer: &mut WriteConnection, request: &dyn Queued) -> rusqlite::Result<()> {
    if request.statements() == Statements::One {
        let before = writer.connection().total_changes();
        if !request.run(writer.connection()) && writer.connection().total_changes() != before {
            return Err(aborted());
        }
        return still_open(writer);
    }
    writer.execute("SAVEPOINT larder_job")?;
    let succeeded = request.run(writer.connection());
    still_open(writer)?;
    if !succeeded {
        writer.execute("ROLLBACK TO larder_job")?;
    }
    writer.execute("RELEASE larder_job")
}

/// Some errors (a full disk, a failing one) make SQLite roll the whole transaction back.
fn still_open(writer: &WriteConnection) -> rusqlite::Result<()> {
    if writer.connection().is_autocommit() {
        Err(aborted())
    } else {
        Ok(())
    }
}

fn aborted() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT_ROLLBACK);
    rusqlite::Error::SqliteFailure(code, None)
}

type Job<T, E> = Box<dyn FnOnce(&Connection) -> Result<T, E> + Send>;

/// A job and the asker that waits for its result.
pub(crate) struct Request<T, E> {
    options: JobOptions,
    state: Mutex<State<T, E>>,
}

struct State<T, E> {
    phase: Phase<T, E>,
    waker: Option<Waker>,
    /// Set when the asker is to lead; cleared when it has taken notice.
    lead: bool,
}

enum Phase<T, E> {
    Queued(Job<T, E>),
    Running,
    /// Ran, but its transaction is not decided yet.
    Ran(Result<T, E>),
    Answered(Result<T, E>),
    /// The asker went away, or has its answer.
    Gone,
}

/// What a request's asker waited for.
pub(crate) enum Waited<T, E> {
    Answer(Result<T, E>),
    Lead,
}

impl<T, E: From<EngineError>> Request<T, E> {
    pub(crate) fn new(options: JobOptions, job: Job<T, E>) -> Self {
        Self {
            options,
            state: Mutex::new(State {
                phase: Phase::Queued(job),
                waker: None,
                lead: false,
            }),
        }
    }

    /// Waits for the answer or the lead, until `deadline`.
    pub(crate) async fn wait(&self, deadline: Option<Instant>) -> Waited<T, E> {
        let waiting = poll_fn(|context| self.poll(context));
        let Some(deadline) = deadline else {
            return waiting.await;
        };
        match tokio::time::timeout_at(deadline.into(), waiting).await {
            Ok(waited) => waited,
            Err(_) => self.give_up(),
        }
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<Waited<T, E>> {
        let mut state = self.state();
        if std::mem::take(&mut state.lead) {
            return Poll::Ready(Waited::Lead);
        }
        if matches!(state.phase, Phase::Answered(_))
            && let Phase::Answered(answer) = std::mem::replace(&mut state.phase, Phase::Gone)
        {
            return Poll::Ready(Waited::Answer(answer));
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            waker => *waker = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// The deadline has passed: takes the answer if it has just come, else says how far it got.
    fn give_up(&self) -> Waited<T, E> {
        let mut state = self.state();
        let phase = std::mem::replace(&mut state.phase, Phase::Gone);
        drop(state);
        Waited::Answer(match phase {
            Phase::Answered(answer) => answer,
            Phase::Queued(_) => Err(EngineError::Timeout.into()),
            Phase::Running | Phase::Ran(_) | Phase::Gone => Err(EngineError::Unknown(None).into()),
        })
    }
}

impl<T, E> Request<T, E> {
    /// The asker goes away. True if it had been offered the lead and has to hand it on.
    pub(crate) fn abandon(&self) -> bool {
        let mut state = self.state();
        let phase = std::mem::replace(&mut state.phase, Phase::Gone);
        let lead = std::mem::take(&mut state.lead);
        drop(state);
        // The job and what it captured are dropped outside the lock.
        drop(phase);
        lead
    }

    fn state(&self) -> MutexGuard<'_, State<T, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers in the place of a job that was not started, and wakes its asker.
    fn answer_unstarted(&self, answer: Result<T, E>) {
        let mut state = self.state();
        if !matches!(state.phase, Phase::Queued(_)) {
            return;
        }
        let waker = state.set_answer(answer);
        drop(state);
        wake(waker);
    }
}

impl<T, E> State<T, E> {
    fn set_answer(&mut self, answer: Result<T, E>) -> Option<Waker> {
        self.phase = Phase::Answered(answer);
        self.waker.take()
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl<T: Send, E: From<EngineError> + Send> Queued for Request<T, E> {
    fn cost(&self) -> Cost {
        self.options.cost
    }

    fn statements(&self) -> Statements {
        self.options.statements
    }

    fn is_wanted(&self) -> bool {
        matches!(self.state().phase, Phase::Queued(_))
    }

    fn start(&self, now: Instant) -> bool {
        let too_late = self
            .options
            .deadline
            .is_some_and(|deadline| deadline <= now);
        if too_late {
            self.refuse(EngineError::Timeout);
            return false;
        }
        self.is_wanted()
    }

    fn run(&self, connection: &Connection) -> bool {
        let Phase::Queued(job) = std::mem::replace(&mut self.state().phase, Phase::Running) else {
            // The asker went away between start and now.
            self.state().phase = Phase::Gone;
            return true;
        };
        let result = catch_unwind(AssertUnwindSafe(|| job(connection)))
            .unwrap_or_else(|panic| Err(EngineError::Panicked(message(&*panic)).into()));
        let succeeded = result.is_ok();
        let mut state = self.state();
        if matches!(state.phase, Phase::Running) {
            state.phase = Phase::Ran(result);
        }
        succeeded
    }

    fn answer(&self, verdict: &Verdict) -> Option<Waker> {
        let mut state = self.state();
        let answer = match (std::mem::replace(&mut state.phase, Phase::Gone), verdict) {
            (Phase::Gone, _) => return None,
            // Undone by itself, whatever became of the others.
            (Phase::Ran(Err(error)), _) => Err(error),
            (Phase::Ran(result), Verdict::Committed) => result,
            (_, Verdict::Unknown(error)) => {
                Err(EngineError::Unknown(Some(Arc::clone(error))).into())
            }
            (_, Verdict::Aborted(error)) => {
                Err(EngineError::BatchAborted(Arc::clone(error)).into())
            }
            (_, Verdict::Committed) => unreachable!("a committed batch has run all its jobs"),
        };
        state.set_answer(answer)
    }

    fn refuse(&self, error: EngineError) {
        self.answer_unstarted(Err(error.into()));
    }

    fn offer_lead(&self) -> Option<Waker> {
        let mut state = self.state();
        if !matches!(state.phase, Phase::Queued(_)) {
            return None;
        }
        state.lead = true;
        Some(state.waker.take().unwrap_or_else(|| Waker::noop().clone()))
    }
}

impl<T, E> fmt::Debug for Request<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    (panic.downcast_ref::<&str>().map(ToString::to_string))
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".into())
}
