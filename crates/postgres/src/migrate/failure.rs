//! The driver's errors in a migrator's words.

use larder_core::{Error, ErrorKind};
use tokio_postgres::error::{DbError, ErrorPosition};

use crate::error::{Refusal, refusal};

/// The driver's error.
pub(super) type DriverError = tokio_postgres::Error;

/// An error of PostgreSQL with a sentence of ours before its own words. Its DETAIL is left out:
/// that repeats the row's values.
#[cold]
pub(super) fn engine_error(what: &str, error: DriverError) -> Error {
    match error.as_db_error() {
        Some(refused) => Error::new(kind(refused), format!("{what}: {}", words(refused))),
        None => Error::new(
            ErrorKind::Unavailable,
            format!("{what}: the connection to the server was lost; run it again"),
        )
        .with_source(error),
    }
}

/// The line within the statement, from 0, that the error is about.
pub(super) fn line_within(statement: &str, error: &DriverError) -> usize {
    match error.as_db_error().and_then(DbError::position) {
        Some(ErrorPosition::Original(position)) => {
            let before = (*position as usize).saturating_sub(1);
            let breaks = statement.chars().take(before).filter(|next| *next == '\n');
            breaks.count()
        }
        _ => 0,
    }
}

fn words(refused: &DbError) -> String {
    let (message, code) = (refused.message(), refused.code().code());
    let advice = match code {
        "25001" => "; move it to a file of its own that begins with `-- no-transaction`",
        "55P03" => "; something holds a lock for long: find it in pg_stat_activity, then run again",
        _ => "",
    };
    format!("{message} (SQLSTATE {code}){advice}")
}

fn kind(refused: &DbError) -> ErrorKind {
    match refusal(refused.code().code()) {
        Refusal::Unique => ErrorKind::Unique,
        Refusal::Reference => ErrorKind::Reference,
        Refusal::NotNull => ErrorKind::NotNull,
        Refusal::Check => ErrorKind::Check,
        Refusal::TooLong => ErrorKind::TooLong,
        Refusal::Conflict => ErrorKind::Conflict,
        Refusal::Locked | Refusal::Crowded => ErrorKind::Busy,
        Refusal::Cancelled | Refusal::Expired => ErrorKind::Timeout,
        Refusal::ReadOnly => ErrorKind::ReadOnly,
        Refusal::Aborted => ErrorKind::Misuse,
        Refusal::Full => ErrorKind::Full,
        Refusal::Login | Refusal::Down | Refusal::Broken | Refusal::Io => ErrorKind::Unavailable,
        Refusal::Corrupt => ErrorKind::Corrupt,
        _ => ErrorKind::Engine,
    }
}
