//! Caches: values kept for a while, loaded once however many ask, and never served after they were
//! invalidated.
//!
//! ```text
//!   cache.entry("user:1").get_or_set(load)
//!        │
//!        ├─ near cache (in the process, up to a second)     ── hit ──> value
//!        ├─ CacheStore: LocalCache | StoredCache | Redis    ── fresh ─> value
//!        ├─ one task of this process ── lease ──> one process: load, then fill
//!        └─ the others wait for it
//! ```
//!
//! What it promises:
//!
//! - **A failing cache is an empty one.** It costs its budget (50 ms), and after some failures nothing;
//!   what loads meanwhile is limited in number. No caller sees an error of the cache.
//! - **What was invalidated is gone.** Once [`Cache::invalidate`] has answered, nobody who asks the
//!   store gets the old value, not even what was loaded before and is filled after: filling takes a
//!   lease, and invalidation ends it. If the store cannot be told, the keys are barred in this process
//!   and the store is told again.
//! - **One loads.** Of a thousand tasks that miss a key, one runs its loader; of several processes
//!   too, by a lease. If it fails or is dropped, the next one's turn comes.
//! - **Errors are not kept**; that there is nothing is, for a few seconds ([`CacheEntry::get_or_find`]).
//! - **Bytes are checked.** What cannot be read, or is another version of the type, is a miss.
//!
//! What it leaves to you: to invalidate after the commit, and to have one name for one thing.
//! Inside a transaction do not fill a cache: what you see may never be committed.
//!
//! The races that these promises are about, and their names, are known from Facebook's memcache (Nishtala
//! et al.: Scaling Memcache at Facebook, NSDI 2013), from which leases are taken.

#[doc(hidden)]
pub mod attribute;
mod barred;
mod entry;
mod envelope;
mod flight;
mod forget;
mod handle;
mod listen;
mod local;
pub(crate) mod many;
mod metrics;
mod near;
mod options;
mod record;
mod shape;
mod store;
mod stored;

/// ```
/// use larder_core::cache::{Cache, LocalCache, cached};
/// use larder_core::models::{self, NewUser, User, UserPatch};
/// use larder_core::{Db, Id, Memory, Result};
///
/// #[cached(ttl = "30m", prefix = "user", absent = "5s", tags("users"), skip(db))]
/// async fn find_user(cache: &Cache, db: &Db, id: Id<User>) -> Result<Option<User>> {
///     db.get(id).await
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
/// # let db = Db::new(Memory::with_tables(&models::tables()));
/// # let cache = Cache::new(LocalCache::new(1 << 20));
/// let id = db.insert(NewUser::without_password("ada@example.com", "Ada")?).await?.id;
/// assert_eq!(find_user(&cache, &db, id).await?.map(|user| user.name).as_deref(), Some("Ada"));
///
/// let patch = UserPatch { name: Some("Ada L.".into()), ..UserPatch::default() };
/// db.update(id, patch).await?;
/// find_user::invalidate(&cache, id).await?; // after the commit
/// assert_eq!(find_user(&cache, &db, id).await?.map(|user| user.name).as_deref(), Some("Ada L."));
/// # Ok(()) }
/// ```
pub use larder_derive::cached;

pub use entry::CacheEntry;
pub use envelope::Codec;
pub use handle::Cache;
pub use local::LocalCache;
pub use metrics::CacheMetrics;
pub use options::{CacheOptions, NearOptions};
pub use store::{CacheStore, Found, LeaseRequest, Leased, NewEntry, Token};
pub use stored::{CacheRow, CacheTag, StoredCache, tables};
