//! The driver's errors, classified by their kind and by Redis's codes, never by text.

use fred::error::{Error as DriverError, ErrorKind as DriverKind};
use larder_core::{Error, ErrorKind};

/// What a command does, as far as its failure goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing: it may be sent again.
    Reads,
    /// Something: when its answer is lost, nobody knows.
    Writes,
}

/// The error of a command.
#[cold]
pub(crate) fn classify(error: DriverError, effect: Effect) -> Error {
    let (kind, message) = match code(&error) {
        Some(code) => of_code(code),
        None => of_kind(error.kind(), effect),
    };
    Error::new(kind, message).with_source(error)
}

/// The code of an error that the server sent: the first word, all in capitals. `None` for an error
/// of the driver's own.
pub(crate) fn code(error: &DriverError) -> Option<&str> {
    let word = error.details().split(' ').next()?;
    let is_code = word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_uppercase());
    is_code.then_some(word)
}

fn of_code(code: &str) -> (ErrorKind, &'static str) {
    match code {
        "OOM" => (
            ErrorKind::Full,
            "Redis has reached its maxmemory and evicts nothing: raise it or remove data",
        ),
        "MISCONF" => (
            ErrorKind::Full,
            "Redis cannot save its data and takes no writes: look at the server's disk and log",
        ),
        "READONLY" => (
            ErrorKind::ReadOnly,
            "this Redis is a replica, which takes no writes: name the primary, or sentinels",
        ),
        "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "MOVED" | "ASK" => (
            ErrorKind::Unavailable,
            "Redis is starting or moving data and did not run the command: try again",
        ),
        "BUSY" => (
            ErrorKind::Busy,
            "a script keeps Redis busy, and the command was not run: try again",
        ),
        "NOREPLICAS" => (
            ErrorKind::Unavailable,
            "Redis has too few replicas to take writes: try again",
        ),
        "NOAUTH" | "WRONGPASS" => (
            ErrorKind::Unavailable,
            "Redis refuses the user or the password of the URL",
        ),
        "NOPERM" => (
            ErrorKind::Engine,
            "the Redis user may not run this command or touch these keys",
        ),
        "WRONGTYPE" => (
            ErrorKind::Corrupt,
            "a key of the namespace holds something else: another program uses its name",
        ),
        _ => (ErrorKind::Engine, "Redis refused the command"),
    }
}

fn of_kind(kind: &DriverKind, effect: Effect) -> (ErrorKind, &'static str) {
    match (kind, effect) {
        (DriverKind::Backpressure, _) => (
            ErrorKind::Busy,
            "too many commands wait for Redis on this connection: try again",
        ),
        (DriverKind::Config | DriverKind::Url, _) => (
            ErrorKind::Misuse,
            "the settings of the Redis connection do not fit the server",
        ),
        (DriverKind::Auth, _) => (
            ErrorKind::Unavailable,
            "Redis refuses the user or the password of the URL",
        ),
        (DriverKind::Tls, _) => (
            ErrorKind::Unavailable,
            "the encrypted connection to Redis could not be made",
        ),
        (DriverKind::Routing | DriverKind::Sentinel, _) => (
            ErrorKind::Unavailable,
            "no Redis server is there to take the command: try again",
        ),
        (DriverKind::InvalidArgument | DriverKind::InvalidCommand, _) => {
            (ErrorKind::Engine, "the driver refused the command")
        }
        (_, Effect::Writes) => (
            ErrorKind::Unknown,
            "Redis did not answer the write: it may or may not be applied",
        ),
        (DriverKind::Timeout, Effect::Reads) => {
            (ErrorKind::Timeout, "Redis did not answer the read in time")
        }
        (_, Effect::Reads) => (
            ErrorKind::Unavailable,
            "the connection to Redis was lost: try again",
        ),
    }
}

/// The error of a handle that was closed.
#[cold]
pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the Redis store has been closed")
}

/// The error of an answer that does not have the form asked for.
#[cold]
pub(crate) fn unreadable() -> Error {
    Error::new(
        ErrorKind::Engine,
        "Redis sent an answer of another form than the command has",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(driver: DriverKind, details: &'static str, effect: Effect) -> ErrorKind {
        classify(DriverError::new(driver, details), effect).kind()
    }

    #[test]
    fn the_servers_codes_decide_first() {
        let cases = [
            ("OOM command not allowed", ErrorKind::Full),
            ("READONLY You can't write", ErrorKind::ReadOnly),
            ("BUSY Redis is busy", ErrorKind::Busy),
            ("WRONGTYPE Operation", ErrorKind::Corrupt),
            ("ERR syntax", ErrorKind::Engine),
        ];
        for (details, expected) in cases {
            assert_eq!(
                kind(DriverKind::Unknown, details, Effect::Writes),
                expected,
                "{details}"
            );
        }
    }

    #[test]
    fn a_lost_answer_is_unknown_to_writes_alone() {
        for (driver, read) in [
            (DriverKind::Timeout, ErrorKind::Timeout),
            (DriverKind::IO, ErrorKind::Unavailable),
            (DriverKind::Canceled, ErrorKind::Unavailable),
            (DriverKind::Unknown, ErrorKind::Unavailable),
        ] {
            assert_eq!(kind(driver.clone(), "x", Effect::Reads), read);
            assert_eq!(kind(driver, "x", Effect::Writes), ErrorKind::Unknown);
        }
        let busy = kind(DriverKind::Backpressure, "x", Effect::Writes);
        assert_eq!(busy, ErrorKind::Busy, "it was not sent");
    }
}
