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
