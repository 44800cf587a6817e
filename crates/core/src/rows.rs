//! How rows travel from an engine to the caller: decoded where they are produced.
//!
//! The caller hands a [`Rows`] into the store; the engine shows it every driver row as a
//! [`Row`], and the sink inside builds the user's struct on the spot. No intermediate row is
//! buffered. The engine owns the `Rows` meanwhile, so it may fill it on another thread.

use std::any::Any;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::types::ColumnType;
use crate::value::{Kind, ValueRef};

/// A boxed future that is `Send`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One row as the engine holds it.
///
/// Must not block and must not perform I/O.
pub trait Row {
    /// The value at this position of the output, read as this kind.
    ///
    /// A stored value that is not of the kind is a [`Decode`](crate::ErrorKind::Decode) error
    /// that carries it.
    fn value(&self, at: usize, kind: Kind) -> Result<ValueRef<'_>>;

    /// What stands at this position, for error messages: a column's name where it is one.
    fn name(&self, at: usize) -> String;
}

/// Reads the value at this position of a row; an error names the column.
#[inline]
pub fn get<T: ColumnType>(row: &dyn Row, at: usize) -> Result<T> {
    match row.value(at, T::KIND).and_then(T::from_value) {
        Ok(value) => Ok(value),
        Err(error) => Err(blame(error, row, at)),
    }
}

#[cold]
fn blame(error: Error, row: &dyn Row, at: usize) -> Error {
    if error.columns().next().is_none() {
        error.with_column(row.name(at))
    } else {
        error
    }
}

/// What the engine does after a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Goes on.
    More,
    /// Waits for [`Rows::flush`] before the next row: the receiver must catch up.
    Full,
    /// Stops; the receiver wants no more. Not an error.
    Stop,
}

/// Where rows go.
pub trait Sink: Any + Send {
    /// Takes one row.
    fn row(&mut self, row: &dyn Row) -> Result<Flow>;

    /// Forgets the rows taken so far, because the engine starts over. `false` if it cannot.
    fn restart(&mut self) -> bool;

    /// Waits until there is room, after [`Flow::Full`]. Answers [`Flow::Stop`] when nobody
    /// listens any more.
    fn flush(&mut self) -> BoxFuture<'_, Flow> {
        Box::pin(std::future::ready(Flow::More))
    }

    /// Whether this sink may answer [`Flow::Full`]: the engine must then read on a thread or
    /// task that may wait.
    fn may_wait(&self) -> bool {
        false
    }
}

/// The receiving end of a read, owned by the engine while it runs.
pub struct Rows {
    sink: Box<dyn Sink>,
    count: u64,
    waited: Duration,
    failure: Option<Error>,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rows")
    }
}

impl Rows {
    /// Rows into this sink.
    pub fn new(sink: impl Sink) -> Self {
        Self {
            sink: Box::new(sink),
            count: 0,
            waited: Duration::ZERO,
            failure: None,
        }
    }

    /// Rows that nobody wants.
    pub fn discard() -> Self {
        Self::new(Discard)
    }

    /// Collects every row with this function; get them back with [`into_vec`](Self::into_vec).
    pub fn collect<T: Send + 'static>(decode: fn(&dyn Row) -> Result<T>) -> Self {
        Self::new(Collect {
            rows: Vec::new(),
            decode,
        })
    }

    /// Shows the sink one row.
    ///
    /// # Errors
    /// What the sink could not read; the engine stops and returns it.
    #[inline]
    pub fn row(&mut self, row: &dyn Row) -> Result<Flow> {
        self.count += 1;
        self.sink.row(row)
    }

    /// Shows the sink one row that a write returns. A row that cannot be read does not undo the
    /// write: the first such error is kept for who asked, and the answer is [`Flow::Stop`].
    #[inline]
    pub fn returned(&mut self, row: &dyn Row) -> Flow {
        match self.row(row) {
            Ok(flow) => flow,
            Err(error) => {
                self.fail(error);
                Flow::Stop
            }
        }
    }

    /// Keeps the first error about a row that a write returns.
    #[cold]
    pub fn fail(&mut self, error: Error) {
        self.failure.get_or_insert(error);
    }

    /// The error kept by [`returned`](Self::returned), if there was one.
    pub fn take_failure(&mut self) -> Option<Error> {
        self.failure.take()
    }

    /// See [`Sink::restart`].
    pub fn restart(&mut self) -> bool {
        self.count = 0;
        self.failure = None;
        self.sink.restart()
    }

    /// See [`Sink::flush`]. An engine on a thread of its own blocks on it.
    pub fn flush(&mut self) -> BoxFuture<'_, Flow> {
        Box::pin(async {
            let started = Instant::now();
            let flow = self.sink.flush().await;
            self.waited += started.elapsed();
            flow
        })
    }

    /// How many rows the sink was shown, from the last start on.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How long [`flush`](Self::flush) has waited in all: the receiver's time, not the store's.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// See [`Sink::may_wait`].
    pub fn may_wait(&self) -> bool {
        self.sink.may_wait()
    }

    /// The sink back.
    ///
    /// # Errors
    /// `Misuse` if the engine returned other rows than it was given.
    pub fn into_sink<S: Sink>(self) -> Result<Box<S>> {
        let any: Box<dyn Any> = self.sink;
        any.downcast()
            .map_err(|_| Error::misuse("the store returned rows it was not given"))
    }

    /// The rows of [`collect`](Self::collect).
    pub fn into_vec<T: Send + 'static>(self) -> Result<Vec<T>> {
        Ok(self.into_sink::<Collect<T>>()?.rows)
    }
}

struct Discard;

impl Sink for Discard {
    fn row(&mut self, _: &dyn Row) -> Result<Flow> {
        Ok(Flow::More)
    }

    fn restart(&mut self) -> bool {
        true
    }
}

struct Collect<T> {
    rows: Vec<T>,
    decode: fn(&dyn Row) -> Result<T>,
}

impl<T: Send + 'static> Sink for Collect<T> {
    fn row(&mut self, row: &dyn Row) -> Result<Flow> {
        self.rows.push((self.decode)(row)?);
        Ok(Flow::More)
    }

    fn restart(&mut self) -> bool {
        self.rows.clear();
        true
    }
}

/// A row of owned values: what the in-memory store has, and what an evaluator produces.
#[derive(Debug)]
pub struct OwnedRow<'a> {
    values: &'a [crate::value::Value],
    marker: PhantomData<()>,
}

impl<'a> OwnedRow<'a> {
    /// A row over these values.
    pub fn new(values: &'a [crate::value::Value]) -> Self {
        Self {
            values,
            marker: PhantomData,
        }
    }
}

impl Row for OwnedRow<'_> {
    fn value(&self, at: usize, _: Kind) -> Result<ValueRef<'_>> {
        match self.values.get(at) {
            Some(value) => Ok(value.as_ref()),
            None => Err(Error::misuse(format!("the row has no position {at}"))),
        }
    }

    fn name(&self, at: usize) -> String {
        format!("output {at}")
    }
}
