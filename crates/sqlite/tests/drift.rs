//! The migrations make what the models say.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use larder_core::models;
use larder_sql::{Dialect, create_tables};
use larder_sqlite::SqliteOptions;
use larder_sqlite::introspect::Schema;
use larder_sqlite::migrate::{Migrator, connect, migrations};
use rusqlite::Connection;

fn memory() -> Connection {
    connect(SqliteOptions::in_memory()).unwrap()
}

/// The user's part of a schema.
fn schema(connection: &Connection) -> Schema {
    let own = |name: &str| name.starts_with("larder_") || name == "refinery_schema_history";
    Schema::read(connection)
        .unwrap()
        .filtered(|name| !own(name))
}

fn modelled() -> Connection {
    let connection = memory();
    for statement in create_tables(Dialect::Sqlite, &models::tables()) {
        connection.execute_batch(&statement).unwrap();
    }
    connection
}

fn assert_same(one: &Schema, two: &Schema, names: (&str, &str)) {
    let differences = one.differences(two, names);
    assert!(
        differences.is_empty(),
        "the schemas differ:\n  {}\n",
        differences.join("\n  ")
    );
}

#[test]
fn migrations_make_what_the_models_say() {
    let mut connection = memory();
    Migrator::new(migrations())
        .up(&mut connection, None)
        .unwrap();
    let migrated = schema(&connection);
    assert_eq!(migrated.tables.len(), models::tables().len());
    assert_same(
        &migrated,
        &schema(&modelled()),
        ("the migrations", "the models"),
    );
}

#[test]
fn every_step_can_be_undone_and_done_again() {
    let (migrator, mut connection) = (Migrator::new(migrations()), memory());
    let mut states = vec![schema(&connection)];
    for migration in &migrations() {
        migrator
            .up(&mut connection, Some(migration.version()))
            .unwrap();
        states.push(schema(&connection));
    }
    for state in states.iter().rev().skip(1) {
        migrator.down_steps(&mut connection, 1).unwrap();
        assert_same(
            &schema(&connection),
            state,
            ("the undone step", "the one before"),
        );
    }
    migrator.up(&mut connection, None).unwrap();
    let last = states.last().unwrap();
    assert_same(&schema(&connection), last, ("the second time", "the first"));
}

#[test]
fn differences_are_named() {
    let base = "CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT) STRICT;";
    let tables = |more: &str| {
        let connection = memory();
        connection.execute_batch(&format!("{base}{more}")).unwrap();
        schema(&connection)
    };
    let posts = "CREATE TABLE posts (
        id INTEGER PRIMARY KEY,
        author_id INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
        title TEXT NOT NULL DEFAULT 'x' CHECK (length(title) <= 200)
    ) STRICT; CREATE INDEX posts_title_idx ON posts (title);";
    let models = tables(posts);
    assert_same(
        &models,
        &tables(
            &posts
                .replace("title", "\"TITLE\"")
                .replace("\"TITLE\"", "title")
                .replace(' ', "  "),
        ),
        ("a", "b"),
    );
    for (from, to, said) in [
        (
            " NOT NULL DEFAULT",
            " DEFAULT",
            "column `posts.title` is TEXT DEFAULT 'x' COLLATE BINARY in the database, but TEXT NOT NULL",
        ),
        (
            "DEFAULT 'x'",
            "DEFAULT 'y'",
            "DEFAULT 'y' COLLATE BINARY in the database, but TEXT NOT NULL DEFAULT 'x'",
        ),
        ("TEXT", "BLOB", "column `posts.title` is BLOB"),
        (
            "<= 200",
            "<= 100",
            "check (length ( title ) <= 100) of `posts` (a constraint) is in the database, but not in the models",
        ),
        (
            "CASCADE",
            "RESTRICT",
            "reference (author_id) of `posts` is to users (id) ON DELETE RESTRICT",
        ),
        ("STRICT", "", "table `posts` is not STRICT"),
        (
            "INDEX",
            "UNIQUE INDEX",
            "index `posts_title_idx` of `posts` is unique on title in the database, but on title",
        ),
        ("(title);", "(title DESC);", "on title DESC in the database"),
        (
            "(title);",
            "(title) WHERE title > 'x';",
            "on posts ( title ) where title > 'x' in the database",
        ),
        (
            "CREATE INDEX posts_title_idx ON posts (title);",
            "",
            "index `posts_title_idx` of `posts` (on title) is in the models, but not in the database",
        ),
        (
            "title TEXT NOT NULL",
            "title TEXT NOT NULL COLLATE NOCASE",
            "COLLATE NOCASE in the database",
        ),
        (
            "PRIMARY KEY",
            "PRIMARY KEY AUTOINCREMENT",
            "column `posts.id` is INTEGER AUTOINCREMENT PRIMARY KEY #1",
        ),
    ] {
        let changed = posts.replacen(from, to, 1);
        assert_ne!(changed, posts, "{from}");
        let found = tables(&changed).differences(&models, ("the database", "the models"));
        assert!(
            found.iter().any(|line| line.contains(said)),
            "{said}\n{found:#?}"
        );
    }
}
