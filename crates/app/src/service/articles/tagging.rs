//! The tags of an article, in their order.

use std::collections::HashMap;

use larder_core::models::{NewTag, Post, PostTag, Tag};
use larder_core::{Db, Id, Result};

/// The keys of tags with these names, in the order given; those that are new are made.
///
/// Outside of the article's transaction, so that nobody waits for it who uses the same tags. A tag
/// that no article has is in no list.
pub(super) async fn find_or_make(db: &Db, names: Vec<String>) -> Result<Vec<Id<Tag>>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let mut known = find(db, &names).await?;
    if known.len() < names.len() {
        let mut new: Vec<&String> = names
            .iter()
            .filter(|name| !known.contains_key(*name))
            .collect();
        new.sort_unstable(); // two that make the same ones do so in one order
        let new = new.into_iter().map(NewTag::new);
        db.upsert(new).on(Tag::NAME).ignore().run().await?;
        known = find(db, &names).await?;
    }
    Ok(names
        .iter()
        .filter_map(|name| known.get(name).copied())
        .collect())
}

async fn find(db: &Db, names: &[String]) -> Result<HashMap<String, Id<Tag>>> {
    let found = db.query::<Tag>().filter(Tag::NAME.in_(names));
    let found = found.select((Tag::NAME, Tag::ID)).all().await?;
    Ok(found.into_iter().collect())
}

/// Gives the tags to an article that has none of them.
pub(super) async fn add(db: &Db, post: Id<Post>, tags: &[Id<Tag>]) -> Result<()> {
    let pairs = (0..).zip(tags).map(|(position, &tag_id)| PostTag {
        post_id: post,
        tag_id,
        position,
    });
    db.insert_all(pairs).await?;
    Ok(())
}

/// Gives an article these tags instead of those it has.
pub(super) async fn replace(db: &Db, post: Id<Post>, tags: &[Id<Tag>]) -> Result<()> {
    let old = db.query::<PostTag>().filter(PostTag::POST_ID.eq(post));
    old.delete().await?;
    add(db, post, tags).await
}
