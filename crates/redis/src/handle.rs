//! [`Handle`]: what all clones of a store and its transactions share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use larder_core::{Capabilities, Error, ErrorKind, Isolation, Result};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::client::Client;
use crate::draft::Keys;
use crate::error::closed;
use crate::fetch;
use crate::schema::Schema;

/// How long closing waits for work in flight.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// More calls at once than there can be.
const CALLS_MAX: u32 = 1 << 28;

/// A connected namespace.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) client: Client,
    pub(crate) schema: Schema,
    pub(crate) capabilities: Capabilities,
    /// A permit for each call in flight. Closed with the store.
    calls: Semaphore,
}

/// Keys that were made for a table: the first and the last.
pub(crate) type Made = (&'static str, (i64, i64));

impl Handle {
    pub(crate) fn new(client: Client) -> Arc<Self> {
        let mut capabilities = Capabilities::full("redis");
        capabilities.isolation = Isolation::Serializable;
        capabilities.row_locks = false;
        capabilities.keeps_deadlines = true;
        Arc::new(Self {
            client,
            schema: Schema::new(),
            capabilities,
            calls: Semaphore::new(CALLS_MAX as usize),
        })
    }

    /// Begins a call.
    ///
    /// # Errors
    /// `Closed`.
    pub(crate) async fn enter(&self) -> Result<SemaphorePermit<'_>> {
        self.calls.acquire().await.map_err(|_| closed())
    }

    /// Waits for the calls in flight, then closes the connections. Twice is fine.
    ///
    /// # Errors
    /// `Busy` if a call takes too long; later calls are refused all the same.
    pub(crate) async fn close(&self) -> Result<()> {
        let all = tokio::time::timeout(CLOSE_TIMEOUT, self.calls.acquire_many(CALLS_MAX)).await;
        self.calls.close();
        if all.is_err() {
            return Err(Error::new(
                ErrorKind::Busy,
                "calls are still in flight: close again when they are done",
            ));
        }
        self.client.close().await;
        Ok(())
    }

    /// Makes keys and remembers that it did.
    pub(crate) async fn make_keys(
        &self,
        keys: &Keys,
        many: i64,
        made: &mut Vec<Made>,
    ) -> Result<Option<(i64, i64)>> {
        let new = fetch::make_keys(&self.client, keys, many).await?;
        if let Some(new) = new {
            made.push((keys.table, new));
        }
        Ok(new)
    }

    /// Gives back keys that were not used, as far as nobody has made others since: the next rows
    /// have them. Does what it can; that some are lost does no harm.
    pub(crate) async fn give_back(&self, made: &mut Vec<Made>) {
        while let Some((table, keys)) = made.pop() {
            if let Err(error) = fetch::give_back(&self.client, table, keys).await {
                tracing::debug!(target: "larder::redis", %error, "keys were not given back");
                made.clear();
            }
        }
    }
}

/// Waits for something, until the deadline.
pub(crate) async fn by<T>(
    deadline: Option<Instant>,
    work: impl Future<Output = Result<T>>,
    late: fn() -> Error,
) -> Result<T> {
    match deadline {
        None => work.await,
        Some(deadline) => match tokio::time::timeout_at(deadline.into(), work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(late()),
        },
    }
}

/// The deadline passed and nothing was sent that changes anything.
#[cold]
pub(crate) fn nothing_applied() -> Error {
    Error::new(
        ErrorKind::Timeout,
        "the deadline passed before the write was sent; nothing was applied",
    )
}

/// The deadline passed and the changes were on their way.
#[cold]
pub(crate) fn maybe_applied() -> Error {
    Error::new(
        ErrorKind::Unknown,
        "Redis did not answer by the deadline: the write may or may not be applied",
    )
}
