//! The peers, and how one is run: a process that is told when to start a round.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use peers_common::protocol::{Ready, Round};
use peers_common::{Result, Scenario};

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

/// A peer that runs and waits for rounds. Ends when dropped.
pub struct Running {
    /// What it said of itself.
    pub ready: Ready,
    process: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// Starts a peer and waits until its connections are open.
    pub fn start(peer: &PeerInfo, programs: &Path, url: &str, scenario: &Scenario) -> Result<Self> {
        let program = programs.join(format!("peer-{}", peer.name));
        let mut process = Command::new(&program)
            .args(["--url", url, "--scenario", scenario.key])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let input = process.stdin.take();
        let output = process.stdout.take().ok_or("the output is a pipe")?;
        let mut output = BufReader::new(output).lines();
        let ready = match output.next() {
            Some(line) => serde_json::from_str(&line?)?,
            None => {
                process.wait()?;
                return Err("ended before it was ready".into());
            }
        };
        Ok(Self {
            ready,
            process,
            input,
            output,
        })
    }

    /// Has it run one round.
    pub fn round(&mut self, number: u64) -> Result<Round> {
        let input = self
            .input
            .as_mut()
            .ok_or("the input is open until the end")?;
        writeln!(input, "{number}")?;
        let line = self.output.next().ok_or("ended in a round")??;
        Ok(serde_json::from_str(&line)?)
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
