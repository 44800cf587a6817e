//! [`ServiceOptions`]: how the service behaves.

use std::num::NonZero;
use std::time::Duration;

use http::HeaderValue;
use larder_core::session::SessionOptions;
use larder_core::{Error, Result};

/// How the service behaves. Start from `ServiceOptions::default()`.
///
/// ```
/// use std::time::Duration;
/// use larder::service::ServiceOptions;
///
/// let options = ServiceOptions::default().request_timeout(Duration::from_secs(5));
/// # let _ = options;
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ServiceOptions {
    pub(crate) body_bytes_max: usize,
    pub(crate) request_timeout: Duration,
    pub(crate) passwords_at_once: usize,
    pub(crate) origins: Vec<HeaderValue>,
    pub(crate) connections_max: usize,
    pub(crate) stop_timeout: Duration,
    pub(crate) metrics: bool,
    pub(crate) rate_limits: bool,
    pub(crate) live_readers_max: usize,
    pub(crate) sessions: SessionOptions,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            body_bytes_max: 1 << 20,
            request_timeout: Duration::from_secs(10),
            passwords_at_once: std::thread::available_parallelism().map_or(1, NonZero::get),
            origins: Vec::new(),
            connections_max: 1_024,
            stop_timeout: Duration::from_secs(10),
            metrics: true,
            rate_limits: true,
            live_readers_max: 256,
            sessions: SessionOptions::default()
                .idle(Duration::from_hours(7 * 24))
                .lifetime(Duration::from_hours(30 * 24))
                .touch_every(Duration::from_mins(10)),
        }
    }
}

impl ServiceOptions {
    /// The most bytes of a request's body; longer ones are answered 413. Default: 1 MiB.
    pub fn body_bytes_max(mut self, bytes: usize) -> Self {
        self.body_bytes_max = bytes;
        self
    }

    /// How long a request may take, its body included, until it is answered 503 and dropped.
    /// Default: 10 s.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// How many passwords are hashed at once, each for tens of milliseconds and with 19 MiB; 32
    /// times as many may wait, and more are answered 503. Default: the number of cores.
    pub fn passwords_at_once(mut self, count: usize) -> Self {
        self.passwords_at_once = count.max(1);
        self
    }

    /// The most connections at a time; others wait. Default: 1,024.
    pub fn connections_max(mut self, count: usize) -> Self {
        self.connections_max = count.max(1);
        self
    }

    /// How long requests in flight may go on when the service stops. Default: 10 s.
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.stop_timeout = timeout;
        self
    }

    /// Whether signing in, registering and writing have limits: ten sign-ins a minute with one email,
    /// 60 from one address, 30 registrations a minute from one, 120 writes a minute by one user, 60 at
    /// once. Default: yes.
    pub fn rate_limits(mut self, limit: bool) -> Self {
        self.rate_limits = limit;
        self
    }

    /// How many may read the live feed at a time; more are answered 503. Default: 256.
    pub fn live_readers_max(mut self, count: usize) -> Self {
        self.live_readers_max = count;
        self
    }

    /// How long a session lives without use. Default: 7 days; front ends keep their token, and have
    /// no way to renew it.
    pub fn session_idle(mut self, idle: Duration) -> Self {
        self.sessions = self.sessions.idle(idle);
        self
    }

    /// How long a session lives at most, used or not. Default: 30 days.
    pub fn session_lifetime(mut self, lifetime: Duration) -> Self {
        self.sessions = self.sessions.lifetime(lifetime);
        self
    }

    /// Whether `GET /metrics` shows what is counted. Default: yes; keep it from strangers by a
    /// proxy.
    pub fn metrics(mut self, show: bool) -> Self {
        self.metrics = show;
        self
    }

    /// The origins (`https://conduit.example`) whose pages may call the service. Default: none
    /// named, which lets all of them: the service has no cookies that a page could misuse.
    ///
    /// # Errors
    /// `Misuse` for a text that is no origin.
    pub fn origins(mut self, origins: impl IntoIterator<Item = String>) -> Result<Self> {
        self.origins = origins
            .into_iter()
            .map(|one| origin(&one))
            .collect::<Result<_>>()?;
        Ok(self)
    }
}

/// An origin as browsers send it: a scheme, a host and perhaps a port, nothing behind.
fn origin(text: &str) -> Result<HeaderValue> {
    let host = ["http://", "https://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let plain = host.is_some_and(|host| {
        !host.is_empty() && !host.contains(['/', '?', '#', '@', '*', ' ']) && host.is_ascii()
    });
    match HeaderValue::from_str(text) {
        Ok(value) if plain => Ok(value),
        _ => Err(
            Error::misuse("an origin is written as https://conduit.example, without a path")
                .with_value(text),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_have_no_path() {
        for good in ["https://conduit.example", "http://localhost:4100"] {
            assert!(origin(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "*",
            "conduit.example",
            "https://",
            "https://a.example/",
            "https://*.a.example",
        ] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }
}
