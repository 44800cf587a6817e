//! The driver's errors, classified by SQLSTATE, never by text.
//!
//! What PostgreSQL says travels as the source, without its DETAIL: that repeats the row's values.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use larder_core::{Error, ErrorKind, Table, Write};
use tokio_postgres::error::{DbError, Severity};

use crate::bind::Unfit;
use crate::{tls, violation};

/// What PostgreSQL's refusal of a statement means to a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Unique,
    Reference,
    NotNull,
    Check,
    /// A text is longer than its `varchar`.
    TooLong,
    /// A number leaves the range of its type.
    OutOfRange,
    /// One statement was to write the same row twice.
    Twice,
    /// Another value that PostgreSQL cannot keep.
    BadValue,
    /// A value or a statement is larger than PostgreSQL's limits.
    TooBig,
    /// Concurrent work got in the way: run the transaction again.
    Conflict,
    /// A row is locked by somebody else.
    Locked,
    /// No connection is left.
    Crowded,
    /// Cancelled, by its deadline or by `statement_timeout`.
    Cancelled,
    /// The server has ended the transaction because it took or idled too long.
    Expired,
    ReadOnly,
    /// A statement before has failed and was not undone.
    Aborted,
    /// A table, a column or a constraint is not what the model says.
    Schema,
    /// The user may not do this.
    Denied,
    /// The server does not know the user, the password or the database.
    Login,
    Full,
    /// The server stops or starts; nothing of the statement was applied.
    Down,
    /// The connection broke somewhere between a pooler and the server.
    Broken,
    Io,
    Corrupt,
    /// Anything else.
    Other,
}

/// Sorts a refusal by its SQLSTATE.
pub(crate) fn refusal(state: &str) -> Refusal {
    match state {
        "23505" => Refusal::Unique,
        "23001" | "23503" => Refusal::Reference,
        "23502" => Refusal::NotNull,
        "22001" => Refusal::TooLong,
        "22003" => Refusal::OutOfRange,
        "21000" => Refusal::Twice,
        "55P03" => Refusal::Locked,
        "53300" => Refusal::Crowded,
        "57014" => Refusal::Cancelled,
        "25P03" | "25P04" => Refusal::Expired,
        "25006" => Refusal::ReadOnly,
        "25P02" => Refusal::Aborted,
        "3D000" | "28000" | "28P01" => Refusal::Login,
        "42501" => Refusal::Denied,
        "3F000" | "42P01" | "42703" | "42704" | "42804" | "42P10" => Refusal::Schema,
        "57P01" | "57P03" | "57P05" => Refusal::Down,
        "57P02" | "40003" => Refusal::Broken,
        "53100" | "53200" => Refusal::Full,
        "58030" => Refusal::Io,
        "XX001" | "XX002" => Refusal::Corrupt,
        _ => match state.get(..2) {
            Some("08") => Refusal::Broken,
            Some("22") => Refusal::BadValue,
            Some("23") => Refusal::Check,
            Some("40") => Refusal::Conflict,
            Some("54") => Refusal::TooBig,
            _ => Refusal::Other,
        },
    }
}

/// What a refusal is to a user.
fn of_refusal(refusal: Refusal) -> (ErrorKind, &'static str) {
    match refusal {
        Refusal::Unique => (ErrorKind::Unique, "a row with this value exists already"),
        Refusal::Reference => (ErrorKind::Reference, "a reference refuses the change"),
        Refusal::NotNull => (ErrorKind::NotNull, "a column must have a value"),
        Refusal::Check => (ErrorKind::Check, "a constraint refuses the row"),
        Refusal::TooLong => (
            ErrorKind::TooLong,
            "a text is longer than its column allows",
        ),
        Refusal::OutOfRange => (
            ErrorKind::Engine,
            "PostgreSQL could not compute the result: a number leaves the range of its type",
        ),
        Refusal::Twice => (ErrorKind::Invalid, "the write has the same row twice"),
        Refusal::BadValue => (ErrorKind::Invalid, "PostgreSQL cannot keep or use a value"),
        Refusal::TooBig => (
            ErrorKind::Invalid,
            "the value or the statement is larger than PostgreSQL takes",
        ),
        Refusal::Conflict => (
            ErrorKind::Conflict,
            "concurrent work got in the way and nothing was applied; run the transaction again",
        ),
        Refusal::Locked => (
            ErrorKind::Busy,
            "the row is locked by somebody else; try again",
        ),
        Refusal::Crowded => (
            ErrorKind::Busy,
            "the server has no connection left: lower the pools' sizes or raise max_connections",
        ),
        Refusal::Cancelled => (
            ErrorKind::Timeout,
            "the statement was stopped before its end, and nothing of it was applied",
        ),
        Refusal::Expired => (
            ErrorKind::Timeout,
            "the server has ended the transaction because it took or idled too long; nothing of \
             it was applied",
        ),
        Refusal::ReadOnly => (
            ErrorKind::ReadOnly,
            "the server, or this transaction, allows reads only",
        ),
        Refusal::Aborted => (
            ErrorKind::Closed,
            "a statement of the transaction has failed, and the rest with it: roll it back",
        ),
        Refusal::Schema => (
            ErrorKind::Schema,
            "the table or one of the model's columns is missing or of another type: have the \
             migrations been run?",
        ),
        Refusal::Denied => (
            ErrorKind::Engine,
            "the database's user may not do this; grant it the rights",
        ),
        Refusal::Login => (
            ErrorKind::Unavailable,
            "the server refuses the user, the password or the database's name",
        ),
        Refusal::Full => (
            ErrorKind::Full,
            "the server has no disk space or memory left",
        ),
        Refusal::Down => (
            ErrorKind::Unavailable,
            "the server is stopping or starting; try again",
        ),
        Refusal::Broken => (
            ErrorKind::Unavailable,
            "the connection to the server has broken; try again",
        ),
        Refusal::Io => (
            ErrorKind::Unavailable,
            "the server's disk failed to read or write",
        ),
        Refusal::Corrupt => (
            ErrorKind::Corrupt,
            "the server's data is damaged; restore a backup",
        ),
        Refusal::Other => (ErrorKind::Engine, "PostgreSQL refused the statement"),
    }
}

/// What PostgreSQL said, without the row's values.
#[derive(Debug)]
struct Said {
    state: String,
    message: String,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SQLSTATE {}: {}", self.state, self.message)
    }
}

impl StdError for Said {}

fn said(refused: &DbError) -> Said {
    let state = refused.code().code().to_owned();
    // Class 22, of data, repeats the value.
    let message = if state.starts_with("22") {
        "a value was refused".to_owned()
    } else {
        refused.message().to_owned()
    };
    Said { state, message }
}

/// Where an error of the driver comes from.
enum Origin<'e> {
    Server(&'e DbError),
    /// A value cannot be sent; nothing was.
    Unfit(Unfit),
    /// The message is too large for the protocol; nothing was sent.
    TooLarge,
    /// The way to the server.
    Lost,
    /// The driver and the server do not understand each other.
    Confused,
}

fn origin(error: &tokio_postgres::Error) -> Origin<'_> {
    if let Some(refused) = error.as_db_error() {
        return Origin::Server(refused);
    }
    let source = error.source();
    if let Some(unfit) = source.and_then(|source| source.downcast_ref::<Unfit>()) {
        return Origin::Unfit(*unfit);
    }
    match source.and_then(|source| source.downcast_ref::<io::Error>()) {
        Some(cause) if cause.kind() == io::ErrorKind::InvalidInput => Origin::TooLarge,
        Some(_) => Origin::Lost,
        None if error.is_closed() => Origin::Lost,
        None => Origin::Confused,
    }
}

/// Whether a prepared statement no longer fits: its table has changed, or a pooler has put
/// another server behind the connection. Nothing was done; prepared anew it may run.
pub(crate) fn is_stale_plan(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|refused| {
        let routine = refused.routine();
        is_stale(refused.code().code(), routine)
    })
}

fn is_stale(state: &str, routine: Option<&str>) -> bool {
    match state {
        "0A000" => routine == Some("RevalidateCachedQuery"),
        state => state == "26000",
    }
}

/// What stops a statement that is as right as any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoppedBy {
    /// It waited too long for a lock, by `lock_timeout`.
    Lock,
    /// Somebody had it cancelled.
    Cancel,
}

/// What stopped the statement, if it was one of those.
pub(crate) fn stopped_by(error: &tokio_postgres::Error) -> Option<StoppedBy> {
    let Origin::Server(refused) = origin(error) else {
        return None;
    };
    match refusal(refused.code().code()) {
        Refusal::Locked => Some(StoppedBy::Lock),
        Refusal::Cancelled => Some(StoppedBy::Cancel),
        _ => None,
    }
}

/// Whether the connection is of no more use.
pub(crate) fn is_lost(error: &tokio_postgres::Error) -> bool {
    match origin(error) {
        Origin::Server(refused) => {
            let severity = refused.parsed_severity();
            matches!(severity, Some(Severity::Fatal | Severity::Panic))
                || refusal(refused.code().code()) == Refusal::Broken
        }
        Origin::Lost | Origin::Confused => true,
        Origin::Unfit(_) | Origin::TooLarge => false,
    }
}

/// The error of a read.
#[cold]
pub(crate) fn read_failed(error: tokio_postgres::Error, table: &'static Table) -> Error {
    let failed = match origin(&error) {
        Origin::Server(refused) => of_server(refused),
        Origin::Unfit(unfit) => Error::invalid(unfit.to_string()),
        Origin::TooLarge => too_large().with_source(error),
        Origin::Lost => connection_lost().with_source(error),
        Origin::Confused => confused().with_source(error),
    };
    failed.with_table(table.name)
}

/// The error of a write, with the constraint it violated. What became of a write that was sent
/// and not answered is not known.
#[cold]
pub(crate) fn write_failed(error: tokio_postgres::Error, write: &Write) -> Error {
    let table = write.table().name;
    match origin(&error) {
        Origin::Server(refused) => {
            of_write(&violation::Refused::from(refused), write).with_source(said(refused))
        }
        Origin::Unfit(unfit) => violation::find_unfit(write)
            .unwrap_or_else(|| Error::invalid(unfit.to_string()).with_table(table)),
        Origin::TooLarge => too_large().with_table(table).with_source(error),
        Origin::Lost | Origin::Confused => unknown_outcome().with_table(table).with_source(error),
    }
}

fn of_write(refused: &violation::Refused<'_>, write: &Write) -> Error {
    match refusal(refused.state) {
        // A pooler says this of a connection that broke while the write was running.
        Refusal::Broken => unknown_outcome().with_table(write.table().name),
        refusal => violation::explain(refused, refusal, write).unwrap_or_else(|| {
            let (kind, message) = of_refusal(refusal);
            Error::new(kind, message).with_table(write.table().name)
        }),
    }
}

/// The error of a commit. Checks may have waited for it; they name the database's tables.
#[cold]
pub(crate) fn commit_failed(error: tokio_postgres::Error) -> Error {
    match origin(&error) {
        Origin::Server(refused) => match refusal(refused.code().code()) {
            Refusal::Broken => unknown_outcome().with_source(said(refused)),
            refusal => {
                let (kind, message) = of_refusal(refusal);
                violation::named(Error::new(kind, message), &refused.into())
                    .with_source(said(refused))
            }
        },
        _ => unknown_outcome().with_source(error),
    }
}

/// The error of a statement in SQL. What is wrong with the text is told in the server's words.
#[cold]
pub(crate) fn sql_failed(error: tokio_postgres::Error, writes: bool) -> Error {
    let refused = match origin(&error) {
        Origin::Server(refused) => refused,
        Origin::Unfit(unfit) => return Error::invalid(unfit.to_string()),
        Origin::TooLarge => return too_large().with_source(error),
        Origin::Lost | Origin::Confused if writes => return unknown_outcome().with_source(error),
        Origin::Lost | Origin::Confused => return connection_lost().with_source(error),
    };
    // Class 42: syntax errors, unknown tables, columns and functions, types that do not go
    // together. Not 42501, a missing privilege.
    let state = refused.code().code();
    if state.starts_with("42") && state != "42501" {
        let message = format!("PostgreSQL cannot run the statement: {}", refused.message());
        return Error::misuse(message).with_source(said(refused));
    }
    let (kind, message) = of_refusal(refusal(state));
    violation::named(Error::new(kind, message), &refused.into()).with_source(said(refused))
}

/// The error of a transaction that could not begin. Nothing was applied.
#[cold]
pub(crate) fn begin_failed(error: tokio_postgres::Error) -> Error {
    match origin(&error) {
        Origin::Server(refused) => of_server(refused),
        _ => connection_lost().with_source(error),
    }
}

/// The error of a transaction whose connection is gone, and its work with it.
#[cold]
pub(crate) fn transaction_lost(error: tokio_postgres::Error) -> Error {
    match origin(&error) {
        Origin::Server(refused) => of_server(refused),
        _ => Error::new(
            ErrorKind::Unavailable,
            "the connection was lost and the transaction with it, nothing of it was applied; run \
             it again",
        )
        .with_source(error),
    }
}

/// The error of a statement whose table was changed while the transaction was open.
#[cold]
pub(crate) fn schema_changed(error: tokio_postgres::Error) -> Error {
    let changed = Error::new(
        ErrorKind::Conflict,
        "the table was changed during the transaction; run it again",
    );
    match error.as_db_error() {
        Some(refused) => changed.with_source(said(refused)),
        None => changed.with_source(error),
    }
}

/// The error of a connection that could not be opened. Trying again helps where the server was
/// not reached or has no room, not where it refuses who asks.
#[cold]
pub(crate) fn connect_failed(error: tokio_postgres::Error) -> Error {
    if let Some(explained) = tls::explain(&error) {
        return explained.with_source(error);
    }
    match origin(&error) {
        Origin::Server(refused) => {
            let refusal = refusal(refused.code().code());
            let fatal = matches!(refusal, Refusal::Login | Refusal::Denied);
            let (kind, message) = match refusal {
                Refusal::Login if refused.code().code() == "28000" => (
                    ErrorKind::Unavailable,
                    "the server does not let this user in from here: check the user, and whether \
                     its pg_hba.conf asks for encryption, with sslmode=require or more in the URL",
                ),
                Refusal::Denied => of_refusal(Refusal::Login),
                Refusal::Login | Refusal::Crowded | Refusal::Down | Refusal::Full => {
                    of_refusal(refusal)
                }
                _ => (ErrorKind::Unavailable, "the server refuses the connection"),
            };
            let error = Error::new(kind, message).with_source(said(refused));
            if fatal { error.retryable(false) } else { error }
        }
        Origin::Lost => Error::new(
            ErrorKind::Unavailable,
            "the server cannot be reached; check its address, and whether it runs",
        )
        .with_source(error),
        _ => Error::new(
            ErrorKind::Unavailable,
            "the connection cannot be set up as configured: check user, password and encryption",
        )
        .retryable(false)
        .with_source(error),
    }
}

/// The error of a connection that took too long to open.
#[cold]
pub(crate) fn connect_late(limit: Duration) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("the server did not take a connection within {limit:?}"),
    )
}

/// The answer to a write may have been lost.
#[cold]
pub(crate) fn unknown_outcome() -> Error {
    Error::new(
        ErrorKind::Unknown,
        "the connection was lost, or time was up, while the write was running: it may or may not \
         have been applied",
    )
}

#[cold]
pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the database has been closed")
}

/// The database cannot be closed yet.
#[cold]
pub(crate) fn still_in_use() -> Error {
    Error::new(
        ErrorKind::Busy,
        "connections are still in use: end the transactions and close again",
    )
}

/// No connection became free in time.
#[cold]
pub(crate) fn no_free_connection(waited: Duration, size: usize) -> Error {
    Error::new(
        ErrorKind::Busy,
        format!("all {size} connections were in use for {waited:?}; try again later"),
    )
}

#[cold]
pub(crate) fn too_many_waiting(most: usize) -> Error {
    Error::new(
        ErrorKind::Busy,
        format!("{most} tasks are waiting for a connection already; try again later"),
    )
}

#[cold]
pub(crate) fn late_for_a_connection() -> Error {
    Error::new(
        ErrorKind::Timeout,
        "the deadline passed while waiting for a connection, and nothing was applied",
    )
}

/// The pool could not give a connection for another reason.
#[cold]
pub(crate) fn no_connection(cause: impl StdError + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unavailable, "no connection could be had").with_source(cause)
}

fn of_server(refused: &DbError) -> Error {
    let (kind, message) = of_refusal(refusal(refused.code().code()));
    Error::new(kind, message).with_source(said(refused))
}

fn too_large() -> Error {
    let (kind, message) = of_refusal(Refusal::TooBig);
    Error::new(kind, message)
}

pub(crate) fn connection_lost() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the connection to the server was lost; try again",
    )
}

fn confused() -> Error {
    Error::new(
        ErrorKind::Engine,
        "the server answered something else than was asked",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_sorted_by_code() {
        for (state, kind, retryable) in [
            ("40001", ErrorKind::Conflict, true),
            ("40P01", ErrorKind::Conflict, true),
            ("55P03", ErrorKind::Busy, true),
            ("53300", ErrorKind::Busy, true),
            ("57014", ErrorKind::Timeout, false),
            ("25P03", ErrorKind::Timeout, false),
            ("25006", ErrorKind::ReadOnly, false),
            ("25P02", ErrorKind::Closed, false),
            ("42P01", ErrorKind::Schema, false),
            ("42703", ErrorKind::Schema, false),
            ("23505", ErrorKind::Unique, false),
            ("23503", ErrorKind::Reference, false),
            ("23001", ErrorKind::Reference, false),
            ("23502", ErrorKind::NotNull, false),
            ("23514", ErrorKind::Check, false),
            ("23P01", ErrorKind::Check, false),
            ("22001", ErrorKind::TooLong, false),
            ("22003", ErrorKind::Engine, false),
            ("22008", ErrorKind::Invalid, false),
            ("21000", ErrorKind::Invalid, false),
            ("53100", ErrorKind::Full, false),
            ("53200", ErrorKind::Full, false),
            ("54000", ErrorKind::Invalid, false),
            ("57P01", ErrorKind::Unavailable, true),
            ("57P03", ErrorKind::Unavailable, true),
            ("08006", ErrorKind::Unavailable, true),
            ("XX001", ErrorKind::Corrupt, false),
            ("XX000", ErrorKind::Engine, false),
            ("42601", ErrorKind::Engine, false),
            ("", ErrorKind::Engine, false),
            ("é", ErrorKind::Engine, false),
        ] {
            let (found, message) = of_refusal(refusal(state));
            let error = Error::new(found, message);
            assert_eq!((found, error.is_retryable()), (kind, retryable), "{state}");
        }
    }

    #[test]
    fn only_a_plan_that_no_longer_fits_is_stale() {
        assert!(is_stale("0A000", Some("RevalidateCachedQuery")));
        assert!(is_stale("26000", None));
        assert!(!is_stale("0A000", Some("transformInsertStmt")));
        assert!(!is_stale("42P01", Some("RevalidateCachedQuery")));
    }

    #[test]
    fn what_a_broken_connection_did_is_not_known() {
        use larder_core::models::Tag;
        use larder_core::write::{DeleteWhere, WriteOp};
        use larder_core::{Entity, Filter};

        let delete = Write::new(WriteOp::Delete(DeleteWhere {
            table: Tag::TABLE,
            filter: Filter::All,
        }));
        for (state, kind) in [
            ("08P01", ErrorKind::Unknown),
            ("57P02", ErrorKind::Unknown),
            ("57P01", ErrorKind::Unavailable),
            ("57014", ErrorKind::Timeout),
        ] {
            let refused = violation::Refused {
                state,
                ..violation::Refused::default()
            };
            let error = of_write(&refused, &delete);
            assert_eq!(
                (error.kind(), error.table()),
                (kind, Some("tags")),
                "{state}"
            );
        }
    }
}
