//! Runs migrations on a SQLite database: up, down, and how things stand.
//!
//! The files and what follows from them are [`larder_core::migration`]; the bookkeeping is
//! refinery's, so its command line agrees on what is applied. What is added to refinery:
//!
//! - A migration and its history row are one transaction: after a crash it is there or it is not.
//! - Two programs may start at once: the second waits on `<database>.migrate.lock`.
//! - Down scripts, kept in the database as well, so that an older program can undo a newer one's.
//! - `-- rebuild`: a table can be replaced without losing the rows that refer to it.
//!
//! [`Sqlite::migrate`](crate::Sqlite::migrate) is the short way; [`Migrator`] blocks, for programs
//! without a runtime.

mod embedded;
mod history;
mod lock;
mod rollback;
mod script;
mod step;

use std::time::{Duration, Instant};

use larder_core::migration::{
    AppliedMigration, Migration, MigrationRun, MigrationStatus, Migrations, Script,
};
use larder_core::{Error, Result};
use rusqlite::Connection;

pub use embedded::migrations;

use crate::connection::Opener;
use crate::opening;
use crate::options::SqliteOptions;
use lock::MigrationLock;

/// Opens a connection for migrating, with the pragmas of these options. Creates the file if there
/// is none. Blocks on the disk.
pub fn connect(options: SqliteOptions) -> Result<Connection> {
    let opened = opening::explained(&options, || Opener::new(options.clone()).writer())?;
    Ok(opened.connection)
}

/// Brings a database to a state of its schema.
///
/// ```
/// use larder_core::migration::Migrations;
/// use larder_sqlite::migrate::{Migrator, connect};
/// use larder_sqlite::SqliteOptions;
///
/// let migrator = Migrator::new(Migrations::from_files(&[
///     ("V1__create_notes.sql", "CREATE TABLE notes (id INTEGER PRIMARY KEY) STRICT;"),
///     ("V1__create_notes.down.sql", "DROP TABLE notes;"),
/// ])?);
/// let mut connection = connect(SqliteOptions::in_memory())?;
/// assert_eq!(migrator.up(&mut connection, None)?.len(), 1);
/// assert_eq!(migrator.down_steps(&mut connection, 1)?[0].label(), "V1__create_notes");
/// # Ok::<(), larder_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Migrator {
    migrations: Migrations,
    lock_timeout: Duration,
}

impl Migrator {
    /// A migrator of this set. Touches nothing.
    pub fn new(migrations: Migrations) -> Self {
        Self {
            migrations,
            lock_timeout: Duration::from_mins(1),
        }
    }

    /// How long to wait while another program migrates the same file. Default: 60 seconds.
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// Applies what is missing up to `target` (the newest if `None`), in order, each migration in
    /// a transaction of its own. Answers what it applied.
    ///
    /// If one fails, nothing of it remains and those before it stay; the error names the file and
    /// the line. A connection's own authorizer is removed. Writes nothing, and waits for no one,
    /// if nothing is missing.
    ///
    /// `Schema` if history and files disagree, `Busy` if the lock is not to be had in time,
    /// `Misuse` for an unknown target, a `BEGIN` or `COMMIT` in a file and an open transaction,
    /// `Unsupported` for `-- no-transaction`.
    pub fn up(
        &self,
        connection: &mut Connection,
        target: Option<i32>,
    ) -> Result<Vec<MigrationRun>> {
        refuse_open_transaction(connection)?;
        if self.pending(connection, target)?.is_empty() {
            return Ok(Vec::new());
        }
        let _lock = MigrationLock::acquire(connection, self.lock_timeout)?;
        // Once more: another program may have done it all while this one waited.
        let pending = self.pending(connection, target)?;
        history::create_tables(connection)?;
        let mut done = Vec::with_capacity(pending.len());
        for migration in pending {
            let since = Instant::now();
            if step::apply(connection, migration)? {
                let (version, name) = (migration.version(), migration.name().to_owned());
                done.push(MigrationRun {
                    version,
                    name,
                    took: since.elapsed(),
                });
            }
        }
        Ok(done)
    }

    /// Undoes the last `steps` migrations, newest first. Answers what it undid.
    ///
    /// The whole range is checked before anything happens: `Misuse` if one of them has no way
    /// back. Each step is a transaction: down script, history row and log row. Errors otherwise
    /// as [`up`](Self::up), but a file that has changed or is missing is no hindrance: the down
    /// script stored when it was applied is used.
    pub fn down_steps(
        &self,
        connection: &mut Connection,
        steps: usize,
    ) -> Result<Vec<MigrationRun>> {
        self.down(connection, |newest_first| {
            newest_first.get(steps).copied().unwrap_or(0)
        })
    }

    /// Undoes every migration above `version`, newest first; 0 undoes all. See
    /// [`down_steps`](Self::down_steps).
    pub fn down_to(&self, connection: &mut Connection, version: i32) -> Result<Vec<MigrationRun>> {
        self.down(connection, |_| version)
    }

    /// How every migration stands, those of the set and those of the database. Writes nothing.
    pub fn status(&self, connection: &Connection) -> Result<Vec<MigrationStatus>> {
        Ok(self.migrations.status(&history::applied(connection)?))
    }

    fn pending(&self, connection: &Connection, target: Option<i32>) -> Result<Vec<&Migration>> {
        let pending = self
            .migrations
            .pending(&history::applied(connection)?, target)?;
        for migration in &pending {
            refuse_no_transaction(&migration.label(), migration.up())?;
        }
        Ok(pending)
    }

    /// `keep` picks the version to go back to from the applied ones, newest first.
    fn down(
        &self,
        connection: &mut Connection,
        keep: impl FnOnce(&[i32]) -> i32,
    ) -> Result<Vec<MigrationRun>> {
        refuse_open_transaction(connection)?;
        let _lock = MigrationLock::acquire(connection, self.lock_timeout)?;
        let applied = history::applied(connection)?;
        let mut newest_first: Vec<_> = applied.iter().map(AppliedMigration::version).collect();
        newest_first.sort_unstable_by(|a, b| b.cmp(a));
        let stored = history::stored_downs(connection)?;
        let plan = self
            .migrations
            .rollback(&applied, &stored, keep(&newest_first))?;
        for rollback in &plan {
            refuse_no_transaction(&rollback.label(), rollback.script())?;
        }
        if !plan.is_empty() {
            history::create_tables(connection)?;
        }
        let mut done = Vec::with_capacity(plan.len());
        for rollback in plan {
            let since = Instant::now();
            if rollback::undo(connection, &rollback)? {
                let (version, name) = (rollback.version(), rollback.name().to_owned());
                done.push(MigrationRun {
                    version,
                    name,
                    took: since.elapsed(),
                });
            }
        }
        Ok(done)
    }
}

fn refuse_open_transaction(connection: &Connection) -> Result<()> {
    if connection.is_autocommit() {
        return Ok(());
    }
    Err(Error::misuse(
        "migrations need a connection without an open transaction; end it first",
    ))
}

fn refuse_no_transaction(label: &str, script: &Script) -> Result<()> {
    if !script.directives().no_transaction {
        return Ok(());
    }
    Err(Error::unsupported(
        "SQLite",
        &format!(
            "`{label}` says `-- no-transaction`, but a half-applied file could not be recorded; \
             remove the line"
        ),
    ))
}
