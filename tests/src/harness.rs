//! [`Engine`]: what a test program sets up, and [`run`], which runs every behaviour on it.

use std::any::Any;
use std::ops::Deref;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use larder_core::rows::BoxFuture;
use larder_core::{Clock, Db, DbOptions, Result, Storage, Table};
use libtest_mimic::{Arguments, Failed, Trial};

use crate::suite;

/// How long a test may take. Something waits for itself when it takes longer.
const TEST_MAX: Duration = Duration::from_secs(60);

/// A store to be tested.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// Its name in the list of tests: `memory`, `sqlite-file`.
    fn name(&self) -> &'static str;

    /// A fresh, empty database with these tables, parents before their children. Dropping what
    /// is returned beside the store removes it.
    async fn fresh(
        &self,
        tables: &[&'static Table],
    ) -> Result<(Arc<dyn Storage>, Box<dyn Any + Send + Sync>)>;
}

/// A fresh database with all the tables of the suite. A [`Db`], removed when it is dropped.
pub struct TestDb {
    db: Db,
    _keep: Box<dyn Any + Send + Sync>,
}

impl Deref for TestDb {
    type Target = Db;

    fn deref(&self) -> &Db {
        &self.db
    }
}

impl TestDb {
    /// The same store under other options.
    pub(crate) fn with(&self, options: DbOptions) -> Db {
        Db::from_shared(Arc::clone(self.db.storage()), options)
    }

    /// The same store with this clock.
    pub(crate) fn with_clock(&self, clock: &Arc<impl Clock>) -> Db {
        let clock: Arc<dyn Clock> = Arc::clone(clock) as _;
        self.with(DbOptions::default().shared_clock(clock))
    }
}

/// One test: a name and what it does with a fresh database.
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) run: fn(TestDb) -> BoxFuture<'static, Result<()>>,
}

/// Lists a file's tests for the suite. One that is forgotten is dead code to the compiler.
macro_rules! tests {
    ($($name:ident),+ $(,)?) => {
        /// The tests of this file.
        pub(crate) fn tests() -> Vec<$crate::harness::Test> {
            vec![$($crate::harness::Test {
                name: stringify!($name),
                run: |db| Box::pin($name(db)),
            }),+]
        }
    };
}

pub(crate) use tests;

/// Runs every behaviour on each of the engines, with `cargo test`'s arguments and output.
pub fn run(engines: Vec<Box<dyn Engine>>) -> ExitCode {
    let mut trials = Vec::new();
    for engine in engines {
        let engine: Arc<dyn Engine> = Arc::from(engine);
        for (file, tests) in suite::all() {
            for test in tests {
                let engine = Arc::clone(&engine);
                let name = format!("{}::{file}::{}", engine.name(), test.name);
                trials.push(Trial::test(name, move || run_one(engine, test.run)));
            }
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Runs one test on a runtime of its own, in a task, as a service would.
fn run_one(
    engine: Arc<dyn Engine>,
    test: fn(TestDb) -> BoxFuture<'static, Result<()>>,
) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failed::from(format!("no runtime: {error}")))?;
    let outcome = runtime.block_on(async move {
        let body = tokio::spawn(async move {
            let (storage, keep) = engine.fresh(&suite::tables()).await?;
            let db = Db::from_shared(storage, DbOptions::default());
            test(TestDb { db, _keep: keep }).await
        });
        tokio::time::timeout(TEST_MAX, body).await
    });
    runtime.shutdown_timeout(Duration::from_secs(2));
    match outcome {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => Err(Failed::from(format!("{error:?}"))),
        Ok(Err(panicked)) => Err(Failed::from(panic_message(panicked))),
        Err(_) => Err(Failed::from(format!("did not end within {TEST_MAX:?}"))),
    }
}

fn panic_message(error: tokio::task::JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else {
        return "the test was cancelled".to_owned();
    };
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic
            .downcast::<&str>()
            .map_or("panicked".to_owned(), |text| (*text).into()),
    }
}
