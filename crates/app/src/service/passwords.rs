//! [`Passwords`]: hashing and checking, which take tens of milliseconds of a core each, on threads
//! for blocking work, so many at a time and no more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use larder_core::models::PasswordHash;
use larder_core::{Error, ErrorKind, Result};
use tokio::sync::Semaphore;

/// How many may wait for each of those that work; more are refused.
const WAITING_EACH: usize = 32;
/// What unknown emails are checked against; even who gives it is not let in.
const NOBODYS: &str = "no one signs in with this password";

/// Hashes and checks passwords. Clones share the bounds.
#[derive(Clone, Debug)]
pub(crate) struct Passwords(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    working: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
    /// A hash that costs what others cost, for emails that nobody has.
    nobodys: PasswordHash,
}

impl Passwords {
    /// For so many at a time.
    ///
    /// # Errors
    /// `Engine` if the system has no randomness or memory to give.
    pub(crate) async fn new(at_once: usize) -> Result<Self> {
        let at_once = at_once.max(1);
        let nobodys = blocking(|| PasswordHash::new(NOBODYS)).await?;
        Ok(Self(Arc::new(Shared {
            working: Arc::new(Semaphore::new(at_once)),
            waiting: AtomicUsize::new(0),
            waiting_max: at_once * WAITING_EACH,
            nobodys,
        })))
    }

    /// Runs work that hashes.
    ///
    /// # Errors
    /// `Busy` if too many wait already; what the work answers.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let place = Place::take(&self.0)?;
        let working = Arc::clone(&self.0.working).acquire_owned().await;
        let working =
            working.map_err(|_| Error::new(ErrorKind::Closed, "the service has ended"))?;
        drop(place);
        blocking(move || {
            // held until the work is done, even if nobody waits for it any more
            let _working = working;
            work()
        })
        .await
    }

    /// Whether this is the password behind the hash; never, if there is none, which takes as long.
    pub(crate) async fn verify(
        &self,
        hash: Option<PasswordHash>,
        password: String,
    ) -> Result<bool> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.0.nobodys.clone());
        let same = self.run(move || hash.verify(&password)).await?;
        Ok(same && known)
    }
}

/// A place among those that wait, given back when it is dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(shared: &'a Shared) -> Result<Self> {
        let place = Self(&shared.waiting);
        if shared.waiting.fetch_add(1, Ordering::Relaxed) < shared.waiting_max {
            return Ok(place);
        }
        Err(Error::new(
            ErrorKind::Busy,
            "too many passwords wait to be checked: try again",
        ))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
        Err(Error::new(
            ErrorKind::Engine,
            "hashing did not come to an end",
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_has_no_password_has_not_the_one_of_nobody() -> Result<()> {
        let passwords = Passwords::new(1).await?;
        assert!(!passwords.verify(None, NOBODYS.to_owned()).await?);
        let hash = passwords.run(|| PasswordHash::new("correct horse")).await?;
        let right = passwords.verify(Some(hash.clone()), "correct horse".to_owned());
        assert!(right.await?);
        assert!(
            !passwords
                .verify(Some(hash), "wrong horse".to_owned())
                .await?
        );
        Ok(())
    }

    #[tokio::test]
    async fn too_many_are_refused_at_once() -> Result<()> {
        let passwords = Passwords::new(1).await?;
        let held = Arc::clone(&passwords.0.working).acquire_owned().await;
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..WAITING_EACH {
            let passwords = passwords.clone();
            waiting.spawn(async move { passwords.run(|| Ok(())).await });
        }
        tokio::task::yield_now().await;
        assert!(passwords.run(|| Ok(())).await.is_err_and(|e| e.is_busy()));
        drop(held);
        while let Some(done) = waiting.join_next().await {
            done.expect("it does not panic")?;
        }
        passwords.run(|| Ok(())).await
    }
}
