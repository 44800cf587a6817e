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
const TEST_MAX: Duration = Duration::from_mins(1);

/// A store to be tested.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// Its name in the list of tests: `memory`, `sqlite-file`.
    fn name(&self) -> &'static str;

    /// A fresh, empty database with these tables, parents before their children.
    async fn fresh(&self, tables: &[&'static Table]) -> Result<Fresh>;

    /// Which files of the suite to run: all of them, unless another profile of an engine only
    /// wants what its profile changes.
    fn wants(&self, _file: &str) -> bool {
        true
    }
}

/// A fresh database.
pub struct Fresh {
    /// The store.
    pub storage: Arc<dyn Storage>,
    /// Removes the database when it is dropped.
    pub keep: Box<dyn Any + Send + Sync>,
    /// Opens the same database once more; `None` if it lives in its store only.
    pub again: Option<Again>,
}

/// Opens a database once more.
pub type Again = Box<dyn Fn() -> BoxFuture<'static, Result<Arc<dyn Storage>>> + Send + Sync>;

/// A fresh database with all the tables of the suite. A [`Db`], removed when it is dropped.
pub struct TestDb {
    db: Db,
    again: Option<Again>,
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

    /// The same database opened once more, if it outlives its store.
    pub(crate) async fn again(&self) -> Result<Option<Db>> {
        match &self.again {
            Some(open) => Ok(Some(Db::from_shared(open().await?, DbOptions::default()))),
            None => Ok(None),
        }
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
        for (file, tests) in suite::all()
            .into_iter()
            .filter(|(file, _)| engine.wants(file))
        {
            for test in tests {
                let engine = Arc::clone(&engine);
                let name = format!("{}::{file}::{}", engine.name(), test.name);
                trials.push(Trial::test(name, move || run_one(engine, test.run)));
            }
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Runs one test on a runtime of its own.
fn run_one(
    engine: Arc<dyn Engine>,
    test: fn(TestDb) -> BoxFuture<'static, Result<()>>,
) -> Result<(), Failed> {
    run_within(TEST_MAX, async move {
        let Fresh {
            storage,
            keep,
            again,
        } = engine.fresh(&suite::tables()).await?;
        let db = Db::from_shared(storage, DbOptions::default());
        test(TestDb {
            db,
            again,
            _keep: keep,
        })
        .await
    })
}

/// Runs the body of a test on a runtime of its own with two threads, in a task, as a service
/// would. Fails if it answers an error, panics, or takes longer than `max`.
pub fn run_within(
    max: Duration,
    body: impl Future<Output = Result<()>> + Send + 'static,
) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failed::from(format!("no runtime: {error}")))?;
    let outcome =
        runtime.block_on(async move { tokio::time::timeout(max, tokio::spawn(body)).await });
    runtime.shutdown_timeout(Duration::from_secs(2));
    match outcome {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => Err(Failed::from(format!("{error:?}"))),
        Ok(Err(panicked)) => Err(Failed::from(panic_message(panicked))),
        Err(_) => Err(Failed::from(format!("did not end within {max:?}"))),
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
