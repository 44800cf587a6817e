//! [`Namespace`]: what the keys of one handle are called.

use std::fmt;

use bytes::Bytes;
use larder_core::{Error, Result};

/// The longest name, in bytes: it stands in every key.
const LEN_MAX: usize = 100;

/// The beginning of every key: `{name}:`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Namespace {
    prefix: Bytes,
}

impl Namespace {
    /// # Errors
    /// `Misuse` for a name that is empty, longer than 100 bytes, or has a brace or a control
    /// character, with which a key would not lie on the namespace's shard.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let odd = |c: char| c == '{' || c == '}' || c.is_control();
        if name.is_empty() || name.len() > LEN_MAX || name.contains(odd) {
            return Err(Error::misuse(
                "a Redis namespace is a name of 1 to 100 bytes without braces and control \
                 characters",
            )
            .with_value(name));
        }
        Ok(Self {
            prefix: format!("{{{name}}}:").into(),
        })
    }

    /// The key with this name: the parts, joined by colons. Only the last part may hold one.
    pub(crate) fn key(&self, parts: &[&[u8]]) -> Bytes {
        let len: usize = parts.iter().map(|part| part.len() + 1).sum();
        let mut key = Vec::with_capacity(self.prefix.len() + len);
        key.extend_from_slice(&self.prefix);
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                key.push(b':');
            }
            key.extend_from_slice(part);
        }
        key.into()
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lie_on_the_shard_of_the_name() {
        let namespace = Namespace::new("shop").expect("a name");
        assert_eq!(namespace.key(&[b"row", b"a:b"]), "{shop}:row:a:b");
        for name in ["", "a{b", "a}", "a\n", &"x".repeat(101)] {
            assert!(Namespace::new(name).is_err(), "{name}");
        }
    }
}
