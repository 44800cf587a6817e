//! What cannot be opened is told so that a person knows what to do.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use larder_core::models::{self, NewTag, Tag};
use larder_core::{Db, Error, ErrorKind};
use larder_sqlite::migrate::connect;
use larder_sqlite::{Sqlite, SqliteOptions};
use tempfile::TempDir;

/// The error of opening, which a migrating program meets as well.
async fn refused(path: impl AsRef<Path>) -> Error {
    let path = path.as_ref();
    let error = Sqlite::open(path).await.map(drop).unwrap_err();
    let same = connect(SqliteOptions::new(path)).map(drop).unwrap_err();
    assert_eq!(error.to_string(), same.to_string());
    assert!(!error.is_retryable(), "{error}");
    error
}

async fn assert_refused(path: impl AsRef<Path>, kind: ErrorKind, found: &str) {
    let error = refused(&path).await;
    let said = error.to_string();
    assert_eq!(error.kind(), kind, "{said}");
    let named = said.contains(&format!("`{}`", path.as_ref().display()));
    assert!(named && said.contains(found), "{said}");
}

#[tokio::test]
async fn the_connections_of_a_memory_database_share_it() {
    for options in [
        SqliteOptions::new(":memory:"),
        SqliteOptions::development(":memory:"),
    ] {
        assert!(options.is_in_memory());
        let store = Sqlite::open_with(options).await.unwrap();
        store.create_tables(&models::tables()).await.unwrap();
        let db = Db::new(store);
        db.insert(NewTag::new("seen")).await.unwrap();
        assert_eq!(db.query::<Tag>().count().await.unwrap(), 1);
    }
}

#[tokio::test]
async fn what_is_no_path_is_misuse() {
    for path in ["", "file:app.db", "file::memory:?cache=shared"] {
        let error = refused(path).await;
        assert_eq!(error.kind(), ErrorKind::Misuse, "{error}");
        assert!(error.to_string().contains("Sqlite::in_memory()"), "{error}");
    }
}

#[tokio::test]
async fn a_path_without_a_place_for_a_file_is_unavailable() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    assert_refused(path, ErrorKind::Unavailable, "is a directory").await;
    let missing = path.join("missing");
    let found = format!("there is no directory `{}`", missing.display());
    assert_refused(missing.join("app.db"), ErrorKind::Unavailable, &found).await;
    let file = path.join("file");
    fs::write(&file, "").unwrap();
    let found = format!("`{}` is not a directory", file.display());
    assert_refused(file.join("app.db"), ErrorKind::Unavailable, &found).await;
    assert_eq!(fs::read_dir(path).unwrap().count(), 1, "nothing was left");
}

#[tokio::test]
async fn a_file_of_another_kind_is_left_alone() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("notes.txt");
    for text in ["hello".to_owned(), "hello ".repeat(10_000)] {
        fs::write(&path, &text).unwrap();
        assert_refused(&path, ErrorKind::Corrupt, "is not a SQLite database").await;
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

/// A program with all rights writes to read-only files as well: there is nothing to refuse then.
#[cfg(unix)]
#[tokio::test]
async fn what_can_only_be_read_says_so() {
    use std::os::unix::fs::PermissionsExt;
    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let directory = TempDir::new().unwrap();
    let place = directory.path().join("place");
    fs::create_dir(&place).unwrap();
    let path = place.join("app.db");
    // With a rollback journal and no log: it would be turned to one.
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE t (a)")
        .unwrap();
    set_mode(&path, 0o444);
    let has_all_rights = fs::OpenOptions::new().write(true).open(&path).is_ok();
    if has_all_rights {
        Sqlite::open(&path).await.unwrap();
        return;
    }
    assert_refused(&path, ErrorKind::ReadOnly, "the file is read-only").await;
    set_mode(&path, 0o644);
    set_mode(&place, 0o555);
    let found = format!("the directory `{}` is read-only", place.display());
    assert_refused(&path, ErrorKind::ReadOnly, &found).await;
    assert_refused(
        place.join("new.db"),
        ErrorKind::ReadOnly,
        "can only be read",
    )
    .await;
    set_mode(&place, 0o755);
    set_mode(&path, 0o000);
    assert_refused(&path, ErrorKind::Unavailable, "the right to read and write").await;
}
