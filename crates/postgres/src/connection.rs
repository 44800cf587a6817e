//! One connection: the driver's client and the statements that it has prepared.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use deadpool_postgres::ClientWrapper;
use larder_core::raw::SqlText;
use larder_core::{Error, Result, Select, Write};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, RowStream, Statement};

use crate::bind::Bound;
use crate::cancel_request;
use crate::canceller::{Backend, Canceller};
use crate::dial::{Heard, dial, dial_to};
use crate::error::{self, StoppedBy};
use crate::options::PostgresOptions;
use crate::statement::{Found, Prepared, check_parameters};
use crate::tls::{self, Tls};

/// How long a request to cancel may take to be sent, and how long to take effect, where the server
/// does not answer for it.
const CANCEL_MAX: Duration = Duration::from_secs(2);
const CANCEL_EFFECT: Duration = Duration::from_millis(100);

/// Opens connections.
#[derive(Clone)]
pub(crate) struct Connector {
    options: Arc<PostgresOptions>,
    tls: Tls,
    canceller: Arc<Canceller>,
    /// How often the server was left for another one.
    moves: Arc<AtomicU64>,
}

impl Connector {
    /// Reads the files of whom to trust, if the options ask for trust.
    pub(crate) fn new(options: Arc<PostgresOptions>) -> Result<Self> {
        let tls = tls::load(&options)?;
        Ok(Self {
            canceller: Arc::new(Canceller::new(Arc::clone(&options), Tls::clone(&tls))),
            options,
            tls,
            moves: Arc::default(),
        })
    }

    pub(crate) fn canceller(&self) -> &Canceller {
        &self.canceller
    }

    /// Says that the server takes no writes any more. If the options ask for one that does, the
    /// connections that there are are not used again: the next ones find it.
    pub(crate) fn leave(&self) {
        if self.options.config.get_target_session_attrs() == TargetSessionAttrs::ReadWrite {
            self.moves.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How long connecting may take: the first hosts may not even refuse.
    fn connect_limit(&self) -> Duration {
        let hosts = u32::try_from(self.options.config.get_hosts().len()).unwrap_or(u32::MAX);
        self.options.connect_timeout.saturating_mul(hosts.max(1))
    }

    /// Opens a connection whose notifications go to somebody. It is of no pool.
    pub(crate) async fn listen(&self, heard: &Heard) -> Result<(Client, JoinHandle<()>)> {
        let (limit, config) = (self.connect_limit(), self.options.to_config());
        match timeout(limit, dial_to(&config, &self.tls, heard)).await {
            Ok(opened) => opened.map_err(error::connect_failed),
            Err(_) => Err(error::connect_late(limit)),
        }
    }

    pub(crate) async fn connect(&self) -> Result<Connection> {
        let moves = self.moves.load(Ordering::Relaxed);
        let limit = self.connect_limit();
        let config = self.options.to_config();
        let connecting = async {
            let (client, driver) = dial(&config, &self.tls).await?;
            let client = ClientWrapper::new(client, driver);
            let backend = if self.options.prepared_statements {
                Some(Backend::of(&client).await?)
            } else {
                None
            };
            Ok((client, backend))
        };
        match timeout(limit, connecting).await {
            Ok(Ok((client, backend))) => Ok(Connection {
                client,
                prepared: Prepared::default(),
                backend,
                connector: self.clone(),
                moves,
                opened: Instant::now(),
                tainted: AtomicBool::new(false),
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
    /// The process behind it; `None` if a pooler gives it another one for each transaction, so that
    /// nothing can be prepared by name either.
    backend: Option<Backend>,
    connector: Connector,
    /// How often the server had been left before.
    moves: u64,
    opened: Instant,
    /// Whether it may still be hit by something, or has settings of somebody's own.
    tainted: AtomicBool,
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
        self.backend.is_some()
    }

    /// Whether it leads to a server that was left.
    pub(crate) fn is_left(&self) -> bool {
        self.moves != self.connector.moves.load(Ordering::Relaxed)
    }

    /// Looks at what a write was answered: see [`Connector::leave`].
    pub(crate) fn heed(&self, error: &Error) {
        if error.is_read_only() && !self.is_left() {
            self.connector.leave();
        }
    }

    /// Has it closed instead of given to somebody else.
    pub(crate) fn taint(&self) {
        self.tainted.store(true, Ordering::Relaxed);
    }

    /// Whether it must not be given to somebody else.
    pub(crate) fn is_tainted(&self) -> bool {
        self.tainted.load(Ordering::Relaxed)
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

    /// Prepares a statement in SQL, and keeps it if it is part of the program.
    pub(crate) async fn prepare_sql(
        &self,
        text: &SqlText,
        types: &[Type],
    ) -> Result<Statement, tokio_postgres::Error> {
        match self.prepared.sql(text, types) {
            Found::Prepared(statement) => Ok(statement),
            Found::Text(text) => self.prepared.prepare(&self.client, text, types).await,
        }
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
                if !self.is_named() {
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

    /// Stops what the connection runs. Unless this has come to its end and is certain that what is
    /// sent next is not stopped as well, the connection is tainted.
    pub(crate) async fn cancel(&self) {
        let tainted_before = self.tainted.swap(true, Ordering::Relaxed);
        if self.try_cancel().await && !tainted_before {
            self.tainted.store(false, Ordering::Relaxed);
        }
    }

    async fn try_cancel(&self) -> bool {
        if let Some(backend) = self.backend {
            return self.connector.canceller().cancel(backend).await;
        }
        let tls = Tls::clone(&self.connector.tls);
        let token = self.client.cancel_token();
        let config = self.connector.options.to_config();
        match timeout(CANCEL_MAX, cancel_request::send(&token, &config, tls)).await {
            Ok(Ok(())) => sleep(CANCEL_EFFECT).await,
            Ok(Err(error)) => tracing::debug!(%error, "a statement could not be cancelled"),
            Err(_) => tracing::debug!("the server did not take the request to cancel a statement"),
        }
        false
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

impl Failure {
    /// Whether a prepared statement no longer fits: see [`error::is_stale_plan`].
    pub(crate) fn is_stale(&self) -> bool {
        matches!(self, Self::Driver(cause) if error::is_stale_plan(cause))
    }

    /// What stopped the statement, if it was one of those.
    pub(crate) fn stopped_by(&self) -> Option<StoppedBy> {
        match self {
            Self::Driver(cause) => error::stopped_by(cause),
            Self::Own(_) => None,
        }
    }

    /// Whether the connection is of no more use.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self, Self::Driver(cause) if error::is_lost(cause))
    }
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
