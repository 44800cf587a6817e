//! Copies of a whole database, made while it is in use.
//!
//! ```text
//!   one read transaction ──> app.db.<pid>-<n>.partial ──> checked, flushed ──> app.db
//! ```
//!
//! The read transaction is held for the whole copy. SQLite starts a copy again whenever the
//! snapshot it reads from changes, so that under steady writes it would never end.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind as Io};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use larder_core::{Error, ErrorKind, Result};
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use crate::connection;
use crate::database::{Database, off_task};
use crate::error::{EngineError, Failure, failure};
use crate::interrupt::{Budget, Cancel, Interrupt, Patience};
use crate::opening;
use crate::read::CancelOnDrop;

/// How many pages are copied between two looks at whether the backup was cancelled.
const STEP_PAGES: i32 = 1_000;

/// The files that SQLite puts beside a database and believes in when it opens it.
const COMPANIONS: [&str; 3] = ["-wal", "-journal", "-shm"];

impl Database {
    /// Copies the database, as of one moment, into a new file. Dropping the future stops the copy,
    /// which then removes what there is of it.
    pub(crate) async fn back_up(&self, target: PathBuf) -> Result<()> {
        let reader = self.readers().check_out(None).await?;
        let cancel = CancelOnDrop::default();
        let token = cancel.0.clone();
        off_task(move || {
            let interrupt = reader.interrupt();
            interrupt.arm_cancellable(Budget::Unlimited, Patience::BusyTimeout, token.clone());
            let outcome = back_up(reader.connection(), &target, &token);
            // A cancellation that comes late must not end whatever runs next on the connection.
            interrupt.arm(Budget::Unlimited, Patience::BusyTimeout);
            outcome
        })
        .await
    }
}

/// Copies the source's database into the new file `target`. Blocks on the disk.
fn back_up(source: &Connection, target: &Path, cancel: &Cancel) -> Result<()> {
    check_target(target)?;
    let partial = Partial::create(target)?;
    copy(source, &partial.path, cancel).map_err(|trouble| trouble.into_error(target, cancel))?;
    refuse_if_cancelled(cancel)?;
    partial.publish(target)
}

fn check_target(target: &Path) -> Result<()> {
    if target == ":memory:" {
        return Err(Error::misuse(
            "a backup needs a file: `:memory:` names none",
        ));
    }
    opening::check_path(target)?;
    if target.symlink_metadata().is_ok() {
        return Err(exists(target));
    }
    // A log that an earlier database left behind would be played into the copy.
    for companion in COMPANIONS {
        let stale = with_suffix(target, companion);
        if companion != "-shm" && stale.symlink_metadata().is_ok() {
            return Err(Error::misuse(format!(
                "`{}` lies where the backup's log would be: move it away, or give the backup \
                 another name",
                stale.display()
            )));
        }
    }
    Ok(())
}

/// What ended a copy.
enum Trouble {
    Sqlite(rusqlite::Error),
    Told(Error),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Trouble {
    #[cold]
    fn into_error(self, target: &Path, cancel: &Cancel) -> Error {
        let error = match self {
            Self::Told(error) => return error,
            Self::Sqlite(error) => error,
        };
        match failure(&error) {
            Failure::Interrupted if cancel.is_cancelled() => cancelled(),
            Failure::Full => no_room(target).with_source(EngineError::from(error)),
            Failure::CannotOpen | Failure::ReadOnly => Error::new(
                ErrorKind::Unavailable,
                format!(
                    "the backup `{}` cannot be written: check the rights of its directory",
                    target.display()
                ),
            )
            .retryable(false)
            .with_source(EngineError::from(error)),
            _ => EngineError::from(error).into(),
        }
    }
}

/// Copies, checks and closes; only flushing is left.
fn copy(source: &Connection, path: &Path, cancel: &Cancel) -> Result<(), Trouble> {
    let mut copy = Connection::open(path)?;
    let interrupt = Interrupt::install(&mut copy, Duration::ZERO)?;
    interrupt.arm_cancellable(Budget::Unlimited, Patience::None, cancel.clone());
    // The whole file is flushed at the end, before it gets its name.
    copy.pragma_update(None, "synchronous", "OFF")?;
    connection::extend(&copy)?;
    let snapshot = source.unchecked_transaction()?;
    snapshot.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    copy_pages(&snapshot, &mut copy, cancel)?;
    // The check takes as long again, and must not keep the source's log from starting again.
    drop(snapshot);
    verify(&copy)?;
    copy.close().map_err(|(_, error)| error.into())
}

fn copy_pages(source: &Connection, copy: &mut Connection, cancel: &Cancel) -> Result<(), Trouble> {
    let backup = Backup::new(source, copy)?;
    loop {
        refuse_if_cancelled(cancel).map_err(Trouble::Told)?;
        match backup.step(STEP_PAGES)? {
            StepResult::Done => return Ok(()),
            StepResult::More => {}
            // The snapshot is open already and nobody else knows the copy.
            _ => {
                return Err(Trouble::Told(Error::new(
                    ErrorKind::Busy,
                    "the database was locked during the backup",
                )));
            }
        }
    }
}

/// A copy counts only once SQLite finds nothing wrong with it.
fn verify(copy: &Connection) -> Result<(), Trouble> {
    let found: String = copy.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if found == "ok" {
        return Ok(());
    }
    let error = Error::new(
        ErrorKind::Corrupt,
        "the backup is damaged, and so, most likely, is the database; it was not kept",
    );
    Err(Trouble::Told(error.with_value(found)))
}

/// A file of which only this backup knows; removed on drop.
struct Partial {
    path: PathBuf,
}

impl Partial {
    /// Makes an empty file beside `target`, under a name that nobody has.
    fn create(target: &Path) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let suffix = format!(".{}-{number}.partial", std::process::id());
            let path = with_suffix(target, &suffix);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(_) => return Ok(Self { path }),
                // An earlier program with this number was killed in the middle of a backup.
                Err(error) if error.kind() == Io::AlreadyExists => {}
                Err(error) => return Err(uncreatable(target, &path, error)),
            }
        }
    }

    /// Flushes the file to the disk and gives it its name, unless somebody else has it by now.
    fn publish(self, target: &Path) -> Result<()> {
        let failed = |error: io::Error| match error.kind() {
            Io::AlreadyExists => exists(target),
            _ => uncreatable(target, &self.path, error),
        };
        let file = OpenOptions::new().write(true).open(&self.path);
        file.and_then(|file| file.sync_all()).map_err(failed)?;
        match fs::hard_link(&self.path, target) {
            Ok(()) => {}
            Err(error) if error.kind() == Io::AlreadyExists => return Err(exists(target)),
            // A file system without hard links.
            Err(_) => rename_new(&self.path, target).map_err(failed)?,
        }
        drop_file(&self.path);
        sync_directory(target).map_err(failed)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        drop_file(&self.path);
        for companion in COMPANIONS {
            drop_file(&with_suffix(&self.path, companion));
        }
    }
}

/// Renames without replacing anything but an empty file of its own, which reserves the name.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).open(to)?;
    fs::rename(from, to).inspect_err(|_| drop_file(to))
}

/// Removes a file that may be gone already.
fn drop_file(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != Io::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "a backup's file could not be removed");
    }
}

/// Makes a new name survive a loss of power.
#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    fs::File::open(opening::directory_of(path))?.sync_all()
}

/// Elsewhere a directory cannot be flushed; the file system sees to it.
#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn refuse_if_cancelled(cancel: &Cancel) -> Result<()> {
    if cancel.is_cancelled() {
        return Err(cancelled());
    }
    Ok(())
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Timeout, "the backup was cancelled")
}

fn exists(target: &Path) -> Error {
    Error::misuse(format!(
        "`{}` exists already: a backup never replaces a file",
        target.display()
    ))
}

fn no_room(target: &Path) -> Error {
    let message = format!(
        "there is no room left for the backup `{}`",
        target.display()
    );
    Error::new(ErrorKind::Full, message)
}

#[cold]
fn uncreatable(target: &Path, partial: &Path, error: io::Error) -> Error {
    let directory = opening::directory_of(partial).display();
    let reason = match error.kind() {
        Io::StorageFull | Io::QuotaExceeded => return no_room(target).with_source(error),
        Io::NotFound => format!("there is no directory `{directory}`; create it first"),
        Io::NotADirectory => format!("`{directory}` is not a directory"),
        Io::PermissionDenied | Io::ReadOnlyFilesystem => {
            format!("this program may not write to the directory `{directory}`")
        }
        _ => error.to_string(),
    };
    let message = format!(
        "the backup `{}` cannot be created: {reason}",
        target.display()
    );
    Error::new(ErrorKind::Unavailable, message)
        .retryable(false)
        .with_source(error)
}
