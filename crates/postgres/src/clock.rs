//! [`ServerClock`]: the server's time, without asking each time.

use std::time::{Duration, Instant};

use larder_core::{Clock, Db, Result, Timestamp};

use crate::storage::Postgres;

/// The server's time when it was asked, and what has passed since: the same for all processes that
/// use the server, to within the way there and back, however wrong or unsteady their own clocks are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerClock {
    told: Timestamp,
    at: Instant,
}

impl ServerClock {
    /// Asks the server, once.
    pub(crate) async fn measure(postgres: &Postgres) -> Result<Self> {
        let db = Db::new(postgres.clone());
        let asked = Instant::now();
        let told = db.sql("SELECT clock_timestamp()").one::<(Timestamp,)>();
        let (told,) = told.await?;
        // It was told on the way, about in the middle.
        Ok(Self {
            told,
            at: asked + asked.elapsed() / 2,
        })
    }
}

impl Clock for ServerClock {
    fn now(&self) -> Timestamp {
        let passed: Duration = self.at.elapsed();
        self.told.saturating_add(passed)
    }
}
