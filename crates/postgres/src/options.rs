//! [`PostgresOptions`]: how to connect, and how many connections to hold.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use larder_core::{Error, Result};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::encryption::{Encryption, Proof};

/// How a [`Postgres`](crate::Postgres) connects. Every wait it describes has a bound.
///
/// ```
/// use std::time::Duration;
/// use larder_postgres::PostgresOptions;
///
/// # fn main() -> larder_core::Result<()> {
/// let options = PostgresOptions::new("postgres://app:secret@db.internal/app")?
///     .max_size(20)
///     .acquire_timeout(Duration::from_secs(3));
/// assert!(!format!("{options:?}").contains("secret"));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct PostgresOptions {
    pub(crate) config: Config,
    pub(crate) proof: Proof,
    pub(crate) max_size: usize,
    pub(crate) overflow: usize,
    pub(crate) waiting_max: usize,
    pub(crate) acquire_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) statement_timeout: Option<Duration>,
    pub(crate) idle_timeout: Duration,
    pub(crate) max_lifetime: Duration,
    pub(crate) pre_ping: PrePing,
    pub(crate) shared_connections: usize,
    pub(crate) prepared_statements: bool,
}

/// When a connection is tried out before it is handed to somebody.
///
/// A connection that the driver knows to be closed is never handed out, whatever is chosen here;
/// this is about one whose other end has gone without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrePing {
    /// Never: saves the round trip.
    Never,
    /// If it has lain idle for this long. The default, with ten seconds.
    AfterIdle(Duration),
    /// Always: a round trip for every checkout.
    Always,
}

impl PostgresOptions {
    /// The server at a URL, `postgres://user:password@host:port/database`, or in the form
    /// `host=.. user=..`. Several hosts, `target_session_attrs=read-write`, and the driver's other
    /// parameters are understood; see [`tokio_postgres::Config`].
    ///
    /// `sslmode` says what is encrypted and what the server has to prove, as with libpq:
    ///
    /// | `sslmode` | |
    /// |---|---|
    /// | `disable` | no encryption |
    /// | `prefer`, the default | encryption if the server has it; whoever stands in between can prevent it |
    /// | `require` | encryption; who the server is matters only if `sslrootcert` is given, then as with `verify-ca` |
    /// | `verify-ca` | encryption, and a certificate signed by somebody who is trusted |
    /// | `verify-full` | also for the very host name or address in the URL |
    ///
    /// Across a network that others use too, take `verify-full`. `sslrootcert=PATH` is a PEM file of
    /// those who are trusted, read when the database is opened; without it, or with
    /// `sslrootcert=system`, those whom the operating system trusts (`SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` name others). Certificates are of X.509 version 3 and have the host as a
    /// `subjectAltName`. Sockets of this machine are not encrypted. Without the crate's feature
    /// `tls` nothing is, and connecting with `require` or more is answered `Unsupported`.
    ///
    /// ```
    /// # fn main() -> larder_core::Result<()> {
    /// let url = "postgres://app:secret@db.internal/app?sslmode=verify-full&sslrootcert=/etc/db.pem";
    /// let options = larder_postgres::PostgresOptions::new(url)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `Misuse` for what is neither, which does not repeat it: it may hold a password. `Unsupported`
    /// for a client's certificate (`sslcert`) and lists of revoked ones (`sslcrl`).
    pub fn new(url: &str) -> Result<Self> {
        let (rest, encryption) = Encryption::take(url.trim())?;
        let mut config = Config::from_str(&rest).map_err(|_| {
            Error::misuse(
                "the PostgreSQL URL cannot be read: write it as \
                 postgres://user:password@host:5432/database, special characters of the password \
                 as %40 and the like",
            )
        })?;
        config.ssl_mode(encryption.mode);
        let mut options = Self::from_config(config);
        options.proof = encryption.proof;
        Ok(options)
    }

    /// The server that a driver's configuration describes. Its `ssl_mode` is at most
    /// [`Require`](SslMode::Require), which asks no certificate of the server; what proves more is
    /// said by a [URL](Self::new).
    pub fn from_config(mut config: Config) -> Self {
        settle_hosts(&mut config);
        if config.get_application_name().is_none() {
            config.application_name("larder");
        }
        let connect_timeout = (config.get_connect_timeout().copied()).unwrap_or(secs(5));
        Self {
            config,
            proof: Proof::Nothing,
            max_size: 10,
            overflow: 0,
            waiting_max: 10_000,
            acquire_timeout: secs(10),
            connect_timeout,
            statement_timeout: None,
            idle_timeout: secs(600),
            max_lifetime: secs(1_800),
            pre_ping: PrePing::AfterIdle(secs(10)),
            shared_connections: 4,
            prepared_statements: true,
        }
    }

    /// How many connections the pool keeps, for transactions, writes and scans. Default 10, at
    /// least 1. The [shared](Self::shared_connections) ones come on top.
    pub fn max_size(mut self, connections: usize) -> Self {
        self.max_size = connections.max(1);
        self
    }

    /// How many connections beyond [`max_size`](Self::max_size) may be opened when all are in use;
    /// they are closed as soon as they are not. Default 0.
    pub fn overflow(mut self, connections: usize) -> Self {
        self.overflow = connections;
        self
    }

    /// How many tasks may wait for a connection; one more is answered `Busy`. Default 10,000.
    pub fn waiting_max(mut self, tasks: usize) -> Self {
        self.waiting_max = tasks;
        self
    }

    /// How long to wait for a free connection before the answer is `Busy`. Default 10 s.
    pub fn acquire_timeout(mut self, timeout: Duration) -> Self {
        self.acquire_timeout = timeout;
        self
    }

    /// How long a new connection may take, authentication included, before the answer is
    /// `Unavailable`. Default 5 s, or the URL's `connect_timeout`.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long the server lets one statement run, whoever waits for it: a net below the deadlines
    /// of the calls, for streams too. Default: left to the server. Needs a connection of its own:
    /// without [prepared statements](Self::prepared_statements) it is not set.
    pub fn statement_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.statement_timeout = timeout;
        self
    }

    /// How long a pooled connection may lie idle before it is closed. Default 10 minutes.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// How old a connection may become before it is replaced when it is free, a
    /// [shared](Self::shared_connections) one when it is idle. Default 30 minutes.
    pub fn max_lifetime(mut self, lifetime: Duration) -> Self {
        self.max_lifetime = lifetime;
        self
    }

    /// When a connection is tried out before it is used. Default: after ten idle seconds.
    pub fn pre_ping(mut self, when: PrePing) -> Self {
        self.pre_ping = when;
        self
    }

    /// On how many connections the point reads of all tasks travel together, opened when there is
    /// use for them. Default 4, at least 1.
    pub fn shared_connections(mut self, connections: usize) -> Self {
        self.shared_connections = connections.max(1);
        self
    }

    /// Whether statements are prepared by name, once per connection. Default true. Set to false
    /// behind every pooler that gives each transaction another connection (pgbouncer in transaction
    /// mode, from 1.21 on too): the server's process, by which a statement is stopped, is then
    /// somebody else's a moment later. Statements go with their text each time, in one round trip
    /// as well, and `insert_all` travels as arrays instead of COPY.
    pub fn prepared_statements(mut self, prepared: bool) -> Self {
        self.prepared_statements = prepared;
        self
    }

    /// The driver's configuration with what these options add to it.
    pub(crate) fn to_config(&self) -> Config {
        let mut config = self.config.clone();
        config.connect_timeout(self.connect_timeout);
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(secs(30));
        }
        if let (Some(timeout), true) = (self.statement_timeout, self.prepared_statements) {
            let own = config.get_options().unwrap_or_default().to_owned();
            let millis = timeout.as_millis().clamp(1, i32::MAX as u128);
            config.options(format!("-c statement_timeout={millis} {own}").trim());
        }
        config
    }
}

/// Gives the driver what it needs for encryption: a name for every address, and no wish for it where
/// PostgreSQL never has it.
fn settle_hosts(config: &mut Config) {
    if config.get_hosts().is_empty() {
        for address in config.get_hostaddrs().to_vec() {
            config.host(address.to_string());
        }
    }
    let is_local = |host: &Host| !matches!(host, Host::Tcp(_));
    // An address goes over the network, whatever stands beside it.
    if config.get_hostaddrs().is_empty() && config.get_hosts().iter().all(is_local) {
        config.ssl_mode(SslMode::Disable);
    }
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("hosts", &self.config.get_hosts())
            .field("ports", &self.config.get_ports())
            .field("database", &self.config.get_dbname())
            .field("user", &self.config.get_user())
            .field("sslmode", &self.config.get_ssl_mode())
            .field("proof", &self.proof)
            .field("max_size", &self.max_size)
            .field("overflow", &self.overflow)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("max_lifetime", &self.max_lifetime)
            .field("pre_ping", &self.pre_ping)
            .field("shared_connections", &self.shared_connections)
            .field("prepared_statements", &self.prepared_statements)
            .finish_non_exhaustive()
    }
}
