//! [`SessionOptions`]: how long sessions live, and how much they hold.

use std::time::Duration;

use super::Touch;

/// How long sessions live, and how much they hold. Start from `SessionOptions::default()`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionOptions {
    /// See [`idle`](Self::idle).
    pub idle: Duration,
    /// See [`lifetime`](Self::lifetime).
    pub lifetime: Duration,
    /// See [`touch_every`](Self::touch_every).
    pub touch_every: Duration,
    /// See [`data_bytes_max`](Self::data_bytes_max).
    pub data_bytes_max: usize,
}

/// OWASP's advice for applications of ordinary risk: 15 to 30 minutes idle, 4 to 8 hours in all.
impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            idle: Duration::from_mins(30),
            lifetime: Duration::from_hours(8),
            touch_every: Duration::from_mins(1),
            data_bytes_max: 64 * 1024,
        }
    }
}

impl SessionOptions {
    /// How long a session lives without use. Default: 30 minutes; never more than its
    /// [`lifetime`](Self::lifetime).
    #[must_use]
    pub fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// How long a session lives at most, used or not. Default: 8 hours.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// How often a session in use is written to put its idle expiry off; it may expire earlier by
    /// as much. Default: one minute; never more than half of [`idle`](Self::idle).
    #[must_use]
    pub fn touch_every(mut self, every: Duration) -> Self {
        self.touch_every = every;
        self
    }

    /// How many bytes of JSON a session's data may be. Default: 64 KiB.
    #[must_use]
    pub fn data_bytes_max(mut self, bytes: usize) -> Self {
        self.data_bytes_max = bytes;
        self
    }

    pub(super) fn touch(&self) -> Touch {
        let idle = self.idle.min(self.lifetime);
        Touch {
            idle,
            every: self.touch_every.min(idle / 2),
        }
    }
}
