//! [`Client`]: the connections to the server, which all that this crate offers share.
//!
//! The calls of all tasks travel on a few connections, one behind the other, and no command is sent
//! twice by the driver. Every command has a deadline
//! ([`RedisOptions::command_timeout`](crate::RedisOptions::command_timeout)); a caller who gives up
//! earlier just drops the future.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fred::clients::{Client as Driver, Pool, SubscriberClient};
use fred::interfaces::ClientLike;
use fred::types::{Builder, ClientState, ConnectHandle};
use larder_core::{Error, ErrorKind, Result};

use crate::error::{Effect, classify, closed};
use crate::namespace::Namespace;
use crate::options::RedisOptions;

/// How long to listen for a connection before looking whether it is there.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long closing waits for the server to say goodbye.
const QUIT_TIMEOUT: Duration = Duration::from_secs(1);

/// Open connections to one server, cluster or group of sentinels. Clones share them; the last one
/// closes them when it is dropped.
#[derive(Clone)]
pub(crate) struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    pool: Pool,
    /// The tasks that keep the connections.
    tasks: Vec<ConnectHandle>,
    options: RedisOptions,
    closed: AtomicBool,
}

impl Client {
    /// Opens the connections.
    ///
    /// # Errors
    /// `Unavailable` if the server cannot be reached in time or refuses who connects.
    pub(crate) async fn connect(options: RedisOptions) -> Result<Self> {
        let pool = builder(&options)
            .build_pool(options.connections)
            .map_err(|error| classify(error, Effect::Reads))?;
        let client = Self {
            shared: Arc::new(Shared {
                tasks: pool.connect_pool(),
                pool,
                options,
                closed: AtomicBool::new(false),
            }),
        };
        for driver in client.shared.pool.clients() {
            client.connected(driver).await?;
        }
        Ok(client)
    }

    pub(crate) fn options(&self) -> &RedisOptions {
        &self.shared.options
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.shared.options.namespace
    }

    /// A connection that is there, to send commands on: waited for until the connect timeout.
    ///
    /// # Errors
    /// `Closed`, or `Unavailable` if there is none: nothing was sent then.
    pub(crate) async fn ready(&self) -> Result<&Driver> {
        self.check_open()?;
        let driver = self.shared.pool.next_connected();
        if driver.state() != ClientState::Connected {
            self.connected(driver).await?;
            self.check_open()?;
        }
        Ok(driver)
    }

    /// A connection of its own for subscriptions, with the same settings.
    ///
    /// Its receivers can lag (`RecvError::Lagged`), and it reconnects by itself: whoever uses it
    /// MUST take up again after both.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub(crate) async fn subscriber(&self) -> Result<Subscriber> {
        self.check_open()?;
        let driver = builder(self.options())
            .build_subscriber_client()
            .map_err(|error| classify(error, Effect::Reads))?;
        let subscriber = Subscriber {
            task: driver.connect(),
            driver,
        };
        self.within_connect(connected(&subscriber.driver)).await?;
        Ok(subscriber)
    }

    /// Refuses new commands and closes the connections. Twice is fine.
    pub(crate) async fn close(&self) {
        if self.shared.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        // Who does not answer is left.
        let _ = tokio::time::timeout(QUIT_TIMEOUT, self.shared.pool.quit()).await;
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        Ok(())
    }

    async fn connected(&self, driver: &Driver) -> Result<()> {
        self.within_connect(connected(driver)).await
    }

    async fn within_connect(
        &self,
        connecting: impl Future<Output = std::result::Result<(), fred::error::Error>>,
    ) -> Result<()> {
        let limit = self.options().connect_timeout;
        match tokio::time::timeout(limit, connecting).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(unreachable(limit).with_source(error)),
            Err(_) => Err(unreachable(limit)),
        }
    }
}

/// Waits for a connection. The driver looks whether it is there and only then listens, so that it
/// misses one that is made in between: it is made to look again.
async fn connected(driver: &impl ClientLike) -> std::result::Result<(), fred::error::Error> {
    loop {
        let connecting = driver.wait_for_connect();
        if let Ok(outcome) = tokio::time::timeout(LOOK_AGAIN, connecting).await {
            return outcome;
        }
    }
}

/// A connection for subscriptions, closed when it is dropped.
pub(crate) struct Subscriber {
    /// Subscribes, and hands out receivers.
    pub(crate) driver: SubscriberClient,
    task: ConnectHandle,
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subscriber")
    }
}

fn builder(options: &RedisOptions) -> Builder {
    let mut builder = Builder::from_config(options.config.clone());
    builder
        .set_performance_config(options.performance_config())
        .set_connection_config(options.connection_config())
        .set_policy(RedisOptions::reconnect_policy());
    builder
}

#[cold]
fn unreachable(limit: Duration) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!(
            "Redis could not be reached within {limit:?}: is the server running, and the URL right?"
        ),
    )
}

impl Drop for Shared {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(self.options()).finish()
    }
}
