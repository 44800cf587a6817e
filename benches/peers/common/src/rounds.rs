//! [`main`]: the main function of every peer. It runs rounds and holds the clock.

use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::time::Instant;

use crate::data::{self, NewUser, Picks, TASKS, THREADS, USERS};
use crate::peer::{Engine, Peer, Result, Seen, Target};
use crate::protocol::{Ready, Round};
use crate::scenario::{Scenario, Work};

/// Connections of a pool on PostgreSQL.
const POSTGRES_POOL: u32 = 20;
/// Connections of a pool that reads SQLite: two for each worker.
const SQLITE_POOL: u32 = 4;

/// Runs `<program> --url <url> --scenario <key>`: a round for every line of standard input.
pub fn main<P: Peer>() -> ExitCode {
    match run::<P>() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", P::NAME);
            ExitCode::FAILURE
        }
    }
}

fn run<P: Peer>() -> Result<()> {
    let (url, scenario) = arguments()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()?;
    let target = target(url, scenario)?;
    let peer = runtime.block_on(P::open(&target))?;
    say(&Ready {
        peer: P::NAME.to_owned(),
        engine: runtime.block_on(peer.engine_version())?,
    })?;
    for line in std::io::stdin().lock().lines() {
        let round: u64 = line?.trim().parse()?;
        let (micros, seen) = runtime.block_on(one_round(peer.clone(), scenario, round))?;
        say(&Round {
            scenario: scenario.key.to_owned(),
            n: scenario.times,
            micros,
            rows: seen.rows,
            sum: seen.sum,
        })?;
    }
    Ok(())
}

fn arguments() -> Result<(String, &'static Scenario)> {
    let (mut url, mut scenario) = (None, None);
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--url" => url = given.next(),
            "--scenario" => scenario = given.next(),
            other => return Err(format!("what is {other}?").into()),
        }
    }
    let scenario = scenario.ok_or("--scenario is missing")?;
    let known = Scenario::find(&scenario).ok_or_else(|| format!("no scenario {scenario}"))?;
    Ok((url.ok_or("--url is missing")?, known))
}

fn target(url: String, scenario: &Scenario) -> Result<Target> {
    let engine = match url.split(':').next() {
        Some("sqlite") => Engine::Sqlite,
        Some("postgres" | "postgresql") => Engine::Postgres,
        _ => return Err(format!("neither SQLite nor PostgreSQL: {url}").into()),
    };
    let pool = match engine {
        Engine::Postgres => POSTGRES_POOL,
        // SQLite has one writer; more connections would only make each other wait, or fail.
        Engine::Sqlite if scenario.work.writes() => 1,
        Engine::Sqlite => SQLITE_POOL,
    };
    Ok(Target {
        engine,
        url,
        durable: scenario.durable,
        pool,
        tasks: scenario.work.has_tasks(),
    })
}

fn say(message: &impl serde::Serialize) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, message)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Runs a scenario once; what it needs is made before the clock starts. Returns the microseconds.
async fn one_round<P: Peer>(
    peer: P,
    scenario: &'static Scenario,
    round: u64,
) -> Result<(f64, Seen)> {
    let parts = parts::<P>(scenario, round);
    let started = Instant::now();
    // Tasks of the runtime, as in a service, and not the thread that waits for it.
    let tasks: Vec<_> = parts
        .into_iter()
        .map(|items| tokio::spawn(work_off(peer.clone(), items)))
        .collect();
    let mut seen = Seen::default();
    for task in tasks {
        seen.add(task.await??);
    }
    Ok((started.elapsed().as_secs_f64() * 1e6, seen))
}

async fn work_off<P: Peer>(peer: P, items: Vec<Item<P>>) -> Result<Seen> {
    let mut seen = Seen::default();
    for item in items {
        seen.add(item.run(&peer).await?);
    }
    Ok(seen)
}

/// One call, or what counts as one.
enum Item<P: Peer> {
    Key(i64),
    Users(i64),
    Newest,
    Authors,
    Comments,
    Insert(P::New),
    InsertAll(Vec<P::New>),
    Bulk(Vec<P::New>, P::New),
}

impl<P: Peer> Item<P> {
    async fn run(self, peer: &P) -> Result<Seen> {
        match self {
            Self::Key(id) => peer.user(id).await,
            Self::Users(count) => peer.users(count).await,
            Self::Newest => peer.newest(data::NEWEST).await,
            Self::Authors => peer.authors(data::LOADED).await,
            Self::Comments => peer.comments().await,
            Self::Insert(user) => peer.insert(user).await,
            Self::InsertAll(users) => peer.insert_all(users).await,
            Self::Bulk(users, one) => {
                let mut seen = peer.insert_all(users).await?;
                seen.add(peer.insert(one).await?);
                Ok(seen)
            }
        }
    }
}

/// The calls of a round, task by task.
fn parts<P: Peer>(scenario: &Scenario, round: u64) -> Vec<Vec<Item<P>>> {
    let tasks = if scenario.work.has_tasks() { TASKS } else { 1 };
    let mut keys = Picks::new(round, USERS);
    let mut fresh = Fresh::new(scenario, round);
    let mut item = || match scenario.work {
        Work::Points | Work::PointTasks => Item::Key(keys.pick()),
        Work::Users(count) => Item::Users(count),
        Work::Newest => Item::Newest,
        Work::Authors => Item::Authors,
        Work::Comments => Item::Comments,
        Work::Insert | Work::InsertTasks => Item::Insert(fresh.one::<P>()),
        Work::InsertAll(rows) => Item::InsertAll(fresh.many::<P>(rows)),
        Work::Bulk(rows) => Item::Bulk(fresh.many::<P>(rows), fresh.one::<P>()),
    };
    (0..tasks)
        .map(|_| (0..scenario.times / tasks).map(|_| item()).collect())
        .collect()
}

/// Users that were never inserted before: every round has numbers of its own.
struct Fresh {
    next: i64,
}

impl Fresh {
    fn new(scenario: &Scenario, round: u64) -> Self {
        let rows = match scenario.work {
            Work::InsertAll(rows) => rows,
            Work::Bulk(rows) => rows + 1,
            _ => 1,
        };
        let used = round * rows * scenario.times;
        Self {
            next: USERS + 1 + used.cast_signed(),
        }
    }

    fn one<P: Peer>(&mut self) -> P::New {
        self.next += 1;
        P::prepare(NewUser::new(self.next - 1))
    }

    fn many<P: Peer>(&mut self, count: u64) -> Vec<P::New> {
        (0..count).map(|_| self.one::<P>()).collect()
    }
}
