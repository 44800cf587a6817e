//! PostgreSQL under criterion.

mod criterion_of;

use larder_benches::postgres::{Fixture, SCENARIOS};

fn main() {
    criterion_of::run(SCENARIOS, &Fixture::new());
}
