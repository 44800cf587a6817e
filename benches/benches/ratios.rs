//! Prints the ratio of Larder's time to the driver's, scenario by scenario, a table per engine.
//!
//! Rounds of the two alternate, so that whatever else the machine does falls on both; the medians
//! are compared. `--check` ends with an error if a ratio is beyond its goal, `--rounds N` changes
//! the number of rounds (15), `--sqlite` or `--postgres` runs that engine alone, any other
//! argument picks the scenarios whose name holds it.

use std::path::Path;
use std::process::ExitCode;

use larder_benches::{Scenario, postgres, sqlite};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut missed = 0;
    if arguments.runs(Engine::Sqlite) {
        let open = || sqlite::Fixture::new(Path::new(env!("CARGO_TARGET_TMPDIR")));
        let title = |_: &_| format!("SQLite {}", rusqlite::version());
        missed += print_table(sqlite::SCENARIOS, open, title, &arguments);
    }
    if arguments.runs(Engine::Postgres) {
        let title = |fixture: &postgres::Fixture| format!("PostgreSQL {}", fixture.version());
        missed += print_table(
            postgres::SCENARIOS,
            postgres::Fixture::new,
            title,
            &arguments,
        );
    }
    if arguments.check && missed > 0 {
        println!("{missed} beyond their goal");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Measures an engine's scenarios; says how many are beyond their goal.
fn print_table<F>(
    scenarios: &[Scenario<F>],
    open: impl FnOnce() -> F,
    title: impl FnOnce(&F) -> String,
    arguments: &Arguments,
) -> usize {
    let wanted = scenarios.iter().filter(|one| arguments.wants(one.name));
    let wanted: Vec<_> = wanted.collect();
    if wanted.is_empty() {
        return 0;
    }
    let fixture = open();
    let (title, rounds) = (title(&fixture), arguments.rounds);
    println!("{title}, {rounds} rounds each, medians");
    println!();
    println!("| scenario | raw, us | Larder, us | ratio | goal | |");
    println!("|---|---:|---:|---:|---:|---|");
    let mut missed = 0;
    for scenario in wanted {
        let measured = measure(scenario, &fixture, rounds);
        measured.print(scenario.name, scenario.goal);
        missed += usize::from(!measured.is_good(scenario.goal));
    }
    println!();
    missed
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Engine {
    Sqlite,
    Postgres,
}

struct Arguments {
    check: bool,
    rounds: usize,
    /// All of them if empty.
    engines: Vec<Engine>,
    filters: Vec<String>,
}

impl Arguments {
    fn parse() -> Self {
        let mut arguments = Self {
            check: false,
            rounds: 15,
            engines: Vec::new(),
            filters: Vec::new(),
        };
        let mut given = std::env::args().skip(1);
        while let Some(argument) = given.next() {
            match argument.as_str() {
                "--check" => arguments.check = true,
                "--rounds" => {
                    let rounds = given.next().and_then(|rounds| rounds.parse().ok());
                    arguments.rounds = rounds.unwrap_or(arguments.rounds).max(1);
                }
                "--sqlite" => arguments.engines.push(Engine::Sqlite),
                "--postgres" => arguments.engines.push(Engine::Postgres),
                // What cargo adds.
                "--bench" => {}
                _ => arguments.filters.push(argument),
            }
        }
        arguments
    }

    fn runs(&self, engine: Engine) -> bool {
        self.engines.is_empty() || self.engines.contains(&engine)
    }

    fn wants(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|part| name.contains(part))
    }
}

/// The medians, in microseconds per operation.
struct Measured {
    raw: f64,
    larder: f64,
}

fn measure<F>(scenario: &Scenario<F>, fixture: &F, rounds: usize) -> Measured {
    let mut pair = (scenario.open)(fixture);
    let times = scenario.round;
    let micros = |took: std::time::Duration| took.as_secs_f64() * 1e6 / times as f64;
    // Warms both up: caches, statements, the frequency of the processor.
    (pair.raw)(times);
    (pair.larder)(times);
    let (mut raw, mut larder) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        if round % 2 == 0 {
            raw.push(micros((pair.raw)(times)));
            larder.push(micros((pair.larder)(times)));
        } else {
            larder.push(micros((pair.larder)(times)));
            raw.push(micros((pair.raw)(times)));
        }
    }
    Measured {
        raw: median(raw),
        larder: median(larder),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

impl Measured {
    fn ratio(&self) -> f64 {
        self.larder / self.raw
    }

    fn is_good(&self, goal: Option<f64>) -> bool {
        goal.is_none_or(|goal| self.ratio() <= goal)
    }

    fn print(&self, name: &str, goal: Option<f64>) {
        let verdict = match (goal, self.is_good(goal)) {
            (None, _) => "",
            (_, true) => "good",
            (_, false) => "MISSED",
        };
        let goal = goal.map_or_else(String::new, |goal| format!("<= {goal:.3}"));
        let (raw, larder, ratio) = (self.raw, self.larder, self.ratio());
        println!("| {name} | {raw:.2} | {larder:.2} | {ratio:.3} | {goal} | {verdict} |");
    }
}
