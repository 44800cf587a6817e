//! [`Settings`]: what can be set about the service, by flag, environment or file.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use larder::service::ServiceOptions;
use serde::Deserialize;

use crate::cli::failure::{Failure, Outcome};

/// What is set; the rest is as it is by default. The names of the file are those of the flags.
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(super) struct Settings {
    /// The database [default: sqlite://larder.db]
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    pub(super) database_url: Option<String>,
    /// Where to listen; port 0 finds a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS", env = "LARDER_LISTEN")]
    pub(super) listen: Option<String>,
    /// How long a request may take, such as 5s or 500ms [default: 10s]
    #[arg(long, value_name = "TIME", env = "LARDER_REQUEST_TIMEOUT")]
    request_timeout: Option<Span>,
    /// How long requests in flight may go on once it stops [default: 10s]
    #[arg(long, value_name = "TIME", env = "LARDER_STOP_TIMEOUT")]
    stop_timeout: Option<Span>,
    /// The most bytes of a request's body [default: 1048576]
    #[arg(long, value_name = "BYTES", env = "LARDER_BODY_BYTES_MAX")]
    body_bytes_max: Option<usize>,
    /// The most connections at a time; others wait [default: 1024]
    #[arg(long, value_name = "COUNT", env = "LARDER_CONNECTIONS_MAX")]
    connections_max: Option<usize>,
    /// How many passwords are hashed at once, with 19 MiB each [default: the number of cores]
    #[arg(long, value_name = "COUNT", env = "LARDER_PASSWORDS_AT_ONCE")]
    passwords_at_once: Option<usize>,
    /// How long a session lives without use [default: 7d]
    #[arg(long, value_name = "TIME", env = "LARDER_SESSION_IDLE")]
    session_idle: Option<Span>,
    /// How long a session lives at most [default: 30d]
    #[arg(long, value_name = "TIME", env = "LARDER_SESSION_LIFETIME")]
    session_lifetime: Option<Span>,
    /// Whose pages may call it, such as https://conduit.example [default: everybody's]
    #[arg(
        long,
        value_name = "ORIGIN,..",
        env = "LARDER_ORIGINS",
        value_delimiter = ','
    )]
    origins: Option<Vec<String>>,
    /// Whether signing in, registering and writing are limited [default: true]
    #[arg(long, value_name = "BOOL", env = "LARDER_RATE_LIMITS")]
    rate_limits: Option<bool>,
    /// Whether /metrics is there [default: true]
    #[arg(long, value_name = "BOOL", env = "LARDER_METRICS")]
    metrics: Option<bool>,
}

impl Settings {
    /// Reads a file.
    pub(super) fn read(file: &Path) -> Outcome<Self> {
        let name = file.display();
        let text = std::fs::read_to_string(file).map_err(|cause| {
            Failure::operation(format!("the settings in `{name}` cannot be read")).because(cause)
        })?;
        toml::from_str(&text).map_err(|error| {
            Failure::usage(format!("the settings in `{name}` make no sense"))
                .detail(error.to_string())
                .advice("the names are those of the flags, as in `request-timeout = \"5s\"`")
        })
    }

    /// These, and of the others what is not set here.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            database_url: self.database_url.or(other.database_url),
            listen: self.listen.or(other.listen),
            request_timeout: self.request_timeout.or(other.request_timeout),
            stop_timeout: self.stop_timeout.or(other.stop_timeout),
            body_bytes_max: self.body_bytes_max.or(other.body_bytes_max),
            connections_max: self.connections_max.or(other.connections_max),
            passwords_at_once: self.passwords_at_once.or(other.passwords_at_once),
            session_idle: self.session_idle.or(other.session_idle),
            session_lifetime: self.session_lifetime.or(other.session_lifetime),
            origins: self.origins.or(other.origins),
            rate_limits: self.rate_limits.or(other.rate_limits),
            metrics: self.metrics.or(other.metrics),
        }
    }

    /// As the service takes them.
    pub(super) fn options(&self) -> Outcome<ServiceOptions> {
        let mut options = ServiceOptions::default();
        if let Some(Span(timeout)) = self.request_timeout {
            options = options.request_timeout(timeout);
        }
        if let Some(Span(timeout)) = self.stop_timeout {
            options = options.stop_timeout(timeout);
        }
        if let Some(bytes) = self.body_bytes_max {
            options = options.body_bytes_max(bytes);
        }
        if let Some(count) = self.connections_max {
            options = options.connections_max(count);
        }
        if let Some(count) = self.passwords_at_once {
            options = options.passwords_at_once(count);
        }
        if let Some(Span(idle)) = self.session_idle {
            options = options.session_idle(idle);
        }
        if let Some(Span(lifetime)) = self.session_lifetime {
            options = options.session_lifetime(lifetime);
        }
        if let Some(limit) = self.rate_limits {
            options = options.rate_limits(limit);
        }
        if let Some(show) = self.metrics {
            options = options.metrics(show);
        }
        if let Some(origins) = &self.origins {
            options = options
                .origins(origins.clone())
                .map_err(Failure::usage_of)?;
        }
        Ok(options)
    }
}

/// A length of time: `500ms`, `5s`, `2h 30m`, `14d`.
#[derive(Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(try_from = "String")]
pub(super) struct Span(pub(super) Duration);

/// Why a text is no length of time.
#[derive(Debug)]
pub(super) struct NoSpan;

impl fmt::Display for NoSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a length of time is a number and a unit, such as 500ms, 5s, 30m or 14d")
    }
}

impl std::error::Error for NoSpan {}

impl FromStr for Span {
    type Err = NoSpan;

    fn from_str(text: &str) -> Result<Self, NoSpan> {
        const UNITS: [(&str, u64); 5] = [
            ("ms", 1),
            ("s", 1_000),
            ("m", 60_000),
            ("h", 3_600_000),
            ("d", 86_400_000),
        ];
        let mut millis = 0_u64;
        let mut parts = 0;
        for part in text.split_whitespace() {
            let digits = part.find(|c: char| !c.is_ascii_digit()).ok_or(NoSpan)?;
            let (number, unit) = part.split_at(digits);
            let unit = UNITS.iter().find(|(name, _)| *name == unit).ok_or(NoSpan)?;
            let number: u64 = number.parse().map_err(|_| NoSpan)?;
            let part = number.checked_mul(unit.1).ok_or(NoSpan)?;
            millis = millis.checked_add(part).ok_or(NoSpan)?;
            parts += 1;
        }
        if parts == 0 {
            return Err(NoSpan);
        }
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl TryFrom<String> for Span {
    type Error = NoSpan;

    fn try_from(text: String) -> Result<Self, NoSpan> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, millis) in [
            ("500ms", 500),
            ("5s", 5_000),
            ("2h 30m", 9_000_000),
            ("1d", 86_400_000),
        ] {
            let span: Span = text.parse().expect(text);
            assert_eq!(span.0, Duration::from_millis(millis));
        }
        for bad in [
            "",
            "5",
            "s",
            "5 s",
            "-5s",
            "1y",
            "99999999999999999999s",
            "9999999999999999999d",
        ] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_comes_first_wins() {
        let flags: Settings = toml::from_str("listen = 'a'").expect("TOML");
        let file = "listen = 'b'\nmetrics = false\nrequest-timeout = '5s'\norigins = ['x']";
        let file: Settings = toml::from_str(file).expect("TOML");
        let both = flags.or(file);
        assert_eq!(both.listen.as_deref(), Some("a"));
        assert_eq!(both.metrics, Some(false));
        assert_eq!(both.request_timeout, Some(Span(Duration::from_secs(5))));
        assert!(toml::from_str::<Settings>("listne = 'a'").is_err());
        assert!(toml::from_str::<Settings>("request-timeout = 5").is_err());
    }
}
