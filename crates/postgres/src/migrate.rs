//! Runs migrations on a PostgreSQL database: up, down, and how things stand.
//!
//! The files and what follows from them are [`larder_core::migration`]; the bookkeeping is
//! refinery's, so its command line agrees on what is applied. What is added to refinery:
//!
//! - Programs may start at once: one migrates, the others ask every second whether it is done.
//! - A statement that waits for a table makes all others wait. So it gives up after 2 seconds,
//!   and its file is tried again after 1, 2, 4 and 8 more.
//! - Down scripts, kept in the database as well, so that an older program can undo a newer one's.
//! - `-- no-transaction`, for `CREATE INDEX CONCURRENTLY` and its like: every statement is sent
//!   alone and recorded in `larder_migration_steps`, so that the next run goes on where one died.
//!
//! A file's `SET` does not reach the next file's `search_path` or timeouts. `\` commands of psql
//! and `COPY .. FROM STDIN` are not for migrations.

mod embedded;
mod failure;
mod history;
mod lock;
mod rollback;
mod script;
mod session;
mod split;
mod statement;
mod step;
mod stepwise;

use std::time::{Duration, Instant};

use larder_core::migration::{
    AppliedMigration, Migration, MigrationRun, MigrationState, MigrationStatus, Migrations,
};
use larder_core::{Error, ErrorKind, Result};
use tokio_postgres::Client;

pub use embedded::migrations;

use failure::engine_error;
use session::Session;

/// Brings a database to a state of its schema.
///
/// It needs a connection that nobody else uses meanwhile, to the server itself and not through a
/// transaction pooler. Dropping one of its futures leaves that connection in the middle of
/// things: close it then, and the server undoes what was not committed and frees the lock.
///
/// ```no_run
/// use larder_postgres::migrate::{Migrator, migrations};
///
/// # async fn example(client: &tokio_postgres::Client) -> larder_postgres::Result<()> {
/// let migrator = Migrator::new(migrations());
/// for run in migrator.up(client, None).await? {
///     println!("{} took {:?}", run.label(), run.took);
/// }
/// assert!(migrator.up(client, None).await?.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Migrator {
    migrations: Migrations,
    lock_timeout: Duration,
    table_lock_timeout: Duration,
}

impl Migrator {
    /// A migrator of this set. Touches nothing.
    pub fn new(migrations: Migrations) -> Self {
        Self {
            migrations,
            lock_timeout: Duration::from_mins(1),
            table_lock_timeout: Duration::from_secs(2),
        }
    }

    /// How long to wait while another program migrates the same database. Default: 60 seconds.
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// How long one statement waits for a table or a row that others have locked, before its file
    /// is undone and tried again, four times at most. Default: 2 seconds; zero waits for ever.
    /// Does not bound statements that say CONCURRENTLY: nobody waits for those.
    pub fn table_lock_timeout(mut self, timeout: Duration) -> Self {
        self.table_lock_timeout = timeout;
        self
    }

    /// Applies what is missing up to `target` (the newest if `None`), in order, each migration in
    /// a transaction of its own. Answers what it applied.
    ///
    /// If one fails, nothing of it remains and those before it stay; the error names the file and
    /// the line. Of a `-- no-transaction` file, the statements before the failed one stay, and the
    /// next run goes on after them. Writes nothing, and waits for no one, if nothing is missing.
    ///
    /// `Schema` if history and files disagree, or if a statement without a transaction was cut
    /// short and has to be settled by hand; `Busy` if the migration lock or a table's is not to be
    /// had in time; `Misuse` for an unknown target, a `BEGIN` or `COMMIT` in a file and an open
    /// transaction; `Unsupported` behind a transaction pooler; `Unknown` if the connection was
    /// lost during a commit.
    pub async fn up(&self, client: &Client, target: Option<i32>) -> Result<Vec<MigrationRun>> {
        refuse_open_transaction(client).await?;
        if self.pending(client, target).await?.is_empty() {
            return Ok(Vec::new());
        }
        let session = self.session(client).await?;
        let applied = self.apply_pending(&session, target).await;
        session.end().await;
        applied
    }

    /// Undoes the last `steps` migrations, newest first. Answers what it undid.
    ///
    /// The whole range is checked before anything happens: `Misuse` if one of them has no way
    /// back. Each step is a transaction: down script, history row and log row. Errors otherwise
    /// as [`up`](Self::up), but a file that has changed or is missing is no hindrance: the down
    /// script stored when it was applied is used.
    pub async fn down_steps(&self, client: &Client, steps: usize) -> Result<Vec<MigrationRun>> {
        self.down(client, Keep::AllBut(steps)).await
    }

    /// Undoes every migration above `version`, newest first; 0 undoes all. See
    /// [`down_steps`](Self::down_steps).
    pub async fn down_to(&self, client: &Client, version: i32) -> Result<Vec<MigrationRun>> {
        self.down(client, Keep::UpTo(version)).await
    }

    /// How every migration stands, those of the set and those of the database. Writes nothing.
    pub async fn status(&self, client: &Client) -> Result<Vec<MigrationStatus>> {
        let mut status = self.migrations.status(&history::applied(client).await?);
        for (version, _) in stepwise::unfinished(client).await? {
            match status.iter_mut().find(|line| line.version == version) {
                Some(line) => line.state = MigrationState::Dirty,
                None => status.push(unknown_and_dirty(version)),
            }
        }
        status.sort_by_key(|line| line.version);
        Ok(status)
    }

    async fn session<'a>(&self, client: &'a Client) -> Result<Session<'a>> {
        Session::begin(client, self.lock_timeout, self.table_lock_timeout).await
    }

    async fn pending(&self, client: &Client, target: Option<i32>) -> Result<Vec<&Migration>> {
        for (version, undoing) in stepwise::unfinished(client).await? {
            if undoing || self.migrations.get(version).is_none() {
                return Err(half_way(version, undoing));
            }
        }
        self.migrations
            .pending(&history::applied(client).await?, target)
    }

    async fn apply_pending(
        &self,
        session: &Session<'_>,
        target: Option<i32>,
    ) -> Result<Vec<MigrationRun>> {
        // Once more: another program may have done it all while this one waited.
        let pending = self.pending(session.client, target).await?;
        history::create_tables(session.client).await?;
        let mut done = Vec::with_capacity(pending.len());
        for migration in pending {
            let since = Instant::now();
            if step::apply(session, migration).await? {
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

    async fn down(&self, client: &Client, keep: Keep) -> Result<Vec<MigrationRun>> {
        refuse_open_transaction(client).await?;
        let session = self.session(client).await?;
        let undone = self.undo(&session, keep).await;
        session.end().await;
        undone
    }

    async fn undo(&self, session: &Session<'_>, keep: Keep) -> Result<Vec<MigrationRun>> {
        let client = session.client;
        let applied = history::applied(client).await?;
        let keep = keep.version(&applied);
        for (version, undoing) in stepwise::unfinished(client).await? {
            if !undoing && version > keep {
                return Err(half_way(version, undoing));
            }
        }
        let stored = history::stored_downs(client).await?;
        let plan = self.migrations.rollback(&applied, &stored, keep)?;
        if !plan.is_empty() {
            history::create_tables(client).await?;
        }
        let mut done = Vec::with_capacity(plan.len());
        for rollback in plan {
            let since = Instant::now();
            if rollback::undo(session, &rollback).await? {
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

/// How far back to go.
#[derive(Clone, Copy)]
enum Keep {
    UpTo(i32),
    AllBut(usize),
}

impl Keep {
    /// The newest version that stays.
    fn version(self, applied: &[AppliedMigration]) -> i32 {
        match self {
            Self::UpTo(version) => version,
            Self::AllBut(steps) => {
                let mut newest_first: Vec<_> =
                    applied.iter().map(AppliedMigration::version).collect();
                newest_first.sort_unstable_by(|a, b| b.cmp(a));
                newest_first.get(steps).copied().unwrap_or(0)
            }
        }
    }
}

/// In an open transaction, the transaction began before the statement did.
async fn refuse_open_transaction(client: &Client) -> Result<()> {
    let open = lock::is_true(client, "SELECT now() <> statement_timestamp()").await;
    match open {
        Ok(false) => Ok(()),
        Ok(true) => Err(Error::misuse(
            "migrations need a connection without an open transaction; end it first",
        )),
        Err(error) => Err(engine_error("the connection cannot be used", error)),
    }
}

fn half_way(version: i32, undoing: bool) -> Error {
    let message = if undoing {
        format!("V{version} was being undone and is not; run `migrate down` again first")
    } else {
        format!(
            "V{version} was being applied and is not; run `migrate up` again first, by a program \
             that knows it"
        )
    };
    Error::new(ErrorKind::Schema, message)
}

/// A step that was begun by a program that knows more.
fn unknown_and_dirty(version: i32) -> MigrationStatus {
    MigrationStatus {
        version,
        name: String::new(),
        state: MigrationState::Dirty,
        applied_at: None,
    }
}
