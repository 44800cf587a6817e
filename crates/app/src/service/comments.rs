//! Comments on articles.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use larder_core::models::{Comment, NewComment, Post, PostStatus};
use larder_core::{Db, Id, Load, Result, Timestamp};
use serde::Serialize;

use super::articles::{self, view::Millis};
use super::auth::{SignedIn, Viewer};
use super::error::{ApiError, Outcome};
use super::extract::{JsonBody, Named};
use super::form::{Form, Text};
use super::profiles::{Author, Profile};
use super::state::App;
use super::viewing::Ties;

/// What a comment says.
const BODY: Text = Text::lines(20_000);
/// The most comments shown of an article; the API has no pages of them.
const SHOWN_MAX: u64 = 1_000;

/// What is read of a comment.
#[derive(Load, Debug)]
#[load(Comment)]
struct Remark {
    id: Id<Comment>,
    post_id: Id<Post>,
    content: String,
    created_at: Timestamp,
    #[load(via = Comment::AUTHOR_ID)]
    author: Author,
}

/// A comment as the API shows it.
#[derive(Serialize, Debug)]
#[serde(rename_all = "camelCase")]
struct Shown {
    id: Id<Comment>,
    created_at: Millis,
    updated_at: Millis,
    body: String,
    author: Profile,
}

/// `{"comment":{..}}`
#[derive(Serialize, Debug)]
pub(crate) struct CommentBody {
    comment: Shown,
}

/// `{"comments":[..]}`
#[derive(Serialize, Debug)]
pub(crate) struct CommentsBody {
    comments: Vec<Shown>,
}

impl Remark {
    /// Comments do not change: they were last updated when they were written.
    fn into_shown(self, ties: &Ties) -> Shown {
        let following = ties.follows(self.author.id);
        Shown {
            id: self.id,
            created_at: Millis(self.created_at),
            updated_at: Millis(self.created_at),
            body: self.content,
            author: self.author.into_profile(following),
        }
    }
}

/// `GET /articles/{slug}/comments`: newest first.
pub(crate) async fn list(
    State(app): State<App>,
    viewer: Viewer,
    Named([slug]): Named<1>,
) -> Outcome<Json<CommentsBody>> {
    let post = articles::find(app.db(), &slug, viewer.id()).await?;
    let found = app
        .db()
        .query::<Comment>()
        .filter(Comment::POST_ID.eq(post));
    let found = found
        .order(Comment::CREATED_AT.desc())
        .order(Comment::ID.desc())
        .limit(SHOWN_MAX)
        .load::<Remark>()
        .await?;
    let authors = found.iter().map(|remark| remark.author.id);
    let ties = Ties::of(app.db(), viewer.id(), [], authors).await?;
    let comments = found.into_iter().map(|remark| remark.into_shown(&ties));
    Ok(Json(CommentsBody {
        comments: comments.collect(),
    }))
}

/// `POST /articles/{slug}/comments`
pub(crate) async fn create(
    State(app): State<App>,
    user: SignedIn,
    Named([slug]): Named<1>,
    JsonBody(body): JsonBody,
) -> Outcome<(StatusCode, Json<CommentBody>)> {
    let post_id = articles::find(app.db(), &slug, Some(user.id)).await?;
    let mut form = Form::parse(&body, "comment")?;
    let content = form.required("body", BODY);
    form.finish()?;
    let new = NewComment {
        post_id,
        author_id: user.id,
        content,
    };
    let comment = match app.db().insert(new).await {
        Err(error) if error.violates(Comment::POST_ID) => {
            return Err(ApiError::not_found("article"));
        }
        Err(error) if error.violates(Comment::AUTHOR_ID) => return Err(ApiError::token_invalid()),
        stored => stored?,
    };
    let found = app
        .db()
        .query::<Comment>()
        .by_key(comment.id)
        .load::<Remark>();
    let remark = found.await?.ok_or_else(|| ApiError::not_found("comment"))?;
    let ties = Ties::of(app.db(), Some(user.id), [], [user.id]).await?;
    let comment = remark.into_shown(&ties);
    Ok((StatusCode::CREATED, Json(CommentBody { comment })))
}

/// The comment with this key and the slug of its article, as everybody may see them.
pub(crate) async fn with_slug(db: &Db, id: Id<Comment>) -> Result<Option<(String, CommentBody)>> {
    let Some(remark) = db.query::<Comment>().by_key(id).load::<Remark>().await? else {
        return Ok(None);
    };
    let posts = db.query::<Post>().filter(Post::ID.eq(remark.post_id));
    let shown = posts.filter(Post::STATUS.ne(PostStatus::Draft));
    let slug = shown.select(Post::SLUG).first().await?;
    let comment = remark.into_shown(&Ties::default());
    Ok(slug.map(|slug| (slug, CommentBody { comment })))
}

/// `DELETE /articles/{slug}/comments/{id}`: by who wrote it.
pub(crate) async fn delete(
    State(app): State<App>,
    user: SignedIn,
    Named([slug, id]): Named<2>,
) -> Outcome<StatusCode> {
    let nothing = || ApiError::not_found("comment");
    let post = articles::find(app.db(), &slug, Some(user.id)).await?;
    let id: Id<Comment> = id.parse().map_err(|_| nothing())?;
    let comment = app.db().get::<Comment>(id).await?;
    let comment = comment.filter(|comment| comment.post_id == post);
    if comment.ok_or_else(nothing)?.author_id != user.id {
        return Err(ApiError::forbidden("comment"));
    }
    if app.db().delete::<Comment>(id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(nothing())
    }
}
