//! In place of `tls.rs` where the feature is off: connections are not encrypted.

use larder_core::{Error, Result};
use tokio_postgres::NoTls;
use tokio_postgres::config::SslMode;

use crate::options::PostgresOptions;

/// What would encrypt connections.
pub(crate) type Tls = NoTls;

/// Refuses what cannot be had.
pub(crate) fn load(options: &PostgresOptions) -> Result<Tls> {
    if options.config.get_ssl_mode() == SslMode::Require {
        return Err(Error::unsupported(
            "this build",
            "an encrypted connection needs the `tls` feature of the `larder-postgres` crate, which \
             is off",
        ));
    }
    Ok(NoTls)
}

/// There are no handshakes that could fail.
pub(crate) fn explain(_: &tokio_postgres::Error) -> Option<Error> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_core::ErrorKind;

    #[test]
    fn what_insists_on_encryption_is_refused() {
        for (mode, refused) in [
            ("disable", false),
            ("prefer", false),
            ("require", true),
            ("verify-ca", true),
            ("verify-full", true),
        ] {
            let url = format!("postgres://h/d?sslmode={mode}");
            let outcome = load(&PostgresOptions::new(&url).unwrap());
            let kind = outcome.err().map(|error| error.kind());
            assert_eq!(kind, refused.then_some(ErrorKind::Unsupported), "{mode}");
        }
    }
}
