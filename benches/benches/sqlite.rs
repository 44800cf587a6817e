//! SQLite under criterion.

mod criterion_of;

use std::path::Path;

use larder_benches::sqlite::{Fixture, SCENARIOS};

fn main() {
    let fixture = Fixture::new(Path::new(env!("CARGO_TARGET_TMPDIR")));
    criterion_of::run(SCENARIOS, &fixture);
}
