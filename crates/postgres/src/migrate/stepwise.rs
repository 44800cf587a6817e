//! Files without a transaction: each statement is sent alone, and recorded around.
//!
//! ```text
//!   started ──> the statement ──> finished        a row of larder_migration_steps per statement,
//!      │                                          removed with the whole when the file is done
//!      └── found like this by the next run: the program died, or the connection
//! ```
//!
//! Settings, VACUUM and ANALYZE are not recorded: a later run does them again. An index that was being created is looked at: valid counts as finished, invalid is dropped and
//! made anew. A dropped index is dropped again if it is still there. Of any other statement it is
//! not known what it left behind: the file stays dirty until a person has settled it.

use larder_core::{Error, ErrorKind, Result};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::failure::{DriverError, engine_error, line_within};
use super::history;
use super::lock;
use super::script::{Change, Retries};
use super::session::Session;
use super::split::Statement;
use super::statement::Kind;

/// Runs the statements of a file that were not finished before.
pub(super) async fn run(
    session: &Session<'_>,
    change: &Change<'_>,
    statements: &[Statement<'_>],
) -> Result<()> {
    let mut recorded = recorded(session.client, change).await?;
    if let Some(past) = recorded.iter().find(|row| row.number > statements.len()) {
        return Err(changed(change, past.number));
    }
    for (at, statement) in statements.iter().enumerate() {
        let number = at + 1;
        let position = recorded.iter().position(|row| row.number == number);
        let step = Step {
            session,
            change,
            statement,
            number,
            kind: statement.kind(),
            before: position.map(|position| recorded.swap_remove(position)),
        };
        if step.is_left()? {
            step.run().await?;
        }
    }
    Ok(())
}

/// The files that were begun and not finished: number, and whether it was being undone.
pub(super) async fn unfinished(client: &Client) -> Result<Vec<(i32, bool)>> {
    let sql = "SELECT DISTINCT version, direction = 'down'
        FROM larder_migration_steps
        ORDER BY version";
    history::read(client, "larder_migration_steps", sql, |row| {
        Ok((row.try_get(0)?, row.try_get(1)?))
    })
    .await
}

/// Forgets the steps of a file that is done.
pub(super) async fn forget_all(client: &Client, change: &Change<'_>) -> Result<(), DriverError> {
    let sql = "DELETE FROM larder_migration_steps WHERE version = $1";
    let version = change.version();
    let deleted = client.execute_typed(sql, &[(&version, Type::INT4)]).await;
    deleted.map(drop)
}

/// What is known of a statement from an earlier run.
struct Recorded {
    number: usize,
    statement: String,
    finished: bool,
}

async fn recorded(client: &Client, change: &Change<'_>) -> Result<Vec<Recorded>> {
    let sql = format!(
        "SELECT step, statement, finished IS NOT NULL
        FROM larder_migration_steps
        WHERE version = {} AND direction = '{}'",
        change.version(),
        change.direction()
    );
    history::read(client, "larder_migration_steps", &sql, |row| {
        let number: i32 = row.try_get(0)?;
        Ok(Recorded {
            number: number as usize,
            statement: row.try_get(1)?,
            finished: row.try_get(2)?,
        })
    })
    .await
}

/// One statement.
struct Step<'a> {
    session: &'a Session<'a>,
    change: &'a Change<'a>,
    statement: &'a Statement<'a>,
    number: usize,
    kind: Kind,
    before: Option<Recorded>,
}

/// An index as the database has it.
struct Index {
    /// Its name, quoted and with its schema where needed.
    name: String,
    valid: bool,
}

impl Step<'_> {
    /// Whether it is not finished. An error if it is not the statement that was run before, or if
    /// it was cut short and nobody can tell what it did.
    fn is_left(&self) -> Result<bool> {
        match &self.before {
            None => Ok(true),
            Some(before) if before.statement != self.statement.text && before.finished => {
                Err(changed(self.change, self.number))
            }
            Some(before) if before.finished => Ok(false),
            Some(before) if before.statement != self.statement.text => Err(self.dirty()),
            Some(_) => match self.kind {
                Kind::CreateIndex { .. } | Kind::DropIndex { .. } => Ok(true),
                _ => Err(self.dirty()),
            },
        }
    }

    async fn run(&self) -> Result<()> {
        lock::verify(self.session.client).await?;
        let mut retries = Retries::default();
        loop {
            match self.attempt().await {
                Err(error) if self.kind != Kind::InPieces && retries.wait(&error).await => {}
                outcome => return outcome,
            }
        }
    }

    async fn attempt(&self) -> Result<()> {
        if self.statement.is_concurrent() {
            self.session.prepare_patient().await?;
        } else {
            self.session.prepare().await?;
        }
        if self.kind == Kind::Repeatable {
            return self.send().await.map_err(|error| self.failed(error, ""));
        }
        if self.prepare_index().await? {
            return self.record(true).await;
        }
        if let Err(error) = self.send().await {
            return Err(self.clear_up(error).await);
        }
        self.record(true).await
    }

    /// Makes way for an index, and records that the statement starts. True if an earlier run did
    /// what it says.
    async fn prepare_index(&self) -> Result<bool> {
        let index = self.index().await?;
        match (&self.kind, &index, &self.before) {
            (Kind::CreateIndex { .. }, Some(index), Some(_)) if index.valid => return Ok(true),
            // There already, though not of this file: let the database say what it thinks of it.
            (Kind::CreateIndex { .. }, Some(index), None) if index.valid => return Ok(false),
            (Kind::CreateIndex { .. }, Some(index), _) => self.drop_invalid(index).await?,
            (Kind::DropIndex { .. }, None, Some(_)) => return Ok(true),
            _ => {}
        }
        self.record(false).await?;
        Ok(false)
    }

    async fn send(&self) -> Result<(), DriverError> {
        self.session.client.batch_execute(self.statement.text).await
    }

    /// The error for a statement that failed, after what it left behind is cleared up.
    async fn clear_up(&self, error: DriverError) -> Error {
        if crate::error::is_lost(&error) {
            return self.failed(error, "; it may still be running");
        }
        let cleared = match self.kind {
            Kind::InPieces => return self.failed(error, " half way"),
            Kind::CreateIndex { .. } => match self.index().await {
                Ok(Some(index)) if !index.valid => self.drop_invalid(&index).await,
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            },
            _ => Ok(()),
        };
        let forgotten = match cleared {
            Ok(()) => self.forget().await,
            Err(error) => Err(error),
        };
        if let Err(error) = forgotten {
            tracing::warn!(%error, "what a failed statement left is cleared up by the next run");
        }
        self.failed(error, "")
    }

    fn failed(&self, error: DriverError, how: &str) -> Error {
        let line = self.statement.line + line_within(self.statement.text, &error);
        let file = self.change.file();
        let what = match self.number {
            1 => format!("`{file}` failed at line {line}{how}"),
            number => format!(
                "`{file}` failed at line {line}{how}; the {} statements before it are done",
                number - 1
            ),
        };
        engine_error(&what, error)
    }

    fn dirty(&self) -> Error {
        let (file, number, line) = (self.change.file(), self.number, self.statement.line);
        let row = format!(
            "version = {} AND direction = '{}' AND step = {number}",
            self.change.version(),
            self.change.direction()
        );
        Error::new(
            ErrorKind::Schema,
            format!(
                "`{file}` was cut short in statement {number}, line {line}, and it is not known \
                 what that left behind. Look at the database: if the statement is done, run \
                 `UPDATE larder_migration_steps SET finished = now() WHERE {row}`; if not, undo \
                 what is there of it and run `DELETE FROM larder_migration_steps WHERE {row}`. \
                 Then run the same command again"
            ),
        )
    }

    /// The index that the statement is about.
    async fn index(&self) -> Result<Option<Index>> {
        let (name, table) = match &self.kind {
            Kind::CreateIndex {
                name: Some(name),
                table,
            } => (Some(name), table),
            Kind::DropIndex { index } => (None, index),
            _ => return Ok(None),
        };
        let sql = "SELECT i.indexrelid::regclass::text, i.indisvalid
            FROM pg_index AS i
            JOIN pg_class AS c ON c.oid = i.indexrelid
            WHERE ($1 IS NULL AND i.indexrelid = to_regclass($2))
               OR (c.relname = $1::name AND i.indrelid = to_regclass($2))";
        let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
            [(&name, Type::TEXT), (table, Type::TEXT)];
        let found = self.session.client.query_typed_opt(sql, &params).await;
        let read = found.and_then(|row| {
            row.map(|row| {
                Ok(Index {
                    name: row.try_get(0)?,
                    valid: row.try_get(1)?,
                })
            })
            .transpose()
        });
        read.map_err(|error| self.failed(error, ""))
    }

    async fn drop_invalid(&self, index: &Index) -> Result<()> {
        let sql = format!("DROP INDEX CONCURRENTLY {}", index.name);
        let dropped = self.session.client.batch_execute(&sql).await;
        dropped.map_err(|error| {
            let name = &index.name;
            engine_error(
                &format!("the invalid index `{name}` cannot be dropped"),
                error,
            )
        })
    }

    async fn record(&self, finished: bool) -> Result<()> {
        let sql = "INSERT INTO larder_migration_steps
              (version, direction, step, statement, finished)
            VALUES ($1, $2, $3, $4, CASE WHEN $5 THEN now() END)
            ON CONFLICT (version, direction, step) DO UPDATE SET finished = excluded.finished";
        let (version, direction) = (self.change.version(), self.change.direction());
        let (number, text) = (self.number as i32, self.statement.text);
        let recorded = self
            .session
            .client
            .execute_typed(
                sql,
                &[
                    (&version, Type::INT4),
                    (&direction, Type::TEXT),
                    (&number, Type::INT4),
                    (&text, Type::TEXT),
                    (&finished, Type::BOOL),
                ],
            )
            .await;
        recorded.map(drop).map_err(|error| self.unrecorded(error))
    }

    async fn forget(&self) -> Result<()> {
        let sql = "DELETE FROM larder_migration_steps
            WHERE version = $1 AND direction = $2 AND step = $3";
        let (version, direction) = (self.change.version(), self.change.direction());
        let number = self.number as i32;
        let deleted = self
            .session
            .client
            .execute_typed(
                sql,
                &[
                    (&version, Type::INT4),
                    (&direction, Type::TEXT),
                    (&number, Type::INT4),
                ],
            )
            .await;
        deleted.map(drop).map_err(|error| self.unrecorded(error))
    }

    fn unrecorded(&self, error: DriverError) -> Error {
        let (file, number) = (self.change.file(), self.number);
        engine_error(
            &format!("statement {number} of `{file}` cannot be recorded"),
            error,
        )
    }
}

fn changed(change: &Change<'_>, number: usize) -> Error {
    let file = change.file();
    Error::new(
        ErrorKind::Schema,
        format!(
            "statement {number} of `{file}` has changed since it was run; restore it, and put the \
             change into a new migration"
        ),
    )
}
