//! How keys are kept: [`stored_key`].

use std::borrow::Cow;

use sha2::{Digest, Sha256};

/// The longest key that is kept as it is, in bytes.
const LEN_MAX: usize = 128;

/// What stores keep of a key: its bytes, or of a longer one than 128 bytes its SHA-256 behind the
/// byte 255, with which no text begins. So a client who chooses what is limited (a user's name) can
/// neither fill the store nor get a key refused.
///
/// ```
/// use larder_core::rate_limit::stored_key;
///
/// assert_eq!(&*stored_key("login:ada"), b"login:ada");
/// assert_eq!(stored_key(&"a".repeat(1_000_000)).len(), 33);
/// ```
pub fn stored_key(key: &str) -> Cow<'_, [u8]> {
    if key.len() <= LEN_MAX {
        return Cow::Borrowed(key.as_bytes());
    }
    let mut hashed = vec![u8::MAX];
    hashed.extend_from_slice(&Sha256::digest(key));
    Cow::Owned(hashed)
}
