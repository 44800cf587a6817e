//! [`RowStream`]: rows one by one, with back-pressure.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinHandle;
use tokio::time::{Sleep, sleep};

use crate::db::{Site, late_read};
use crate::entity::Entity;
use crate::error::{Error, ErrorKind, Result};
use crate::query::Query;
use crate::rows::{BoxFuture, Flow, Row, Rows, Sink};

/// How many rows travel together.
const BATCH_ROWS: usize = 128;
/// How many batches may wait for the reader.
const BATCHES_WAITING: usize = 2;

/// The rows of a query, read as fast as they are taken. Made by [`Query::stream`].
///
/// At most a few hundred rows are in memory. Dropping the stream stops the read. Take rows with
/// [`next`](Self::next), or through [`futures_core::Stream`].
///
/// The deadline is the query's, or else the handle's. It bounds each wait for the store, not what
/// you do between two rows. But an open stream holds resources of the store, so it ends with
/// `Timeout` too when nobody takes a row for as long as the deadline (at most twice as long) while
/// the store has more: [`Query::timeout`] allows longer pauses.
pub struct RowStream<'a, T> {
    /// The read itself; `None` once it has ended.
    read: Option<BoxFuture<'a, Result<()>>>,
    batches: mpsc::Receiver<Vec<T>>,
    current: std::vec::IntoIter<T>,
    pace: Arc<Pace>,
}

impl<T> std::fmt::Debug for RowStream<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RowStream")
    }
}

impl<T> Unpin for RowStream<'_, T> {}

impl<'a, T: Send + 'static> RowStream<'a, T> {
    pub(crate) fn new<E: Entity>(
        query: Query<'a, E>,
        decode: fn(&dyn Row) -> Result<T>,
        site: Site,
    ) -> Self {
        let (sender, batches) = mpsc::channel(BATCHES_WAITING);
        let pace = Arc::new(Pace {
            limit: query.db.limit(query.timeout),
            taken: AtomicU64::new(0),
            abandoned: AtomicBool::new(false),
        });
        let sink = Batched {
            sender,
            rows: Vec::new(),
            decode,
            pace: Arc::clone(&pace),
        };
        let own = Arc::clone(&pace);
        let read = Box::pin(async move {
            let (db, select, _) = query.checked()?;
            let read = db.read_paced(select, Rows::new(sink), site, |read| own.keep(read));
            read.await?.into_sink::<Batched<T>>()?.finish().await;
            Ok(())
        });
        Self {
            read: Some(read),
            batches,
            current: Vec::new().into_iter(),
            pace,
        }
    }

    /// The next row; `None` at the end, or after an error.
    pub async fn next(&mut self) -> Option<Result<T>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl<T: Send + 'static> Stream for RowStream<'_, T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        let this = &mut *self;
        loop {
            if let Some(row) = this.current.next() {
                this.pace.row();
                return Poll::Ready(Some(Ok(row)));
            }
            if let Poll::Ready(Some(batch)) = this.batches.poll_recv(cx) {
                this.current = batch.into_iter();
                continue;
            }
            let Some(read) = this.read.as_mut() else {
                // The read has ended and dropped its sender: what is left is in the channel.
                match ready!(this.batches.poll_recv(cx)) {
                    Some(batch) => this.current = batch.into_iter(),
                    None => return Poll::Ready(None),
                }
                continue;
            };
            let ended = ready!(read.as_mut().poll(cx));
            this.read = None;
            if let Err(error) = ended {
                this.batches.close();
                while this.batches.try_recv().is_ok() {} // rows of a failed read are not shown
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}

/// How long the two ends of a stream wait for each other.
struct Pace {
    limit: Duration,
    /// How many rows have been taken.
    taken: AtomicU64,
    /// Whether the read was ended because nobody took rows.
    abandoned: AtomicBool,
}

impl Pace {
    /// Notes that a row is taken. Only the stream does so: it need not be one step.
    fn row(&self) {
        let taken = self.taken.load(Ordering::Relaxed);
        self.taken.store(taken + 1, Ordering::Relaxed);
    }

    /// Runs the read, which is polled while somebody waits for its rows, for no longer than the
    /// limit without one.
    async fn keep(&self, mut read: BoxFuture<'_, Result<Rows>>) -> Result<Rows> {
        let mut wait: Option<(u64, Pin<Box<Sleep>>)> = None;
        let rows = std::future::poll_fn(|cx| {
            if let Poll::Ready(answer) = read.as_mut().poll(cx) {
                return Poll::Ready(answer);
            }
            let taken = self.taken.load(Ordering::Relaxed);
            let (_, timer) = match &mut wait {
                Some(wait) if wait.0 == taken => wait,
                // Rows were taken since: another wait begins.
                wait => wait.insert((taken, Box::pin(sleep(self.limit)))),
            };
            let late = timer.as_mut().poll(cx);
            late.map(|()| Err(late_read(self.limit)))
        });
        let rows = rows.await?;
        if self.abandoned.load(Ordering::Relaxed) {
            return Err(abandoned(self.limit));
        }
        Ok(rows)
    }
}

#[cold]
fn abandoned(limit: Duration) -> Error {
    Error::new(
        ErrorKind::Timeout,
        format!("no row of the stream was taken for {limit:?}, so the read was ended"),
    )
}

/// Ends once no row has been taken for as long as the limit.
struct Watch(JoinHandle<()>);

impl Watch {
    /// A task of its own, because on some stores the read is polled only by whoever takes rows.
    fn start(pace: &Arc<Pace>) -> Self {
        let pace = Arc::clone(pace);
        Self(tokio::spawn(async move {
            let mut before = pace.taken.load(Ordering::Relaxed);
            loop {
                sleep(pace.limit).await;
                let taken = pace.taken.load(Ordering::Relaxed);
                if taken == before {
                    return;
                }
                before = taken;
            }
        }))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends rows in batches.
struct Batched<T> {
    sender: mpsc::Sender<Vec<T>>,
    rows: Vec<T>,
    decode: fn(&dyn Row) -> Result<T>,
    pace: Arc<Pace>,
}

impl<T: Send + 'static> Batched<T> {
    async fn send(&mut self) -> Flow {
        match self.sender.try_send(std::mem::take(&mut self.rows)) {
            Ok(()) => Flow::More,
            Err(TrySendError::Full(rows)) => self.send_later(rows).await,
            Err(TrySendError::Closed(_)) => Flow::Stop, // nobody listens any more
        }
    }

    async fn send_later(&mut self, rows: Vec<T>) -> Flow {
        let mut watch = Watch::start(&self.pace);
        let (sender, pace) = (&self.sender, &self.pace);
        let mut sending = pin!(sender.send(rows));
        std::future::poll_fn(|cx| {
            if Pin::new(&mut watch.0).poll(cx).is_ready() {
                pace.abandoned.store(true, Ordering::Relaxed);
                return Poll::Ready(Flow::Stop);
            }
            Poll::Ready(match ready!(sending.as_mut().poll(cx)) {
                Ok(()) => Flow::More,
                Err(_) => Flow::Stop, // nobody listens any more
            })
        })
        .await
    }

    /// Sends what is left. The store is done with it: the rows may wait for any time.
    async fn finish(self: Box<Self>) {
        if !self.rows.is_empty() {
            let _ = self.sender.send(self.rows).await; // fails if nobody listens any more
        }
    }
}

impl<T: Send + 'static> Sink for Batched<T> {
    fn row(&mut self, row: &dyn Row) -> Result<Flow> {
        if self.rows.is_empty() {
            self.rows.reserve_exact(BATCH_ROWS);
        }
        self.rows.push((self.decode)(row)?);
        Ok(if self.rows.len() < BATCH_ROWS {
            Flow::More
        } else {
            Flow::Full
        })
    }

    fn restart(&mut self) -> bool {
        false // rows may have been taken already
    }

    fn flush(&mut self) -> BoxFuture<'_, Flow> {
        Box::pin(self.send())
    }

    fn may_wait(&self) -> bool {
        true
    }
}
