//! [`Report`]: the table, as Markdown.

use std::fmt::Write as _;
use std::process::Command;

use peers_common::{Engine, Scenario};

use crate::measure::Measured;
use crate::peers::{PEERS, PeerInfo};

type Row = (&'static Scenario, Vec<Measured>);

/// What `benches/PEERS.md` says.
pub struct Report {
    text: String,
    versions: Vec<(String, String)>,
    goals: String,
    failures: String,
}

impl Report {
    /// Nothing measured yet.
    pub fn new(rounds: u64) -> Self {
        let text = format!(
            "# Larder and its peers\n\n\
             Written by `just bench-peers`; `benches/peers/README.md` says what is measured and \
             how. Medians of {rounds} rounds, the peers taking turns in every round. Each cell is \
             the time of one call in microseconds, and how many times Larder's time that is: above \
             1 Larder is faster. The shortest time of a row is bold.\n"
        );
        Self {
            text,
            versions: Vec::new(),
            goals: String::new(),
            failures: String::new(),
        }
    }

    /// Adds an engine's table.
    pub fn add(&mut self, engine: Engine, rows: &[Row]) {
        let name = name(engine);
        let titles: Vec<&str> = PEERS.iter().map(|peer| peer.title).collect();
        let _ = write!(self.text, "\n## {name}\n\n| | {} |\n", titles.join(" | "));
        let _ = writeln!(self.text, "|---|{}", "---:|".repeat(PEERS.len()));
        for (scenario, measured) in rows {
            let _ = writeln!(self.text, "| {} | {} |", scenario.title, cells(measured));
            self.note(engine, scenario, measured);
        }
        for goal in goals(engine) {
            if let Some((scenario, measured)) = rows.iter().find(|(s, _)| s.key == goal.scenario) {
                self.judge(name, scenario, &goal, measured);
            }
        }
    }

    fn note(&mut self, engine: Engine, scenario: &Scenario, measured: &[Measured]) {
        for one in measured {
            if let Some(versions) = &one.versions
                && !self.versions.contains(versions)
            {
                self.versions.push(versions.clone());
            }
            if let Err(error) = &one.result {
                let (title, place) = (one.peer.title, name(engine));
                let _ = writeln!(
                    self.failures,
                    "- {title}, {place}, {}: {error}",
                    scenario.title
                );
            }
        }
    }

    fn judge(&mut self, engine: &str, scenario: &Scenario, goal: &Goal, measured: &[Measured]) {
        let time = |one: &Measured| one.result.as_ref().ok().copied();
        let Some(own) = measured.first().and_then(time) else {
            return;
        };
        let others = measured[1..].iter().filter(|one| (goal.among)(one.peer));
        let best = others
            .filter_map(|one| Some((one.peer.title, time(one)?)))
            .min_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((title, best)) = best {
            let ratio = best / own;
            let verdict = if ratio >= goal.least {
                "good"
            } else {
                "MISSED"
            };
            let _ = writeln!(
                self.goals,
                "| {engine}: {} | {} | {title} | {:.1} | {ratio:.2} | {verdict} |",
                scenario.title, goal.who, goal.least
            );
        }
    }

    /// The whole text.
    pub fn finish(self) -> String {
        let mut text = self.text;
        if !self.goals.is_empty() {
            text.push_str(
                "\n## Goals\n\n| | against | best of them | times faster, at least | measured | |\n\
                 |---|---|---|---:|---:|---|\n",
            );
            text.push_str(&self.goals);
        }
        if !self.failures.is_empty() {
            text.push_str("\n## Not measured\n\n");
            text.push_str(&self.failures);
        }
        text.push_str("\n## Versions\n\n| library | engine |\n|---|---|\n");
        for (library, engine) in &self.versions {
            let _ = writeln!(text, "| {library} | {engine} |");
        }
        let _ = writeln!(text, "\n{}", machine());
        text
    }
}

const fn name(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "SQLite",
        Engine::Postgres => "PostgreSQL",
    }
}

/// How much faster than some peers Larder wants to be.
struct Goal {
    scenario: &'static str,
    who: &'static str,
    among: fn(&PeerInfo) -> bool,
    least: f64,
}

fn goals(engine: Engine) -> Vec<Goal> {
    let goal = |scenario, who, among, least| Goal {
        scenario,
        who,
        among,
        least,
    };
    match engine {
        Engine::Sqlite => vec![
            goal("point", "async peers", |peer| peer.is_async, 5.0),
            goal("point-tasks", "async peers", |peer| peer.is_async, 5.0),
            goal("insert-tasks", "all", |_| true, 15.0),
            goal("plan", "all", |_| true, 1.0),
        ],
        Engine::Postgres => vec![
            goal("point-tasks", "async peers", |peer| peer.is_async, 2.5),
            goal("plan", "all", |_| true, 1.0),
        ],
    }
}

fn cells(measured: &[Measured]) -> String {
    let times: Vec<Option<f64>> = measured
        .iter()
        .map(|one| one.result.as_ref().ok().copied())
        .collect();
    let own = times.first().copied().flatten();
    let best = times.iter().flatten().copied().min_by(f64::total_cmp);
    let cell = |(at, time): (usize, &Option<f64>)| match (time, own) {
        (None, _) => "-".to_owned(),
        (Some(time), own) => {
            let micros = if Some(*time) == best {
                format!("**{}**", short(*time))
            } else {
                short(*time)
            };
            match own {
                Some(own) if at > 0 => format!("{micros} ({:.2})", time / own),
                _ => micros,
            }
        }
    };
    let cells: Vec<String> = times.iter().enumerate().map(cell).collect();
    cells.join(" | ")
}

/// Three digits or so.
fn short(micros: f64) -> String {
    match micros {
        ..10.0 => format!("{micros:.2}"),
        10.0..100.0 => format!("{micros:.1}"),
        _ => format!("{micros:.0}"),
    }
}

/// What it ran on.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("an unknown processor", |rest| {
            rest.trim_start_matches([' ', '\t', ':'])
        });
    let rust = Command::new("rustc").arg("--version").output();
    let rust = rust.map_or_else(
        |_| "an unknown rustc".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    );
    format!("{cores} cores of {model}; {rust}; `[profile.release]` with thin LTO for all.")
}
