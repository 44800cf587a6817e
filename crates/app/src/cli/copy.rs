//! `larder copy`: all the tables from one database to another, between any two engines.
//!
//! ```text
//!   check     every row of the source is read: what the target cannot hold ends the copy here
//!   prepare   the target is migrated; rows in it must be the beginning of this very copy
//!   copy      table by table, parents first, in the order of the keys, some thousand rows a time
//!   compare   counts and hashes of both sides
//! ```
//!
//! There is no record of how far a copy came: the rows in the target say it. That is why a copy
//! that was killed at any moment is resumed by the same command.

mod check;
mod digest;
mod pages;
mod resume;

use std::fmt::Write as _;

use clap::Args;
use indicatif::ProgressBar;
use larder::filter::Filter;
use larder::migration::{MigrationState, MigrationStatus};
use larder::{Db, Table, TxOptions, Value};

use super::exchange::models;
use super::failure::{Failure, Outcome};
use super::output::{Output, counted, thousands};
use super::{Database, Store};
use check::{Findings, check};
use digest::Digest;
use pages::{Pages, count, insert};
use resume::{Beginning, beginning};

/// How many rows are read together.
const PAGE_ROWS: u64 = 2_000;
/// The progress through the rows of a table.
const BAR: &str = "{msg:24} {bar:30} {human_pos:>11} of {human_len} rows  {eta} left";

/// Why an engine cannot keep a value, if it cannot.
type Holds = fn(&Value) -> Option<&'static str>;

/// Copy all the tables from one database to another
///
/// FROM and TO are URLs of any two engines. Rows keep their keys; new rows of TO get keys after
/// the largest.
///
/// First all of FROM is read, as it is at this moment. What TO cannot hold (a text with a NUL or
/// longer than its column, a time out of range, a value that cannot be read, a reference to a row
/// that is not there) is reported with table, key and column, and nothing is written. Then TO is
/// made and migrated if need be, and the rows are written, some thousand in a transaction. At the
/// end the number of rows and a hash of them are compared for every table.
///
/// A copy that ended early, in whatever way, goes on where it was when the same command is run
/// again. A TO with rows that are not the beginning of the same copy is refused. While a copy runs
/// nobody else should write to TO.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder copy sqlite://app.db postgres://app:secret@localhost/app
  larder copy postgres://app:secret@localhost/app sqlite://copy.db
  larder copy sqlite://app.db sqlite://copy.db --dry-run    reads and checks, writes nothing")]
pub(super) struct Copy {
    /// The database to read, such as sqlite://app.db
    #[arg(value_name = "FROM")]
    from: String,
    /// The database to write
    #[arg(value_name = "TO")]
    to: String,
    /// Only check whether TO can hold all of FROM
    #[arg(long)]
    dry_run: bool,
    /// How many rows go into one transaction
    #[arg(long, value_name = "ROWS", default_value_t = PAGE_ROWS, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    batch: u64,
}

/// A table and what the source holds of it.
struct Stock {
    table: &'static Table,
    digest: Digest,
}

impl Copy {
    pub(super) async fn run(&self, output: &mut Output) -> Outcome {
        self.refuse_nonsense()?;
        let holds = Store::refusal(&self.to).map_err(|error| Failure::usage_of(error).about(TO))?;
        let store = database(&self.from).open_existing().await;
        let store = store.map_err(|failure| failure.about(FROM))?;
        require_migrated(&store).await?;
        // What is wrong with a target that is there shows at once, not after all was read.
        let target = if self.dry_run || database(&self.to).missing_file()?.is_some() {
            None
        } else {
            Some(self.open_target().await?)
        };
        // One transaction, so that children have their parents.
        let source = store.db().begin(TxOptions::new().read_only()).await;
        let source = source.map_err(|error| Failure::from(error).about(FROM))?;
        let stocks = check_all(&source, holds, output).await?;
        if !self.dry_run {
            let target = match target {
                Some(target) => target,
                None => self.open_target().await?,
            };
            self.fill(&source, &target, &stocks, output).await?;
        }
        source.rollback().await?;
        store.db().close().await?;
        Ok(())
    }

    /// Refuses pairs of URLs of which no copy can come.
    fn refuse_nonsense(&self) -> Outcome {
        for (url, side) in [(&self.from, FROM), (&self.to, TO)] {
            if Store::is_in_memory(url).map_err(|error| Failure::usage_of(error).about(side))? {
                return Err(Failure::usage(format!(
                    "{side}: a database in memory begins empty and is gone when the program ends"
                ))
                .advice("name a database that stays, such as sqlite://app.db"));
            }
        }
        if Store::is_same(&self.from, &self.to).map_err(Failure::usage_of)? {
            return Err(Failure::usage("FROM and TO are the same database")
                .advice("name another one to write"));
        }
        Ok(())
    }

    async fn open_target(&self) -> Outcome<Store> {
        let opened = database(&self.to).open().await;
        opened.map_err(|failure| failure.about(TO))
    }

    async fn fill(
        &self,
        source: &Db,
        store: &Store,
        stocks: &[Stock],
        output: &mut Output,
    ) -> Outcome {
        let migrated = migrate(store, output).await;
        migrated.map_err(|failure| failure.about(TO))?;
        let target = store.db();
        // All of the target is looked at before any of it is changed.
        let mut beginnings = Vec::with_capacity(stocks.len());
        for stock in stocks {
            let bar = stock.bar("compare", output);
            beginnings.push(beginning(source, target, stock.table, &bar).await?);
            bar.finish_and_clear();
        }
        for (stock, begun) in stocks.iter().zip(&beginnings) {
            let bar = stock.bar("copy", output);
            let copied = self.copy(source, target, stock.table, begun, &bar).await;
            bar.finish_and_clear();
            copied.map_err(|error| broken_off(error, stock.table))?;
        }
        let compared = compare(target, stocks, &beginnings, output).await;
        compared.map_err(|failure| failure.about(TO))?;
        target.close().await?;
        Ok(())
    }

    async fn copy(
        &self,
        source: &Db,
        target: &Db,
        table: &'static Table,
        begun: &Beginning,
        bar: &ProgressBar,
    ) -> larder::Result<()> {
        let mut position = begun.rows;
        bar.set_position(position);
        bar.reset_eta();
        let mut pages = Pages::new(source, table, self.batch).after(begun.last.clone());
        while let Some(page) = pages.next().await? {
            position += page.rows().len() as u64;
            insert(target, page).await?;
            bar.set_position(position);
        }
        Ok(())
    }
}

/// What the two databases are called in messages.
const FROM: &str = "FROM";
const TO: &str = "TO";

fn database(url: &str) -> Database {
    Database {
        database_url: url.to_owned(),
    }
}

impl Stock {
    fn bar(&self, what: &str, output: &Output) -> ProgressBar {
        let bar = output.bar(format!("{what} {}", self.table.name), BAR);
        bar.set_length(self.digest.rows);
        bar
    }
}

async fn require_migrated(source: &Store) -> Outcome {
    let status = source.migration_status().await;
    let status = status.map_err(|error| Failure::from(error).about(FROM))?;
    if status.iter().all(is_applied) {
        return Ok(());
    }
    Err(
        Failure::operation("FROM: its schema is not the one that this program knows").advice(
            "see how things stand with `larder migrate status`, and bring it up to date with \
             `larder migrate up`",
        ),
    )
}

fn is_applied(step: &MigrationStatus) -> bool {
    step.state == MigrationState::Applied
}

/// Reads the source and refuses what the target cannot hold.
async fn check_all(source: &Db, holds: Holds, output: &mut Output) -> Outcome<Vec<Stock>> {
    let mut findings = Findings::default();
    let mut stocks = Vec::new();
    for (table, reads) in models() {
        let bar = output.bar(format!("check {}", table.name), BAR);
        let rows = count(source, table, Filter::All).await;
        bar.set_length(rows.map_err(|error| Failure::from(error).about(FROM))?);
        let digest = check(source, (table, reads), holds, &mut findings, &bar).await;
        bar.finish_and_clear();
        let digest = digest.map_err(|failure| failure.about(FROM))?;
        stocks.push(Stock { table, digest });
    }
    if findings.count == 0 {
        let rows = stocks.iter().map(|stock| stock.digest.rows).sum();
        output.note(format!(
            "checked {}: TO can hold them",
            counted(rows, "row")
        ))?;
        return Ok(stocks);
    }
    for finding in &findings.shown {
        output.warn(finding)?;
    }
    let more = findings.count - findings.shown.len() as u64;
    if more > 0 {
        output.warn(format!("and {} more", thousands(more)))?;
    }
    let values = counted(findings.count, "value");
    Err(Failure::input(format!(
        "FROM holds {values} that TO cannot hold; nothing was written"
    ))
    .advice("mend the rows in FROM and run the command again"))
}

/// Brings the target's schema up to date, unless it holds rows under an older one.
async fn migrate(target: &Store, output: &mut Output) -> Outcome {
    let status = target.migration_status().await?;
    if status.iter().all(is_applied) {
        return Ok(());
    }
    if status.iter().any(|step| step.applied_at.is_some()) {
        for (table, _) in models() {
            if holds_rows(target.db(), table).await? {
                return Err(Failure::operation(format!(
                    "`{}` has rows under another schema than this program's",
                    table.name
                ))
                .advice(
                    "bring it up to date with `larder migrate up`, or name an empty database",
                ));
            }
        }
    }
    let applied = target.migrate_up(None).await?;
    let steps = counted(applied.len() as u64, "migration");
    output.note(format!("TO was made ready by {steps}"))?;
    Ok(())
}

/// Whether a table has rows; one that is not there has none.
async fn holds_rows(db: &Db, table: &'static Table) -> larder::Result<bool> {
    match count(db, table, Filter::All).await {
        Ok(rows) => Ok(rows > 0),
        Err(error) if error.is_schema() => Ok(false),
        Err(error) => Err(error),
    }
}

fn broken_off(error: larder::Error, table: &Table) -> Failure {
    Failure::from(error)
        .about(&format!("the copy ended early, in {}", table.name))
        .advice("once the cause is gone, run the same command again: it goes on from there")
}

/// Reads the target and tells what both sides hold.
async fn compare(
    target: &Db,
    stocks: &[Stock],
    beginnings: &[Beginning],
    output: &mut Output,
) -> Outcome {
    let target = target.begin(TxOptions::new().read_only()).await?;
    let mut unequal = Vec::new();
    for (stock, begun) in stocks.iter().zip(beginnings) {
        let Stock { table, digest } = stock;
        let bar = stock.bar("verify", output);
        let found = digest_of(&target, table, &bar).await?;
        bar.finish_and_clear();
        let rows = thousands(digest.rows);
        if found == *digest {
            let mut line = format!("{:<10} {rows:>9} on both sides, hash {digest}", table.name);
            if begun.rows > 0 {
                let _ = write!(line, ", {} there before", thousands(begun.rows));
            }
            output.note(line)?;
        } else {
            unequal.push(format!(
                "{}: {rows} with hash {digest} in FROM, {} with hash {found} in TO",
                table.name,
                thousands(found.rows)
            ));
        }
    }
    target.rollback().await?;
    if unequal.is_empty() {
        return Ok(());
    }
    Err(
        Failure::operation("it does not hold what FROM holds, after the copy")
            .detail(unequal.join("\n"))
            .advice("somebody wrote to TO meanwhile: empty it and copy once more"),
    )
}

async fn digest_of(db: &Db, table: &'static Table, bar: &ProgressBar) -> larder::Result<Digest> {
    let mut digest = Digest::default();
    let mut pages = Pages::new(db, table, PAGE_ROWS);
    while let Some(page) = pages.next().await? {
        page.rows().for_each(|row| digest.add(row));
        bar.set_position(digest.rows);
    }
    Ok(digest)
}
