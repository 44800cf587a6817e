//! Invalidation: the store is told, then this process's memory is outdated once more, then others are
//! told. What cannot be told to the store is barred here and told again.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::handle::Shared;
use super::near::{self, Mark};
use crate::error::{Error, ErrorKind, Result};

/// Pauses between attempts: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// What is to be forgotten, by the names that the store knows.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Keys(Vec<Arc<str>>),
    Tags(Vec<Arc<str>>),
}

impl Target {
    fn names(&self) -> &[Arc<str>] {
        match self {
            Self::Keys(names) | Self::Tags(names) => names,
        }
    }
}

/// Forgets, whether or not the caller stays to see.
pub(super) async fn forget(shared: &Arc<Shared>, target: Target) -> Result<()> {
    if target.names().is_empty() {
        return Ok(());
    }
    outdate(shared, &target);
    let shared = Arc::clone(shared);
    match tokio::spawn(forget_or_bar(shared, target)).await {
        Ok(outcome) => outcome,
        Err(error) => {
            Err(Error::new(ErrorKind::Closed, "the runtime is shutting down").with_source(error))
        }
    }
}

async fn forget_or_bar(shared: Arc<Shared>, target: Target) -> Result<()> {
    let told = tell_store(&shared, &target).await;
    if told.is_ok() {
        confirm(&shared, &target).await;
    } else {
        shared.barred.bar(target.names());
        outdate(&shared, &target);
        tokio::spawn(again(Arc::downgrade(&shared), target));
    }
    told
}

/// Tells the store until it has taken it, or the cache is gone.
async fn again(shared: Weak<Shared>, target: Target) {
    let mut pause = PAUSES.0;
    loop {
        tokio::time::sleep(pause).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        if tell_store(&shared, &target).await.is_ok() {
            confirm(&shared, &target).await;
            shared.barred.confirm(target.names());
            return;
        }
        pause = (pause * 2).min(PAUSES.1);
    }
}

async fn tell_store(shared: &Shared, target: &Target) -> Result<()> {
    let names: Vec<&str> = target.names().iter().map(AsRef::as_ref).collect();
    let told = match target {
        Target::Keys(_) => shared.store.delete(&names),
        Target::Tags(_) => shared.store.revoke_tags(&names),
    };
    within(shared.options.invalidation_timeout, told).await
}

/// The store has forgotten: what was looked up before that must not be served after it.
async fn confirm(shared: &Shared, target: &Target) {
    outdate(shared, target);
    let near = shared.options.near.as_ref();
    let Some(feed) = near.and_then(|near| near.feed.as_ref()) else {
        return;
    };
    let marks: Vec<Mark> = target.names().iter().map(|name| near::mark(name)).collect();
    let mut message = shared.id.to_le_bytes().to_vec();
    message.extend(near::message(&marks, feed.payload_max().saturating_sub(8)));
    let topic = super::listen::topic(shared);
    let publish = feed.publish(&topic, &message);
    // Who misses it is bounded by the near cache's time to live.
    if let Err(error) = within(shared.options.invalidation_timeout, publish).await {
        tracing::warn!(target: "larder::cache", %error, "others could not be told");
    }
}

fn outdate(shared: &Shared, target: &Target) {
    match target {
        Target::Keys(keys) => shared.outdate_keys(keys),
        Target::Tags(tags) => {
            // Which keys they are nobody knows.
            shared.flights.detach_all();
            if let Some(near) = &shared.near {
                near.outdate(tags.iter().map(|tag| near::mark(tag)));
            }
        }
    }
}

/// Waits for a call of the store, but not for ever.
pub(super) async fn within<R>(limit: Duration, call: impl Future<Output = Result<R>>) -> Result<R> {
    match tokio::time::timeout(limit, call).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::new(
            ErrorKind::Timeout,
            format!("the cache's store did not answer within {limit:?}"),
        )),
    }
}
