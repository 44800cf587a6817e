//! [`Subscription`]: a subscriber's queue, and what becomes of it when it is full.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use super::gap::Gap;
use super::hub;
use super::pubsub::{Message, SubscribeOptions};
use crate::error::{Error, ErrorKind, Result};

/// Messages as they arrive; made by [`Feed::subscribe`](super::Feed::subscribe). Dropping it ends it.
pub struct Subscription {
    queue: Arc<Queue>,
    hub: Weak<hub::Shared>,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.queue.lock().entries.len();
        f.debug_struct("Subscription")
            .field("waiting", &waiting)
            .finish_non_exhaustive()
    }
}

impl Subscription {
    pub(super) fn new(queue: Arc<Queue>, hub: Weak<hub::Shared>) -> Self {
        Self { queue, hub }
    }

    /// The next message, waited for as long as it takes. Dropping the future loses nothing.
    ///
    /// # Errors
    /// `Gap`, once, in place of messages that were missed; the next call goes on behind them.
    /// `Closed` when the feed has been closed and its last message taken.
    pub async fn next(&mut self) -> Result<Message> {
        loop {
            if let Some(next) = self.queue.take() {
                return next;
            }
            self.queue.filled.notified().await;
        }
    }

    /// The next message, if one is here.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn try_next(&mut self) -> Result<Option<Message>> {
        self.queue.take().transpose()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(hub) = self.hub.upgrade() {
            hub.remove(&self.queue);
        }
    }
}

/// What one subscriber has yet to take.
#[derive(Debug)]
pub(super) struct Queue {
    options: SubscribeOptions,
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// What is missing before the first entry.
    missed: Option<Gap>,
    entries: VecDeque<Entry>,
    bytes: usize,
    closed: bool,
}

#[derive(Debug)]
enum Entry {
    Message(Message),
    Gap(Gap),
}

impl Queue {
    pub(super) fn new(options: SubscribeOptions) -> Self {
        Self {
            options,
            state: Mutex::default(),
            filled: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, message: Message) {
        let mut state = self.lock();
        state.bytes += message.payload.len();
        state.entries.push_back(Entry::Message(message));
        state.shrink(&self.options);
        drop(state);
        self.filled.notify_one();
    }

    /// Says that something is missing here.
    pub(super) fn gap(&self, gap: Gap) {
        let mut state = self.lock();
        if !matches!(state.entries.back(), Some(Entry::Gap(last)) if *last == gap) {
            state.entries.push_back(Entry::Gap(gap));
            state.shrink(&self.options);
        }
        drop(state);
        self.filled.notify_one();
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    fn take(&self) -> Option<Result<Message>> {
        let mut state = self.lock();
        if let Some(gap) = state.missed.take() {
            return Some(Err(gap.into_error()));
        }
        match state.entries.pop_front() {
            Some(Entry::Message(message)) => {
                state.bytes -= message.payload.len();
                Some(Ok(message))
            }
            Some(Entry::Gap(gap)) => Some(Err(gap.into_error())),
            None => state.closed.then(|| Err(closed())),
        }
    }
}

impl State {
    /// Drops the oldest entries until what is left fits, and remembers that they are missing.
    fn shrink(&mut self, options: &SubscribeOptions) {
        while self.entries.len() > options.queue_max
            || (self.bytes > options.queue_bytes_max && self.entries.len() > 1)
        {
            match self.entries.pop_front() {
                Some(Entry::Message(message)) => {
                    self.bytes -= message.payload.len();
                    let before = self.missed.and_then(|gap| gap.missed()).unwrap_or(0);
                    self.missed = Some(Gap::lagged(before + 1));
                }
                Some(Entry::Gap(gap)) => {
                    self.missed.get_or_insert(gap);
                }
                None => break,
            }
        }
    }
}

#[cold]
fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the feed has been closed")
}

#[cfg(test)]
mod tests {
    use super::super::GapReason;
    use super::*;

    fn message(payload: &[u8]) -> Message {
        Message {
            topic: "t".into(),
            payload: payload.into(),
        }
    }

    fn taken(queue: &Queue) -> Vec<String> {
        let all = std::iter::from_fn(|| queue.take());
        all.map(|next| match next {
            Ok(message) => String::from_utf8_lossy(message.payload()).into_owned(),
            Err(error) => match Gap::of(&error) {
                Some(gap) if gap.reason() == GapReason::Lagged => {
                    format!("lagged {}", gap.missed().unwrap_or(0))
                }
                Some(_) => "cut".to_owned(),
                None => "closed".to_owned(),
            },
        })
        .take(20)
        .collect()
    }

    #[test]
    fn a_full_queue_drops_the_oldest_and_counts_them() {
        let queue = Queue::new(SubscribeOptions::new().queue_max(2));
        for text in ["1", "2", "3", "4", "5"] {
            queue.push(message(text.as_bytes()));
        }
        assert_eq!(taken(&queue), ["lagged 3", "4", "5"]);
        queue.push(message(b"6"));
        assert_eq!(taken(&queue), ["6"]);
    }

    #[test]
    fn bytes_are_bounded_but_one_message_always_fits() {
        let queue = Queue::new(SubscribeOptions::new().queue_bytes_max(10));
        queue.push(message(b"aaaaaa"));
        queue.push(message(b"bbbbbb"));
        assert_eq!(taken(&queue), ["lagged 1", "bbbbbb"]);
        queue.push(message(b"cccccccccccccccc"));
        assert_eq!(taken(&queue), ["cccccccccccccccc"]);
    }

    #[test]
    fn a_gap_stands_where_it_came_and_is_said_once() {
        let queue = Queue::new(SubscribeOptions::new());
        queue.push(message(b"1"));
        queue.gap(Gap::reconnected());
        queue.gap(Gap::reconnected());
        queue.push(message(b"2"));
        assert_eq!(taken(&queue), ["1", "cut", "2"]);
    }

    #[test]
    fn gaps_are_not_dropped_with_what_is_around_them() {
        let queue = Queue::new(SubscribeOptions::new().queue_max(1));
        queue.gap(Gap::reconnected());
        queue.push(message(b"1"));
        assert_eq!(taken(&queue), ["cut", "1"]);
        queue.gap(Gap::reconnected());
        queue.push(message(b"2"));
        queue.push(message(b"3"));
        assert_eq!(taken(&queue), ["lagged 1", "3"]);
    }

    #[test]
    fn what_is_there_can_be_taken_after_the_end() {
        let queue = Queue::new(SubscribeOptions::new());
        queue.push(message(b"1"));
        queue.close();
        assert_eq!(taken(&queue)[..2], ["1", "closed"]);
    }
}
