//! The suite on the in-memory store, and around it what records all that is written.

use std::process::ExitCode;

use larder_tests::engines::{Memory, Recording, WithCache};
use larder_tests::run;

fn main() -> ExitCode {
    run(vec![
        Box::new(Memory),
        Box::new(WithCache {
            name: "memory-cached",
            engine: Memory,
        }),
        Box::new(Recording {
            name: "memory-recorded",
            engine: Memory,
            files: None,
        }),
    ])
}
