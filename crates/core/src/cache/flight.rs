//! [`Flights`]: of the tasks that miss the same key at the same time, one loads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::envelope::Opened;
use super::store::Token;

/// The keys that are being loaded in this process. Bounded by the number of tasks that wait.
#[derive(Debug, Default)]
pub(super) struct Flights {
    flights: Mutex<HashMap<Arc<str>, Arc<Flight>>>,
}

/// One key that is being loaded. Its tasks take turns: the one whose turn it is loads, and if it
/// fails, panics or is dropped, the next one's turn comes; once there is a result, they all take it.
#[derive(Debug)]
pub(super) struct Flight {
    /// Who the store knows as the holder of the lease, whichever task that is.
    pub(super) token: Token,
    /// Fair: first come, first served.
    turn: tokio::sync::Mutex<()>,
    result: OnceLock<Opened>,
}

/// A task's part in a flight.
#[derive(Debug)]
pub(super) struct Seat<'a> {
    flights: &'a Flights,
    key: Arc<str>,
    flight: Arc<Flight>,
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Flight>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the flight of a key, or begins one.
    pub(super) fn join(&self, key: &Arc<str>) -> crate::Result<Seat<'_>> {
        let token = Token::random()?;
        let flight = Arc::clone(self.lock().entry(Arc::clone(key)).or_insert_with(|| {
            Arc::new(Flight {
                token,
                turn: tokio::sync::Mutex::default(),
                result: OnceLock::new(),
            })
        }));
        Ok(Seat {
            flights: self,
            key: Arc::clone(key),
            flight,
        })
    }

    /// Lets nobody join the flight of a key any more: who comes from now on must not see what it
    /// loads.
    pub(super) fn detach(&self, key: &str) {
        self.lock().remove(key);
    }

    /// The same for all keys.
    pub(super) fn detach_all(&self) {
        self.lock().clear();
    }
}

impl Seat<'_> {
    pub(super) fn token(&self) -> Token {
        self.flight.token
    }

    /// Waits for this task's turn. Held as long as it loads: what others wait for is just that.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.flight.turn.lock().await
    }

    /// This task's turn, if nobody else loads.
    pub(super) fn try_turn(&self) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        self.flight.turn.try_lock().ok()
    }

    /// What was loaded.
    pub(super) fn result(&self) -> Option<&Opened> {
        self.flight.result.get()
    }

    /// Shares what was loaded with those who wait.
    pub(super) fn land(&self, result: Opened) {
        // Whoever lands first has the same.
        let _ = self.flight.result.set(result);
    }

    /// Whether this is the last seat of a flight without a result: nobody will load any more.
    pub(super) fn is_last(&self) -> bool {
        let flights = self.flights.lock();
        let listed = flights
            .get(&self.key)
            .is_some_and(|listed| Arc::ptr_eq(listed, &self.flight));
        Arc::strong_count(&self.flight) <= 1 + usize::from(listed)
    }
}

impl Drop for Seat<'_> {
    /// The last one to leave, or one who leaves a result, ends the flight: who comes later looks
    /// for themselves.
    fn drop(&mut self) {
        let mut flights = self.flights.lock();
        let Some(listed) = flights.get(&self.key) else {
            return;
        };
        let last = Arc::strong_count(&self.flight) <= 2;
        if Arc::ptr_eq(listed, &self.flight) && (last || self.flight.result.get().is_some()) {
            flights.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Arc<str> {
        text.into()
    }

    #[test]
    fn a_flight_ends_with_its_last_seat() -> crate::Result<()> {
        let flights = Flights::default();
        let one = flights.join(&key("k"))?;
        let other = flights.join(&key("k"))?;
        assert_eq!(one.token(), other.token());
        assert!(!one.is_last());
        drop(one);
        assert!(other.is_last());
        drop(other);
        assert!(flights.lock().is_empty());
        Ok(())
    }

    #[test]
    fn nobody_joins_a_detached_flight() -> crate::Result<()> {
        let flights = Flights::default();
        let before = flights.join(&key("k"))?;
        flights.detach("k");
        let after = flights.join(&key("k"))?;
        assert_ne!(before.token(), after.token());
        drop(before);
        assert_eq!(flights.lock().len(), 1, "the new flight stays");
        Ok(())
    }
}
