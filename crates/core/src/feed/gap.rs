//! [`Gap`]: that a reader has missed something, said and never skipped over in silence.

use std::error::Error as StdError;
use std::fmt;

use super::Position;
use crate::error::{Error, ErrorKind};

/// What a reader missed. Travels in an [`Error`] of the kind [`ErrorKind::Gap`]; the reader goes on
/// behind the gap when it is asked again.
///
/// ```
/// use larder_core::feed::{Feed, Gap, GapReason, LocalFeed, SubscribeOptions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// let feed = LocalFeed::new();
/// let options = SubscribeOptions::new().queue_max(1);
/// let mut slow = feed.subscribe(&["news"], options).await?;
/// for text in ["one", "two", "three"] {
///     feed.publish("news", text.as_bytes()).await?;
/// }
/// let missed = slow.next().await.expect_err("two did not fit");
/// let gap = Gap::of(&missed).expect("the error says what was missed");
/// assert_eq!((gap.reason(), gap.missed()), (GapReason::Lagged, Some(2)));
/// assert_eq!(slow.next().await?.payload(), b"three");
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    reason: GapReason,
    missed: Option<u64>,
    resume: Option<Position>,
}

/// Why something was missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GapReason {
    /// The reader was too slow for its queue, and the oldest messages were dropped.
    Lagged,
    /// The way to the store was cut for a while; what was published meanwhile did not arrive.
    Reconnected,
    /// What the reader had yet to see is older than the feed keeps.
    Purged,
    /// The reader's position lies behind the end of the feed: it is of another feed, or the store
    /// was set back to an earlier state.
    Ahead,
}

impl Gap {
    pub(crate) const fn new(reason: GapReason) -> Self {
        Self {
            reason,
            missed: None,
            resume: None,
        }
    }

    /// So many messages that were dropped before they could be handed over: for implementors.
    pub const fn lagged(missed: u64) -> Self {
        Self {
            missed: Some(missed),
            ..Self::new(GapReason::Lagged)
        }
    }

    pub(crate) const fn resuming_at(reason: GapReason, position: Position) -> Self {
        Self {
            resume: Some(position),
            ..Self::new(reason)
        }
    }

    /// Messages that a broken connection, or a store's own buffer, has lost: for implementors.
    pub const fn reconnected() -> Self {
        Self::new(GapReason::Reconnected)
    }

    /// Why.
    pub const fn reason(&self) -> GapReason {
        self.reason
    }

    /// How many messages were missed, where that is known.
    pub const fn missed(&self) -> Option<u64> {
        self.missed
    }

    /// From where on a reader of changes can go on; `None` for messages, which go on by themselves.
    pub const fn resume(&self) -> Option<Position> {
        self.resume
    }

    /// The gap that an error is about, if it is about one.
    pub fn of(error: &Error) -> Option<&Self> {
        error.source()?.downcast_ref()
    }

    /// The error that says so.
    #[cold]
    pub fn into_error(self) -> Error {
        let message = match self.reason {
            GapReason::Lagged => {
                "the subscriber was too slow and has missed messages: read anew what they are about"
            }
            GapReason::Reconnected => {
                "the connection was lost and messages with it: read anew what they are about"
            }
            GapReason::Purged => {
                "changes behind this position are no longer kept: read anew what they are about, \
                 and go on from the position that the gap names"
            }
            GapReason::Ahead => {
                "the feed has not come to this position, which is of another feed or of a later \
                 state: read anew what it is about, and go on from the position that the gap names"
            }
        };
        Error::new(ErrorKind::Gap, message).with_source(self)
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.reason, self.missed) {
            (GapReason::Lagged, Some(missed)) => write!(f, "{missed} messages were dropped"),
            (GapReason::Lagged, None) => f.write_str("messages were dropped"),
            (GapReason::Reconnected, _) => f.write_str("the connection was lost for a while"),
            (GapReason::Purged, _) => f.write_str("changes are no longer kept"),
            (GapReason::Ahead, _) => f.write_str("the position is behind the feed's end"),
        }
    }
}

impl StdError for Gap {}
