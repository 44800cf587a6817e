//! The hot path on every engine.

use std::process::ExitCode;
use std::sync::Arc;

use larder_tests::hot;

fn main() -> ExitCode {
    let postgres = match hot::engines::Postgres::start() {
        Ok(postgres) => postgres,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    hot::run(vec![
        Arc::new(hot::engines::Memory),
        Arc::new(hot::engines::Sqlite),
        Arc::new(postgres),
    ])
}
