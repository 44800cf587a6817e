//! Opens the driver's connections, for whatever they are.

use std::future::poll_fn;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::{AsyncMessage, Client, Config, Error, Notification};

use crate::tls::{self, Tls};

/// Who is given the notifications that come on a connection.
pub(crate) type Heard = Arc<dyn Fn(&Notification) + Send + Sync>;

/// Opens a connection, and runs it in a task until its client is gone. If encryption is preferred
/// and not insisted on, and the server has it but does not come along or lets nobody in with it,
/// tries once more without.
pub(crate) async fn dial(config: &Config, tls: &Tls) -> Result<(Client, JoinHandle<()>), Error> {
    dial_to(config, tls, &(Arc::new(|_: &Notification| {}) as Heard)).await
}

/// The same, with somebody to be given what the server says unasked.
pub(crate) async fn dial_to(
    config: &Config,
    tls: &Tls,
    heard: &Heard,
) -> Result<(Client, JoinHandle<()>), Error> {
    let first = match open(config, tls, heard).await {
        Err(error) if may_go_without(config) && is_about_encryption(&error) => error,
        outcome => return outcome,
    };
    tracing::debug!(error = %first, "the server is asked for a connection without encryption");
    let mut plain = config.clone();
    plain.ssl_mode(SslMode::Disable);
    // Whom it does not let in either way should be told of the better one.
    let let_in = |second| match first.as_db_error() {
        Some(_) => first,
        None => second,
    };
    open(&plain, tls, heard).await.map_err(let_in)
}

async fn open(
    config: &Config,
    tls: &Tls,
    heard: &Heard,
) -> Result<(Client, JoinHandle<()>), Error> {
    // Boxed: it is large, and whoever waits for a connection would carry its size.
    let (client, mut driver) = Box::pin(config.connect(Tls::clone(tls))).await?;
    let heard = Arc::clone(heard);
    let driving = tokio::spawn(async move {
        while let Some(message) = poll_fn(|cx| driver.poll_message(cx)).await {
            match message {
                Ok(AsyncMessage::Notification(message)) => heard(&message),
                Ok(AsyncMessage::Notice(notice)) => tracing::info!("{notice}"),
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection to the server broke");
                    break;
                }
            }
        }
    });
    Ok((client, driving))
}

fn may_go_without(config: &Config) -> bool {
    cfg!(feature = "tls")
        && config.get_ssl_mode() == SslMode::Prefer
        && config.get_ssl_negotiation() == SslNegotiation::Postgres
}

fn is_about_encryption(error: &Error) -> bool {
    let not_let_in = error
        .as_db_error()
        .is_some_and(|refused| refused.code().code() == "28000");
    not_let_in || tls::explain(error).is_some()
}
