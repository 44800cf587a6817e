//! The migrating session: its lock, and settings that no file can change for the next one.

use std::time::Duration;

use larder_core::{Error, Result};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::failure::engine_error;
use super::lock;

/// A session that has the migration lock.
///
/// Its statements may take any time, but wait for the locks of others for a while only: whoever
/// comes after a waiting one waits too. Files see the `search_path` that the session came with.
pub(super) struct Session<'a> {
    pub(super) client: &'a Client,
    before: Settings,
    lock_wait: Duration,
}

/// What is changed while migrating.
struct Settings {
    search_path: String,
    lock_timeout: String,
    statement_timeout: String,
}

impl<'a> Session<'a> {
    /// The settings that are this session's own.
    pub(super) const SETTINGS: [&'static str; 3] =
        ["search_path", "lock_timeout", "statement_timeout"];

    /// Waits for the migration lock at most so long. `lock_wait` is how long a statement waits for
    /// the locks of others.
    pub(super) async fn begin(
        client: &'a Client,
        timeout: Duration,
        lock_wait: Duration,
    ) -> Result<Self> {
        let before = Settings::read(client).await?;
        lock::acquire(client, timeout).await?;
        Ok(Self {
            client,
            before,
            lock_wait,
        })
    }

    /// Gives back the lock and the settings. A failure is no error: then the session is gone, and
    /// both with it.
    pub(super) async fn end(self) {
        if let Err(error) = self.before.apply(self.client).await {
            tracing::warn!(%error, "the settings are gone with their connection");
        }
        lock::release(self.client).await;
    }

    /// Sets what a file may rely on, or its next statement.
    pub(super) async fn prepare(&self) -> Result<()> {
        self.apply(self.lock_wait).await
    }

    /// The same for a statement that may wait, because nobody waits for it.
    pub(super) async fn prepare_patient(&self) -> Result<()> {
        self.apply(Duration::ZERO).await
    }

    async fn apply(&self, lock_wait: Duration) -> Result<()> {
        let settings = Settings {
            search_path: self.before.search_path.clone(),
            lock_timeout: format!("{}ms", lock_wait.as_millis()),
            statement_timeout: "0".to_owned(),
        };
        settings.apply(self.client).await
    }
}

impl Settings {
    async fn read(client: &Client) -> Result<Self> {
        let sql = "SELECT
              current_setting('search_path'),
              current_setting('lock_timeout'),
              current_setting('statement_timeout')";
        let row = client.query_typed_one(sql, &[]).await.map_err(unset)?;
        Ok(Self {
            search_path: row.try_get(0).map_err(unset)?,
            lock_timeout: row.try_get(1).map_err(unset)?,
            statement_timeout: row.try_get(2).map_err(unset)?,
        })
    }

    async fn apply(&self, client: &Client) -> Result<()> {
        let sql = "SELECT
              set_config('search_path', $1, false),
              set_config('lock_timeout', $2, false),
              set_config('statement_timeout', $3, false)";
        let [path, lock, statement] = [
            &self.search_path,
            &self.lock_timeout,
            &self.statement_timeout,
        ];
        let set = client
            .query_typed(
                sql,
                &[
                    (path, Type::TEXT),
                    (lock, Type::TEXT),
                    (statement, Type::TEXT),
                ],
            )
            .await;
        set.map(drop).map_err(unset)
    }
}

fn unset(error: tokio_postgres::Error) -> Error {
    engine_error("the session's settings cannot be read or set", error)
}
