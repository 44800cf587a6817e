//! What `#[cached]` writes calls of.

use std::future::Future;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use super::handle::Cache;

use super::entry::CacheEntry;
use crate::error::{Error, Result};

/// A part of a key: whatever serde can write. Maps and sets without an order make a key of chance.
pub fn keyed<T: Serialize + ?Sized>(argument: &T) -> &T {
    argument
}

/// The key of these arguments: compact bytes that say where each argument ends (postcard), as text.
/// `None` if one of them cannot be written.
pub fn key(prefix: &str, arguments: &impl Serialize) -> Option<String> {
    let bytes = postcard::to_stdvec(arguments).ok()?;
    let mut key = format!("{prefix}:");
    URL_SAFE_NO_PAD.encode_string(bytes, &mut key);
    Some(key)
}

/// [`key`], or an error that says so.
pub fn key_or_error(prefix: &str, arguments: &impl Serialize) -> Result<String> {
    key(prefix, arguments).ok_or_else(|| {
        let message = format!("an argument of `{prefix}` cannot be serialised: nothing is cached");
        Error::invalid(message)
    })
}

/// The entry of a key.
pub fn entry<T>(cache: &Cache, key: &str) -> CacheEntry<T> {
    cache.entry(key)
}

/// A function that answers a value or an error.
pub async fn load<T, E, Fut>(
    entry: CacheEntry<T>,
    load: impl FnOnce() -> Fut + Send,
) -> Result<T, E>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send,
{
    entry.get_or_set(load).await
}

/// A function that answers a value.
pub async fn load_infallibly<T, Fut>(entry: CacheEntry<T>, load: impl FnOnce() -> Fut + Send) -> T
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
    Fut: Future<Output = T> + Send,
{
    let load = || async { Ok::<_, std::convert::Infallible>(load().await) };
    let Ok(value) = entry.get_or_set(load).await;
    value
}

/// A function that answers that there is a value or none, or an error.
pub async fn find<T, E, Fut>(
    entry: CacheEntry<T>,
    find: impl FnOnce() -> Fut + Send,
) -> Result<Option<T>, E>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
    Fut: Future<Output = Result<Option<T>, E>> + Send,
{
    entry.get_or_find(find).await
}

/// A function that answers that there is a value or none.
pub async fn find_infallibly<T, Fut>(
    entry: CacheEntry<T>,
    find: impl FnOnce() -> Fut + Send,
) -> Option<T>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
    Fut: Future<Output = Option<T>> + Send,
{
    let find = || async { Ok::<_, std::convert::Infallible>(find().await) };
    let Ok(found) = entry.get_or_find(find).await;
    found
}

/// Forgets a key.
pub async fn invalidate(cache: &Cache, key: &str) -> Result<()> {
    cache.invalidate(&[key]).await
}
