//! One connection: the driver's client and the statements that it has prepared.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::{ClientWrapper, ConfigConnectImpl, Connect};
use larder_core::{Error, Result, Select, Write};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls, RowStream};

use crate::bind::Bound;
use crate::error;
use crate::options::PostgresOptions;
use crate::statement::{Found, Prepared, check_parameters};

/// How long the request to cancel a statement may take.
const CANCEL_MAX: Duration = Duration::from_secs(2);

/// Opens connections.
#[derive(Clone)]
pub(crate) struct Connector {
    options: Arc<PostgresOptions>,
}

impl Connector {
    pub(crate) fn new(options: Arc<PostgresOptions>) -> Self {
        Self { options }
    }

    pub(crate) async fn connect(&self) -> Result<Connection> {
        let limit = self.options.connect_timeout;
        let config = self.options.to_config();
        let connecting = ConfigConnectImpl { tls: NoTls };
        let connected = timeout(limit, connecting.connect(&config)).await;
        match connected {
            Ok(Ok((client, driver))) => Ok(Connection {
                kill: Kill(driver.abort_handle()),
                client: ClientWrapper::new(client, driver),
                prepared: Prepared::default(),
                named: self.options.prepared_statements,
                opened: Instant::now(),
            }),
            Ok(Err(error)) => Err(error::connect_failed(error)),
            Err(_) => Err(error::connect_late(limit)),
        }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connector").field(&self.options).finish()
    }
}

/// An open connection. Dropping it closes it.
pub(crate) struct Connection {
    client: ClientWrapper,
    prepared: Prepared,
    /// Whether statements are prepared by name.
    named: bool,
    opened: Instant,
    kill: Kill,
}

/// Closes a connection though somebody waits on it; the server then rolls back.
#[derive(Clone, Debug)]
pub(crate) struct Kill(AbortHandle);

impl Kill {
    pub(crate) fn now(&self) {
        self.0.abort();
    }
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connection {
    /// Whether it keeps prepared statements, and is its user's from one transaction to the next.
    pub(crate) fn is_named(&self) -> bool {
        self.named
    }

    pub(crate) fn kill(&self) -> Kill {
        self.kill.clone()
    }

    pub(crate) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Sends the read; its rows come as they are asked for.
    pub(crate) async fn select(
        &self,
        select: &Select,
        bound: &[Bound<'_>],
    ) -> Result<RowStream, Failure> {
        self.run(self.prepared.select(select), bound).await
    }

    /// Sends the write's statement for so many rows.
    pub(crate) async fn write(
        &self,
        write: &Write,
        rows: usize,
        bound: &[Bound<'_>],
    ) -> Result<RowStream, Failure> {
        self.run(self.prepared.write(write, rows), bound).await
    }

    /// Sends a statement that is not kept.
    pub(crate) async fn once(
        &self,
        sql: &str,
        bound: &[Bound<'_>],
    ) -> Result<RowStream, tokio_postgres::Error> {
        let typed = bound.iter().map(|value| (value, value.ty()));
        self.client.query_typed_raw(sql, typed).await
    }

    async fn run(&self, found: Found, bound: &[Bound<'_>]) -> Result<RowStream, Failure> {
        let statement = match found {
            Found::Prepared(statement) => statement,
            Found::Text(text) => {
                check_parameters(&text)?;
                if !self.named {
                    return Ok(self.once(&text.sql, bound).await?);
                }
                let types: Vec<Type> = bound.iter().map(Bound::ty).collect();
                self.prepared.prepare(&self.client, text, &types).await?
            }
        };
        Ok(self.client.query_raw(&statement, bound.iter()).await?)
    }

    /// Forgets what it has prepared: the schema has changed.
    pub(crate) fn forget_statements(&self) {
        self.prepared.clear();
    }

    /// Asks the server to stop what the connection runs. Goes by a connection of its own.
    pub(crate) async fn cancel(&self) {
        let token = self.client.cancel_token();
        match timeout(CANCEL_MAX, token.cancel_query(NoTls)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a statement could not be cancelled"),
            Err(_) => tracing::debug!("the server did not take the request to cancel a statement"),
        }
    }
}

/// What ended a statement early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server, or the way to it.
    Driver(tokio_postgres::Error),
    /// Larder itself, or whoever takes the rows.
    Own(Error),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Driver(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Own(error)
    }
}
