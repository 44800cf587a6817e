//! The connection that listens for a feed's messages, kept for as long as the feed is.
//!
//! ```text
//!   connect ──> LISTEN to each topic ──> settled ──> topics change: LISTEN, UNLISTEN ──┐
//!      ^         (not the first time: Gap)    ^────────────────────────────────────────┘
//!      └── pause <── Gap <── broken, or silent when asked
//! ```

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::{Either, select};
use larder_core::Result;
use larder_core::feed::{Gap, Hub, channel};
use tokio::sync::watch::Receiver;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, Notification};

use crate::connection::Connector;
use crate::dial::Heard;
use crate::feed::decode;

/// How often the server is asked for a sign of life, and how long it may take.
const PING_EVERY: Duration = Duration::from_secs(10);
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// The first and the longest pause before another try to connect.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Connects, and listens in a task of its own until the hub is gone.
pub(crate) async fn start(connector: Connector, hub: &Arc<Hub>) -> Result<()> {
    let listener = Listener {
        heard: heard(hub),
        changes: hub.changes(),
        hub: Arc::downgrade(hub),
        connector,
    };
    let opened = listener.connector.listen(&listener.heard).await?;
    tokio::spawn(listener.run(opened));
    Ok(())
}

/// Hands what arrives to the hub, as long as it is there.
fn heard(hub: &Arc<Hub>) -> Heard {
    let hub = Arc::downgrade(hub);
    Arc::new(move |notification: &Notification| {
        if let Some(hub) = hub.upgrade()
            && let Some((topic, payload)) = decode(notification.payload())
        {
            hub.deliver(topic, &payload);
        }
    })
}

struct Listener {
    connector: Connector,
    hub: Weak<Hub>,
    heard: Heard,
    /// Tells when the topics change; ends with the hub.
    changes: Receiver<u64>,
}

/// An open connection: the driver's client, and the task that drives it.
type Opened = (Client, JoinHandle<()>);

/// Why a connection is listened to no more.
enum Ended {
    /// Nobody is there to listen for.
    Unwanted,
    /// It is broken.
    Broken,
}

impl Listener {
    async fn run(mut self, first: Opened) {
        let mut ended = self.listen(first, None).await;
        while matches!(ended, Ended::Broken) {
            let Some(again) = self.reconnect().await else {
                return;
            };
            // Once more, now that nothing is missed any longer.
            ended = self.listen(again, Some(Gap::reconnected())).await;
        }
    }

    /// Tries until it succeeds, or the hub is gone.
    async fn reconnect(&self) -> Option<Opened> {
        let hub = self.hub.upgrade()?;
        hub.unsettle();
        hub.gap(Gap::reconnected());
        drop(hub);
        let mut pause = PAUSE_MIN;
        loop {
            sleep(pause).await;
            self.hub.upgrade()?;
            match self.connector.listen(&self.heard).await {
                Ok(opened) => return Some(opened),
                Err(error) => tracing::debug!(%error, "a feed cannot listen yet"),
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Listens to whatever topics there are; says first what was missed.
    async fn listen(&mut self, (client, mut driving): Opened, mut missed: Option<Gap>) -> Ended {
        let mut channels = BTreeSet::new();
        loop {
            match self.follow(&client, &mut channels).await {
                Some(true) => {}
                Some(false) => return Ended::Broken,
                None => return Ended::Unwanted,
            }
            if let (Some(gap), Some(hub)) = (missed.take(), self.hub.upgrade()) {
                hub.gap(gap);
            }
            match self.event(&mut driving).await {
                Event::Topics => {}
                Event::Silence if answers(&client, "").await => {}
                Event::Silence | Event::Broken => return Ended::Broken,
                Event::Unwanted => return Ended::Unwanted,
            }
        }
    }

    /// Asks the server for the topics that are new and drops those that are gone; false if it does
    /// not answer, `None` if the hub is gone.
    async fn follow(&mut self, client: &Client, channels: &mut BTreeSet<String>) -> Option<bool> {
        self.changes.borrow_and_update();
        let interest = self.hub.upgrade()?.interest();
        let wanted: BTreeSet<_> = interest.topics.iter().map(|topic| channel(topic)).collect();
        let mut script = String::new();
        // Channels are names of letters and digits. Writing to a String cannot fail.
        for new in wanted.difference(channels) {
            let _ = writeln!(script, "LISTEN {new};");
        }
        for gone in channels.difference(&wanted) {
            let _ = writeln!(script, "UNLISTEN {gone};");
        }
        if !script.is_empty() && !answers(client, &script).await {
            return Some(false);
        }
        *channels = wanted;
        self.hub.upgrade()?.settle(interest.generation);
        Some(true)
    }

    async fn event(&mut self, driving: &mut JoinHandle<()>) -> Event {
        let changed = pin!(self.changes.changed());
        match timeout(PING_EVERY, select(changed, driving)).await {
            Ok(Either::Left((Ok(()), _))) => Event::Topics,
            Ok(Either::Left((Err(_), _))) => Event::Unwanted,
            Ok(Either::Right(_)) => Event::Broken,
            Err(_) => Event::Silence,
        }
    }
}

enum Event {
    Topics,
    Silence,
    Broken,
    Unwanted,
}

/// Whether the server carries out the script in time.
async fn answers(client: &Client, script: &str) -> bool {
    matches!(
        timeout(ANSWER_MAX, client.batch_execute(script)).await,
        Ok(Ok(()))
    )
}
