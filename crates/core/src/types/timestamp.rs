//! [`Timestamp`]: an instant to the microsecond, on top of jiff.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ColumnType, mismatch};
use crate::error::{Error, Result};
use crate::value::{Kind, Value, ValueRef};

/// An instant in UTC, to the microsecond: what every engine can keep without loss.
///
/// Ranges over the years -9999 to 9999, like [`jiff::Timestamp`]. `Display`, `FromStr` and serde
/// speak RFC 3339. `now()` and [`truncated`](Self::truncated) drop the nanoseconds; the
/// conversion from [`jiff::Timestamp`] refuses to.
///
/// ```
/// use larder_core::Timestamp;
///
/// let at: Timestamp = "2024-05-06T07:08:09.123456Z".parse()?;
/// assert_eq!(at.to_string(), "2024-05-06T07:08:09.123456Z");
/// assert!("2024-05-06T07:08:09.1234567Z".parse::<Timestamp>().is_err());
/// # Ok::<(), larder_core::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const UNIX_EPOCH: Self = Self(0);

    /// The system's time, without its nanoseconds.
    pub fn now() -> Self {
        Self::truncated(jiff::Timestamp::now())
    }

    /// The instant without its nanoseconds (rounded toward the epoch).
    pub fn truncated(at: jiff::Timestamp) -> Self {
        Self(at.as_microsecond())
    }

    /// The instant this many microseconds after the epoch. An error beyond the supported years.
    pub fn from_micros(micros: i64) -> Result<Self> {
        match whole(micros) {
            Some(_) => Ok(Self(micros)),
            None => Err(Error::invalid(
                "the timestamp is outside the years -9999 to 9999 that Larder keeps",
            )
            .with_value(micros)),
        }
    }

    /// Microseconds since the epoch; what SQLite stores.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// The same instant in jiff, for arithmetic, time zones and formatting.
    pub fn to_jiff(self) -> jiff::Timestamp {
        whole(self.0).expect("checked when the value was made")
    }

    /// The instant this much later, at most the last one representable.
    pub fn saturating_add(self, by: Duration) -> Self {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        Self(
            self.0
                .saturating_add(micros)
                .min(jiff::Timestamp::MAX.as_microsecond()),
        )
    }

    /// The instant this much earlier, at least the first one representable.
    pub fn saturating_sub(self, by: Duration) -> Self {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        Self(
            self.0
                .saturating_sub(micros)
                .max(jiff::Timestamp::MIN.as_microsecond()),
        )
    }
}

/// The instant in jiff. `Timestamp::from_microsecond` of jiff 0.2.46 refuses the last second it
/// could hold, so this goes by seconds and nanoseconds.
#[inline]
fn whole(micros: i64) -> Option<jiff::Timestamp> {
    let nanos = (micros % 1_000_000 * 1_000) as i32; // of the same sign, below a second
    jiff::Timestamp::new(micros / 1_000_000, nanos).ok()
}

impl TryFrom<jiff::Timestamp> for Timestamp {
    type Error = Error;

    fn try_from(at: jiff::Timestamp) -> Result<Self> {
        if at.subsec_nanosecond() % 1_000 == 0 {
            return Ok(Self::truncated(at));
        }
        Err(Error::invalid(
            "the timestamp is finer than a microsecond, which would be lost; \
             use Timestamp::truncated to drop the rest",
        )
        .with_value(at))
    }
}

impl From<Timestamp> for jiff::Timestamp {
    fn from(at: Timestamp) -> Self {
        at.to_jiff()
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.parse::<jiff::Timestamp>()
            .map_err(|source| {
                Error::invalid("not a timestamp such as 2024-05-06T07:08:09Z")
                    .with_value(text)
                    .with_source(source)
            })?
            .try_into()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_jiff().fmt(f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_jiff().fmt(f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl ColumnType for Timestamp {
    type Base = Self;
    const KIND: Kind = Kind::Timestamp;

    fn into_value(self) -> Result<Value> {
        Ok(Value::Timestamp(self))
    }

    #[inline]
    fn from_value(value: ValueRef<'_>) -> Result<Self> {
        match value {
            ValueRef::Timestamp(v) => Ok(v),
            other => Err(mismatch(Self::KIND, other)),
        }
    }
}

/// A plain jiff timestamp can be a field too; one finer than a microsecond is refused.
impl ColumnType for jiff::Timestamp {
    type Base = Self;
    const KIND: Kind = Kind::Timestamp;

    fn into_value(self) -> Result<Value> {
        Timestamp::try_from(self).map(Value::Timestamp)
    }

    fn from_value(value: ValueRef<'_>) -> Result<Self> {
        Timestamp::from_value(value).map(Self::from)
    }
}
