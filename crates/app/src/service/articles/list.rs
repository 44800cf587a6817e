//! Lists of articles, newest first. A list costs the same number of queries however long it is.

use axum::Json;
use axum::extract::State;
use larder_core::models::{Favorite, Follow, Post, PostStatus, PostTag, Tag, User};
use larder_core::{Db, Id, Predicate};
use serde::Serialize;

use super::view::{self, Article};
use crate::service::auth::{SignedIn, Viewer};
use crate::service::error::Outcome;
use crate::service::extract::Parameters;
use crate::service::state::App;

/// How many articles a page has unless the query says so.
const LIMIT: u64 = 20;
/// The most articles of a page.
const LIMIT_MAX: u64 = 1_000;
/// The furthest a page can be: every engine counts so far.
const OFFSET_MAX: u64 = i64::MAX as u64;

/// `{"articles":[..],"articlesCount":..}`
#[derive(Serialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ArticlesBody {
    articles: Vec<Article>,
    articles_count: u64,
}

/// `GET /articles?tag=&author=&favorited=&limit=&offset=`
pub(crate) async fn all(
    State(app): State<App>,
    viewer: Viewer,
    parameters: Parameters,
) -> Outcome<Json<ArticlesBody>> {
    let page = Page::of(&parameters)?;
    let mut filter = published();
    if let Some(tag) = parameters.text("tag")? {
        let tagged = PostTag::TAG_ID.whose(Tag::NAME.eq(tag));
        filter = filter.and(PostTag::POST_ID.any(tagged));
    }
    if let Some(author) = parameters.text("author")? {
        filter = filter.and(Post::AUTHOR_ID.whose(User::USERNAME.eq(author)));
    }
    if let Some(fan) = parameters.text("favorited")? {
        let liked = Favorite::USER_ID.whose(User::USERNAME.eq(fan));
        filter = filter.and(Favorite::POST_ID.any(liked));
    }
    page.load(app.db(), filter, viewer.id()).await
}

/// `GET /articles/feed?limit=&offset=`: by those whom the viewer follows.
pub(crate) async fn feed(
    State(app): State<App>,
    user: SignedIn,
    parameters: Parameters,
) -> Outcome<Json<ArticlesBody>> {
    let page = Page::of(&parameters)?;
    let followed = Follow::FOLLOWED_ID.any(Follow::FOLLOWER_ID.eq(user.id));
    let filter = published().and(Post::AUTHOR_ID.whose::<User>(followed));
    page.load(app.db(), filter, Some(user.id)).await
}

fn published() -> Predicate<Post> {
    Post::STATUS.eq(PostStatus::Published)
}

/// Which part of a list is asked for.
#[derive(Clone, Copy, Debug)]
struct Page {
    limit: u64,
    offset: u64,
}

impl Page {
    fn of(parameters: &Parameters) -> Outcome<Self> {
        Ok(Self {
            limit: parameters.number("limit", 1..=LIMIT_MAX, LIMIT)?,
            offset: parameters.number("offset", 0..=OFFSET_MAX, 0)?,
        })
    }

    async fn load(
        self,
        db: &Db,
        filter: Predicate<Post>,
        viewer: Option<Id<User>>,
    ) -> Outcome<Json<ArticlesBody>> {
        let filter = filter.into_filter()?;
        let matching = || db.query::<Post>().filter(filter.clone().into());
        let page = matching()
            .order(Post::CREATED_AT.desc())
            .order(Post::ID.desc())
            .limit(self.limit)
            .offset(self.offset);
        let (found, articles_count) = tokio::try_join!(page.load(), matching().count())?;
        Ok(Json(ArticlesBody {
            articles: view::of_list(db, found, viewer).await?,
            articles_count,
        }))
    }
}
