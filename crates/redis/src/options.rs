//! [`RedisOptions`]: which server, and how long to wait for it.

use std::fmt;
use std::time::Duration;

use fred::types::RespVersion;
use fred::types::config::{
    Config, ConnectionConfig, PerformanceConfig, ReconnectPolicy, TcpConfig, UnresponsiveConfig,
};
use larder_core::{Error, Result, Table};

use crate::namespace::Namespace;

/// What a URL begins with; the driver takes others for one server, too.
const SCHEMES: [&str; 6] = [
    "redis",
    "rediss",
    "redis-cluster",
    "rediss-cluster",
    "redis-sentinel",
    "rediss-sentinel",
];
/// The namespace of a URL that names none.
const NAMESPACE: &str = "larder";
/// Pauses before the connection is tried again: the first, the longest, and by what they grow.
const RECONNECT_MILLIS: (u32, u32, u32) = (20, 1_000, 2);
/// By how many milliseconds a pause may differ, so that clients do not come back in step.
const RECONNECT_JITTER_MILLIS: u32 = 20;
/// Messages that wait for a receiver of a subscription; one more and it has lagged.
const MESSAGES_MAX: usize = 4_096;

/// How a [`Redis`](crate::Redis) connects. Every wait it describes has a bound.
///
/// ```
/// use std::time::Duration;
/// use larder_redis::RedisOptions;
///
/// # fn main() -> larder_redis::Result<()> {
/// let options = RedisOptions::new("redis://:secret@cache.internal:6379/0")?
///     .namespace("shop")?
///     .command_timeout(Duration::from_secs(2));
/// assert!(!format!("{options:?}").contains("secret"));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RedisOptions {
    pub(crate) config: Config,
    pub(crate) namespace: Namespace,
    pub(crate) tables: Vec<&'static Table>,
    pub(crate) connections: usize,
    pub(crate) command_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) queue_max: usize,
}

impl RedisOptions {
    /// The server at a URL.
    ///
    /// | URL | |
    /// |---|---|
    /// | `redis://user:password@host:6379/0` | one server; the last part is the database's number |
    /// | `redis-cluster://host:6379?node=host2:6379` | a cluster, found by any of its nodes |
    /// | `redis-sentinel://host:26379/0?sentinelServiceName=main&node=host2:26379` | the primary that sentinels name |
    ///
    /// Clusters and sentinels are the driver's to find; Larder's tests have run on one server only.
    ///
    /// `rediss`, `rediss-cluster` and `rediss-sentinel` encrypt, and ask for a certificate that the
    /// operating system's roots have signed for the host. `?namespace=shop` is the same as
    /// [`namespace`](Self::namespace). Opens nothing.
    ///
    /// # Errors
    /// `Misuse` for what is none of these, which does not repeat it: it may hold a password.
    pub fn new(url: &str) -> Result<Self> {
        let (url, namespace) = take_namespace(url.trim());
        let known = SCHEMES.iter().any(|scheme| has_scheme(&url, scheme));
        let config = Config::from_url(&url).ok().filter(|_| known);
        let mut config = config.ok_or_else(|| {
            Error::misuse(
                "the Redis URL cannot be read: write it as redis://user:password@host:6379/0, \
                 special characters of the password as %40 and the like",
            )
        })?;
        config.version = RespVersion::RESP3;
        config.fail_fast = true;
        Ok(Self {
            config,
            namespace: Namespace::new(namespace.as_deref().unwrap_or(NAMESPACE))?,
            tables: Vec::new(),
            connections: 4,
            command_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            queue_max: 10_000,
        })
    }

    /// Which of the server's data is meant: all keys begin with `{namespace}:`. Default `larder`.
    ///
    /// # Errors
    /// `Misuse` for a name that is empty, longer than 100 bytes, or has a brace or a control
    /// character.
    pub fn namespace(mut self, name: &str) -> Result<Self> {
        self.namespace = Namespace::new(name)?;
        Ok(self)
    }

    /// The models of the namespace. Redis knows nothing of references, so that the handle must
    /// know which tables refer to which; see [`Redis::create_tables`](crate::Redis::create_tables),
    /// which tells it as well.
    pub fn tables(mut self, tables: &[&'static Table]) -> Self {
        self.tables = tables.to_vec();
        self
    }

    /// On how many connections the calls of all tasks travel, one behind the other. Default 4, at
    /// least 1; more help where large answers hold up small ones.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// How long the server may take to answer one command before the call ends: a read as
    /// `Timeout`, a write as `Unknown`. A call whose own deadline is earlier ends then. Default
    /// 5 s, at least 1 ms.
    pub fn command_timeout(mut self, timeout: Duration) -> Self {
        self.command_timeout = timeout.max(Duration::from_millis(1));
        self
    }

    /// How long a connection may take, the first one and every later, before the answer is
    /// `Unavailable`. Default 5 s, at least 1 ms.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout.max(Duration::from_millis(1));
        self
    }

    /// How many commands may wait on each connection; one more is answered `Busy`. Default
    /// 10,000, at least 1.
    pub fn queue_max(mut self, commands: usize) -> Self {
        self.queue_max = commands.max(1);
        self
    }

    /// The driver's settings of connections. One attempt: what was sent once and not answered may
    /// have been done, so that sending it again is up to who knows that this does no harm.
    pub(crate) fn connection_config(&self) -> ConnectionConfig {
        ConnectionConfig {
            connection_timeout: self.connect_timeout,
            internal_command_timeout: self.connect_timeout,
            max_command_attempts: 1,
            max_command_buffer_len: self.queue_max,
            reconnect_on_auth_error: true,
            tcp: TcpConfig {
                nodelay: Some(true),
                ..TcpConfig::default()
            },
            // A connection on which nothing comes back is given up, so that the next call has
            // a new one.
            unresponsive: UnresponsiveConfig {
                max_timeout: Some(self.command_timeout.saturating_mul(2)),
                interval: (self.command_timeout / 2).max(Duration::from_millis(10)),
            },
            ..ConnectionConfig::default()
        }
    }

    pub(crate) fn performance_config(&self) -> PerformanceConfig {
        PerformanceConfig {
            default_command_timeout: self.command_timeout,
            broadcast_channel_capacity: MESSAGES_MAX,
            ..PerformanceConfig::default()
        }
    }

    pub(crate) fn reconnect_policy() -> ReconnectPolicy {
        let (first, longest, factor) = RECONNECT_MILLIS;
        let mut policy = ReconnectPolicy::new_exponential(0, first, longest, factor);
        policy.set_jitter(RECONNECT_JITTER_MILLIS);
        policy
    }
}

/// The URL without its `namespace` parameter, and the parameter.
fn take_namespace(url: &str) -> (String, Option<String>) {
    let Some((address, parameters)) = url.split_once('?') else {
        return (url.to_owned(), None);
    };
    let (mine, rest): (Vec<&str>, Vec<&str>) = parameters
        .split('&')
        .partition(|parameter| parameter.starts_with("namespace="));
    let namespace = mine.last().and_then(|one| one.split_once('='));
    let question = if rest.is_empty() { "" } else { "?" };
    (
        format!("{address}{question}{}", rest.join("&")),
        namespace.map(|(_, name)| name.to_owned()),
    )
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("hosts", &self.config.server.hosts())
            .field("database", &self.config.database)
            .field("user", &self.config.username)
            .field("namespace", &self.namespace)
            .field("connections", &self.connections)
            .field("command_timeout", &self.command_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("queue_max", &self.queue_max)
            .finish_non_exhaustive()
    }
}

/// Whether a URL is of this scheme, in whatever case.
fn has_scheme(url: &str, scheme: &str) -> bool {
    let found = url.split_once("://");
    found.is_some_and(|(found, _)| found.eq_ignore_ascii_case(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_stands_in_the_url() -> Result<()> {
        let url = "redis://:hunter2@host:7000/3?a=b&namespace=shop";
        let options = RedisOptions::new(url)?;
        assert_eq!(options.namespace, Namespace::new("shop")?);
        assert_eq!(options.config.database, Some(3));
        assert!(!format!("{options:?}").contains("hunter2"));
        let options = RedisOptions::new("redis://host")?;
        assert_eq!(options.namespace, Namespace::new(NAMESPACE)?);
        Ok(())
    }

    #[test]
    fn clusters_and_sentinels_have_urls() -> Result<()> {
        let cluster = RedisOptions::new("redis-cluster://a:1?node=b:2&namespace=x")?;
        assert!(cluster.config.server.is_clustered());
        assert_eq!(cluster.config.server.hosts().len(), 2);
        let sentinel = "redis-sentinel://a:26379/0?sentinelServiceName=main&namespace=x";
        assert!(RedisOptions::new(sentinel)?.config.server.is_sentinel());
        Ok(())
    }

    #[test]
    fn what_is_no_url_is_not_repeated() {
        for url in ["hunter2", "redis://:hunter2@host:port", "http://hunter2"] {
            let error = RedisOptions::new(url).expect_err(url).to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(RedisOptions::new("redis://host?namespace=").is_err());
    }
}
