//! [`Email`]: an address that has been checked.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ColumnType;
use crate::error::{Error, Result};
use crate::value::{Kind, Value, ValueRef};

/// The longest address SMTP can carry, in bytes (RFC 5321, 4.5.3.1.3, less the brackets).
const LENGTH_MAX: usize = 254;
/// The longest part before the `@`, in bytes (RFC 5321, 4.5.3.1.1).
const LOCAL_MAX: usize = 64;

/// An email address that looks like one: `local@domain`, no spaces, a dot in the domain.
///
/// The check is the practical one (what a person mistypes), not the whole grammar of RFC 5322;
/// only a message sent and answered proves an address. Letter case is kept.
///
/// ```
/// use larder_core::Email;
///
/// assert_eq!("ada@example.com".parse::<Email>()?.as_str(), "ada@example.com");
/// assert!("ada@nowhere".parse::<Email>().is_err());
/// # Ok::<(), larder_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Email(String);

impl Email {
    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let plain = |part: &str| part.chars().all(|c| !c.is_whitespace() && !c.is_control());
    text.len() <= LENGTH_MAX
        && (1..=LOCAL_MAX).contains(&local.len())
        && plain(local)
        && !local.contains(['@', '<', '>', '"', ',', ';', ':', '\\', '(', ')', '[', ']'])
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
        && domain.contains('.')
        && domain.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.chars().all(|c| c.is_alphanumeric() || c == '-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl TryFrom<String> for Email {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        if is_email(&text) {
            Ok(Self(text))
        } else {
            Err(Error::invalid("is not an email address such as ada@example.com").with_value(text))
        }
    }
}

impl FromStr for Email {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.to_owned().try_into()
    }
}

impl From<Email> for String {
    fn from(email: Email) -> Self {
        email.0
    }
}

impl AsRef<str> for Email {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ColumnType for Email {
    type Base = Self;
    const KIND: Kind = Kind::Text;

    fn into_value(self) -> Result<Value> {
        self.0.into_value()
    }

    fn from_value(value: ValueRef<'_>) -> Result<Self> {
        String::from_value(value).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_mistype_is_refused() {
        for good in [
            "a@b.co",
            "first.last+tag@sub.example.org",
            "user1@quantum.example",
        ] {
            assert!(good.parse::<Email>().is_ok(), "{good}");
        }
        for bad in [
            "", "a", "a@", "@b.co", "a b@c.de", "a@b", "a@b..c", "a@@b.c", ".a@b.c", "a@-b.c",
        ] {
            assert!(bad.parse::<Email>().is_err(), "{bad}");
        }
    }
}
