//! [`App`]: what every handler has at hand.

use std::fmt;
use std::sync::Arc;

use larder_core::Db;
use tokio::sync::watch;

use super::auth::Sessions;
use super::limits::Limits;
use super::live::Live;
use super::metrics::Metrics;
use super::options::ServiceOptions;
use super::passwords::Passwords;

/// The parts of the service. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct App(Arc<Parts>);

/// See [`App`].
#[derive(Debug)]
pub(crate) struct Parts {
    /// Tells whether the service is stopping.
    pub(crate) stopping: watch::Sender<bool>,
    pub(crate) metrics: Metrics,
    pub(crate) limits: Limits,
    pub(crate) pool: Pool,
    /// Where the engine can have it.
    pub(crate) live: Option<Live>,
    pub(crate) db: Db,
    pub(crate) options: ServiceOptions,
    pub(crate) passwords: Passwords,
    pub(crate) sessions: Sessions,
}

/// How to ask for the state of the store's pool, if it has one.
pub(crate) struct Pool(pub(crate) Option<Box<dyn Fn() -> PoolState + Send + Sync>>);

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pool").field(&self.0.is_some()).finish()
    }
}

/// How things stand in a pool of connections.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct PoolState {
    /// The most connections that may be open.
    pub max: usize,
    /// Connections that somebody has.
    pub in_use: usize,
    /// Open connections that nobody has.
    pub idle: usize,
    /// Tasks that wait for one.
    pub waiting: usize,
}

impl App {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Where everything is kept.
    pub(crate) fn db(&self) -> &Db {
        &self.0.db
    }

    /// How the service behaves.
    pub(crate) fn options(&self) -> &ServiceOptions {
        &self.0.options
    }

    /// What hashes and checks passwords.
    pub(crate) fn passwords(&self) -> &Passwords {
        &self.0.passwords
    }

    /// What is counted.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Ends what goes on until the service does.
    pub(crate) fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    /// How often somebody may do things.
    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Tells when the service is stopping.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.0.stopping.subscribe()
    }

    /// The live feed, if there is one.
    pub(crate) fn live(&self) -> Option<&Live> {
        self.0.live.as_ref()
    }

    /// Whether the service takes no new connections any more.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.0.stopping.borrow()
    }

    /// Notes how things stand in the store's pool, if it has one.
    pub(crate) fn measure_pool(&self) {
        let Pool(Some(state)) = &self.0.pool else {
            return;
        };
        let state = state();
        let connections = "larder_pool_connections";
        for (name, count) in [
            ("max", state.max),
            ("in_use", state.in_use),
            ("idle", state.idle),
        ] {
            self.metrics()
                .set(connections, &[("state", name)], count as f64);
        }
        self.metrics()
            .set("larder_pool_waiting", &[], state.waiting as f64);
    }

    /// Who is signed in.
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }
}
