//! Many entries at once, for callers that load what is missing by one call: [`find_many`].

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;

use super::entry::CacheEntry;
use super::envelope::Read;
use super::handle::Shared;
use super::metrics::count;
use super::near::Ticket;
use super::store::{Found, LeaseRequest, Leased, Token};

/// How many of the missing entries are filled by one call: the rest is filled by later ones.
const FILLS_MAX: usize = 64;

/// The values of entries of one cache, in the order given; `None` where there is nothing.
///
/// One call of the store looks them up, and one call of `load` brings what is missing: it is given
/// their positions, and answers a value for each. As
/// [`get_or_find`](CacheEntry::get_or_find), but it waits for nobody: what somebody else is loading
/// is loaded here too, and not kept.
///
/// # Errors
/// The loader's.
pub(crate) async fn find_many<T, E, F, Fut>(
    entries: Vec<CacheEntry<T>>,
    load: F,
) -> Result<Vec<Option<T>>, E>
where
    T: Serialize + DeserializeOwned + 'static,
    F: FnOnce(Vec<usize>) -> Fut,
    Fut: Future<Output = Result<Vec<Option<T>>, E>>,
{
    let mut look = Look::new(entries);
    look.near();
    let up = look.store().await;
    let leases = if up { look.lease().await } else { Vec::new() };
    let missing = look.missing();
    if missing.is_empty() {
        return Ok(look.into_answers());
    }
    let started = Instant::now();
    if let Some(entry) = look.entries.first() {
        count(&entry.shared().counters.loads);
    }
    let loaded = load(missing.clone()).await?;
    for (at, value) in missing.into_iter().zip(loaded) {
        look.answers[at] = Some(value);
    }
    for lease in leases {
        look.fill(lease, started).await;
    }
    Ok(look.into_answers())
}

/// Entries, and what is known of them so far.
struct Look<T> {
    entries: Vec<CacheEntry<T>>,
    /// Drawn before the store was asked.
    tickets: Vec<Option<Ticket>>,
    answers: Vec<Option<Option<T>>>,
}

impl<T: Serialize + DeserializeOwned + 'static> Look<T> {
    fn new(entries: Vec<CacheEntry<T>>) -> Self {
        Self {
            tickets: entries.iter().map(CacheEntry::ticket).collect(),
            answers: entries.iter().map(|_| None).collect(),
            entries,
        }
    }

    fn missing(&self) -> Vec<usize> {
        let unknown = |at: &usize| self.answers[*at].is_none();
        (0..self.entries.len()).filter(unknown).collect()
    }

    /// Those missing that the store may be asked for.
    fn askable(&self) -> Vec<usize> {
        let mut missing = self.missing();
        missing.retain(|&at| !self.entries[at].is_barred());
        missing
    }

    fn into_answers(self) -> Vec<Option<T>> {
        self.answers.into_iter().map(Option::flatten).collect()
    }

    fn near(&mut self) {
        for at in self.askable() {
            let entry = &self.entries[at];
            if let Some(answer) = entry.look_near::<Option<T>>() {
                count(&entry.shared().counters.near_hits);
                self.answers[at] = Some(answer);
            }
        }
    }

    /// Asks the store; `false` if it does not answer.
    async fn store(&mut self) -> bool {
        let asked = self.askable();
        let Some(&first) = asked.first() else {
            return true;
        };
        let shared = Arc::clone(self.entries[first].shared());
        let keys: Vec<&str> = asked.iter().map(|&at| &*self.entries[at].key).collect();
        let shape = self.entries[first].shape();
        let Some(found) = shared.call(shared.store.get(&keys, shape)).await else {
            return false;
        };
        for (at, found) in asked.into_iter().zip(found) {
            if !found.is_some_and(|found| self.take(at, &found)) {
                count(&shared.counters.misses);
            }
        }
        true
    }

    /// Takes what the store has, if it is fresh and can be read.
    fn take(&mut self, at: usize, found: &Found) -> bool {
        let entry = &self.entries[at];
        let shared = entry.shared();
        let (Some(left), Some(opened)) = (found.fresh_for, shared.open(&found.value)) else {
            return false;
        };
        let answer = match opened.read() {
            Some(Read::Value(value)) => Some(value),
            Some(Read::Absent) => None,
            None => return false,
        };
        count(&shared.counters.hits);
        entry.keep_near(opened, left, self.tickets[at].clone());
        self.answers[at] = Some(answer);
        true
    }

    /// Takes the leases of what is missing, for as long as the budget of one call allows.
    async fn lease(&mut self) -> Vec<Lease> {
        let mut leases = Vec::new();
        let started = Instant::now();
        for at in self.askable().into_iter().take(FILLS_MAX) {
            let entry = &self.entries[at];
            let shared = Arc::clone(entry.shared());
            let Ok(token) = Token::random() else { break };
            if started.elapsed() > shared.options.budget {
                break;
            }
            // Before it is asked for: dropped meanwhile, it is let go of.
            let lease = Lease::new(&shared, &entry.key, token, at);
            // What is found below was there then; what is outdated before is not kept near.
            self.tickets[at] = entry.ticket();
            let request = LeaseRequest {
                key: &entry.key,
                shape: entry.shape(),
                tags: &entry.tags,
                token,
                lease: shared.options.lease,
                even_if_fresh: false,
            };
            match shared.call(shared.store.lease(request)).await {
                Some(Leased::Taken { .. }) => leases.push(lease),
                Some(Leased::Fresh(found)) => {
                    lease.end();
                    self.take(at, &found);
                }
                Some(Leased::Busy { .. }) => lease.end(),
                None => break,
            }
        }
        leases
    }

    async fn fill(&self, lease: Lease, started: Instant) {
        let entry = &self.entries[lease.at];
        let shared = entry.shared();
        let value = self.answers[lease.at].as_ref().and_then(Option::as_ref);
        let Some(new) = entry.new_entry(value, started.elapsed()) else {
            count(&shared.counters.unkept);
            return;
        };
        let (opened, fresh) = (shared.open(&new.value), new.fresh);
        let fill = shared.store.fill(&entry.key, lease.token, new);
        match shared.call(fill).await {
            Some(true) => {
                shared.filled();
                if let Some(opened) = opened {
                    entry.keep_near(opened, fresh, self.tickets[lease.at].clone());
                }
                lease.end();
            }
            Some(false) => {
                count(&shared.counters.revoked_fills);
                lease.end();
            }
            None => {}
        }
    }
}

/// A lease of one entry, let go of when it is dropped: others need not wait for its end.
struct Lease {
    shared: Arc<Shared>,
    key: Arc<str>,
    token: Token,
    at: usize,
    held: bool,
}

impl Lease {
    fn new(shared: &Arc<Shared>, key: &Arc<str>, token: Token, at: usize) -> Self {
        Self {
            shared: Arc::clone(shared),
            key: Arc::clone(key),
            token,
            at,
            held: true,
        }
    }

    /// There is nothing to let go of.
    fn end(mut self) {
        self.held = false;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(runtime) = Handle::try_current().ok().filter(|_| self.held) else {
            return;
        };
        let (shared, key, token) = (Arc::clone(&self.shared), Arc::clone(&self.key), self.token);
        runtime.spawn(async move { shared.call(shared.store.release(&key, token)).await });
    }
}
