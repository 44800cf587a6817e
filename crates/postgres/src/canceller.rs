//! Stops statements of other connections.
//!
//! PostgreSQL's own request to cancel goes by a connection of its own and is not answered: it may
//! take effect after the statement it was meant for has ended, and hit the next one. A signal that
//! the server has answered for has arrived before anything that is sent afterwards. So statements
//! are stopped by `pg_cancel_backend`, on a connection that is opened when first needed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::dial::dial;
use crate::options::PostgresOptions;
use crate::tls::Tls;

/// How long it may take to stop a statement.
const CANCEL_MAX: Duration = Duration::from_secs(2);

const WHO_AM_I: &str = "SELECT pid, (extract(epoch FROM backend_start) * 1000000)::bigint \
                        FROM pg_stat_activity WHERE pid = pg_backend_pid()";
/// The start tells apart processes of one number, of several servers too.
const CANCEL: &str = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = $1 \
                      AND (extract(epoch FROM backend_start) * 1000000)::bigint = $2";

/// A server's process behind a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backend {
    pid: i32,
    started: i64,
}

impl Backend {
    /// That of this connection. Takes a round trip.
    pub(crate) async fn of(client: &Client) -> Result<Self, tokio_postgres::Error> {
        let row = client.query_typed_one(WHO_AM_I, &[]).await?;
        Ok(Self {
            pid: row.try_get(0)?,
            started: row.try_get(1)?,
        })
    }
}

/// What stops statements.
pub(crate) struct Canceller {
    options: Arc<PostgresOptions>,
    tls: Tls,
    client: Mutex<Option<Client>>,
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller").finish_non_exhaustive()
    }
}

impl Canceller {
    pub(crate) fn new(options: Arc<PostgresOptions>, tls: Tls) -> Self {
        Self {
            options,
            tls,
            client: Mutex::new(None),
        }
    }

    /// Stops what the process runs, if it runs something. What is sent to it after this has
    /// answered true is not affected.
    pub(crate) async fn cancel(&self, backend: Backend) -> bool {
        match timeout(CANCEL_MAX, self.try_cancel(backend)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a statement could not be cancelled");
                false
            }
            Err(_) => {
                tracing::debug!("the server did not cancel a statement in time");
                false
            }
        }
    }

    /// False if there is no such process: it has ended, or is another server's.
    async fn try_cancel(&self, backend: Backend) -> Result<bool, tokio_postgres::Error> {
        let mut kept = self.client.lock().await;
        // Taken out, so that one whose answer is not waited for is not used again.
        let client = match kept.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => self.connect().await?,
        };
        let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
            [(&backend.pid, Type::INT4), (&backend.started, Type::INT8)];
        let found = !client.query_typed(CANCEL, &parameters).await?.is_empty();
        if found {
            // Of several servers, the right one.
            *kept = Some(client);
        }
        Ok(found)
    }

    async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        let (client, _) = dial(&self.options.to_config(), &self.tls).await?;
        Ok(client)
    }

    /// Closes its connection.
    pub(crate) async fn close(&self) {
        self.client.lock().await.take();
    }
}
