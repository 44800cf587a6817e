//! A writing process is killed again and again; what it was told was written must be there.
//!
//! ```text
//!   parent: start ──> ready ──> kill -9 after 0 to 50 ms ──> open, compare with the journal
//!   child:  8 tasks, each: "intended" to the journal, the write, "acknowledged" to the journal
//! ```
//!
//! Every acknowledged write must be there once, none by half, and nothing that was not intended.
//! The child is this program, started with an environment variable.

mod child;
mod full;
mod journal;
mod judge;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use larder_core::models::{self, NewUser};
use larder_core::{Db, Result, Storage};
use larder_sqlite::{Sqlite, SqliteOptions};
use libtest_mimic::{Arguments, Failed, Trial};

/// How often each profile's process is killed.
const ROUNDS: usize = 100;
/// The longest a process lives after it is ready.
const LIFE_MAX: Duration = Duration::from_millis(50);
/// After how many rounds SQLite checks the whole file.
const CHECK_EVERY: usize = 20;
/// How many tasks write at once.
const TASKS: usize = 8;

fn main() -> ExitCode {
    if let Some(outcome) = child::run_if_asked() {
        return outcome;
    }
    let trials = vec![
        Trial::test("sqlite::killed_while_writing", || rounds(false)),
        Trial::test("sqlite_durable::killed_while_writing", || rounds(true)),
        Trial::test("sqlite::out_of_room", full::runs_out_of_room),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// How the database is opened, by parent and child.
fn options(path: &Path, durable: bool) -> SqliteOptions {
    let options = SqliteOptions::new(path).checkpoint_pages(200);
    if durable { options.durable() } else { options }
}

fn rounds(durable: bool) -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("crash.db");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let failed = |error: larder_core::Error| Failed::from(format!("{error:?}"));
    runtime.block_on(prepare(&path, durable)).map_err(failed)?;
    let mut random = fastrand::Rng::with_seed(11);
    let started = Instant::now();
    let mut total = judge::Tally::default();
    for round in 0..ROUNDS {
        let mut child = Running::start(directory.path(), round, durable)?;
        child.wait_until_ready()?;
        std::thread::sleep(LIFE_MAX.mul_f64(random.f64()));
        drop(child);
        let tally = runtime
            .block_on(judge(&path, durable, round))
            .map_err(failed)??;
        total.add(&tally);
        if (round + 1) % CHECK_EVERY == 0 {
            check_file(&path)?;
        }
    }
    println!(
        "{ROUNDS} rounds, durable: {durable}: {total} in {:.1?}",
        started.elapsed()
    );
    if total.acknowledged < ROUNDS {
        return Err(Failed::from("the processes hardly came to write anything"));
    }
    Ok(())
}

async fn prepare(path: &Path, durable: bool) -> Result<()> {
    let store = Sqlite::open_with(options(path, durable)).await?;
    store.create_tables(&models::tables()).await?;
    let db = Db::new(store.clone());
    for task in 0..TASKS {
        db.insert(NewUser::without_password(&journal::counter(task), "-")?)
            .await?;
    }
    store.close().await
}

/// Opens what the child has left and compares it with what the journal says.
async fn judge(path: &Path, durable: bool, round: usize) -> Result<Result<judge::Tally, Failed>> {
    let store = Sqlite::open_with(options(path, durable)).await?;
    let journals = journal::read(path, round);
    let verdict = judge::judge(&Db::new(store.clone()), round, &journals).await?;
    store.close().await?;
    Ok(verdict.map_err(|problem| Failed::from(format!("round {round}: {problem}"))))
}

fn check_file(path: &Path) -> Result<(), Failed> {
    let connection = rusqlite::Connection::open(path)?;
    let answer: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    let broken = connection.prepare("PRAGMA foreign_key_check")?.exists([])?;
    if answer == "ok" && !broken {
        return Ok(());
    }
    Err(Failed::from(format!(
        "the file is damaged: {answer}, broken references: {broken}"
    )))
}

/// A child at work; killed and waited for when dropped.
struct Running(Child);

impl Running {
    fn start(directory: &Path, round: usize, durable: bool) -> std::io::Result<Self> {
        let child = Command::new(std::env::current_exe()?)
            .env(child::DIRECTORY, directory)
            .env(child::ROUND, round.to_string())
            .env(child::DURABLE, durable.to_string())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Self(child))
    }

    fn wait_until_ready(&mut self) -> Result<(), Failed> {
        let stdout = self.0.stdout.take().ok_or("the child has no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        if line.trim() == child::READY {
            Ok(())
        } else {
            Err("the child did not get ready".into())
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which the journal will tell.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
