//! [`PasswordHash`]: what is kept of a password.

use std::fmt;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::password_hash::{self, PasswordHasher, PasswordVerifier};

use crate::{Error, ErrorKind, Newtype, Result};

/// An argon2id hash of a password, in the PHC string format, salt and cost included.
///
/// `Debug` does not show it, and models skip it when they are serialised.
///
/// ```
/// use larder_core::models::PasswordHash;
///
/// let hash = PasswordHash::new("correct horse battery")?;
/// assert!(hash.verify("correct horse battery")?);
/// assert!(!hash.verify("Tr0ub4dor&3")?);
/// # Ok::<(), larder_core::Error>(())
/// ```
#[derive(Newtype, Clone, PartialEq, Eq)]
#[newtype(validate = check_phc)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// The fewest characters of a password.
    pub const PASSWORD_MIN: usize = 8;
    /// The most bytes of a password; argon2 reads all of them.
    pub const PASSWORD_MAX: usize = 1024;

    /// Hashes a password with a fresh random salt, by argon2id with 19 MiB, two passes, one lane
    /// (what OWASP recommends).
    ///
    /// Takes tens of milliseconds of one core on purpose: a server calls it on a blocking thread
    /// (`spawn_blocking`).
    ///
    /// # Errors
    /// `Invalid` for a password of less than 8 characters or more than 1024 bytes; `Engine` when
    /// the system has no randomness or memory to give.
    pub fn new(password: &str) -> Result<Self> {
        if let Some(problem) = Self::problem(password) {
            return Err(Error::invalid(format!("the password {problem}")));
        }
        match Argon2::default().hash_password(password.as_bytes()) {
            Ok(hash) => Ok(Self(hash.to_string())),
            Err(source) => Err(
                Error::new(ErrorKind::Engine, "the password could not be hashed")
                    .with_source(source.to_string()),
            ),
        }
    }

    /// Whether this is the password. Costs what hashing costs: call it on a blocking thread.
    ///
    /// # Errors
    /// `Decode` if the stored text is no argon2 hash.
    pub fn verify(&self, password: &str) -> Result<bool> {
        let broken = || Error::decode("the stored text is not an argon2 password hash");
        let hash = Phc::new(&self.0).map_err(|_| broken())?;
        match Argon2::default().verify_password(password.as_bytes(), &hash) {
            Ok(()) => Ok(true),
            Err(password_hash::Error::PasswordInvalid) => Ok(false),
            Err(_) => Err(broken()),
        }
    }

    /// What is wrong with a password, as the end of a sentence.
    pub(super) fn problem(password: &str) -> Option<&'static str> {
        if password.chars().count() < Self::PASSWORD_MIN {
            Some("must have 8 characters or more")
        } else if password.len() > Self::PASSWORD_MAX {
            Some("must have at most 1024 bytes")
        } else {
            None
        }
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(<redacted>)")
    }
}

fn check_phc(text: &str) -> Result<(), &'static str> {
    match Phc::new(text) {
        Ok(hash) if hash.algorithm.as_str() == "argon2id" => Ok(()),
        _ => Err("not an argon2id hash in the PHC string format"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_redacted_salted_and_checked() -> Result<()> {
        let one = PasswordHash::new("correct horse battery")?;
        let two = PasswordHash::new("correct horse battery")?;
        assert_ne!(one, two);
        assert_eq!(format!("{one:?}"), "PasswordHash(<redacted>)");
        assert!(PasswordHash::try_from(String::from(one)).is_ok());
        assert!(PasswordHash::try_from("correct horse battery".to_owned()).is_err());
        assert!(PasswordHash("plain".to_owned()).verify("plain").is_err());
        Ok(())
    }

    #[test]
    fn the_length_is_checked_before_the_work() {
        assert!(PasswordHash::new("1234567").is_err());
        assert!(PasswordHash::new(&"x".repeat(1025)).is_err());
    }
}
