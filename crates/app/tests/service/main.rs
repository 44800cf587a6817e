//! The service, on every engine, through its router: the RealWorld API row by row, what it does
//! under load, and what hostile input does to it.
//!
//! ```text
//!   app      TestApp::on(engine): a service on a fresh database
//!   client   a typed client of it
//!   the rest the behaviours, each on every engine
//! ```

mod app;
mod articles;
mod client;
mod comments;
mod concurrency;
mod favorites;
mod hostile;
mod limits;
mod lists;
mod live;
mod operations;
mod profiles;
mod tags;
mod users;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use larder::Result;
use larder_core::rows::BoxFuture;
use larder_tests::hot::HotEngine;
use larder_tests::hot::engines::{Memory, Postgres, Redis, Sqlite};
use larder_tests::run_within;
use libtest_mimic::{Arguments, Trial};

/// How long a test may take.
const TEST_MAX: Duration = Duration::from_mins(1);

/// One behaviour: a name, and what it does on an engine.
struct Test {
    name: &'static str,
    run: fn(Arc<dyn HotEngine>) -> BoxFuture<'static, Result<()>>,
}

/// Lists a file's tests. One that is forgotten is dead code to the compiler.
macro_rules! tests {
    ($($name:ident),+ $(,)?) => {
        pub(crate) fn tests() -> Vec<$crate::Test> {
            vec![$($crate::Test {
                name: stringify!($name),
                run: |engine| Box::pin($name(engine)),
            }),+]
        }
    };
}

pub(crate) use tests;

fn all() -> Vec<(&'static str, Vec<Test>)> {
    vec![
        ("articles", articles::tests()),
        ("comments", comments::tests()),
        ("concurrency", concurrency::tests()),
        ("favorites", favorites::tests()),
        ("hostile", hostile::tests()),
        ("limits", limits::tests()),
        ("lists", lists::tests()),
        ("live", live::tests()),
        ("operations", operations::tests()),
        ("profiles", profiles::tests()),
        ("tags", tags::tests()),
        ("users", users::tests()),
    ]
}

fn engines() -> Vec<Arc<dyn HotEngine>> {
    vec![
        Arc::new(Memory),
        Arc::new(Sqlite),
        Arc::new(Postgres::start().expect("PostgreSQL, to test on")),
        Arc::new(Redis::start().expect("Redis, to test on")),
    ]
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for engine in engines() {
        for (file, mut tests) in all() {
            // Redis keeps no log of changes.
            if file == "live" && engine.name() == "redis" {
                tests = live::tests_without_changes();
            }
            for test in tests {
                let (engine, name) = (Arc::clone(&engine), engine.name());
                let name = format!("{name}::{file}::{}", test.name);
                trials.push(Trial::test(name, move || {
                    run_within(TEST_MAX, (test.run)(engine))
                }));
            }
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}
