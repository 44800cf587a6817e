//! Runs a file: in a transaction with its record, or statement by statement before it.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use larder_core::migration::{Migration, Rollback};
use larder_core::{Error, ErrorKind, Result};

use super::failure::{engine_error, line_within};
use super::session::Session;
use super::split::{Statement, statements};
use super::statement::Kind;
use super::{history, lock, stepwise};

/// How long to wait before each further attempt of what waited for a lock in vain, in seconds.
const PAUSES: [f64; 4] = [1.0, 2.0, 4.0, 8.0];

/// A migration to apply or to undo.
pub(super) enum Change<'a> {
    Up {
        migration: &'a Migration,
        sql: &'a str,
        /// Refinery's statement that writes the history row.
        history_row: &'a str,
    },
    Down {
        rollback: &'a Rollback,
    },
}

/// Applies or undoes a migration. False if another program got there first.
///
/// On an error nothing of a file that runs in a transaction remains.
pub(super) async fn apply(session: &Session<'_>, change: &Change<'_>) -> Result<bool> {
    let statements = statements(change.sql());
    for statement in &statements {
        refuse(change, statement)?;
    }
    let mut retries = Retries::default();
    if !change.no_transaction() {
        return in_transaction(session, change, &statements, &mut retries).await;
    }
    if change.is_done(session).await? {
        return Ok(false);
    }
    stepwise::run(session, change, &statements).await?;
    in_transaction(session, change, &[], &mut retries).await
}

/// Runs the statements and records the change, all or nothing.
async fn in_transaction(
    session: &Session<'_>,
    change: &Change<'_>,
    statements: &[Statement<'_>],
    retries: &mut Retries,
) -> Result<bool> {
    loop {
        match transact(session, change, statements).await {
            Err(error) if retries.wait(&error).await => {}
            outcome => return outcome,
        }
    }
}

async fn transact(
    session: &Session<'_>,
    change: &Change<'_>,
    statements: &[Statement<'_>],
) -> Result<bool> {
    let client = session.client;
    let begun = client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE");
    begun
        .await
        .map_err(|error| engine_error("the migration cannot begin", error))?;
    let worked = work(session, change, statements).await;
    if let Ok(true) = worked {
        return commit(session, change).await.map(|()| true);
    }
    if let Err(error) = client.batch_execute("ROLLBACK").await {
        // The connection is lost, which undoes it too; its own error says more.
        tracing::debug!(%error, "the migration's transaction ended with its connection");
    }
    worked
}

/// What is done in the transaction. False if there is nothing left to do.
async fn work(
    session: &Session<'_>,
    change: &Change<'_>,
    statements: &[Statement<'_>],
) -> Result<bool> {
    session.prepare().await?;
    lock::verify(session.client).await?;
    if change.is_done(session).await? {
        return Ok(false);
    }
    for statement in statements {
        let ran = session.client.batch_execute(statement.text).await;
        ran.map_err(|error| {
            let line = statement.line + line_within(statement.text, &error);
            let file = change.file();
            let what = format!("`{file}` failed at line {line}, and nothing of it was applied");
            engine_error(&what, error)
        })?;
    }
    // Once more, as the file may have changed where tables are looked for.
    session.prepare().await?;
    change.record(session).await?;
    Ok(true)
}

/// Commits, and makes sure of it: the answer to COMMIT is no error when it rolls back.
async fn commit(session: &Session<'_>, change: &Change<'_>) -> Result<()> {
    let file = change.file();
    if let Err(error) = session.client.batch_execute("COMMIT").await {
        if crate::error::is_lost(&error) {
            let message = format!(
                "the connection was lost while `{file}` was being committed, and it is not known \
                 whether it was applied; run the same command again, which finds out"
            );
            return Err(Error::new(ErrorKind::Unknown, message).with_source(error));
        }
        let what = format!("`{file}` cannot be committed, and nothing of it was applied");
        return Err(engine_error(&what, error));
    }
    if change.is_done(session).await? {
        return Ok(());
    }
    let message = format!("the server rolled `{file}` back instead of committing it");
    Err(Error::new(ErrorKind::Engine, message))
}

/// Refuses what would break the transaction around a file, or the record around a statement.
fn refuse(change: &Change<'_>, statement: &Statement<'_>) -> Result<()> {
    let reason = match statement.kind() {
        Kind::TransactionControl => {
            "has a BEGIN, COMMIT or ROLLBACK of its own; remove it, since every migration runs in \
             a transaction together with its history row, or statement by statement after \
             `-- no-transaction`"
        }
        Kind::CopyStream => {
            "copies from or to a client, and there is none; write INSERT statements, or load the \
             data with a program"
        }
        Kind::CreateIndex { name: None, .. } if change.no_transaction() => {
            "creates an index without a name; name it, so that it can be found again if the \
             statement is cut short"
        }
        Kind::Repeatable if change.no_transaction() && statement.sets(&Session::SETTINGS) => {
            "changes `search_path`, `lock_timeout` or `statement_timeout`, which are set anew for \
             each statement of a file without a transaction; remove it, and write tables with \
             their schema"
        }
        _ => return Ok(()),
    };
    let (file, line) = (change.file(), statement.line);
    Err(Error::misuse(format!(
        "`{file}`, line {line}, {reason}. Nothing of it was applied"
    )))
}

impl Change<'_> {
    /// The file's name.
    pub(super) fn file(&self) -> String {
        match self {
            Self::Up { migration, .. } => format!("{}.sql", migration.label()),
            Self::Down { rollback } => format!("{}.down.sql", rollback.label()),
        }
    }

    pub(super) fn version(&self) -> i32 {
        match self {
            Self::Up { migration, .. } => migration.version(),
            Self::Down { rollback } => rollback.version(),
        }
    }

    pub(super) fn direction(&self) -> &'static str {
        match self {
            Self::Up { .. } => "up",
            Self::Down { .. } => "down",
        }
    }

    fn sql(&self) -> &str {
        match self {
            Self::Up { sql, .. } => sql,
            Self::Down { rollback } => rollback.script().text(),
        }
    }

    fn no_transaction(&self) -> bool {
        let script = match self {
            Self::Up { migration, .. } => migration.up(),
            Self::Down { rollback } => rollback.script(),
        };
        script.directives().no_transaction
    }

    /// Whether the history says so.
    async fn is_done(&self, session: &Session<'_>) -> Result<bool> {
        let has = history::has(session.client, self.version()).await;
        let has =
            has.map_err(|error| engine_error("the migration history cannot be read", error))?;
        Ok(has == matches!(self, Self::Up { .. }))
    }

    async fn record(&self, session: &Session<'_>) -> Result<()> {
        let client = session.client;
        let recorded = match self {
            Self::Up {
                migration,
                history_row,
                ..
            } => match client.batch_execute(history_row).await {
                Ok(()) => history::record_up(client, migration).await,
                Err(error) => Err(error),
            },
            Self::Down { rollback } => history::record_down(client, rollback).await,
        };
        let forgotten = match recorded {
            Ok(()) => stepwise::forget_all(client, self).await,
            Err(error) => Err(error),
        };
        forgotten.map_err(|error| {
            let file = self.file();
            engine_error(&format!("`{file}` cannot be recorded"), error)
        })
    }
}

/// Further attempts of what waited for a lock in vain: four, after 1, 2, 4 and 8 seconds.
#[derive(Default)]
pub(super) struct Retries {
    done: usize,
}

impl Retries {
    /// Waits, and answers true, if there is another attempt.
    pub(super) async fn wait(&mut self, error: &Error) -> bool {
        if !(error.is_busy() || error.is_conflict()) {
            return false;
        }
        let Some(pause) = PAUSES.get(self.done) else {
            return false;
        };
        self.done += 1;
        tracing::info!(%error, "a migration tries again in about {pause} s");
        tokio::time::sleep(Duration::from_secs_f64(pause * jitter())).await;
        true
    }
}

/// Between 0.75 and 1.25, so that programs that failed together do not meet again.
fn jitter() -> f64 {
    // The keys of a hash map are the randomness that the standard library has.
    let random = RandomState::new().hash_one(0_u8);
    0.75 + 0.5 * (random as f64 / u64::MAX as f64)
}
