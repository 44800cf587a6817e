//! [`ServiceBuilder`]: the parts of a service, any of which can be another one.

use std::sync::Arc;

use larder_core::feed::{ChangeFeed, ChangeFeedOptions, Recorded};
use larder_core::rate_limit::{LocalRateLimiter, RateLimiter};
use larder_core::session::{SessionStore, StoredSessions};
use larder_core::{Db, Result};
use tokio::sync::watch;

use super::auth::Sessions;
use super::limits::Limits;
use super::live::{self, Live};
use super::metered::Metered;
use super::metrics::Metrics;
use super::passwords::Passwords;
use super::state::{App, Parts, Pool, PoolState};
use super::{Service, ServiceOptions};

/// The parts of a service. Made by [`Service::builder`], ended by [`start`](Self::start).
#[derive(Debug)]
#[must_use = "nothing is there until it is started"]
pub struct ServiceBuilder {
    db: Db,
    options: ServiceOptions,
    pool: Pool,
    sessions: Option<Arc<dyn SessionStore>>,
    changes: ChangeFeedOptions,
    limiter: Option<Arc<dyn RateLimiter>>,
}

impl ServiceBuilder {
    pub(super) fn new(db: Db) -> Self {
        Self {
            db,
            options: ServiceOptions::default(),
            pool: Pool(None),
            sessions: None,
            changes: ChangeFeedOptions::new(),
            limiter: None,
        }
    }

    /// How the service behaves.
    pub fn options(mut self, options: ServiceOptions) -> Self {
        self.options = options;
        self
    }

    /// Where sessions are kept. Default: in the database, in the table `larder_sessions`.
    pub fn sessions(mut self, store: Arc<dyn SessionStore>) -> Self {
        self.sessions = Some(store);
        self
    }

    /// What counts sign-ins, registrations and writes. Default: this process, by itself, for up to
    /// 100,000 users and addresses at a time.
    pub fn limiter(mut self, limiter: Arc<dyn RateLimiter>) -> Self {
        self.limiter = Some(limiter);
        self
    }

    /// How changes are kept and read, which the live feed shows.
    pub fn changes(mut self, options: ChangeFeedOptions) -> Self {
        self.changes = options;
        self
    }

    /// Where the metrics get the state of the store's pool from. Default: there is none.
    pub fn pool(mut self, state: impl Fn() -> PoolState + Send + Sync + 'static) -> Self {
        self.pool = Pool(Some(Box::new(state)));
        self
    }

    /// The service.
    ///
    /// # Errors
    /// `Engine` if the system has no randomness or memory to give.
    pub async fn start(self) -> Result<Service> {
        let metrics = Metrics::new();
        let db = self
            .db
            .around(|storage| Metered::new(storage, metrics.clone()));
        let (db, changes) = with_changes(db, self.changes)?;
        let readers_max = self.options.live_readers_max;
        let live = changes.map(|changes| Live::new(changes, readers_max));
        let sessions = self
            .sessions
            .unwrap_or_else(|| Arc::new(StoredSessions::new(db.clone())));
        let limits = match self.limiter {
            _ if !self.options.rate_limits => Limits::none(),
            Some(limiter) => Limits::by(limiter),
            None => Limits::by(Arc::new(LocalRateLimiter::new())),
        };
        let app = App::new(Parts {
            sessions: Sessions::new(sessions, self.options.sessions.clone()),
            passwords: Passwords::new(self.options.passwords_at_once).await?,
            stopping: watch::Sender::new(false),
            limits,
            pool: self.pool,
            live,
            options: self.options,
            metrics,
            db,
        });
        Ok(Service { app })
    }
}

/// The database with a log of what is written, if the engine can have one.
fn with_changes(db: Db, options: ChangeFeedOptions) -> Result<(Db, Option<ChangeFeed>)> {
    let store = Recorded::from_shared(Arc::clone(db.storage()), live::recordings());
    match store.changes_with(options) {
        Ok(changes) => Ok((db.around(|_| store), Some(changes))),
        Err(error) if error.is_unsupported() => Ok((db, None)),
        Err(error) => Err(error),
    }
}
