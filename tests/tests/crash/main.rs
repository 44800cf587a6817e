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
mod place;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use larder_core::models::NewUser;
use larder_core::{Db, DbOptions, Result};
use larder_tests::databases::Databases;
use libtest_mimic::{Arguments, Failed, Trial};

use place::{Place, Profile};

/// How often each profile's process is killed.
const ROUNDS: usize = 100;
/// The same on a server, whose connections take longer to open.
const SERVER_ROUNDS: usize = 40;
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
        Trial::test("sqlite::killed_while_writing", || {
            rounds(Profile::Sqlite, ROUNDS)
        }),
        Trial::test("sqlite_durable::killed_while_writing", || {
            rounds(Profile::SqliteDurable, ROUNDS)
        }),
        Trial::test("postgres::killed_while_writing", postgres_rounds),
        Trial::test("sqlite::out_of_room", full::runs_out_of_room),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn rounds(profile: Profile, rounds: usize) -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let place = Place::new(directory.path(), profile);
    // Connections that were closed go in the background.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let failed = |error: larder_core::Error| Failed::from(format!("{error:?}"));
    runtime.block_on(prepare(&place)).map_err(failed)?;
    let mut random = fastrand::Rng::with_seed(11);
    let started = Instant::now();
    let mut total = judge::Tally::default();
    for round in 0..rounds {
        let mut child = Running::start(&place, round)?;
        child.wait_until_ready()?;
        std::thread::sleep(LIFE_MAX.mul_f64(random.f64()));
        drop(child);
        let tally = runtime.block_on(judge(&place, round)).map_err(failed)??;
        total.add(&tally);
        if (round + 1) % CHECK_EVERY == 0 {
            check_file(&place)?;
        }
    }
    println!("{rounds} rounds: {total} in {:.1?}", started.elapsed());
    if total.acknowledged < rounds {
        return Err(Failed::from("the processes hardly came to write anything"));
    }
    Ok(())
}

fn postgres_rounds() -> Result<(), Failed> {
    let databases = Databases::open()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let database = runtime
        .block_on(databases.empty())
        .map_err(|error| Failed::from(format!("{error:?}")))?;
    rounds(Profile::Postgres(database.url()), SERVER_ROUNDS)
}

async fn prepare(place: &Place) -> Result<()> {
    place.create_tables().await?;
    let db = Db::from_shared(place.open().await?, DbOptions::default());
    for task in 0..TASKS {
        db.insert(NewUser::without_password(&journal::counter(task), "-")?)
            .await?;
    }
    db.close().await
}

/// Opens what the child has left and compares it with what the journal says.
async fn judge(place: &Place, round: usize) -> Result<Result<judge::Tally, Failed>> {
    let db = Db::from_shared(place.open().await?, DbOptions::default());
    let journals = journal::read(&place.directory, round);
    let verdict = judge::judge(&db, round, &journals).await?;
    db.close().await?;
    Ok(verdict.map_err(|problem| Failed::from(format!("round {round}: {problem}"))))
}

/// SQLite's own checks of its file.
fn check_file(place: &Place) -> Result<(), Failed> {
    if matches!(place.profile, Profile::Postgres(_)) {
        return Ok(());
    }
    let connection = rusqlite::Connection::open(place.file())?;
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
    fn start(place: &Place, round: usize) -> std::io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let child = place
            .tell(&mut command)
            .env(child::ROUND, round.to_string())
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
