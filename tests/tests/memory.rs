//! The suite on the in-memory store.

use std::process::ExitCode;

use larder_tests::engines::Memory;
use larder_tests::run;

fn main() -> ExitCode {
    run(vec![Box::new(Memory)])
}
