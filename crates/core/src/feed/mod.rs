//! Feeds: messages to whoever listens now, and changes of entities for whoever reads them later.
//!
//! ```text
//!   publish ──> Feed ──> Subscription, Subscription, ..     now or never; a slow one is told: Gap
//!
//!   insert, update, delete ──> Recorded ──> larder_changes  in the same transaction
//!                                             │
//!                               ChangeFeed::after, Tail     by position: resumed anywhere
//!                               Group ──> Consumer          each change to one, until acknowledged
//! ```
//!
//! | | a [`Feed`] | a [`ChangeFeed`] |
//! |---|---|---|
//! | carries | bytes, or values through serde ([`Topic`]) | which rows were written, and how |
//! | a message that is published while nobody listens | is gone | is kept for as long as the retention |
//! | if the publisher's transaction rolls back | was published all the same | was never there |
//! | a slow reader | misses messages, and is told how many | reads on from where it is |
//! | for | waking, hints, dropping cached values | work that must be done, live pages that resume |
//!
//! Whoever misses something gets an error of the kind [`Gap`](crate::ErrorKind::Gap), once, with a
//! [`Gap`] in it, and then what comes behind it. Nothing is skipped in silence.

mod cascade;
mod change;
mod gap;
mod group;
mod hub;
mod local;
mod pubsub;
mod pulse;
mod reader;
mod recorded;
mod recorder;
mod retention;
mod subscription;
mod tables;
mod tail;
mod topic;
mod transaction;
mod values;
mod watch;

pub use change::{Change, Operation, Position};
pub use gap::{Gap, GapReason};
pub use group::{Consumer, Delivery, Group, GroupOptions, Start};
pub use hub::{Hub, Interest, channel};
pub use local::LocalFeed;
pub use pubsub::{Feed, Message, SubscribeOptions, check_topic};
pub use reader::{ChangeFeed, ChangeFeedOptions};
pub use recorded::{Recorded, Recording};
pub use subscription::Subscription;
pub use tables::{ChangeRow, DeliveryRow, GroupRow, MarkRow, tables};
pub use tail::Tail;
pub use topic::{Topic, TopicSubscription};
