//! The live feed: new articles and comments as server-sent events, from where the reader left off.
//!
//! ```text
//!   insert ──> Recorded: the change, in the same transaction ──> a tail for each reader ──> events
//! ```
//!
//! | event | data | id |
//! |---|---|---|
//! | `article` | `{"article":{..}}`, as in lists | the change's position |
//! | `comment` | `{"slug":"..","comment":{..}}` | the same |
//! | `gap` | `{}`: changes were missed; load the lists anew | where it goes on |
//!
//! What was deleted before it could be shown is left out. A reader that comes back with the last id
//! (`Last-Event-ID`, which browsers send by themselves) misses nothing for as long as changes are
//! kept, whichever process it comes back to.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_core::Stream;
use http::{HeaderMap, StatusCode};
use larder_core::Result;
use larder_core::feed::{Change, ChangeFeed, Gap, Operation, Position, Recording, Tail};
use larder_core::models::{Comment, Post};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::error::{ApiError, Outcome};
use super::state::App;
use super::{articles, comments};

/// How often a silent connection is written to, so that nobody takes it for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Where readers say how far they have come.
const LAST_EVENT_ID: &str = "last-event-id";

/// What the feed shows.
pub(crate) fn recordings() -> [Recording; 2] {
    [Recording::of::<Post>(), Recording::of::<Comment>()]
}

/// The feed, and how many may read it at a time.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    changes: ChangeFeed,
    places: Arc<Semaphore>,
}

impl Live {
    pub(crate) fn new(changes: ChangeFeed, readers_max: usize) -> Self {
        let places = Arc::new(Semaphore::new(readers_max));
        Self { changes, places }
    }

    /// Removes changes that are too old.
    pub(crate) async fn purge(&self) -> Result<u64> {
        self.changes.purge().await
    }
}

/// `GET /live`: goes on until the reader or the service ends it.
pub(crate) async fn follow(
    State(app): State<App>,
    headers: HeaderMap,
) -> Outcome<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let live = app.live().ok_or_else(|| {
        let engine = app.db().capabilities().engine;
        let problem = format!("is not there on {engine}");
        ApiError::new(StatusCode::NOT_IMPLEMENTED, "live", problem)
    })?;
    let place = Arc::clone(&live.places).try_acquire_owned();
    let place = place.map_err(|_| ApiError::busy())?;
    let start = match start(&headers)? {
        Some(position) => position,
        None => live.changes.end().await?,
    };
    let reader = Reader {
        tail: live.changes.tail(start),
        stopping: app.stopping(),
        app,
        _place: place,
    };
    let events = futures_util::stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok(event), reader))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// Where the reader left off, if it has read before.
fn start(headers: &HeaderMap) -> Outcome<Option<Position>> {
    let Some(id) = headers.get(LAST_EVENT_ID) else {
        return Ok(None);
    };
    let position = id.to_str().ok().and_then(|id| id.parse().ok());
    let position = position
        .ok_or_else(|| ApiError::invalid(LAST_EVENT_ID, "is not the id of an event, such as 0-17"));
    position.map(Some)
}

/// Somebody who reads the feed.
struct Reader {
    tail: Tail,
    stopping: watch::Receiver<bool>,
    app: App,
    _place: OwnedSemaphorePermit,
}

/// `{"slug":"..","comment":{..}}`
#[derive(Serialize)]
struct CommentEvent {
    slug: String,
    #[serde(flatten)]
    comment: comments::CommentBody,
}

impl Reader {
    /// The next event; `None` at the end. A store that fails ends it too: the reader comes back with
    /// the id of the last event it has.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let change = tokio::select! {
                biased;
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
                change = self.tail.next() => change,
            };
            let event = match change {
                Ok(change) => self.event(&change).await,
                Err(error) if Gap::of(&error).is_some() => {
                    let id = self.tail.position().to_string();
                    Ok(Some(Event::default().event("gap").id(id).data("{}")))
                }
                Err(error) => Err(error.into()),
            };
            match event {
                Ok(Some(event)) => return Some(event),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(target: "larder::service", %error, "a live feed was ended");
                    return None;
                }
            }
        }
    }

    /// What a change shows, if anything.
    async fn event(
        &self,
        change: &Change,
    ) -> Result<Option<Event>, Box<dyn std::error::Error + Send + Sync>> {
        if change.operation != Operation::Insert {
            return Ok(None);
        }
        let db = self.app.db();
        let (name, data) = if change.is_of::<Post>() {
            match articles::view::listed(db, change.key_of::<Post>()?).await? {
                Some(article) => ("article", serde_json::to_string(&article)?),
                None => return Ok(None),
            }
        } else {
            match comments::with_slug(db, change.key_of::<Comment>()?).await? {
                Some((slug, comment)) => {
                    let event = CommentEvent { slug, comment };
                    ("comment", serde_json::to_string(&event)?)
                }
                None => return Ok(None),
            }
        };
        let id = change.position.to_string();
        Ok(Some(Event::default().event(name).id(id).data(data)))
    }
}
