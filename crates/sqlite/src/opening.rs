//! Why a database cannot be opened, told so that a person knows what to do.

use std::path::Path;

use larder_core::{Error, ErrorKind, Result};
use rusqlite::ErrorCode;

use crate::error::{EngineError, Failure, failure};
use crate::options::{Location, SqliteOptions};

/// Opens a database by `open`, refusing a path that cannot be meant. An error names the path, what
/// was found there and what to do.
pub(crate) fn explained<T, E: Into<EngineError>>(
    options: &SqliteOptions,
    open: impl FnOnce() -> Result<T, E>,
) -> Result<T> {
    let Location::File(path) = &options.location else {
        return open().map_err(|error| error.into().into());
    };
    check_path(path)?;
    open().map_err(|error| explain(error.into(), path))
}

/// Refuses what is no path to a file, but something else to SQLite.
pub(crate) fn check_path(path: &Path) -> Result<()> {
    let bytes = path.as_os_str().as_encoded_bytes();
    if bytes.is_empty() {
        // To SQLite each connection would get a database of its own.
        return Err(Error::misuse(
            "the path of the database is empty: give a file's, or use `Sqlite::in_memory()`",
        ));
    }
    if bytes.starts_with(b"file:") {
        return Err(Error::misuse(format!(
            "`{0}` is a SQLite URI, and Larder takes a path: leave `file:` out and say the rest in \
             `SqliteOptions`, use `Sqlite::in_memory()` for a database in memory, or write `./{0}` \
             for a file of this name",
            path.display()
        )));
    }
    if bytes.contains(&0) {
        return Err(Error::misuse("the path of the database holds a NUL"));
    }
    Ok(())
}

/// The directory a file is in.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}

/// Looks at what lies at the path. Opens nothing there: closing a file of an open database would
/// give up its locks.
#[cold]
fn explain(error: EngineError, path: &Path) -> Error {
    let Some(cause) = error.sqlite() else {
        return error.into();
    };
    let no_database = cause.sqlite_error_code() == Some(ErrorCode::NotADatabase);
    let (kind, found) = match failure(cause) {
        Failure::CannotOpen => cannot_open(path),
        Failure::ReadOnly => (ErrorKind::ReadOnly, read_only(path)),
        Failure::Corrupt if no_database => (
            ErrorKind::Corrupt,
            "is not a SQLite database: check the path, or restore a backup".into(),
        ),
        Failure::Corrupt => (ErrorKind::Corrupt, "is damaged: restore a backup".into()),
        Failure::Io => (
            ErrorKind::Unavailable,
            "cannot be opened: the disk failed to read or write".into(),
        ),
        _ => return error.into(),
    };
    Error::new(kind, format!("`{}` {found}", path.display()))
        .retryable(false)
        .with_source(error)
}

fn cannot_open(path: &Path) -> (ErrorKind, String) {
    let directory = directory_of(path);
    let found = match path.metadata() {
        Ok(found) if found.is_dir() => "is a directory: give the path of a file in it".to_owned(),
        Ok(found) if !found.is_file() => "is not a file that can keep a database".to_owned(),
        Ok(_) => "cannot be opened: this program needs the right to read and write it, and to \
                  create files beside it"
            .to_owned(),
        Err(_) => return cannot_create(directory),
    };
    (ErrorKind::Unavailable, found)
}

fn cannot_create(directory: &Path) -> (ErrorKind, String) {
    let name = directory.display();
    match directory.metadata() {
        Ok(found) if !found.is_dir() => (
            ErrorKind::Unavailable,
            format!("cannot be created: `{name}` is not a directory"),
        ),
        Ok(found) if found.permissions().readonly() => (
            ErrorKind::ReadOnly,
            format!("cannot be created: the directory `{name}` can only be read"),
        ),
        Ok(_) => (
            ErrorKind::Unavailable,
            format!("cannot be created: this program needs the right to write to `{name}`"),
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (
            ErrorKind::Unavailable,
            format!("cannot be created: there is no directory `{name}`; create it first"),
        ),
        Err(error) => (
            ErrorKind::Unavailable,
            format!("cannot be created: the directory `{name}` cannot be entered: {error}"),
        ),
    }
}

fn read_only(path: &Path) -> String {
    let is_marked = |path: &Path| {
        path.metadata()
            .is_ok_and(|found| found.permissions().readonly())
    };
    let directory = directory_of(path);
    let what = if is_marked(path) {
        "the file is read-only".to_owned()
    } else if is_marked(directory) {
        format!("the directory `{}` is read-only", directory.display())
    } else {
        "the file, its directory or the file system is read-only to this program".to_owned()
    };
    format!("can only be read: {what}; Larder writes the file and a log beside it")
}
