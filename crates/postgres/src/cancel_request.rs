//! PostgreSQL's own request to cancel, as poolers need it.
//!
//! Whoever asks must not hang up first: PgBouncer 1.18 passes the request on, closes, and ends
//! itself if its client has gone meanwhile (its issue 801). The driver's own way does hang up.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_postgres::config::Host;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{CancelToken, Config, Error};

use crate::tls::Tls;

/// The port of a URL that names none.
const PORT: u16 = 5432;

/// How long it may take until the request was taken.
const TAKEN_MAX: Duration = Duration::from_secs(30);

/// Sends the request, and waits until it was taken. It is not called back when this is dropped.
pub(crate) async fn send(token: &CancelToken, config: &Config, tls: Tls) -> Result<(), Error> {
    let (token, config) = (token.clone(), config.clone());
    let sending =
        tokio::spawn(async move { timeout(TAKEN_MAX, try_send(&token, &config, tls)).await });
    match sending.await {
        Ok(Ok(sent)) => sent,
        // Late, or the runtime has ended: there is nobody left to tell.
        Ok(Err(_)) | Err(_) => Ok(()),
    }
}

/// Where there are several hosts, the driver alone knows which of them it is connected to.
async fn try_send(token: &CancelToken, config: &Config, tls: Tls) -> Result<(), Error> {
    let [host] = config.get_hosts() else {
        return token.cancel_query(tls).await;
    };
    let port = config.get_ports().first().copied().unwrap_or(PORT);
    let address = config.get_hostaddrs().first();
    match host {
        Host::Tcp(name) => {
            let stream = match address {
                Some(address) => TcpStream::connect((*address, port)).await,
                None => TcpStream::connect((name.as_str(), port)).await,
            };
            send_over(token, stream, tls, name).await
        }
        #[cfg(unix)]
        Host::Unix(directory) => {
            let socket = directory.join(format!(".s.PGSQL.{port}"));
            send_over(token, UnixStream::connect(socket).await, tls, "").await
        }
    }
}

async fn send_over<S>(
    token: &CancelToken,
    stream: io::Result<S>,
    mut tls: Tls,
    host: &str,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // The server cannot be reached: what was to be stopped has no connection either.
    let Ok(stream) = stream else { return Ok(()) };
    let connect = <Tls as MakeTlsConnect<Patient<S>>>::make_tls_connect(&mut tls, host);
    match connect {
        Ok(connect) => token.cancel_query_raw(Patient(stream), connect).await,
        Err(_) => token.cancel_query(tls).await,
    }
}

/// A connection whose shutdown waits until the other end has closed it.
struct Patient<S>(S);

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut bytes = [0; 64];
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(&mut self.0).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
