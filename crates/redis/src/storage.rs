//! [`Redis`]: the handle.

use larder_core::Result;

use crate::client::Client;
use crate::options::RedisOptions;

/// A namespace of a Redis server. Cheap to clone; needs a tokio runtime with time enabled.
///
/// ```no_run
/// use larder_redis::Redis;
///
/// # async fn open() -> larder_redis::Result<()> {
/// let redis = Redis::connect("redis://localhost:6379?namespace=shop").await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Redis {
    client: Client,
}

impl Redis {
    /// Connects to the server at a URL, with the default options; see [`RedisOptions::new`].
    ///
    /// # Errors
    /// `Misuse` for a URL that cannot be read; `Unavailable` if nobody answers there within five
    /// seconds, or refuses the user or the password.
    pub async fn connect(url: &str) -> Result<Self> {
        Self::connect_with(RedisOptions::new(url)?).await
    }

    /// [`connect`](Self::connect) with options.
    pub async fn connect_with(options: RedisOptions) -> Result<Self> {
        Ok(Self {
            client: Client::connect(options).await?,
        })
    }

    /// The connections, for what shares them: caches, sessions, rate limits, feeds.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Refuses new work and closes the connections. Twice is fine.
    pub async fn close(&self) {
        self.client.close().await;
    }
}
