//! [`TestApp`]: a service on a fresh database.

use std::any::Any;
use std::sync::Arc;

use larder::service::{Service, ServiceOptions};
use larder::{Clock, Db, DbOptions, Result};
use larder_tests::Engine;

use crate::client::Client;

/// A service on a fresh database of an engine, which goes when it is dropped.
pub(crate) struct TestApp {
    /// The database, to look behind the service.
    pub(crate) db: Db,
    service: Service,
    _keep: Box<dyn Any + Send + Sync>,
}

/// What a test wants to be otherwise.
#[derive(Default)]
pub(crate) struct Setup {
    options: ServiceOptions,
    db: DbOptions,
}

impl Setup {
    /// Other options of the service.
    pub(crate) fn options(mut self, options: ServiceOptions) -> Self {
        self.options = options;
        self
    }

    /// A clock that the test moves.
    pub(crate) fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.db = self.db.shared_clock(clock);
        self
    }

    /// The service.
    pub(crate) async fn on(self, engine: &Arc<dyn Engine>) -> Result<TestApp> {
        let fresh = engine.fresh(&Service::tables()).await?;
        let db = Db::from_shared(fresh.storage, self.db);
        Ok(TestApp {
            service: Service::new(db.clone(), self.options).await?,
            db,
            _keep: fresh.keep,
        })
    }
}

impl TestApp {
    /// A service that is as it is unless told otherwise.
    pub(crate) async fn on(engine: &Arc<dyn Engine>) -> Result<Self> {
        Setup::default().on(engine).await
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
