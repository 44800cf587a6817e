//! Tables for the tests of the evaluator and of the in-memory store, written by hand.

use crate::schema::{ColumnDef, Index, OnDelete, Reference, Table};
use crate::value::{Kind, Value};

const fn column(name: &'static str, kind: Kind, nullable: bool) -> ColumnDef {
    ColumnDef {
        name,
        kind,
        nullable,
        max_len: None,
        default: None,
        references: None,
        missing: "",
    }
}

const fn refers(
    name: &'static str,
    nullable: bool,
    table: fn() -> &'static Table,
    on_delete: OnDelete,
) -> ColumnDef {
    let references = Some(Reference { table, on_delete });
    ColumnDef {
        references,
        ..column(name, Kind::I64, nullable)
    }
}

const fn table(
    name: &'static str,
    columns: &'static [ColumnDef],
    key: &'static [usize],
    auto_key: bool,
    uniques: &'static [Index],
) -> Table {
    Table {
        name,
        columns,
        key,
        auto_key,
        uniques,
        indexes: &[],
        search: None,
        created_at: None,
        updated_at: None,
        version: None,
    }
}

/// id, email (unique), nick (nullable, unique), age (nullable i16), score (f64), paid (decimal),
/// boss (users, set null)
pub(crate) static USERS: Table = table(
    "users",
    &[
        column("id", Kind::I64, false),
        column("email", Kind::Text, false),
        column("nick", Kind::Text, true),
        column("age", Kind::I16, true),
        column("score", Kind::F64, true),
        column("paid", Kind::Decimal, true),
        refers("boss_id", true, || &USERS, OnDelete::SetNull),
    ],
    &[0],
    true,
    &[
        Index {
            name: "users_email_key",
            columns: &[1],
        },
        Index {
            name: "users_nick_key",
            columns: &[2],
        },
    ],
);

/// id, author_id (cascade), title
pub(crate) static POSTS: Table = table(
    "posts",
    &[
        column("id", Kind::I64, false),
        refers("author_id", false, || &USERS, OnDelete::Cascade),
        column("title", Kind::Text, false),
    ],
    &[0],
    true,
    &[Index {
        name: "posts_author_id_title_key",
        columns: &[1, 2],
    }],
);

/// id, reader_id (users, restrict), post_id (cascade)
pub(crate) static NOTES: Table = table(
    "notes",
    &[
        column("id", Kind::I64, false),
        refers("reader_id", false, || &USERS, OnDelete::Restrict),
        refers("post_id", true, || &POSTS, OnDelete::Cascade),
    ],
    &[0],
    true,
    &[],
);

/// name
pub(crate) static TAGS: Table = table(
    "tags",
    &[
        column("id", Kind::I64, false),
        column("name", Kind::Text, false),
    ],
    &[0],
    true,
    &[],
);

/// post_id, tag_id
pub(crate) static POST_TAGS: Table = table(
    "post_tags",
    &[
        refers("post_id", false, || &POSTS, OnDelete::Cascade),
        refers("tag_id", false, || &TAGS, OnDelete::Cascade),
    ],
    &[0, 1],
    false,
    &[],
);

pub(crate) fn text(text: &'static str) -> Value {
    Value::Text(text.into())
}

pub(crate) fn int(v: i64) -> Value {
    Value::Int(v)
}

pub(crate) fn decimal(text: &str) -> Value {
    Value::Decimal(text.parse().expect("a decimal"))
}

/// A user; what is not given is NULL.
pub(crate) fn user(
    id: i64,
    email: &'static str,
    age: Option<i64>,
    boss: Option<i64>,
) -> Vec<Value> {
    let or_null = |v: Option<i64>| v.map_or(Value::Null, Value::Int);
    let rest = [
        Value::Null,
        or_null(age),
        Value::Null,
        Value::Null,
        or_null(boss),
    ];
    [int(id), text(email)].into_iter().chain(rest).collect()
}
