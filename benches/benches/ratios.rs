//! Prints the ratio of Larder's time to the driver's, scenario by scenario.
//!
//! Rounds of the two alternate, so that whatever else the machine does falls on both; the medians
//! are compared. `--check` ends with an error if a ratio is beyond its goal, `--rounds N` changes
//! the number of rounds (15), any other argument picks the scenarios whose name holds it.

use std::path::Path;
use std::process::ExitCode;

use larder_benches::sqlite::{Fixture, SCENARIOS, Scenario};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let fixture = Fixture::new(Path::new(env!("CARGO_TARGET_TMPDIR")));
    println!(
        "SQLite {}, {} rounds each, medians",
        rusqlite::version(),
        arguments.rounds
    );
    println!();
    println!("| scenario | raw, us | Larder, us | ratio | goal | |");
    println!("|---|---:|---:|---:|---:|---|");
    let mut missed = 0;
    for scenario in SCENARIOS
        .iter()
        .filter(|scenario| arguments.wants(scenario))
    {
        let measured = measure(scenario, &fixture, arguments.rounds);
        measured.print(scenario);
        missed += usize::from(!measured.is_good(scenario));
    }
    if arguments.check && missed > 0 {
        println!("\n{missed} beyond their goal");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

struct Arguments {
    check: bool,
    rounds: usize,
    filters: Vec<String>,
}

impl Arguments {
    fn parse() -> Self {
        let mut arguments = Self {
            check: false,
            rounds: 15,
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
                // What cargo adds.
                "--bench" => {}
                _ => arguments.filters.push(argument),
            }
        }
        arguments
    }

    fn wants(&self, scenario: &Scenario) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|part| scenario.name.contains(part))
    }
}

/// The medians, in microseconds per operation.
struct Measured {
    raw: f64,
    larder: f64,
}

fn measure(scenario: &Scenario, fixture: &Fixture, rounds: usize) -> Measured {
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

    fn is_good(&self, scenario: &Scenario) -> bool {
        scenario.goal.is_none_or(|goal| self.ratio() <= goal)
    }

    fn print(&self, scenario: &Scenario) {
        let goal = scenario
            .goal
            .map_or_else(String::new, |goal| format!("<= {goal:.3}"));
        let verdict = match (scenario.goal, self.is_good(scenario)) {
            (None, _) => "",
            (_, true) => "good",
            (_, false) => "MISSED",
        };
        let (raw, larder, ratio) = (self.raw, self.larder, self.ratio());
        println!(
            "| {} | {raw:.2} | {larder:.2} | {ratio:.3} | {goal} | {verdict} |",
            scenario.name
        );
    }
}
