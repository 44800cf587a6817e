//! One migration: its SQL and its history row, through refinery.

use larder_core::migration::Migration;
use larder_core::{Error, ErrorKind, Result};
use refinery_core::error::Kind;
use refinery_core::traits::r#async::{AsyncMigrate, AsyncQuery, AsyncTransaction};
use refinery_core::{Migration as RefineryMigration, Target};

use super::history::HISTORY;
use super::script::{self, Change};
use super::session::Session;

/// Applies a migration. False if another program got there first.
pub(super) async fn apply(session: &Session<'_>, migration: &Migration) -> Result<bool> {
    let refinerys = RefineryMigration::unapplied(&migration.label(), migration.up().text())
        .map_err(|error| in_larders_words(&error, migration))?;
    let mut step = Step {
        session,
        migration,
        applied: false,
    };
    step.migrate(&[refinerys], false, false, false, Target::Latest, HISTORY)
        .await
        .map_err(|error| in_larders_words(&error, migration))?;
    Ok(step.applied)
}

/// What refinery sees of the database while it applies one migration.
pub(super) struct Step<'a> {
    session: &'a Session<'a>,
    migration: &'a Migration,
    applied: bool,
}

impl AsyncTransaction for Step<'_> {
    type Error = Error;

    /// Takes the migration's SQL and the statement that writes its history row, which refinery
    /// hands over together. What comes alone is the history table, made before.
    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        queries: T,
    ) -> Result<usize> {
        let queries: Vec<&str> = queries.collect();
        if let [sql, history_row] = queries[..] {
            let change = Change::Up {
                migration: self.migration,
                sql,
                history_row,
            };
            self.applied = script::apply(self.session, &change).await?;
        }
        Ok(queries.len())
    }
}

impl AsyncQuery<Vec<RefineryMigration>> for Step<'_> {
    /// Nothing: history and files were compared before, and this migration is the next.
    async fn query(&mut self, _: &str) -> Result<Vec<RefineryMigration>> {
        Ok(Vec::new())
    }
}

impl AsyncMigrate for Step<'_> {}

/// Takes the error of [`Step`] out of refinery's wrapping.
fn in_larders_words(error: &refinery_core::Error, migration: &Migration) -> Error {
    if let Kind::Connection(_, source) = error.kind()
        && let Some(own) = source.downcast_ref::<Error>()
    {
        return own.duplicate();
    }
    let message = format!("refinery refused `{}`: {error}", migration.label());
    Error::new(ErrorKind::Misuse, message)
}
