//! One migrating program per database file.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use larder_core::{Error, ErrorKind, Result};
use rusqlite::Connection;

/// The lock on `<database>.migrate.lock`, given back when dropped or when the process dies.
///
/// The file stays behind, empty: deleting it would let a third program lock a new file of the
/// same name while a second still holds the old one.
#[derive(Debug)]
pub(super) struct MigrationLock {
    _file: Option<File>,
}

/// The first and the longest wait between two attempts.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

impl MigrationLock {
    /// Waits for the lock of this connection's file. A database in memory has none.
    pub(super) fn acquire(connection: &Connection, timeout: Duration) -> Result<Self> {
        match lock_path(connection) {
            Some(path) => Ok(Self {
                _file: Some(wait(&path, timeout)?),
            }),
            None => Ok(Self { _file: None }),
        }
    }
}

/// SQLite tells the full path, symbolic links resolved, so all programs agree on the name.
fn lock_path(connection: &Connection) -> Option<PathBuf> {
    let database = connection.path().filter(|path| Path::new(path).is_file())?;
    Some(PathBuf::from(format!("{database}.migrate.lock")))
}

fn wait(path: &Path, timeout: Duration) -> Result<File> {
    let failed = |what: &str, error: std::io::Error| {
        let message = format!("the migration lock `{}` {what}", path.display());
        Error::new(ErrorKind::Unavailable, message)
            .retryable(false)
            .with_source(error)
    };
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .open(path)
        .map_err(|error| failed("cannot be created", error))?;
    let since = Instant::now();
    let mut pause = PAUSE.0;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(failed("cannot be taken", error)),
            Err(TryLockError::WouldBlock) => {}
        }
        let left = timeout.saturating_sub(since.elapsed());
        if left.is_zero() {
            return Err(Error::new(
                ErrorKind::Busy,
                format!(
                    "another program has been migrating this database for {timeout:?} (it holds \
                     `{}`); wait for it to finish, or end it",
                    path.display()
                ),
            ));
        }
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(PAUSE.1);
    }
}
