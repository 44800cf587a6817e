//! Rows to test with, and what tests say about errors.

use std::fmt::Debug;

use larder_core::models::{
    Comment, NewComment, NewPost, NewTag, NewUser, Post, PostStatus, PostTag, Tag, User,
};
use larder_core::{Date, Db, Decimal, Error, ErrorKind, Id, Json, Result, Timestamp, Uuid};
use serde_json::json;

use crate::schema::{AllTypes, Label, Measure, Mood, NewMeasure};

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

/// A row of plain values; the options are empty.
pub(crate) fn all_types_plain(id: i64) -> AllTypes {
    AllTypes {
        id: Id::new(id),
        flag: false,
        small: 0,
        medium: 0,
        large: 0,
        single: 0.0,
        double: 0.0,
        text: String::new(),
        bytes: Vec::new(),
        at: Timestamp::UNIX_EPOCH,
        day: Date::constant(1970, 1, 1),
        uuid: Uuid::nil(),
        decimal: Decimal::ZERO,
        json: Json(serde_json::Value::Null),
        mood: Mood::Calm,
        label: Label(String::new()),
        maybe_flag: None,
        maybe_small: None,
        maybe_medium: None,
        maybe_large: None,
        maybe_single: None,
        maybe_double: None,
        maybe_text: None,
        maybe_bytes: None,
        maybe_at: None,
        maybe_day: None,
        maybe_uuid: None,
        maybe_decimal: None,
        maybe_json: None,
        maybe_mood: None,
        maybe_label: None,
    }
}

/// A row in which every column, optional ones too, holds a value of its own.
pub(crate) fn all_types_full(id: i64) -> AllTypes {
    let row = AllTypes {
        flag: true,
        small: -12,
        medium: 70_000,
        large: 1 << 40,
        single: 1.5,
        double: 0.1,
        text: "grüße, 世界 🦀".into(),
        bytes: (0..=255).collect(),
        at: Timestamp::from_micros(1_714_979_289_123_456).expect("within the years kept"),
        day: Date::constant(2024, 2, 29),
        uuid: Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
        decimal: Decimal::new(-12_345, 2),
        json: Json(json!({"a": [1, 2.5, null, true, "x"], "b": {"c": {}}})),
        mood: Mood::Middling,
        label: Label("label".into()),
        ..all_types_plain(id)
    };
    AllTypes {
        maybe_flag: Some(row.flag),
        maybe_small: Some(row.small),
        maybe_medium: Some(row.medium),
        maybe_large: Some(row.large),
        maybe_single: Some(row.single),
        maybe_double: Some(row.double),
        maybe_text: Some(row.text.clone()),
        maybe_bytes: Some(row.bytes.clone()),
        maybe_at: Some(row.at),
        maybe_day: Some(row.day),
        maybe_uuid: Some(row.uuid),
        maybe_decimal: Some(row.decimal),
        maybe_json: Some(row.json.clone()),
        maybe_mood: Some(row.mood),
        maybe_label: Some(row.label.clone()),
        ..row
    }
}
