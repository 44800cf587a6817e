//! What can go wrong in the engine room, told apart by SQLite's result codes, never by text.

use std::fmt;
use std::sync::Arc;

use larder_core::{Error, ErrorKind, Select, Table};
use rusqlite::ErrorCode;
use rusqlite::ffi;

/// An error of this crate before it is mapped to the one its users see.
#[derive(Debug)]
pub(crate) enum EngineError {
    /// SQLite refused; nothing of the operation was applied.
    Sqlite(rusqlite::Error),
    /// The write was rolled back together with the batch it ran in, for a reason that was not its
    /// own. Nothing of it was applied; it may be tried again.
    BatchAborted(Arc<rusqlite::Error>),
    /// The write may or may not have been applied: its commit failed half-way, or its deadline
    /// passed while it was running.
    Unknown(Option<Arc<rusqlite::Error>>),
    /// The deadline passed before anything was applied.
    Timeout,
    /// The writer's queue is full; nothing was applied.
    QueueFull,
    /// The database was closed; nothing was applied.
    Closed,
    /// The job panicked and was rolled back.
    Panicked(String),
}

/// What an error of SQLite means to a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Another connection holds the lock; trying again can help.
    Busy,
    /// Interrupted by its budget or cancelled.
    Interrupted,
    Unique,
    ForeignKey,
    NotNull,
    Check,
    /// Another constraint: a STRICT table's types, a trigger's RAISE.
    Constraint,
    /// The disk, or the largest size a database may have, is full.
    Full,
    /// A value or a statement is larger than SQLite's limits.
    TooBig,
    ReadOnly,
    Io,
    Corrupt,
    CannotOpen,
    OutOfMemory,
    /// Anything else: a wrong statement, a wrong use of the library, a value of the wrong type.
    Other,
}

impl EngineError {
    /// The error of SQLite behind this one.
    pub(crate) fn sqlite(&self) -> Option<&rusqlite::Error> {
        match self {
            Self::Sqlite(error) => Some(error),
            Self::BatchAborted(error) | Self::Unknown(Some(error)) => Some(error),
            _ => None,
        }
    }

    /// Whether this is SQLite's answer that another connection holds a lock.
    pub(crate) fn is_busy(&self) -> bool {
        !matches!(self, Self::Unknown(_))
            && (self.sqlite()).is_some_and(|error| failure(error) == Failure::Busy)
    }

    /// Whether the statement does not fit the schema that the connection knows.
    pub(crate) fn is_unprepared(&self) -> bool {
        matches!(self, Self::Sqlite(rusqlite::Error::SqlInputError { .. }))
    }

    /// Whether this is SQLite's answer that the statement was interrupted.
    pub(crate) fn is_interrupted(&self) -> bool {
        matches!(self, Self::Sqlite(error) if failure(error) == Failure::Interrupted)
    }
}

/// Sorts an error of SQLite by its extended result code.
pub(crate) fn failure(error: &rusqlite::Error) -> Failure {
    let Some(code) = error.sqlite_error() else {
        return Failure::Other;
    };
    match code.extended_code {
        ffi::SQLITE_CONSTRAINT_UNIQUE
        | ffi::SQLITE_CONSTRAINT_PRIMARYKEY
        | ffi::SQLITE_CONSTRAINT_ROWID => return Failure::Unique,
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => return Failure::ForeignKey,
        ffi::SQLITE_CONSTRAINT_NOTNULL => return Failure::NotNull,
        ffi::SQLITE_CONSTRAINT_CHECK => return Failure::Check,
        _ => {}
    }
    match code.code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Failure::Busy,
        ErrorCode::OperationInterrupted => Failure::Interrupted,
        ErrorCode::ConstraintViolation => Failure::Constraint,
        ErrorCode::DiskFull => Failure::Full,
        ErrorCode::TooBig => Failure::TooBig,
        ErrorCode::ReadOnly => Failure::ReadOnly,
        ErrorCode::SystemIoFailure | ErrorCode::FileLockingProtocolFailed => Failure::Io,
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Failure::Corrupt,
        ErrorCode::CannotOpen | ErrorCode::PermissionDenied => Failure::CannotOpen,
        ErrorCode::OutOfMemory => Failure::OutOfMemory,
        _ => Failure::Other,
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite(_) => "SQLite refused the statement",
            Self::BatchAborted(_) => "the write was rolled back with the batch it ran in",
            Self::Unknown(_) => "the outcome of the write is unknown",
            Self::Timeout => "the deadline passed before anything was applied",
            Self::QueueFull => "too many writes are waiting for the writer",
            Self::Closed => "the database is closed",
            Self::Panicked(_) => "the write panicked and was rolled back",
        })
    }
}

impl std::error::Error for EngineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.sqlite().map(|error| error as _)
    }
}

impl From<rusqlite::Error> for EngineError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// The error a user sees, without knowing the table.
impl From<EngineError> for Error {
    #[cold]
    fn from(error: EngineError) -> Self {
        let (kind, message) = match &error {
            EngineError::Sqlite(cause) => of_failure(failure(cause)),
            EngineError::BatchAborted(cause) => match failure(cause) {
                Failure::Other => (
                    ErrorKind::Conflict,
                    "the write was undone together with one beside it; run it again",
                ),
                failure => of_failure(failure),
            },
            EngineError::Unknown(_) => (
                ErrorKind::Unknown,
                "the write was running when its time was up or its commit failed: it may or may \
                 not have been applied",
            ),
            EngineError::Timeout => (
                ErrorKind::Timeout,
                "the deadline passed while waiting for the writer, and nothing was applied; if a \
                 transaction is open, use its handle",
            ),
            EngineError::QueueFull => (
                ErrorKind::Busy,
                "too many writes are waiting for the writer; try again later",
            ),
            EngineError::Closed => (ErrorKind::Closed, "the database has been closed"),
            EngineError::Panicked(_) => (ErrorKind::Engine, "the write panicked and was undone"),
        };
        let panic = match &error {
            EngineError::Panicked(message) => Some(message.clone()),
            _ => None,
        };
        let error = Self::new(kind, message).with_source(error);
        match panic {
            Some(panic) => error.with_value(panic),
            None => error,
        }
    }
}

/// What a failure of SQLite is to a user.
fn of_failure(failure: Failure) -> (ErrorKind, &'static str) {
    match failure {
        Failure::Busy => (
            ErrorKind::Busy,
            "the database is locked by somebody else; try again",
        ),
        Failure::Interrupted => (
            ErrorKind::Timeout,
            "the statement was stopped before its end",
        ),
        Failure::Unique => (ErrorKind::Unique, "a row with this value exists already"),
        Failure::ForeignKey => (ErrorKind::Reference, "a reference refuses the change"),
        Failure::NotNull => (ErrorKind::NotNull, "a column must have a value"),
        Failure::Check | Failure::Constraint => (ErrorKind::Check, "a constraint refuses the row"),
        Failure::Full => (ErrorKind::Full, "there is no room left for the database"),
        Failure::TooBig => (
            ErrorKind::Invalid,
            "the value is larger than SQLite can keep",
        ),
        Failure::ReadOnly => (ErrorKind::ReadOnly, "the database can only be read"),
        Failure::Io => (
            ErrorKind::Unavailable,
            "the disk failed to read or write the database",
        ),
        Failure::Corrupt => (
            ErrorKind::Corrupt,
            "the file is damaged or not a database; restore a backup",
        ),
        Failure::CannotOpen => (
            ErrorKind::Unavailable,
            "the database file cannot be opened; check path and rights",
        ),
        Failure::OutOfMemory => (ErrorKind::Engine, "SQLite ran out of memory"),
        Failure::Other => (ErrorKind::Engine, "SQLite refused the statement"),
    }
}

/// The error of a read.
#[cold]
pub(crate) fn of_read(error: EngineError, select: &Select) -> Error {
    of_table(error, select.table)
}

/// The error of a write that violated no constraint.
#[cold]
pub(crate) fn of_write(error: EngineError, table: &'static Table) -> Error {
    of_table(error, table)
}

/// Names the table, and tells a statement that does not fit the database's schema from others:
/// SQLite gives its general code for it, while preparing.
fn of_table(error: EngineError, table: &'static Table) -> Error {
    let overflow = matches!(
        &error,
        EngineError::Sqlite(cause) if cause.sqlite_error_code() == Some(ErrorCode::Unknown)
    );
    if let EngineError::Sqlite(rusqlite::Error::InvalidParameterCount(given, most)) = &error {
        let message = format!(
            "SQLite takes {most} values in one statement, this one has {given}: use `in_`, or split it"
        );
        return Error::misuse(message)
            .with_table(table.name)
            .with_source(error);
    }
    if error.is_unprepared() {
        return Error::new(
            ErrorKind::Schema,
            "the table or one of the model's columns is missing: have the migrations been run?",
        )
        .with_table(table.name)
        .with_source(error);
    }
    if overflow {
        return Error::new(
            ErrorKind::Engine,
            "SQLite could not compute the result: integer overflow?",
        )
        .with_table(table.name)
        .with_source(error);
    }
    Error::from(error).with_table(table.name)
}
