//! The service: users, articles, comments, tags, follows and favourites over HTTP, on any engine.
//!
//! It speaks the RealWorld ("Conduit") API, so that the front ends and test suites made for that
//! run against it, and is written on Larder's public API alone: an example of how to use it.
//!
//! ```text
//!   router ──> one file per resource ──> Db (queries, plans, writes) ──> any engine
//!     │          users, profiles, articles/, comments, favorites, tags
//!     │          form: what a body holds      view: how things are shown
//!   layers       auth: who asks               error: what is refused, and how
//! ```
//!
//! ```
//! use larder::service::{Service, ServiceOptions};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> larder::Result<()> {
//! let db = larder::connect("memory:").await?;
//! let service = Service::new(db, ServiceOptions::default()).await?;
//! let router = service.router(); // an axum::Router, to be served or nested
//! # let _ = router; Ok(()) }
//! ```

mod articles;
mod auth;
mod builder;
mod comments;
mod docs;
mod error;
mod extract;
mod favorites;
mod form;
mod health;
mod layers;
mod limits;
mod live;
mod metered;
mod metrics;
mod options;
mod passwords;
mod profiles;
mod router;
mod server;
mod state;
mod tags;
mod users;
mod viewing;

use axum::Router;
use larder_core::feed;
use larder_core::session::StoredSessions;
use larder_core::{Db, Result, Table};

use state::App;

pub use builder::ServiceBuilder;
pub use options::ServiceOptions;
pub use state::PoolState;

/// The service on a database. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Service {
    app: App,
}

impl Service {
    /// The service on a database that has the tables of [`larder_core::models`] and its
    /// [own](Self::tables), with everything else as it is unless told otherwise.
    ///
    /// # Errors
    /// As [`ServiceBuilder::start`].
    pub async fn new(db: Db, options: ServiceOptions) -> Result<Self> {
        Self::builder(db).options(options).start().await
    }

    /// The same, with other parts.
    pub fn builder(db: Db) -> ServiceBuilder {
        ServiceBuilder::new(db)
    }

    /// The tables that it needs besides the models': those of sessions and of the log of
    /// [changes](larder_core::feed), for which an engine's `create_change_log` does a little more.
    pub fn tables() -> Vec<&'static Table> {
        let mut tables = vec![StoredSessions::TABLE];
        tables.extend(feed::tables());
        tables
    }

    /// What answers requests: `/api/..`, `/healthz`, `/readyz`, `/metrics`.
    pub fn router(&self) -> Router {
        router::router(&self.app)
    }
}
