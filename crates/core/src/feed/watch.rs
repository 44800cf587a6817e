//! [`Watch`]: how waiting readers learn that there may be something new.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch::Receiver;

use super::change::Position;
use super::pulse::{Pulse, either};
use super::reader::ChangeFeed;

/// Wakes the readers of one feed in this process.
///
/// Of all that wait, one leads: it asks the store every so often where the feed ends, and wakes the
/// others if that has moved. When it goes, another one takes its place.
#[derive(Debug)]
pub(super) struct Watch {
    pulse: Pulse,
    leader: tokio::sync::Mutex<()>,
    /// Where the feed ended when it was last asked.
    end: Mutex<Option<Position>>,
}

impl Watch {
    pub(super) fn new(pulse: Pulse) -> Self {
        Self {
            pulse,
            leader: tokio::sync::Mutex::new(()),
            end: Mutex::new(None),
        }
    }

    pub(super) fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Waits until there may be something that was not there when the beats were last looked at.
    /// May wake for nothing.
    pub(super) async fn wait(&self, feed: &ChangeFeed, beats: &mut Receiver<u64>) {
        either(beats.changed(), self.lead(feed)).await;
    }

    /// Once it is this one's turn, asks the store until the end has moved.
    async fn lead(&self, feed: &ChangeFeed) {
        let _leading = self.leader.lock().await;
        loop {
            tokio::time::sleep(feed.options.poll_interval).await;
            // A store that does not answer is asked by the reader itself, who then hears why.
            let moved = match feed.end().await {
                Ok(end) => self.moved_to(end),
                Err(_) => true,
            };
            if moved {
                self.pulse.beat();
                return;
            }
        }
    }

    fn moved_to(&self, end: Position) -> bool {
        let mut known = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        known.replace(end) != Some(end)
    }

    /// Waits for a beat, at most so long.
    pub(super) async fn wait_at_most(&self, limit: Duration, beats: &mut Receiver<u64>) {
        let _ = tokio::time::timeout(limit, beats.changed()).await;
    }
}
