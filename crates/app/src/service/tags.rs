//! The tags that articles have.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use larder_core::models::{Post, PostStatus, PostTag, Tag};
use larder_core::{Db, Result, count};
use serde::Serialize;

use super::error::Outcome;
use super::state::App;

/// The most tags shown.
const SHOWN_MAX: u64 = 1_000;

/// `{"tags":[..]}`
#[derive(Serialize, Clone, Debug)]
pub(crate) struct TagsBody {
    tags: Vec<String>,
}

/// `GET /tags`: those that published articles have, the most used first.
pub(crate) async fn list(State(app): State<App>) -> Outcome<Json<TagsBody>> {
    let tags = popular(app.db()).await?;
    Ok(Json(TagsBody { tags }))
}

async fn popular(db: &Db) -> Result<Vec<String>> {
    let used = PostTag::POST_ID.whose(Post::STATUS.eq(PostStatus::Published));
    let used = db
        .query::<PostTag>()
        .filter(used)
        .group_by(PostTag::TAG_ID)
        .order(count().desc())
        .order(PostTag::TAG_ID.asc())
        .limit(SHOWN_MAX)
        .select(PostTag::TAG_ID)
        .all()
        .await?;
    let names = db.query::<Tag>().filter(Tag::ID.in_(&used));
    let names = names.select((Tag::ID, Tag::NAME)).all().await?;
    let mut names: HashMap<_, _> = names.into_iter().collect();
    Ok(used.iter().filter_map(|id| names.remove(id)).collect())
}
