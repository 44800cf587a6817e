//! A web service that counts visits in sessions, and lets each client in ten times a minute.
//!
//! `cargo run --example web`, then `curl -i -b jar -c jar http://127.0.0.1:8080`. In a service of your
//! own: the features `sqlite` and `tower` of `larder`.

use std::error::Error;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use larder::rate_limit::{GuardedRateLimiter, Quota, RateLimitLayer, TrustedProxies};
use larder::session::{SessionId, Sessions};
use larder::sqlite::Sqlite;
use serde::{Deserialize, Serialize};

/// Where there is TLS: `__Host-visit`, and `Secure` below.
const COOKIE: &str = "visit";

#[derive(Serialize, Deserialize, Default)]
struct Visits {
    count: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let sqlite = Sqlite::in_memory().await?; // or Sqlite::open("app.db"), Postgres::connect(..)
    let sessions = Sessions::<Visits>::new(sqlite.sessions().await?);

    let proxies: TrustedProxies = "127.0.0.1, 10.0.0.0/8".parse()?; // who else is believed
    let peer = |request: &Parts| {
        let ConnectInfo(peer) = request.extensions.get::<ConnectInfo<SocketAddr>>()?;
        Some(peer.ip())
    };
    let limiter = GuardedRateLimiter::new(sqlite.rate_limiter().await?);
    let quota = Quota::per_minute(10);
    let limit = RateLimitLayer::new("visits", quota, limiter, proxies.key_by(peer))?;

    let app = Router::new()
        .route("/", get(visit))
        .with_state(sessions)
        .layer(limit);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .await?;
    Ok(())
}

async fn visit(State(sessions): State<Sessions<Visits>>, headers: HeaderMap) -> Response {
    match count(&sessions, cookie(&headers)).await {
        Ok((id, count)) => {
            let cookie = format!("{COOKIE}={}; HttpOnly; SameSite=Lax; Path=/", id.expose());
            let headers = [
                (header::SET_COOKIE, cookie),
                (header::CACHE_CONTROL, "no-store".to_owned()),
            ];
            (headers, format!("visit {count}\n")).into_response()
        }
        // Another request of the same session was quicker.
        Err(error) if error.is_stale() => StatusCode::CONFLICT.into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Counts a visit in the session with this id, or in a new one.
async fn count(sessions: &Sessions<Visits>, id: Option<&str>) -> larder::Result<(SessionId, u32)> {
    let known = match id {
        Some(id) => sessions.load(id).await?,
        None => None,
    };
    let mut session = match known {
        Some(session) => session,
        None => sessions.create(Visits::default()).await?,
    };
    session.data.count += 1;
    sessions.save(&mut session).await?;
    Ok((session.id().clone(), session.data.count))
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get(header::COOKIE)?.to_str().ok()?;
    let mut pairs = cookies
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, id)| id)
}
