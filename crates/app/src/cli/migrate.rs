//! `larder migrate`: the schema up, down, and how it stands.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::time::Duration;

use clap::{Args, Subcommand};
use larder::migration::{MigrationRun, MigrationState, MigrationStatus};

use super::failure::{Failure, Outcome};
use super::output::Output;
use super::{Database, Store};

/// Bring the schema of a database up to date, or back
///
/// Each step is one transaction: after a crash it is there or it is not. Two programs may
/// migrate at once; the second waits.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder migrate up
  larder migrate status --database-url sqlite://blog.db
  larder migrate down --steps 1
  larder migrate down --to 0 --yes          undoes everything, without asking")]
pub(super) struct Migrate {
    #[command(subcommand)]
    direction: Direction,
}

#[derive(Debug, Subcommand)]
enum Direction {
    /// Apply the steps that are missing; makes the file if there is none
    Up {
        /// The last step to apply [default: the newest]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
        to: Option<i32>,
        #[command(flatten)]
        database: Database,
    },
    /// Undo steps, newest first; the data they made room for goes with them
    #[command(group = clap::ArgGroup::new("how_far").required(true))]
    Down {
        /// The last step to keep; 0 undoes all
        #[arg(long, value_name = "N", group = "how_far", value_parser = clap::value_parser!(i32).range(0..))]
        to: Option<i32>,
        /// How many steps to undo
        #[arg(long, value_name = "COUNT", group = "how_far", value_parser = clap::value_parser!(u16).range(1..))]
        steps: Option<u16>,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
        #[command(flatten)]
        database: Database,
    },
    /// Show every step and whether it is applied; writes nothing
    Status {
        #[command(flatten)]
        database: Database,
    },
}

impl Migrate {
    pub(super) async fn run(&self, output: &mut Output) -> Outcome {
        match &self.direction {
            Direction::Up { to, database } => up(*to, database, output).await,
            Direction::Down {
                to,
                steps,
                yes,
                database,
            } => {
                refuse_memory(database)?;
                let store = database.open_existing().await?;
                down(&store, *to, steps.map(usize::from), *yes, output).await?;
                Ok(store.db().close().await?)
            }
            Direction::Status { database } => status(database, output).await,
        }
    }
}

async fn up(to: Option<i32>, database: &Database, output: &mut Output) -> Outcome {
    refuse_memory(database)?;
    let store = database.open().await?;
    let applied = store.migrate_up(to).await?;
    if applied.is_empty() {
        output.note("nothing to do: the schema is up to date")?;
    }
    tell("applied", &applied, output)?;
    store.db().close().await?;
    Ok(())
}

async fn down(
    store: &Store,
    to: Option<i32>,
    steps: Option<usize>,
    yes: bool,
    output: &mut Output,
) -> Outcome {
    let status = store.migration_status().await?;
    let mut applied: Vec<&MigrationStatus> = status
        .iter()
        .filter(|one| one.applied_at.is_some())
        .collect();
    applied.reverse();
    let keep = match (to, steps) {
        (Some(to), _) => to,
        (None, steps) => applied.get(steps.unwrap_or(1)).map_or(0, |one| one.version),
    };
    applied.retain(|one| one.version > keep);
    if applied.is_empty() {
        output.note("nothing to do: no step above is applied")?;
        return Ok(());
    }
    if !yes {
        confirm(&applied).await?;
    }
    let undone = store.migrate_down(keep).await?;
    tell("undid", &undone, output)
}

/// Asks at the terminal; without one there is nobody to ask.
async fn confirm(steps: &[&MigrationStatus]) -> Outcome {
    let names: Vec<String> = steps
        .iter()
        .map(|one| label(one.version, &one.name))
        .collect();
    let question = format!(
        "This undoes {} and deletes the data in its tables.",
        names.join(", ")
    );
    if !std::io::stdin().is_terminal() {
        return Err(
            Failure::usage(format!("{question} There is no terminal to ask at"))
                .advice("add --yes if that is what you want"),
        );
    }
    let mut stderr = std::io::stderr();
    let _ = write!(stderr, "{question} Go on? [y/N] ");
    let _ = stderr.flush();
    // On a thread of its own, so that Ctrl-C is heard meanwhile.
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin()
            .lock()
            .read_line(&mut answer)
            .map(|_| answer)
    });
    let answer = answer
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)));
    let answer =
        answer.map_err(|cause| Failure::operation("the answer cannot be read").because(cause))?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::operation("nothing was undone, as you said")),
    }
}

async fn status(database: &Database, output: &mut Output) -> Outcome {
    refuse_memory(database)?;
    let status = if let Some(file) = database.missing_file()? {
        output.note(format!(
            "there is no database at `{file}` yet; a new one begins like this:"
        ))?;
        Store::migrations(&database.database_url)?.status(&[])
    } else {
        let store = database.open().await?;
        let status = store.migration_status().await?;
        store.db().close().await?;
        status
    };
    let width = status
        .iter()
        .map(|one| label(one.version, &one.name).len())
        .max()
        .unwrap_or(0);
    for one in &status {
        let at = one
            .applied_at
            .map(|at| format!("  {:.0}", at.to_jiff()))
            .unwrap_or_default();
        let name = label(one.version, &one.name);
        output.line(format!("{name:width$}  {}{at}", in_words(one.state)))?;
    }
    Ok(())
}

fn in_words(state: MigrationState) -> &'static str {
    match state {
        MigrationState::Pending => "pending",
        MigrationState::Applied => "applied",
        MigrationState::Changed => "applied, but the file has changed since",
        MigrationState::Missing => "applied, but this program does not know it",
        MigrationState::OutOfOrder => "not applied, though a later one is",
        MigrationState::Dirty => "begun and not finished",
        _ => "unknown",
    }
}

fn label(version: i32, name: &str) -> String {
    format!("V{version}__{name}")
}

fn tell(what: &str, runs: &[MigrationRun], output: &mut Output) -> Outcome {
    for run in runs {
        output.line(format!(
            "{what} {} in {}",
            label(run.version, &run.name),
            in_ms(run.took)
        ))?;
    }
    Ok(())
}

fn in_ms(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1_000.0)
}

/// A database in memory is gone when the program ends.
fn refuse_memory(database: &Database) -> Outcome {
    if !Store::is_in_memory(&database.database_url).map_err(Failure::usage_of)? {
        return Ok(());
    }
    Err(Failure::usage(
        "a database in memory is gone when the program ends: there is nothing to migrate",
    )
    .advice("name a database that stays, such as sqlite://FILE, with --database-url"))
}
