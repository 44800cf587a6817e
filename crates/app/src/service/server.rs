//! The server: connections, how many and for how long, and how it ends.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use larder_core::{Error, ErrorKind, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;
use tower_service::Service as _;

use super::Service;
use super::state::App;

/// How long a client may take to send a request's head, or to send the next one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How often ended sessions are removed.
const TIDY_EVERY: Duration = Duration::from_mins(10);
/// How long to wait after the system refused a connection (no more files, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl Service {
    /// Answers connections until `stop` is done; then takes no new ones, lets requests in flight
    /// end for at most [`ServiceOptions::stop_timeout`](super::ServiceOptions::stop_timeout), and
    /// drops those that take longer. The database stays open: close it afterwards.
    ///
    /// At most [`ServiceOptions::connections_max`](super::ServiceOptions::connections_max)
    /// connections are open; others wait in the system's queue. A client that is silent for 30 s
    /// is let go. HTTP/1.1, unencrypted: for others put a proxy before it.
    ///
    /// # Errors
    /// `Timeout` if requests had to be dropped.
    pub async fn serve(&self, listener: TcpListener, stop: impl Future<Output = ()>) -> Result<()> {
        let places = Arc::new(Semaphore::new(self.app.options().connections_max));
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        let housekeeping = AbortOnDrop(tokio::spawn(tidy(self.app.clone())));
        let router = self.router();
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(_) = connections.join_next() => {}
                (stream, peer, place) = accept(&listener, &places) => {
                    let watcher = graceful.watcher();
                    connections.spawn(answer(stream, peer, router.clone(), watcher, place));
                }
            }
        }
        drop((listener, housekeeping));
        self.app.stop();
        let limit = self.app.options().stop_timeout;
        let ended = tokio::time::timeout(limit, graceful.shutdown()).await;
        connections.abort_all();
        ended.map_err(|_| {
            Error::new(
                ErrorKind::Timeout,
                "some requests took longer than the service waited for them, and were dropped",
            )
        })
    }
}

/// Removes what has ended by itself, now and then.
async fn tidy(app: App) {
    let mut ticks = tokio::time::interval(TIDY_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = app.sessions().purge().await {
            tracing::warn!(target: "larder::service", %error, "ended sessions were not removed");
        }
        if let Err(error) = app.limits().purge().await {
            tracing::warn!(target: "larder::service", %error, "full quotas were not forgotten");
        }
        if let Some(live) = app.live()
            && let Err(error) = live.purge().await
        {
            tracing::warn!(target: "larder::service", %error, "old changes were not removed");
        }
    }
}

/// A task that ends with whoever holds it.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    let place = Arc::clone(places).acquire_owned().await;
    let place = place.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, place),
            Err(error) => {
                tracing::warn!(target: "larder::service", %error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn answer(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    watcher: Watcher,
    _place: OwnedSemaphorePermit,
) {
    // Answers are written whole; waiting for more would only delay them.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let mut router = router.clone();
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            let Ok(response) = router.call(request).await;
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(target: "larder::service", %error, "a connection broke");
    }
}
