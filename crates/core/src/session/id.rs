//! [`SessionId`], the secret that a client holds, and [`SessionHash`], what is kept of it.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind, Result};

/// How many characters an id has as text.
const TEXT_LEN: usize = 22;

/// What a client proves with whose session it is: 128 bits from the operating system's random
/// source.
///
/// A secret: `Debug` does not show it, there is no `Display`, and it is compared by its hash only.
///
/// ```
/// use larder_core::session::SessionId;
///
/// let id = SessionId::random()?;
/// let text = id.expose(); // 22 characters, for a cookie or a header
/// assert_eq!(text.parse::<SessionId>()?.hash(), id.hash());
/// assert_eq!(format!("{id:?}"), "SessionId(<redacted>)");
/// # Ok::<(), larder_core::Error>(())
/// ```
#[derive(Clone)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// A new id.
    ///
    /// # Errors
    /// `Engine` if the operating system has no randomness to give.
    pub fn random() -> Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|source| {
            Error::new(
                ErrorKind::Engine,
                "the operating system has no random numbers to give",
            )
            .with_source(source.to_string())
        })?;
        Ok(Self(bytes))
    }

    /// An id that somebody else has drawn at random.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The id as text, base64 for URLs (RFC 4648, section 5, without padding). Give it to its
    /// owner only.
    pub fn expose(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// What is kept of it.
    pub fn hash(&self) -> SessionHash {
        SessionHash(Sha256::digest(self.0).into())
    }
}

impl FromStr for SessionId {
    type Err = Error;

    /// Reads what [`expose`](Self::expose) wrote; the error does not repeat it.
    fn from_str(text: &str) -> Result<Self> {
        let mut bytes = [0; 16];
        let read = (text.len() == TEXT_LEN)
            .then(|| URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok())
            .flatten();
        match read {
            Some(16) => Ok(Self(bytes)),
            _ => Err(Error::invalid("the text is not the id of a session")),
        }
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(<redacted>)")
    }
}

/// The SHA-256 of a [`SessionId`]: what stores keep and find sessions by. The id does not follow
/// from it, so lists and logs may hold it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionHash([u8; 32]);

impl SessionHash {
    /// The hash with these bytes, as a store has kept them.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// As text, 43 characters of base64 for URLs: a name for one of a user's sessions in a form or
/// an address.
impl fmt::Display for SessionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl FromStr for SessionHash {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        match bytes.and_then(|bytes| bytes.try_into().ok()) {
            Some(bytes) => Ok(Self(bytes)),
            None => Err(Error::invalid("the text is not the hash of a session's id")),
        }
    }
}

impl fmt::Debug for SessionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionHash({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_sha_256_of_the_bytes() {
        // Of sixteen zero bytes, by `head -c 16 /dev/zero | sha256sum`.
        let hash = SessionId::from_bytes([0; 16]).hash();
        assert_eq!(hash.as_bytes()[..4], [0x37, 0x47, 0x08, 0xff]);
        assert_eq!(hash.as_bytes()[28..], [0x28, 0xec, 0x37, 0xbb]);
    }

    #[test]
    fn only_one_text_is_an_id() {
        let text = SessionId::from_bytes([0xFF; 16]).expose();
        assert_eq!(text, "_____________________w");
        for wrong in [
            "",
            "_____________________",
            "_____________________x", // bits beyond the 128
            "//////////////////////",
            "_____________________w==",
            "é____________________",
        ] {
            let error = wrong.parse::<SessionId>().unwrap_err();
            assert!(error.is_invalid() && !format!("{error:?}").contains("__"));
        }
    }

    #[test]
    fn ids_differ() -> Result<()> {
        assert_ne!(SessionId::random()?.hash(), SessionId::random()?.hash());
        Ok(())
    }

    #[test]
    fn a_hash_reads_back() -> Result<()> {
        let hash = SessionId::random()?.hash();
        assert_eq!(hash.to_string().parse::<SessionHash>()?, hash);
        assert!("AAAA".parse::<SessionHash>().is_err());
        Ok(())
    }
}
