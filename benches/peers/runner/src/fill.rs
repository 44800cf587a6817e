//! The SQL that makes and fills the database, the same rows for both engines.

use std::fmt::Write as _;

use larder_sql::{Dialect, create_tables};
use peer_larder::models;
use peers_common::data::{
    AUTHORS, COMMENTS, COMMENTS_EACH, CREATED, NewUser, POSTS, POSTS_EACH, USERS,
};

/// Rows of one statement.
const CHUNK: usize = 1_000;

/// Every statement, in order.
pub fn statements(dialect: Dialect) -> Vec<String> {
    let mut all = create_tables(dialect, &models::tables());
    all.extend(inserts(
        "users (email, name, is_active, bio, created_at)",
        USERS,
        |id| {
            let user = NewUser::new(id);
            let bio = user.bio.map_or("NULL".to_owned(), |bio| format!("'{bio}'"));
            let active = if id % 10 == 0 { "FALSE" } else { "TRUE" };
            let created = time(dialect, id);
            format!(
                "'{}', '{}', {active}, {bio}, {created}",
                user.email, user.name
            )
        },
    ));
    all.extend(inserts(
        "posts (author_id, slug, title, content, status, created_at)",
        POSTS,
        |id| {
            let author = 1 + (id - 1) / POSTS_EACH;
            let status = if id % 3 == 0 { "draft" } else { "published" };
            let content = format!("What there is to say in post {id}. ").repeat(8);
            let created = time(dialect, id);
            format!("{author}, 'post-{id}', 'Post {id}', '{content}', '{status}', {created}")
        },
    ));
    all.extend(inserts(
        "comments (post_id, author_id, content, created_at)",
        COMMENTS,
        |id| {
            let post = 1 + (id - 1) / COMMENTS_EACH;
            let author = 1 + (id * 7) % AUTHORS;
            let created = time(dialect, id);
            format!("{post}, {author}, 'Comment {id} on post {post}: well said.', {created}")
        },
    ));
    all
}

/// A time as the engine's schema has it.
fn time(dialect: Dialect, number: i64) -> String {
    let seconds = CREATED + number;
    match dialect {
        Dialect::Sqlite => (seconds * 1_000_000).to_string(),
        Dialect::Postgres => format!("to_timestamp({seconds})"),
    }
}

/// Inserts the rows 1 to `count`, which get these numbers as their keys.
fn inserts(into: &str, count: i64, row: impl Fn(i64) -> String) -> Vec<String> {
    let ids: Vec<i64> = (1..=count).collect();
    let statement = |ids: &[i64]| {
        let mut sql = format!("INSERT INTO {into} VALUES ");
        for (at, &id) in ids.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(sql, "{comma}({})", row(id)).expect("a String takes all");
        }
        sql
    };
    ids.chunks(CHUNK).map(statement).collect()
}
