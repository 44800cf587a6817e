//! [`Pulse`]: tells readers that there may be changes, here and in other processes.
//!
//! Nothing depends on it: readers that miss a beat look by themselves, only later.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;

use super::pubsub::{Feed, SubscribeOptions};
use crate::error::Result;

/// Where commits are announced.
const TOPIC: &str = "larder_changes";
/// How long an announcement may take.
const ANNOUNCE_MAX: Duration = Duration::from_secs(5);

/// Tells the readers in this process that there may be changes.
#[derive(Clone, Debug)]
pub(super) struct Pulse(Arc<Channels>);

#[derive(Debug)]
struct Channels {
    /// What wakes the readers.
    beats: watch::Sender<u64>,
    /// What was committed here, and not only heard of.
    commits: watch::Sender<u64>,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self(Arc::new(Channels {
            beats: watch::Sender::new(0),
            commits: watch::Sender::new(0),
        }))
    }

    /// Wakes the readers.
    pub(super) fn beat(&self) {
        count(&self.0.beats);
    }

    /// Wakes the readers, those of other processes too.
    pub(super) fn commit(&self) {
        self.beat();
        count(&self.0.commits);
    }

    pub(super) fn listen(&self) -> watch::Receiver<u64> {
        self.0.beats.subscribe()
    }

    /// Announces commits in a task that ends with the pulse. Those that come while one is announced
    /// share the next announcement.
    pub(super) fn announce_by(&self, feed: Arc<dyn Feed>) {
        let mut commits = self.0.commits.subscribe();
        tokio::spawn(async move {
            while commits.changed().await.is_ok() {
                let announced = feed.publish(TOPIC, &[]);
                match tokio::time::timeout(ANNOUNCE_MAX, announced).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(%error, "a commit was not announced"),
                    Err(_) => tracing::debug!("a commit was not announced in time"),
                }
            }
        });
    }

    /// Beats whenever a commit is announced, in a task that ends with the pulse.
    pub(super) async fn hear(&self, feed: Arc<dyn Feed>) -> Result<()> {
        let mut heard = feed.subscribe(&[TOPIC], SubscribeOptions::new()).await?;
        let pulse = Arc::downgrade(&self.0);
        let mut own = self.0.commits.subscribe();
        tokio::spawn(async move {
            // Held, so that it goes on.
            let _feed = feed;
            loop {
                let heard = match either(heard.next(), own.changed()).await {
                    Either::One(heard) => heard,
                    Either::Other(Ok(())) => continue,
                    Either::Other(Err(_)) => return, // nobody has the pulse any more
                };
                // What was missed may have been a commit.
                let Some(pulse) = pulse.upgrade() else {
                    return;
                };
                count(&pulse.beats);
                if heard.is_err_and(|error| error.is_closed()) {
                    return;
                }
            }
        });
        Ok(())
    }
}

/// The outcome of one of two futures.
pub(super) enum Either<A, B> {
    One(A),
    Other(B),
}

/// The outcome of the future that ends first; of both, the first one's.
pub(super) async fn either<A, B>(
    one: impl Future<Output = A>,
    other: impl Future<Output = B>,
) -> Either<A, B> {
    let mut one = pin!(one);
    let mut other = pin!(other);
    poll_fn(|cx| {
        if let Poll::Ready(outcome) = one.as_mut().poll(cx) {
            return Poll::Ready(Either::One(outcome));
        }
        other.as_mut().poll(cx).map(Either::Other)
    })
    .await
}

fn count(beats: &watch::Sender<u64>) {
    beats.send_modify(|beats| *beats = beats.wrapping_add(1));
}
