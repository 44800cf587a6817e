//! What a piece of code asked of the store: [`Report`], made by [`Db::observe`](crate::Db::observe).
//!
//! An N+1 is a statement shape that repeats. In a test it is a failed assertion
//! ([`Report::assert_no_repeats`]); in a running service it is a warning that names the place.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};

tokio::task_local! {
    static OBSERVER: Arc<Log>;
}

/// The most statements a report keeps one by one; further ones are only counted.
const STATEMENTS_MAX: usize = 10_000;

/// One statement, seen by an observer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen {
    /// What was asked, without values.
    pub shape: String,
    /// The line that asked.
    pub site: &'static Location<'static>,
}

/// A shape that was asked more than once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repeat {
    /// What was asked, without values.
    pub shape: String,
    /// How often.
    pub times: usize,
    /// The lines that asked, each once.
    pub sites: Vec<&'static Location<'static>>,
}

/// What a piece of code asked of the store.
#[derive(Clone, Debug, Default)]
pub struct Report {
    round_trips: usize,
    statements: Vec<Seen>,
    uncounted: usize,
}

impl Report {
    fn add(&mut self, shapes: &[String], site: &'static Location<'static>) {
        self.round_trips += 1;
        for shape in shapes {
            if self.statements.len() < STATEMENTS_MAX {
                let shape = shape.clone();
                self.statements.push(Seen { shape, site });
            } else {
                self.uncounted += 1;
            }
        }
    }

    /// How often the code waited for the store. Statements sent together count once; the
    /// beginning, the commit and the rollback of a transaction count, but are no statements.
    pub fn round_trips(&self) -> usize {
        self.round_trips
    }

    /// The statements in the order they were sent; the first 10,000.
    pub fn statements(&self) -> &[Seen] {
        &self.statements
    }

    /// How many statements were sent.
    pub fn count(&self) -> usize {
        self.statements.len() + self.uncounted
    }

    /// The shapes that were sent more than once, most often first.
    pub fn repeated(&self) -> Vec<Repeat> {
        let mut repeats: Vec<Repeat> = Vec::new();
        for seen in &self.statements {
            match repeats.iter_mut().find(|repeat| repeat.shape == seen.shape) {
                Some(repeat) => {
                    repeat.times += 1;
                    if !repeat.sites.contains(&seen.site) {
                        repeat.sites.push(seen.site);
                    }
                }
                None => repeats.push(Repeat {
                    shape: seen.shape.clone(),
                    times: 1,
                    sites: vec![seen.site],
                }),
            }
        }
        repeats.retain(|repeat| repeat.times > 1);
        repeats.sort_by_key(|repeat| std::cmp::Reverse(repeat.times));
        repeats
    }

    /// Fails a test if any shape was sent more than once.
    ///
    /// # Panics
    /// With the repeated shapes and the lines that sent them.
    #[track_caller]
    pub fn assert_no_repeats(&self) {
        assert!(self.repeated().is_empty(), "statements repeat:\n{self}");
    }

    /// Fails a test if the code waited for the store more often than this.
    ///
    /// # Panics
    /// With the statements.
    #[track_caller]
    pub fn assert_round_trips(&self, at_most: usize) {
        let trips = self.round_trips;
        assert!(
            trips <= at_most,
            "{trips} round trips, at most {at_most} expected:\n{self}"
        );
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} statements in {} round trips",
            self.count(),
            self.round_trips
        )?;
        for seen in &self.statements {
            writeln!(
                f,
                "  {}:{}  {}",
                seen.site.file(),
                seen.site.line(),
                seen.shape
            )?;
        }
        for repeat in self.repeated() {
            writeln!(f, "  repeated {} times: {}", repeat.times, repeat.shape)?;
        }
        Ok(())
    }
}

/// What an observer has seen so far.
#[derive(Debug, Default)]
struct Log {
    report: Mutex<Report>,
    /// The observer around this one, which sees the same.
    outer: Option<Arc<Log>>,
}

impl Log {
    fn with<T>(&self, change: impl FnOnce(&mut Report) -> T) -> T {
        change(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Runs the future with an observer.
pub(crate) async fn scope<F: Future>(future: F) -> (F::Output, Report) {
    let log = Arc::new(Log {
        report: Mutex::default(),
        outer: OBSERVER.try_with(Arc::clone).ok(),
    });
    let output = OBSERVER.scope(Arc::clone(&log), future).await;
    let report = log.with(|report| report.clone());
    (output, report)
}

/// Whether anybody observes the current task.
pub(crate) fn is_active() -> bool {
    OBSERVER.try_with(|_| ()).is_ok()
}

/// Tells the observers of the current task, if any, of one round trip with these shapes; none for
/// a round trip that is no statement.
pub(crate) fn record(shapes: Vec<String>, site: &'static Location<'static>) {
    let _ = OBSERVER.try_with(|log| {
        let mut next = Some(log);
        while let Some(log) = next {
            log.with(|report| report.add(&shapes, site));
            next = log.outer.as_ref();
        }
    });
}
