//! One scenario: all peers in turns, and the median of each.

use std::path::Path;

use peers_common::protocol::Round;
use peers_common::{Result, Scenario};

use crate::databases::Databases;
use crate::peers::{PEERS, PeerInfo, Running};

/// A peer whose first round takes longer than this, in microseconds, runs fewer.
const SLOW: f64 = 1_000_000.0;
/// The rounds of such a peer.
const SLOW_ROUNDS: u64 = 3;

/// What one peer took.
pub struct Measured {
    /// Who.
    pub peer: &'static PeerInfo,
    /// Library and engine with their versions, if it got so far.
    pub versions: Option<(String, String)>,
    /// The median in microseconds per call, or why there is none.
    pub result: std::result::Result<f64, String>,
}

/// Measures one scenario. A peer that cannot do it is left out, with the reason.
pub fn measure(
    databases: &Databases,
    scenario: &'static Scenario,
    programs: &Path,
    rounds: u64,
) -> Result<Vec<Measured>> {
    let mut sides = Vec::new();
    for peer in PEERS {
        let url = databases.copy_for(peer.name, scenario)?;
        sides.push(Side {
            peer,
            running: Running::start(peer, programs, &url, scenario).map_err(|e| e.to_string()),
            times: Vec::new(),
            slow: false,
        });
    }
    // The first round fills caches, opens connections, prepares statements.
    for round in 0..=rounds {
        let mut done: Option<(&str, Round)> = None;
        let count = sides.len();
        for turn in 0..count {
            let side = &mut sides[(turn + round as usize) % count];
            let Some(answer) = side.round(round) else {
                continue;
            };
            match &done {
                None => done = Some((side.peer.name, answer)),
                Some((first, same)) => check_same(first, same, side.peer.name, &answer)?,
            }
        }
    }
    let measured = sides.into_iter().map(Side::finish).collect();
    databases.remove_copies()?;
    Ok(measured)
}

struct Side {
    peer: &'static PeerInfo,
    running: std::result::Result<Running, String>,
    times: Vec<f64>,
    slow: bool,
}

impl Side {
    /// Has it run this round; `None` if it has failed, or has run enough of them.
    fn round(&mut self, number: u64) -> Option<Round> {
        if self.slow && number > SLOW_ROUNDS {
            return None;
        }
        let answer = self.running.as_mut().ok()?.round(number);
        match answer {
            Ok(round) => {
                if number > 0 {
                    self.times.push(round.micros / round.n as f64);
                } else {
                    self.slow = round.micros > SLOW;
                }
                Some(round)
            }
            Err(error) => {
                self.running = Err(error.to_string());
                None
            }
        }
    }

    fn finish(mut self) -> Measured {
        self.times.sort_by(f64::total_cmp);
        let (versions, result) = match self.running {
            Ok(running) => {
                let ready = &running.ready;
                let versions = (ready.peer.clone(), ready.engine.clone());
                (Some(versions), Ok(self.times[self.times.len() / 2]))
            }
            Err(error) => (None, Err(error)),
        };
        Measured {
            peer: self.peer,
            versions,
            result,
        }
    }
}

/// Who measures less work than the others is not faster.
fn check_same(one: &str, a: &Round, other: &str, b: &Round) -> Result<()> {
    let work = |round: &Round| (round.scenario.clone(), round.n, round.rows, round.sum);
    if work(a) == work(b) {
        return Ok(());
    }
    Err(format!("{one} and {other} did not do the same: {a:?}, {b:?}").into())
}
