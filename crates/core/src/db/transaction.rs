//! Transactions: [`Tx`], and the unit of work that is run again when it loses a conflict.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::{Control, Db, Site};
use crate::error::{Error, ErrorKind, Result};
use crate::rows::BoxFuture;
use crate::storage::{Storage, Transaction, TxOptions};

/// The longest pause before a unit of work is run again.
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// An open transaction; a [`Db`] whose work is permanent only once it commits.
///
/// Cheap to clone, so that it can move into the closure of [`Db::transaction`]. When the last
/// clone is dropped without a commit, everything is rolled back. After the end every call
/// answers `Closed`.
#[derive(Clone)]
pub struct Tx {
    db: Db,
    transaction: Arc<dyn Transaction>,
    effects: Arc<Effects>,
    outer: Option<Weak<Effects>>,
}

impl fmt::Debug for Tx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tx").field(&self.transaction).finish()
    }
}

impl Deref for Tx {
    type Target = Db;

    fn deref(&self) -> &Db {
        &self.db
    }
}

/// What is to happen once a transaction has committed; `None` once it has ended.
pub(super) struct Effects(Mutex<Option<Vec<BoxFuture<'static, ()>>>>);

impl Default for Effects {
    fn default() -> Self {
        Self(Mutex::new(Some(Vec::new())))
    }
}

impl Effects {
    /// Takes the effects; no more are accepted.
    fn take(&self) -> Vec<BoxFuture<'static, ()>> {
        let mut effects = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        effects.take().unwrap_or_default()
    }

    /// Adds effects; false if the transaction has ended.
    fn extend(&self, more: Vec<BoxFuture<'static, ()>>) -> bool {
        let mut effects = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match effects.as_mut() {
            Some(effects) => {
                effects.extend(more);
                true
            }
            None => false,
        }
    }
}

/// Runs the effects one after the other in a task of their own, so that none is lost when the
/// caller goes away or another one panics.
async fn run(effects: Vec<BoxFuture<'static, ()>>) {
    if effects.is_empty() {
        return;
    }
    let all = tokio::spawn(async move {
        for effect in effects {
            if let Err(error) = tokio::spawn(effect).await {
                tracing::error!(target: "larder::transaction", %error, "an effect after a commit failed");
            }
        }
    });
    // It fails only when the runtime shuts down.
    let _ = all.await;
}

/// An error type a unit of work may fail with: it says whether running it again can help.
///
/// Implemented for [`Error`] and for boxed errors, in which Larder's is looked for along the
/// chain of sources.
pub trait Failure: From<Error> + Send {
    /// Whether the unit lost against concurrent work.
    fn is_conflict(&self) -> bool;
}

impl Failure for Error {
    fn is_conflict(&self) -> bool {
        Self::is_conflict(self)
    }
}

impl Failure for Box<dyn StdError + Send + Sync> {
    fn is_conflict(&self) -> bool {
        let mut next: Option<&(dyn StdError + 'static)> = Some(self.as_ref());
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<Error>() {
                return error.is_conflict();
            }
            next = error.source();
        }
        false
    }
}

impl Db {
    /// Begins a transaction to be ended by hand; on a [`Tx`], a nested one.
    ///
    /// # Errors
    /// `Unsupported` if the isolation cannot be had; `Timeout` or `Busy` if it cannot begin in
    /// time.
    #[track_caller]
    pub fn begin(&self, options: TxOptions) -> impl Future<Output = Result<Tx>> + Send + '_ {
        self.begin_tx(options, Location::caller())
    }

    pub(super) async fn begin_tx(&self, options: TxOptions, site: Site) -> Result<Tx> {
        let read_only = options.read_only || self.read_only;
        let transaction = self.begin_at(options, site).await?;
        let transaction: Arc<dyn Transaction> = Arc::from(transaction);
        let storage: Arc<dyn Storage> = Arc::clone(&transaction) as _;
        let effects = Arc::new(Effects::default());
        let db = Self {
            storage,
            settings: Arc::clone(&self.settings),
            effects: Some(Arc::downgrade(&effects)),
            read_only,
        };
        Ok(Tx {
            db,
            transaction,
            effects,
            outer: self.effects.clone(),
        })
    }

    /// Runs this once the outermost transaction has committed, and only then: sending a mail,
    /// invalidating a cache. On a handle outside of transactions it runs at once, in a task of its
    /// own, so that a function that takes `&Db` need not know. Not run if the process dies in
    /// between.
    ///
    /// The effect must not hold a clone of the [`Tx`]: they would keep each other alive, and the
    /// transaction open. It has ended by then anyway; use a handle from outside.
    ///
    /// # Errors
    /// `Closed` if the transaction has ended.
    pub fn after_commit(&self, effect: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        let Some(effects) = &self.effects else {
            tokio::spawn(effect);
            return Ok(());
        };
        match effects.upgrade() {
            Some(effects) if effects.extend(vec![Box::pin(effect)]) => Ok(()),
            _ => Err(Error::new(
                ErrorKind::Closed,
                "the transaction has ended: what should follow its commit comes too late",
            )),
        }
    }

    /// Runs a unit of work in a transaction: committed if it returns `Ok`, rolled back if it
    /// returns `Err` or its future is dropped, run again from the start, after a short random
    /// pause, if it lost against concurrent work ([`DbOptions::attempts`](super::DbOptions::attempts)).
    ///
    /// Inside use the handle you are given: the outer one would wait for itself. Because the
    /// unit may run several times, leave effects on the outside world to
    /// [`after_commit`](Self::after_commit).
    ///
    /// ```
    /// # use larder_core::{Db, Memory, models::{NewUser, User}};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let db = Db::new(Memory::new());
    /// let ada = db
    ///     .transaction(|tx| async move {
    ///         tx.insert(NewUser::without_password("ada@example.com", "Ada")?).await
    ///     })
    ///     .await?;
    /// assert_eq!(db.query::<User>().count().await?, 1);
    /// # let _ = ada; Ok(()) }
    /// ```
    #[track_caller]
    pub fn transaction<T, X, F, Fut>(&self, work: F) -> impl Future<Output = Result<T, X>>
    where
        F: Fn(Tx) -> Fut + Send,
        Fut: Future<Output = Result<T, X>> + Send,
        T: Send,
        X: Failure,
    {
        self.unit_of_work(TxOptions::default(), work, Location::caller())
    }

    /// [`transaction`](Self::transaction) with options.
    #[track_caller]
    pub fn transaction_with<T, X, F, Fut>(
        &self,
        options: TxOptions,
        work: F,
    ) -> impl Future<Output = Result<T, X>>
    where
        F: Fn(Tx) -> Fut + Send,
        Fut: Future<Output = Result<T, X>> + Send,
        T: Send,
        X: Failure,
    {
        self.unit_of_work(options, work, Location::caller())
    }

    async fn unit_of_work<T, X, F, Fut>(
        &self,
        options: TxOptions,
        work: F,
        site: Site,
    ) -> Result<T, X>
    where
        F: Fn(Tx) -> Fut + Send,
        Fut: Future<Output = Result<T, X>> + Send,
        T: Send,
        X: Failure,
    {
        // A nested unit cannot win a conflict by itself: the outermost one runs again.
        let attempts = if self.effects.is_some() {
            1
        } else {
            self.settings.attempts
        };
        let mut attempt = 1;
        loop {
            match self.attempt(options, &work, site).await {
                Err(error) if error.is_conflict() && attempt < attempts => {
                    tracing::debug!(target: "larder::transaction", attempt, "conflict: running again");
                    tokio::time::sleep(pause(attempt)).await;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn attempt<T, X, F, Fut>(&self, options: TxOptions, work: &F, site: Site) -> Result<T, X>
    where
        F: Fn(Tx) -> Fut + Send,
        Fut: Future<Output = Result<T, X>> + Send,
        X: Failure,
    {
        let tx = self.begin_tx(options, site).await?;
        match work(tx.clone()).await {
            Ok(value) => {
                tx.commit_at(site).await?;
                Ok(value)
            }
            Err(error) => {
                // The unit's error says more than a failing rollback, which dropping repeats.
                let _ = tx.rollback_at(site).await;
                Err(error)
            }
        }
    }
}

impl Tx {
    /// Makes the work permanent and then runs the effects, in the order they were added. They run
    /// to their end even if this future is dropped after the commit.
    ///
    /// # Errors
    /// `Conflict` if it lost against concurrent work, `Unknown` if the answer was lost or did not
    /// come by the deadline. No effect runs then.
    #[track_caller]
    pub fn commit(self) -> impl Future<Output = Result<()>> + Send {
        self.commit_at(Location::caller())
    }

    pub(super) async fn commit_at(self, site: Site) -> Result<()> {
        let commit = self.transaction.commit();
        self.db.control(Control::Commit, site, commit).await?;
        let effects = self.effects.take();
        match &self.outer {
            // An outer transaction that has ended took this one's work with it.
            Some(outer) => {
                if let Some(outer) = outer.upgrade() {
                    outer.extend(effects);
                }
            }
            None => run(effects).await,
        }
        Ok(())
    }

    /// Undoes the work; the effects are dropped.
    ///
    /// # Errors
    /// `Timeout` if the store does not answer by the deadline; the work is undone all the same.
    #[track_caller]
    pub fn rollback(self) -> impl Future<Output = Result<()>> + Send {
        self.rollback_at(Location::caller())
    }

    pub(super) async fn rollback_at(self, site: Site) -> Result<()> {
        self.effects.take();
        let rollback = self.transaction.rollback();
        self.db.control(Control::Rollback, site, rollback).await
    }
}

/// A pause that grows with the attempts and differs between competitors.
fn pause(attempt: u32) -> Duration {
    let most = Duration::from_millis(1 << attempt.min(10)).min(PAUSE_MAX);
    let noise = uuid::Uuid::new_v4().as_u128() as u32;
    most.mul_f64(f64::from(noise) / f64::from(u32::MAX))
}
