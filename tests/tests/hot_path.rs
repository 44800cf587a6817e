//! The hot path on every engine.

use std::process::ExitCode;
use std::sync::Arc;

use larder_tests::hot;

fn main() -> ExitCode {
    match engines() {
        Ok(engines) => hot::run(engines),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn engines() -> std::io::Result<Vec<Arc<dyn hot::HotEngine>>> {
    Ok(vec![
        Arc::new(hot::engines::Memory),
        Arc::new(hot::engines::Sqlite),
        Arc::new(hot::engines::Postgres::start()?),
        Arc::new(hot::engines::Redis::start()?),
    ])
}
