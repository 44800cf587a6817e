//! Articles as they are loaded and shown.
//!
//! ```text
//!   posts             1 query
//!     authors         1 ┐
//!     their tags      1 ├ one round trip
//!     who likes them  1 ┘
//!       tags          1
//!   the viewer's ties 2   if there is one
//! ```

use larder_core::models::{Favorite, Post, PostStatus, PostTag, Tag, User};
use larder_core::{Db, Id, Load, Predicate, Result, Timestamp};
use serde::{Serialize, Serializer};

use crate::service::profiles::{Author, Profile};
use crate::service::viewing::Ties;

/// What a list reads of an article.
#[derive(Load, Debug)]
#[load(Post)]
pub(crate) struct Listed {
    id: Id<Post>,
    slug: String,
    title: String,
    summary: String,
    created_at: Timestamp,
    updated_at: Option<Timestamp>,
    #[load(via = Post::AUTHOR_ID)]
    author: Author,
    #[load(via = PostTag::POST_ID, order = PostTag::POSITION.asc())]
    tags: Vec<Tagged>,
    #[load(count, via = Favorite::POST_ID)]
    favorites: u64,
}

/// One of an article's tags.
#[derive(Load, Debug)]
#[load(PostTag)]
struct Tagged {
    #[load(via = PostTag::TAG_ID)]
    tag: Tag,
}

/// All of an article.
#[derive(Load, Debug)]
#[load(Post)]
struct Whole {
    #[load(flatten)]
    listed: Listed,
    content: String,
}

/// An article as the API shows it; in lists without its body.
#[derive(Serialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Article {
    slug: String,
    title: String,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    tag_list: Vec<String>,
    created_at: Millis,
    updated_at: Millis,
    favorited: bool,
    favorites_count: u64,
    author: Profile,
}

/// `{"article":{..}}`
#[derive(Serialize, Clone, Debug)]
pub(crate) struct ArticleBody {
    article: Article,
}

/// An instant as the API writes it: ISO 8601 in UTC, to the millisecond.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Millis(pub(crate) Timestamp);

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.3}", self.0.to_jiff()))
    }
}

/// The article with this slug, if there is one that the viewer may see.
pub(crate) async fn by_slug(
    db: &Db,
    slug: &str,
    viewer: Option<Id<User>>,
) -> Result<Option<ArticleBody>> {
    let found = db.query::<Post>().filter(visible(slug, viewer));
    let found = found.limit(1).load::<Whole>().await?.pop();
    complete(db, found, viewer).await
}

/// The article with this key, to its author or somebody who likes it.
pub(crate) async fn by_id(db: &Db, id: Id<Post>, viewer: Id<User>) -> Result<Option<ArticleBody>> {
    let found = db.query::<Post>().by_key(id).load::<Whole>().await?;
    complete(db, found, Some(viewer)).await
}

/// The article with this key as lists show it, to nobody in particular, if it is published.
pub(crate) async fn listed(db: &Db, id: Id<Post>) -> Result<Option<ArticleBody>> {
    let published = Post::ID.eq(id).and(Post::STATUS.eq(PostStatus::Published));
    let found = db.query::<Post>().filter(published).limit(1).load().await?;
    let article = of_list(db, found, None).await?.pop();
    Ok(article.map(|article| ArticleBody { article }))
}

/// The post with this slug, if the viewer may see it: a draft is its author's.
pub(crate) fn visible(slug: &str, viewer: Option<Id<User>>) -> Predicate<Post> {
    let shown = Post::STATUS.ne(PostStatus::Draft);
    let shown = match viewer {
        Some(viewer) => shown.or(Post::AUTHOR_ID.eq(viewer)),
        None => shown,
    };
    Post::SLUG.eq(slug).and(shown)
}

async fn complete(
    db: &Db,
    found: Option<Whole>,
    viewer: Option<Id<User>>,
) -> Result<Option<ArticleBody>> {
    let Some(Whole { listed, content }) = found else {
        return Ok(None);
    };
    let ties = Ties::of(db, viewer, [listed.id], [listed.author.id]).await?;
    let article = Article {
        body: Some(content),
        ..listed.into_article(&ties)
    };
    Ok(Some(ArticleBody { article }))
}

/// The articles of a list, as its viewer sees them.
pub(crate) async fn of_list(
    db: &Db,
    found: Vec<Listed>,
    viewer: Option<Id<User>>,
) -> Result<Vec<Article>> {
    let posts = found.iter().map(|listed| listed.id);
    let authors = found.iter().map(|listed| listed.author.id);
    let ties = Ties::of(db, viewer, posts, authors).await?;
    Ok(found
        .into_iter()
        .map(|listed| listed.into_article(&ties))
        .collect())
}

impl Listed {
    fn into_article(self, ties: &Ties) -> Article {
        let following = ties.follows(self.author.id);
        Article {
            favorited: ties.likes(self.id),
            slug: self.slug,
            title: self.title,
            description: self.summary,
            body: None,
            tag_list: self
                .tags
                .into_iter()
                .map(|tagged| tagged.tag.name)
                .collect(),
            created_at: Millis(self.created_at),
            updated_at: Millis(self.updated_at.unwrap_or(self.created_at)),
            favorites_count: self.favorites,
            author: self.author.into_profile(following),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_have_milliseconds() {
        for (at, shown) in [
            ("2016-02-18T03:22:56Z", "\"2016-02-18T03:22:56.000Z\""),
            (
                "2016-02-18T03:22:56.637999Z",
                "\"2016-02-18T03:22:56.637Z\"",
            ),
        ] {
            let at = Millis(at.parse().expect("an instant"));
            assert_eq!(serde_json::to_string(&at).expect("text"), shown);
        }
    }
}
