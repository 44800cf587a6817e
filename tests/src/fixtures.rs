//! Rows to test with, and what tests say about errors.

use std::fmt::Debug;

use larder_core::models::{
    Comment, NewComment, NewPost, NewTag, NewUser, Post, PostStatus, PostTag, Tag, User,
};
use larder_core::{Db, Error, ErrorKind, Id, Result};

use crate::schema::{Measure, NewMeasure};

/// The error of a result that must be one of this kind.
#[track_caller]
pub(crate) fn refused<T: Debug>(result: Result<T>, kind: ErrorKind) -> Error {
    match result {
        Ok(value) => panic!("expected {kind:?}, got {value:?}"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{error:?}");
            error
        }
    }
}

/// A user with this number in name and address.
pub(crate) async fn user(db: &Db, number: usize) -> Result<User> {
    db.insert(new_user(number)?).await
}

/// What [`user`] inserts.
pub(crate) fn new_user(number: usize) -> Result<NewUser> {
    NewUser::without_password(
        &format!("user{number}@example.com"),
        &format!("User {number}"),
    )
}

/// A published post of this author.
pub(crate) async fn post(db: &Db, author: &User, slug: &str) -> Result<Post> {
    db.insert(new_post(author.id, slug, PostStatus::Published))
        .await
}

/// What [`post`] inserts.
pub(crate) fn new_post(author_id: Id<User>, slug: &str, status: PostStatus) -> NewPost {
    NewPost {
        author_id,
        slug: slug.to_owned(),
        title: format!("On {slug}"),
        content: format!("All there is to say about {slug}."),
        status,
    }
}

/// A comment on this post.
pub(crate) async fn comment(db: &Db, post: &Post, author: &User, text: &str) -> Result<Comment> {
    let content = text.to_owned();
    db.insert(NewComment {
        post_id: post.id,
        author_id: author.id,
        content,
    })
    .await
}

/// A tag.
pub(crate) async fn tag(db: &Db, name: &str) -> Result<Tag> {
    db.insert(NewTag {
        name: name.to_owned(),
    })
    .await
}

/// Gives a post a tag.
pub(crate) async fn tagged(db: &Db, post: &Post, tag: &Tag) -> Result<PostTag> {
    db.insert(PostTag {
        post_id: post.id,
        tag_id: tag.id,
        position: 0,
    })
    .await
}

/// This many tags, `tag 00000` and so on, in order.
pub(crate) async fn tags(db: &Db, count: usize) -> Result<u64> {
    db.insert_all((0..count).map(numbered_tag)).await
}

/// The tag with this number of [`tags`].
pub(crate) fn numbered_tag(number: usize) -> NewTag {
    NewTag {
        name: format!("tag {number:05}"),
    }
}

/// Measures with these numbers.
pub(crate) async fn measures(
    db: &Db,
    numbers: impl IntoIterator<Item = Option<i64>> + Send,
) -> Result<Vec<Measure>> {
    let rows: Vec<_> = numbers
        .into_iter()
        .map(|number| NewMeasure {
            number,
            ..NewMeasure::default()
        })
        .collect();
    db.insert_all_returning(rows).await
}
