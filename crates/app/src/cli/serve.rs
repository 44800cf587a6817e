//! `larder serve`: the HTTP service on a database.

mod seed;
mod settings;

use std::path::PathBuf;

use clap::Args;
use larder::service::Service;
use tokio::net::TcpListener;

use super::failure::{Failure, Outcome};
use super::output::{Output, counted};
use settings::Settings;

/// Where it listens unless told otherwise.
const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

/// Serve users, articles and comments over HTTP, on any engine
///
/// Speaks the RealWorld ("Conduit") API: /api/docs describes it. Makes and migrates the database if
/// need be; several may do so at once. /healthz, /readyz and /metrics are for those who watch it.
/// Ctrl-C or SIGTERM lets requests in flight end.
///
/// Every setting can be a flag, an environment variable or a line of the file, under one name:
/// --request-timeout 5s, LARDER_REQUEST_TIMEOUT=5s, request-timeout = "5s". A flag goes before the
/// environment, the environment before the file, the file before the default.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder serve                              on sqlite://larder.db
  larder serve --seed                       with sample data, if there is none yet
  larder serve --database-url postgres://app@localhost/blog --listen 0.0.0.0:80
  larder serve --config larder.toml")]
pub(super) struct Serve {
    /// Read settings from this TOML file
    #[arg(long, value_name = "FILE", env = "LARDER_CONFIG")]
    config: Option<PathBuf>,
    /// Fill an empty database with sample data, whose users' password is shown
    #[arg(long)]
    seed: bool,
    #[command(flatten)]
    settings: Settings,
}

impl Serve {
    pub(super) async fn run(self, output: &mut Output) -> Outcome {
        let settings = match &self.config {
            Some(file) => self.settings.or(Settings::read(file)?),
            None => self.settings,
        };
        let (url, listen) = (
            settings
                .database_url
                .as_deref()
                .unwrap_or(super::DEFAULT_URL),
            settings.listen.as_deref().unwrap_or(DEFAULT_LISTEN),
        );
        let stopped = stopped()?;
        let listener = listen_at(listen).await?;
        let store = super::open(url).await?;
        let applied = store.migrate_up(None).await?;
        if !applied.is_empty() {
            let steps = counted(applied.len() as u64, "migration");
            output.note(format!("made ready by {steps}"))?;
        }
        store.create_missing_tables(&Service::tables()).await?;
        match store.create_change_log().await {
            Err(error) if error.is_unsupported() => {
                output.note("without a live feed, for this engine keeps no log of changes")?;
            }
            made => made?,
        }
        if self.seed {
            seed::fill(store.db(), output).await?;
        }
        let mut service = Service::builder(store.db().clone()).options(settings.options()?);
        if let Some(pool) = store.pool() {
            service = service.pool(pool);
        }
        let service = service.start().await?;
        greet(&listener, store.db().capabilities().engine, output)?;
        let served = service.serve(listener, stopped).await;
        store.db().close().await?;
        served.map_err(|error| Failure::operation(error.to_string()))
    }
}

async fn listen_at(address: &str) -> Outcome<TcpListener> {
    TcpListener::bind(address).await.map_err(|cause| {
        Failure::operation(format!("`{address}` cannot be listened at"))
            .because(cause)
            .advice("name a free address such as 127.0.0.1:8081 with --listen; port 0 finds one")
    })
}

/// Says where it is and how to try it.
fn greet(listener: &TcpListener, engine: &str, output: &mut Output) -> Outcome {
    let address = listener.local_addr()?;
    output.line(format!("listening on http://{address} ({engine})"))?;
    output.note(format!("try it:  curl http://{address}/api/articles"))?;
    output.note(format!("the API: curl http://{address}/api/docs"))?;
    Ok(output.finish()?)
}

/// Done when the process is asked to stop. Asked once more, it ends at once.
#[cfg(unix)]
fn stopped() -> Outcome<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            std::process::exit(130);
        });
    })
}

/// Done when the process is asked to stop.
#[cfg(not(unix))]
fn stopped() -> Outcome<impl Future<Output = ()>> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
