//! Listening to what other processes invalidate.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::handle::Shared;
use super::near::marks;
use crate::feed::{Feed, SubscribeOptions, Subscription};

/// How long to wait before subscribing once more.
const PAUSE: Duration = Duration::from_secs(1);

/// The topic of a cache's messages.
pub(super) fn topic(shared: &Shared) -> String {
    format!("larder.cache.{}", shared.options.name)
}

/// Begins to listen, if there is anything to listen to.
pub(super) fn start(shared: &Arc<Shared>) -> Option<AbortHandle> {
    let feed = Arc::clone(shared.options.near.as_ref()?.feed.as_ref()?);
    let runtime = Handle::try_current().ok()?;
    let listening = listen(Arc::downgrade(shared), feed, topic(shared));
    Some(runtime.spawn(listening).abort_handle())
}

async fn listen(shared: Weak<Shared>, feed: Arc<dyn Feed>, topic: String) {
    loop {
        match feed.subscribe(&[&topic], SubscribeOptions::new()).await {
            Ok(subscription) => follow(&shared, subscription).await,
            Err(error) => {
                tracing::warn!(target: "larder::cache", %error, "cannot listen to invalidations");
            }
        }
        if shared.strong_count() == 0 {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Does what messages say until the feed is closed. What was kept before, or while messages were
/// missed, is outdated.
async fn follow(shared: &Weak<Shared>, mut subscription: Subscription) {
    outdate_all(shared);
    loop {
        match subscription.next().await {
            Ok(message) => apply(shared, message.payload()),
            Err(error) => {
                outdate_all(shared);
                if error.is_closed() {
                    return;
                }
            }
        }
    }
}

fn apply(shared: &Weak<Shared>, payload: &[u8]) {
    let Some(shared) = shared.upgrade() else {
        return;
    };
    let Some(near) = &shared.near else { return };
    match payload.split_first_chunk::<8>() {
        Some((id, _)) if u64::from_le_bytes(*id) == shared.id => {}
        Some((_, told)) => match marks(told) {
            Some(told) => near.outdate(told),
            None => near.outdate_all(),
        },
        None => near.outdate_all(),
    }
}

fn outdate_all(shared: &Weak<Shared>) {
    if let Some(near) = shared.upgrade().as_ref().and_then(|one| one.near.as_ref()) {
        near.outdate_all();
    }
}
