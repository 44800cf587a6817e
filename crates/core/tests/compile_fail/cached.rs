use larder_core::cache::{Cache, cached};
use larder_core::{Db, Result};

#[cached(prefix = "a")]
async fn without_ttl(cache: &Cache) -> Result<u32> {
    Ok(1)
}

#[cached(ttl = "5 minutes")]
async fn odd_ttl(cache: &Cache) -> Result<u32> {
    Ok(1)
}

#[cached(ttl = "5m", key = "x", skip(nobody))]
async fn unknown_words(cache: &Cache) -> Result<u32> {
    Ok(1)
}

#[cached(ttl = "5m")]
fn not_async(cache: &Cache) -> Result<u32> {
    Ok(1)
}

#[cached(ttl = "5m")]
async fn without_cache(id: u32) -> Result<u32> {
    Ok(id)
}

#[cached(ttl = "5m")]
async fn nameless(cache: &Cache, (one, other): (u32, u32)) -> Result<u32> {
    Ok(one + other)
}

#[cached(ttl = "5m")]
async fn not_a_key(cache: &Cache, db: &Db) -> Result<u32> {
    Ok(1)
}

#[cached(ttl = "5m")]
async fn not_a_result(cache: &Cache) -> u32 {
    1
}

fn main() {}
