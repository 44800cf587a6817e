//! The suite on Redis.

use std::process::ExitCode;
use std::sync::Arc;

use larder_tests::engines::Redis;
use larder_tests::redis_server::Namespaces;
use larder_tests::run;

fn main() -> ExitCode {
    let namespaces = match Namespaces::open() {
        Ok(namespaces) => Arc::new(namespaces),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    run(vec![Box::new(Redis {
        name: "redis",
        namespaces,
        options: |options| options,
        files: None,
    })])
}
