//! [`TestApp`]: a service on a fresh database.

use std::sync::Arc;
use std::time::Duration;

use larder::feed::ChangeFeedOptions;
use larder::rate_limit::RateLimiter;
use larder::service::{Service, ServiceOptions};
use larder::{Clock, Db, DbOptions, Result};
use larder_tests::hot::{HotEngine, Place};

use crate::client::Client;

/// A service on a fresh database of an engine, which goes when it is dropped.
pub(crate) struct TestApp {
    /// The database, to look behind the service.
    pub(crate) db: Db,
    service: Service,
    place: Arc<dyn Place>,
}

/// What a test wants to be otherwise. Nothing is limited unless it says so: tests do much at once.
#[derive(Default)]
pub(crate) struct Setup {
    options: ServiceOptions,
    db: DbOptions,
    limiter: Option<Arc<dyn RateLimiter>>,
}

impl Setup {
    /// Other options of the service.
    pub(crate) fn options(mut self, options: ServiceOptions) -> Self {
        self.options = options;
        self
    }

    /// What limits sign-ins, registrations and writes.
    pub(crate) fn limiter(mut self, limiter: impl RateLimiter) -> Self {
        self.limiter = Some(Arc::new(limiter));
        self
    }

    /// A clock that the test moves.
    pub(crate) fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.db = self.db.shared_clock(clock);
        self
    }

    /// The service.
    pub(crate) async fn on(self, engine: &Arc<dyn HotEngine>) -> Result<TestApp> {
        self.at(engine.place().await?).await
    }

    /// The service in a database that is there.
    async fn at(self, place: Arc<dyn Place>) -> Result<TestApp> {
        let db = Db::from_shared(place.store().await?, self.db);
        // other processes' changes are looked for often, so that tests need not wait
        let changes = ChangeFeedOptions::new().poll_interval(Duration::from_millis(20));
        let options = self.options.rate_limits(self.limiter.is_some());
        let mut service = Service::builder(db.clone()).options(options);
        if let Some(limiter) = self.limiter {
            service = service.limiter(limiter);
        }
        Ok(TestApp {
            service: service.changes(changes).start().await?,
            db,
            place,
        })
    }
}

impl TestApp {
    /// A service that is as it is unless told otherwise.
    pub(crate) async fn on(engine: &Arc<dyn HotEngine>) -> Result<Self> {
        Setup::default().on(engine).await
    }

    /// Another process of the same service on the same database.
    pub(crate) async fn another(&self) -> Result<Self> {
        Setup::default().at(Arc::clone(&self.place)).await
    }

    /// Who has not signed in.
    pub(crate) fn visitor(&self) -> Client {
        Client::new(self.service.router())
    }

    /// A new user of this name, signed in.
    pub(crate) async fn user(&self, name: &str) -> Client {
        let visitor = self.visitor();
        let user = visitor.register(name).await;
        visitor.signed_in(&user.token)
    }
}
