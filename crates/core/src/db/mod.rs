//! [`Db`]: the handle an application holds; everything pleasant, once for all engines.
//!
//! - this file: the handle, its options, reads by key
//! - `execute`: deadlines around every call of the store
//! - `event`: its events and observation
//! - `write`: inserts, upserts, updates, deletes
//! - `lock`: named locks
//! - `sql`: statements in the engine's own SQL
//! - `transaction`: transactions

mod event;
mod execute;
pub mod lock;
pub mod sql;
pub mod transaction;
pub mod write;

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::entity::Entity;
use crate::error::{Error, ErrorKind, Result};
use crate::observe::{self, Report};
use crate::query::{First, Query, key_filter};
use crate::rows::Rows;
use crate::select::Select;
use crate::storage::{Capabilities, Storage};
use crate::types::Timestamp;
pub(crate) use execute::{Control, late_read};
use transaction::Effects;

/// A handle on a store. Cheap to clone; clones share everything.
///
/// A function that takes `&Db` works inside and outside of transactions, because a
/// [`Tx`](transaction::Tx) is a `Db` too.
///
/// ```
/// use larder_core::models::{NewUser, User};
/// use larder_core::{Db, Memory};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// let db = Db::new(Memory::new());
/// let ada = db.insert(NewUser::without_password("ada@example.com", "Ada")?).await?;
/// let found = db.query::<User>().filter(User::EMAIL.eq(ada.email.clone())).first().await?;
/// assert_eq!(found, Some(ada));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Db {
    storage: Arc<dyn Storage>,
    settings: Arc<DbOptions>,
    /// The effects of the transaction this handle works in.
    effects: Option<Weak<Effects>>,
    /// Whether that transaction may only read.
    read_only: bool,
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db")
            .field("storage", &self.storage)
            .finish_non_exhaustive()
    }
}

/// How a [`Db`] behaves. Start from `DbOptions::default()`.
#[derive(Clone, Debug)]
pub struct DbOptions {
    clock: Arc<dyn Clock>,
    timeout: Duration,
    slow: Duration,
    log_values: bool,
    attempts: u32,
    repeats: usize,
}

impl Default for DbOptions {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            timeout: Duration::from_secs(30),
            slow: Duration::from_millis(250),
            log_values: false,
            attempts: 5,
            repeats: 5,
        }
    }
}

impl DbOptions {
    /// Where timestamps come from. Default: the system's clock.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Where timestamps come from, shared with a test that moves it.
    #[must_use]
    pub fn shared_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The deadline of every call, the commit of a transaction included. Default: 30 s. See
    /// [`Query::timeout`] for one query.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// From when on a statement is reported at WARN. Default: 250 ms.
    #[must_use]
    pub fn slow(mut self, slow: Duration) -> Self {
        self.slow = slow;
        self
    }

    /// Whether events show values, which may be personal data; of many only the first 20 or so.
    /// Default: no.
    #[must_use]
    pub fn log_values(mut self, show: bool) -> Self {
        self.log_values = show;
        self
    }

    /// How often a transaction is run in all when it loses against concurrent work, at least
    /// once. Default: 5.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// From how many repeats of one statement shape on [`Db::observe`] warns. Default: 5.
    #[must_use]
    pub fn warn_repeats(mut self, repeats: usize) -> Self {
        self.repeats = repeats.max(2);
        self
    }
}

impl Db {
    /// A handle with the default options.
    pub fn new(storage: impl Storage) -> Self {
        Self::with_options(storage, DbOptions::default())
    }

    /// A handle with these options.
    pub fn with_options(storage: impl Storage, options: DbOptions) -> Self {
        Self::from_shared(Arc::new(storage), options)
    }

    /// A handle on a store that others hold too.
    pub fn from_shared(storage: Arc<dyn Storage>, options: DbOptions) -> Self {
        Self {
            storage,
            settings: Arc::new(options),
            effects: None,
            read_only: false,
        }
    }

    /// The same options on a storage around this handle's, such as one that counts or caches.
    ///
    /// Only on a handle outside of transactions: inside, the wrapper would not see the end.
    #[must_use]
    pub fn around<S: Storage>(&self, wrap: impl FnOnce(Arc<dyn Storage>) -> S) -> Self {
        Self {
            storage: Arc::new(wrap(Arc::clone(&self.storage))),
            ..self.clone()
        }
    }

    /// The store underneath.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// What the store can do.
    pub fn capabilities(&self) -> &Capabilities {
        self.storage.capabilities()
    }

    /// The time by this handle's clock.
    pub fn now(&self) -> Timestamp {
        self.settings.clock.now()
    }

    /// The same store with another deadline for every call.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        let settings = Arc::new(DbOptions::clone(&self.settings).timeout(timeout));
        Self {
            settings,
            ..self.clone()
        }
    }

    /// Whether this handle works in a transaction that may write.
    pub(crate) fn is_in_writing_transaction(&self) -> bool {
        self.effects.is_some() && !self.read_only
    }

    /// Starts a query of `E`.
    pub fn query<E: Entity>(&self) -> Query<'_, E> {
        Query::new(self)
    }

    /// The row with this key, if there is one. One point read.
    #[track_caller]
    pub fn get<E: Entity>(
        &self,
        key: E::Key,
    ) -> impl Future<Output = Result<Option<E>>> + Send + '_ {
        self.get_at(key, Location::caller())
    }

    /// [`get`](Self::get) on behalf of another line. The same as `query().by_key(key).get()`,
    /// without a query to be built, checked and moved.
    pub(crate) async fn get_at<E: Entity>(&self, key: E::Key, site: Site) -> Result<Option<E>> {
        let mut select = Select::new(E::TABLE);
        select.filter = key_filter::<E>(key)?;
        let rows = Rows::new(First::new(E::from_row));
        let rows = self.read(None, select, rows, site).await?;
        Ok(rows.into_sink::<First<E>>()?.row)
    }

    /// The row with this key.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    #[track_caller]
    pub fn find<E: Entity>(&self, key: E::Key) -> impl Future<Output = Result<E>> + Send + '_ {
        let found = self.get::<E>(key);
        async move { found.await?.ok_or_else(|| not_found::<E>()) }
    }

    /// Runs a piece of code and tells what it asked of the store, through any handle, in this
    /// task (not in tasks it spawns). Shapes that repeat are reported at WARN too. Observers inside
    /// of others see the same as those.
    ///
    /// ```
    /// # use larder_core::{Db, Memory, models::User};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let db = Db::new(Memory::new());
    /// let (users, report) = db.observe(db.query::<User>().all()).await;
    /// assert!(users?.is_empty());
    /// report.assert_round_trips(1);
    /// # Ok(()) }
    /// ```
    pub async fn observe<F: Future>(&self, code: F) -> (F::Output, Report) {
        let (output, report) = observe::scope(code).await;
        for repeat in report.repeated() {
            if repeat.times >= self.settings.repeats {
                let site = repeat.sites[0];
                tracing::warn!(
                    target: "larder::repeat",
                    shape = %repeat.shape,
                    times = repeat.times,
                    site = %site,
                    "a statement repeats: load its rows together"
                );
            }
        }
        (output, report)
    }

    /// Waits for work in flight, tidies up and closes the store for every handle.
    ///
    /// # Errors
    /// `Timeout` if that takes longer than this handle's deadline; work in flight may go on then.
    #[track_caller]
    pub fn close(&self) -> impl Future<Output = Result<()>> + Send + '_ {
        let site = Location::caller();
        self.control(Control::Close, site, self.storage.close())
    }
}

#[cold]
pub(crate) fn not_found<E: Entity>() -> Error {
    Error::new(ErrorKind::NotFound, "there is no row with this key").with_table(E::TABLE.name)
}

/// The line of the caller, for reports.
pub(crate) type Site = &'static Location<'static>;
