//! The peers, and how one is run: a process that is told when to start a round.

use std::fs::File;
use std::io::{BufRead, BufReader, Lines, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use peers_common::protocol::{Ready, Round};
use peers_common::{Result, Scenario};

/// How many lines of what a failed peer said are kept.
const LINES_MAX: usize = 2;

/// One library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its program is `peer-<name>`.
    pub name: &'static str,
    /// Its name in the table.
    pub title: &'static str,
    /// Whether its calls are futures.
    pub is_async: bool,
}

/// All of them; Larder comes first, the others are compared with it.
pub const PEERS: &[PeerInfo] = &[
    peer("larder", "Larder", true),
    peer("diesel", "Diesel", false),
    peer("diesel-async", "diesel-async", true),
    peer("sqlx", "SQLx", true),
    peer("sea-orm", "SeaORM", true),
    peer("toasty", "Toasty", true),
];

const fn peer(name: &'static str, title: &'static str, is_async: bool) -> PeerInfo {
    PeerInfo {
        name,
        title,
        is_async,
    }
}

/// Fails if a peer was not built.
pub fn check_programs(programs: &Path) -> Result<()> {
    for peer in PEERS {
        let program = program(programs, peer);
        if !program.is_file() {
            return Err(format!(
                "{} is missing: `just bench-peers` builds it",
                program.display()
            )
            .into());
        }
    }
    Ok(())
}

fn program(programs: &Path, peer: &PeerInfo) -> PathBuf {
    programs.join(format!("peer-{}", peer.name))
}

/// A peer that runs and waits for rounds. Ends when dropped.
pub struct Running {
    /// What it said of itself.
    pub ready: Ready,
    process: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    errors: File,
}

impl Running {
    /// Starts a peer and waits until its connections are open.
    pub fn start(peer: &PeerInfo, programs: &Path, url: &str, scenario: &Scenario) -> Result<Self> {
        let errors = tempfile::tempfile()?;
        let mut process = Command::new(program(programs, peer))
            .args(["--url", url, "--scenario", scenario.key])
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors.try_clone()?)
            .spawn()?;
        let input = process.stdin.take();
        let output = process.stdout.take().ok_or("the output is a pipe")?;
        let mut running = Self {
            ready: Ready::default(),
            process,
            input,
            output: BufReader::new(output).lines(),
            errors,
        };
        running.ready = serde_json::from_str(&running.line()?)?;
        Ok(running)
    }

    /// Has it run one round.
    pub fn round(&mut self, number: u64) -> Result<Round> {
        let input = self
            .input
            .as_mut()
            .ok_or("the input is open until the end")?;
        writeln!(input, "{number}")?;
        Ok(serde_json::from_str(&self.line()?)?)
    }

    /// Its next line; if it has ended instead, its last words are the error.
    fn line(&mut self) -> Result<String> {
        if let Some(line) = self.output.next() {
            return Ok(line?);
        }
        self.process.wait()?;
        let mut said = String::new();
        self.errors.rewind()?;
        self.errors.read_to_string(&mut said)?;
        // Where it panicked is a path of this machine; what it said is of interest.
        let words = |line: &&str| !line.is_empty() && !line.contains("panicked at");
        let lines = said.lines().map(str::trim).filter(words);
        Err(lines.take(LINES_MAX).collect::<Vec<_>>().join(" ").into())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.input.take());
        // It is gone either way.
        let _ = self.process.wait();
    }
}
