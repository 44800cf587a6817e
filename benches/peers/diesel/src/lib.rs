//! The models of Diesel and diesel-async, and how the programs in `bin/` use them.
//!
//! As the documentation recommends:
//!
//! - `table!`, `Queryable`, `Selectable` with `check_for_backend`, `Insertable`, inserts with
//!   `RETURNING` through `as_returning` (<https://diesel.rs/guides/getting-started>);
//! - relations by `belonging_to` and `grouped_by` (<https://diesel.rs/guides/relations>);
//! - batch inserts of a slice in one statement, `treat_none_as_default_value = false` so that it
//!   is one on SQLite too, as in Diesel's own benchmarks
//!   (<https://diesel.rs/guides/all-about-inserts>, `diesel_bench` in Diesel's repository);
//! - many rows on PostgreSQL by `COPY FROM`, where Diesel can: not with diesel-async
//!   (<https://docs.rs/diesel/2.3/diesel/fn.copy_from.html>).
//!
//! The models are written twice, because the two databases keep times differently.

use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Text;
use diesel::{Connection, QueryResult, RunQueryDsl, SqliteConnection};

/// Rows of one statement on SQLite: with four values each, below its limit.
const SQLITE_CHUNK: usize = 5_000;

/// Inserts all of the rows or none, as many as possible in one statement.
pub fn insert_all_sqlite(
    connection: &mut SqliteConnection,
    users: &[sqlite::NewUser],
) -> QueryResult<usize> {
    let insert = |connection: &mut _, chunk| {
        diesel::insert_into(sqlite::users::table)
            .values(chunk)
            .execute(connection)
    };
    if users.len() <= SQLITE_CHUNK {
        return insert(connection, users);
    }
    connection.transaction(|connection| {
        let chunks = users.chunks(SQLITE_CHUNK);
        chunks.map(|chunk| insert(connection, chunk)).sum()
    })
}

/// Who may see a post; stored as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, AsExpression, FromSqlRow)]
#[diesel(sql_type = Text)]
pub enum PostStatus {
    Draft,
    Published,
    Archived,
}

impl<DB> FromSql<Text, DB> for PostStatus
where
    DB: Backend,
    String: FromSql<Text, DB>,
{
    fn from_sql(bytes: DB::RawValue<'_>) -> deserialize::Result<Self> {
        match String::from_sql(bytes)?.as_str() {
            "draft" => Ok(Self::Draft),
            "published" => Ok(Self::Published),
            "archived" => Ok(Self::Archived),
            other => Err(format!("no status: {other}").into()),
        }
    }
}

impl<DB> ToSql<Text, DB> for PostStatus
where
    DB: Backend,
    str: ToSql<Text, DB>,
{
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        let text = match self {
            Self::Draft => "draft",
            Self::Published => "published",
            Self::Archived => "archived",
        };
        <str as ToSql<Text, DB>>::to_sql(text, out)
    }
}

macro_rules! models {
    ($engine:ident, $backend:ty, $sql_time:ident, $time:ty, $to_time:expr) => {
        pub mod $engine {
            use diesel::prelude::*;
            use peers_common::Seen;

            use super::PostStatus;

            diesel::table! {
                users {
                    id -> BigInt,
                    email -> Text,
                    name -> Text,
                    is_active -> Bool,
                    bio -> Nullable<Text>,
                    password_hash -> Nullable<Text>,
                    created_at -> $sql_time,
                    updated_at -> Nullable<$sql_time>,
                }
            }

            diesel::table! {
                posts {
                    id -> BigInt,
                    author_id -> BigInt,
                    slug -> Text,
                    title -> Text,
                    content -> Text,
                    status -> Text,
                    created_at -> $sql_time,
                    updated_at -> Nullable<$sql_time>,
                }
            }

            diesel::table! {
                comments {
                    id -> BigInt,
                    post_id -> BigInt,
                    author_id -> BigInt,
                    content -> Text,
                    created_at -> $sql_time,
                }
            }

            diesel::joinable!(posts -> users (author_id));
            diesel::joinable!(comments -> posts (post_id));
            diesel::allow_tables_to_appear_in_same_query!(users, posts, comments);

            #[derive(Queryable, Selectable, Identifiable)]
            #[diesel(table_name = users, check_for_backend($backend))]
            pub struct User {
                pub id: i64,
                pub email: String,
                pub name: String,
                pub is_active: bool,
                pub bio: Option<String>,
                pub password_hash: Option<String>,
                pub created_at: $time,
                pub updated_at: Option<$time>,
            }

            #[derive(Queryable, Selectable, Identifiable, Associations)]
            #[diesel(table_name = posts, check_for_backend($backend))]
            #[diesel(belongs_to(User, foreign_key = author_id))]
            pub struct Post {
                pub id: i64,
                pub author_id: i64,
                pub slug: String,
                pub title: String,
                pub content: String,
                pub status: PostStatus,
                pub created_at: $time,
                pub updated_at: Option<$time>,
            }

            #[derive(Queryable, Selectable, Identifiable, Associations)]
            #[diesel(table_name = comments, check_for_backend($backend))]
            #[diesel(belongs_to(Post))]
            pub struct Comment {
                pub id: i64,
                pub post_id: i64,
                pub author_id: i64,
                pub content: String,
                pub created_at: $time,
            }

            #[derive(Clone, Insertable)]
            #[diesel(table_name = users, treat_none_as_default_value = false)]
            pub struct NewUser {
                pub email: String,
                pub name: String,
                pub bio: Option<String>,
                pub created_at: $time,
            }

            impl From<peers_common::NewUser> for NewUser {
                fn from(user: peers_common::NewUser) -> Self {
                    let time: fn(i64) -> $time = $to_time;
                    Self {
                        email: user.email,
                        name: user.name,
                        bio: user.bio,
                        created_at: time(user.created_at),
                    }
                }
            }

            pub fn seen_users<'a>(users: impl IntoIterator<Item = &'a User>) -> Seen {
                let mut seen = Seen::default();
                for user in users {
                    seen.row(user.id, user.name.len());
                }
                seen
            }

            pub fn seen_pairs(pairs: &[(Post, User)]) -> Seen {
                let mut seen = Seen::default();
                for (post, user) in pairs {
                    seen.row(post.id, post.title.len());
                    seen.row(user.id, user.name.len());
                }
                seen
            }

            pub fn seen_comments(comments: &[Comment]) -> Seen {
                let mut seen = Seen::default();
                for comment in comments {
                    seen.row(comment.id, comment.content.len());
                }
                seen
            }

            /// A user, their posts, and the posts' comments.
            pub type Loaded = (User, Vec<(Post, Vec<Comment>)>);

            /// Puts children where they belong.
            pub fn group(
                users: Vec<User>,
                posts: Vec<Post>,
                comments: Vec<Comment>,
            ) -> Vec<Loaded> {
                let comments = comments.grouped_by(&posts);
                let posts: Vec<_> = posts.into_iter().zip(comments).collect();
                let posts = posts.grouped_by(&users);
                users.into_iter().zip(posts).collect()
            }

            pub fn seen_loaded(loaded: &[Loaded]) -> Seen {
                let mut seen = Seen::default();
                for (user, posts) in loaded {
                    seen.row(user.id, user.name.len());
                    for (post, comments) in posts {
                        seen.row(post.id, post.title.len());
                        seen.add(seen_comments(comments));
                    }
                }
                seen
            }
        }
    };
}

models!(sqlite, diesel::sqlite::Sqlite, BigInt, i64, |micros| micros);
models!(
    postgres,
    diesel::pg::Pg,
    Timestamptz,
    chrono::DateTime<chrono::Utc>,
    |micros| chrono::DateTime::from_timestamp_micros(micros).expect("a made-up time in range")
);
