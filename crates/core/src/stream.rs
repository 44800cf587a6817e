//! [`RowStream`]: rows one by one, with back-pressure.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tokio::sync::mpsc;

use crate::db::Site;
use crate::entity::Entity;
use crate::error::Result;
use crate::query::Query;
use crate::rows::{BoxFuture, Flow, Row, Rows, Sink};

/// How many rows travel together.
const BATCH_ROWS: usize = 128;
/// How many batches may wait for the reader.
const BATCHES_WAITING: usize = 2;

/// The rows of a query, read as fast as they are taken. Made by [`Query::stream`].
///
/// At most a few hundred rows are in memory. Dropping the stream stops the read. Take rows with
/// [`next`](Self::next), or through [`futures_core::Stream`]. The deadline is the query's.
pub struct RowStream<'a, T> {
    /// The read itself; `None` once it has ended.
    read: Option<BoxFuture<'a, Result<()>>>,
    batches: mpsc::Receiver<Vec<T>>,
    current: std::vec::IntoIter<T>,
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
        let sink = Batched {
            sender,
            rows: Vec::new(),
            decode,
        };
        let read = Box::pin(async move {
            let rows = query.run(Rows::new(sink), site).await?;
            rows.into_sink::<Batched<T>>()?.finish().await;
            Ok(())
        });
        Self {
            read: Some(read),
            batches,
            current: Vec::new().into_iter(),
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

/// Sends rows in batches.
struct Batched<T> {
    sender: mpsc::Sender<Vec<T>>,
    rows: Vec<T>,
    decode: fn(&dyn Row) -> Result<T>,
}

impl<T: Send + 'static> Batched<T> {
    async fn send(&mut self) -> Flow {
        let rows = std::mem::take(&mut self.rows);
        match self.sender.send(rows).await {
            Ok(()) => Flow::More,
            Err(_) => Flow::Stop, // nobody listens any more
        }
    }

    async fn finish(mut self: Box<Self>) {
        if !self.rows.is_empty() {
            self.send().await;
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
