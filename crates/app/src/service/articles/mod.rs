//! Articles: the published posts.
//!
//! - this file: one article: showing, making, changing and deleting it
//! - `list`: lists of them
//! - `view`: how they are loaded and shown
//! - `slug`: the part of the address that names one
//! - `tagging`: their tags

pub(crate) mod list;
mod slug;
mod tagging;
pub(crate) mod view;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use larder_core::models::{Post, PostPatch, PostStatus, Tag, User};
use larder_core::{Db, Id, Insert, Result, Tx};

use self::slug::Slugs;
use self::view::ArticleBody;
use super::auth::{SignedIn, Viewer};
use super::error::{ApiError, Outcome};
use super::extract::{JsonBody, Named};
use super::form::{Form, Text};
use super::state::App;

/// One line.
const TITLE: Text = Text::line(200);
/// A sentence or two.
const DESCRIPTION: Text = Text::lines(1_000);
/// The text.
const BODY: Text = Text::lines(200_000);
/// A word.
const TAG: Text = Text::line(64);
/// The most tags of an article.
const TAGS_MAX: usize = 50;

/// What a new article needs.
#[derive(Insert, Clone, Debug)]
#[insert(Post)]
struct NewArticle {
    author_id: Id<User>,
    slug: String,
    title: String,
    summary: String,
    content: String,
    status: PostStatus,
}

/// `GET /articles/{slug}`
pub(crate) async fn show(
    State(app): State<App>,
    viewer: Viewer,
    Named([slug]): Named<1>,
) -> Outcome<Json<ArticleBody>> {
    let article = view::by_slug(app.db(), &slug, viewer.id()).await?;
    article
        .map(Json)
        .ok_or_else(|| ApiError::not_found("article"))
}

/// `POST /articles`
pub(crate) async fn create(
    State(app): State<App>,
    user: SignedIn,
    JsonBody(body): JsonBody,
) -> Outcome<(StatusCode, Json<ArticleBody>)> {
    let mut form = Form::parse(&body, "article")?;
    let title = form.required("title", TITLE);
    let summary = form.required("description", DESCRIPTION);
    let content = form.required("body", BODY);
    let tags = form.list("tagList", TAG, TAGS_MAX).unwrap_or_default();
    form.finish()?;
    let new = NewArticle {
        author_id: user.id,
        slug: String::new(),
        title,
        summary,
        content,
        status: PostStatus::Published,
    };
    let post = publish(app.db(), new, tags).await?;
    Ok((StatusCode::CREATED, shown(&app, post, user.id).await?))
}

/// Stores a new article under the first slug that is free.
async fn publish(db: &Db, new: NewArticle, tags: Vec<String>) -> Outcome<Id<Post>> {
    let tags = tagging::find_or_make(db, tags).await?;
    for slug in Slugs::of(&new.title) {
        let new = NewArticle {
            slug,
            ..new.clone()
        };
        let stored = db.transaction(|tx| store(tx, new.clone(), tags.clone()));
        match stored.await {
            Err(error) if error.violates(Post::SLUG) => {} // the next one
            Err(error) if error.violates(Post::AUTHOR_ID) => return Err(ApiError::token_invalid()),
            stored => return Ok(stored?),
        }
    }
    Err(ApiError::busy()) // so many random endings are never all taken
}

async fn store(tx: Tx, new: NewArticle, tags: Vec<Id<Tag>>) -> Result<Id<Post>> {
    let post = tx.insert(new).await?.id;
    tagging::add(&tx, post, &tags).await?;
    Ok(post)
}

/// `PUT /articles/{slug}`: a new title gives it a new slug, as the API says.
pub(crate) async fn update(
    State(app): State<App>,
    user: SignedIn,
    Named([slug]): Named<1>,
    JsonBody(body): JsonBody,
) -> Outcome<Json<ArticleBody>> {
    let post = find_own(app.db(), &slug, user.id).await?;
    let mut form = Form::parse(&body, "article")?;
    let patch = PostPatch {
        title: form.optional("title", TITLE),
        summary: form.optional("description", DESCRIPTION),
        content: form.optional("body", BODY),
        ..PostPatch::default()
    };
    let tags = form.list("tagList", TAG, TAGS_MAX);
    form.finish()?;
    change(app.db(), &post, patch, tags).await?;
    shown(&app, post.id, user.id).await
}

async fn change(db: &Db, post: &Post, patch: PostPatch, tags: Option<Vec<String>>) -> Outcome<()> {
    let tags = match tags {
        Some(tags) => Some(tagging::find_or_make(db, tags).await?),
        None => None,
    };
    let retitled = patch.title.as_ref().filter(|title| **title != post.title);
    let slugs = match retitled {
        Some(title) => Slugs::of(title).map(Some).collect(),
        None => vec![None],
    };
    for slug in slugs {
        let patch = PostPatch {
            slug,
            ..patch.clone()
        };
        let changed = db.transaction(|tx| rewrite(tx, post.id, patch.clone(), tags.clone()));
        match changed.await {
            Err(error) if error.violates(Post::SLUG) => {} // the next one
            Err(error) if error.is_not_found() => return Err(ApiError::not_found("article")),
            changed => return Ok(changed?),
        }
    }
    Err(ApiError::busy())
}

async fn rewrite(
    tx: Tx,
    post: Id<Post>,
    patch: PostPatch,
    tags: Option<Vec<Id<Tag>>>,
) -> Result<()> {
    // Of two who change its tags, the second waits here for the first.
    if tags.is_some() {
        let now = tx.now();
        tx.update::<Post>(post, Post::UPDATED_AT.set(Some(now)))
            .await?;
    }
    tx.update(post, patch).await?;
    if let Some(tags) = tags {
        tagging::replace(&tx, post, &tags).await?;
    }
    Ok(())
}

/// `DELETE /articles/{slug}`: with its comments, and all who like it.
pub(crate) async fn delete(
    State(app): State<App>,
    user: SignedIn,
    Named([slug]): Named<1>,
) -> Outcome<StatusCode> {
    let post = find_own(app.db(), &slug, user.id).await?;
    if app.db().delete::<Post>(post.id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::not_found("article"))
    }
}

/// The article as it is now.
pub(crate) async fn shown(
    app: &App,
    post: Id<Post>,
    viewer: Id<User>,
) -> Outcome<Json<ArticleBody>> {
    let article = view::by_id(app.db(), post, viewer).await?;
    article
        .map(Json)
        .ok_or_else(|| ApiError::not_found("article"))
}

/// The key of the article with this slug.
pub(crate) async fn find(db: &Db, slug: &str, viewer: Option<Id<User>>) -> Outcome<Id<Post>> {
    let found = db.query::<Post>().filter(view::visible(slug, viewer));
    let found = found.select(Post::ID).first().await?;
    found.ok_or_else(|| ApiError::not_found("article"))
}

/// The article with this slug, if it is the user's own.
async fn find_own(db: &Db, slug: &str, user: Id<User>) -> Outcome<Post> {
    let found = db.query::<Post>().filter(view::visible(slug, Some(user)));
    match found.first().await? {
        None => Err(ApiError::not_found("article")),
        Some(post) if post.author_id != user => Err(ApiError::forbidden("article")),
        Some(post) => Ok(post),
    }
}
