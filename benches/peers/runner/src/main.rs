//! Runs the peers in turns and writes the table.
//!
//! ```text
//!   for each engine       fill one database
//!     for each scenario   start every peer on a copy of its own
//!       for each round    let each peer run it once, in another order every time
//! ```
//!
//! `--rounds N` takes so many rounds (9), `--engine sqlite` or `--engine postgres` takes one
//! engine, any other word picks the scenarios whose name holds it. Only a run of everything
//! replaces `benches/PEERS.md`; all print their table.
//!
//! The peers' programs are looked for beside this one. PostgreSQL is the server of
//! `LARDER_BENCH_POSTGRES_URL`, whose user may create databases, or else a throwaway one.

mod databases;
mod fill;
mod measure;
mod peers;
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use databases::Databases;
use measure::Measured;
use peers_common::scenario::SCENARIOS;
use peers_common::{Engine, Result, Scenario};
use report::Report;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments = Arguments::parse()?;
    let programs = programs()?;
    peers::check_programs(&programs)?;
    let mut report = Report::new(arguments.rounds);
    for &engine in &arguments.engines {
        let databases = Databases::open(engine, &programs)?;
        let mut rows = Vec::new();
        for scenario in SCENARIOS
            .iter()
            .filter(|scenario| arguments.wants(scenario))
        {
            eprintln!("{engine:?}: {}", scenario.title);
            rows.push((
                scenario,
                measure_one(&databases, scenario, &programs, arguments.rounds)?,
            ));
        }
        report.add(engine, &rows);
    }
    let text = report.finish();
    println!("{text}");
    if arguments.is_everything() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../PEERS.md");
        std::fs::write(&path, text)?;
        eprintln!("written to benches/PEERS.md");
    }
    Ok(())
}

fn measure_one(
    databases: &Databases,
    scenario: &'static Scenario,
    programs: &Path,
    rounds: u64,
) -> Result<Vec<Measured>> {
    let measured = measure::measure(databases, scenario, programs, rounds)?;
    for one in &measured {
        match &one.result {
            Ok(micros) => eprintln!("  {:<14}{micros:>14.2} us", one.peer.name),
            Err(error) => eprintln!("  {:<14}{error}", one.peer.name),
        }
    }
    Ok(measured)
}

/// The directory of this program and of the peers'.
fn programs() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own
        .parent()
        .ok_or("a program is in a directory")?
        .to_owned())
}

struct Arguments {
    rounds: u64,
    engines: Vec<Engine>,
    filters: Vec<String>,
}

impl Arguments {
    fn parse() -> Result<Self> {
        let mut arguments = Self {
            rounds: 9,
            engines: vec![Engine::Sqlite, Engine::Postgres],
            filters: Vec::new(),
        };
        let mut given = std::env::args().skip(1);
        while let Some(argument) = given.next() {
            match argument.as_str() {
                "--rounds" => {
                    let rounds = given.next().ok_or("--rounds needs a number")?;
                    arguments.rounds = rounds.parse::<u64>()?.max(1);
                }
                "--engine" => {
                    arguments.engines = vec![match given.next().as_deref() {
                        Some("sqlite") => Engine::Sqlite,
                        Some("postgres") => Engine::Postgres,
                        _ => return Err("--engine is sqlite or postgres".into()),
                    }];
                }
                _ => arguments.filters.push(argument),
            }
        }
        Ok(arguments)
    }

    fn wants(&self, scenario: &Scenario) -> bool {
        let holds = |part: &String| scenario.key.contains(part) || scenario.title.contains(part);
        self.filters.is_empty() || self.filters.iter().any(holds)
    }

    fn is_everything(&self) -> bool {
        self.filters.is_empty() && self.engines.len() == 2
    }
}
