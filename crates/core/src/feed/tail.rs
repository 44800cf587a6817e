//! [`Tail`]: changes one by one, as they come.

use std::collections::VecDeque;

use tokio::sync::watch::Receiver;

use super::change::{Change, Position};
use super::gap::Gap;
use super::reader::ChangeFeed;
use crate::error::Result;

/// Changes one by one, waiting for those to come; made by [`ChangeFeed::tail`].
///
/// For server-sent events: send each change with its position as the event's id, and begin where
/// `Last-Event-ID` says. Each tail reads by itself; what waits is woken by commits in this process,
/// and by the feed's [polling](super::ChangeFeedOptions::poll_interval) otherwise. Holds up to one
/// batch of changes.
///
/// ```
/// use larder_core::feed::{Position, Recorded, Recording};
/// use larder_core::models::{NewTag, Tag};
/// use larder_core::{Db, Memory, Result};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
/// let store = Recorded::new(Memory::new(), [Recording::of::<Tag>()]);
/// let changes = store.changes()?;
/// let db = Db::new(store);
///
/// let mut tail = changes.tail(changes.end().await?);
/// let writer = tokio::spawn(async move { db.insert(NewTag::new("rust")).await });
/// let change = tail.next().await?;
/// assert_eq!(change.key_of::<Tag>()?, writer.await.expect("does not panic")?.id);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Tail {
    feed: ChangeFeed,
    position: Position,
    read: VecDeque<Change>,
    /// The position behind what was read.
    read_to: Position,
    beats: Receiver<u64>,
}

impl Tail {
    pub(super) fn new(feed: ChangeFeed, position: Position) -> Self {
        let beats = feed.watch.pulse().listen();
        Self {
            feed,
            position,
            read: VecDeque::new(),
            read_to: position,
            beats,
        }
    }

    /// The position behind the change that was answered last: where another tail would go on.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The next change, waited for as long as it takes. Dropping the future loses nothing.
    ///
    /// # Errors
    /// `Gap`, once, if changes were missed; the next call goes on behind the gap. Else what the store
    /// answers; the next call tries again.
    pub async fn next(&mut self) -> Result<Change> {
        loop {
            if let Some(change) = self.read.pop_front() {
                self.position = change.position;
                return Ok(change);
            }
            self.beats.borrow_and_update();
            if !self.read_more().await? {
                self.feed.watch.wait(&self.feed, &mut self.beats).await;
            }
        }
    }

    /// The next change, if there is one now.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn try_next(&mut self) -> Result<Option<Change>> {
        if self.read.is_empty() {
            self.read_more().await?;
        }
        let change = self.read.pop_front();
        if let Some(change) = &change {
            self.position = change.position;
        }
        Ok(change)
    }

    /// Reads a batch. False if there was nothing.
    async fn read_more(&mut self) -> Result<bool> {
        let limit = self.feed.options.batch_max;
        let changes = match self.feed.after(self.read_to, limit).await {
            Ok(changes) => changes,
            Err(error) => {
                if let Some(resume) = Gap::of(&error).and_then(Gap::resume) {
                    (self.position, self.read_to) = (resume, resume);
                }
                return Err(error);
            }
        };
        let Some(last) = changes.last() else {
            return Ok(false);
        };
        self.read_to = last.position;
        self.read = changes.into();
        Ok(true)
    }
}
