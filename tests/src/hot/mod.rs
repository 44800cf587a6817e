//! The behaviours of the hot path (caches, sessions, rate limits, feeds), run on every engine.
//!
//! ```text
//!   tests/hot_path.rs   names the engines
//!   hot/engines.rs      what each of them brings: see [`Place`]
//!   hot/*.rs            one file per behaviour; the same for all engines
//! ```
//!
//! Every test gets a [`Place`] of its own: a fresh database, opened as often as it asks, each time as
//! another process would. To add a behaviour, write a file that ends with `tests![..]`, and name it
//! below.

pub mod engines;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use larder_core::cache::CacheStore;
use larder_core::feed::Feed;
use larder_core::rows::BoxFuture;
use larder_core::{Clock, RateLimiter, Result, Storage};
use libtest_mimic::{Arguments, Trial};

use crate::harness::run_within;

/// How long a test may take. Something waits for itself when it takes longer.
const TEST_MAX: Duration = Duration::from_mins(1);

/// Declares the files and lists their tests.
macro_rules! files {
    ($($file:ident),+ $(,)?) => {
        $(mod $file;)+

        fn all() -> Vec<(&'static str, Vec<Test>)> {
            vec![$((stringify!($file), $file::tests())),+]
        }
    };
}

files! {
    cache,
    cache_faults,
    consumers,
    feeds,
    messages,
    rate_limits,
    sessions,
    tower_sessions,
}

/// An engine to be tested.
#[async_trait]
pub trait HotEngine: Send + Sync + 'static {
    /// Its name in the list of tests: `memory`, `sqlite`.
    fn name(&self) -> &'static str;

    /// A fresh database with the tables of the models and of the hot path.
    async fn place(&self) -> Result<Arc<dyn Place>>;

    /// Which files of tests it has what they need for: all, unless it lacks a part of [`Place`].
    fn wants(&self, _file: &str) -> bool {
        true
    }
}

/// A fresh database, removed when it is dropped, and how the hot path is opened in it.
///
/// Each call opens its thing anew, as another process would; in memory, where there is no other
/// process, the calls share what is behind it.
#[async_trait]
pub trait Place: Send + Sync {
    /// The store.
    async fn store(&self) -> Result<Arc<dyn Storage>>;

    /// The store of cached values, on this clock; in memory the first call decides.
    async fn cache(&self, clock: Arc<dyn Clock>) -> Result<Arc<dyn CacheStore>>;

    /// A feed for messages.
    async fn feed(&self) -> Result<Arc<dyn Feed>>;

    /// The rate limits, by this clock or the store's own; in memory the first call decides.
    async fn rate_limiter(&self, clock: Option<Arc<dyn Clock>>) -> Result<Arc<dyn RateLimiter>>;
}

/// One test: a name and what it does in a fresh place.
struct Test {
    name: &'static str,
    run: fn(Arc<dyn Place>) -> BoxFuture<'static, Result<()>>,
}

/// Lists a file's tests. One that is forgotten is dead code to the compiler.
macro_rules! tests {
    ($($name:ident),+ $(,)?) => {
        /// The tests of this file.
        pub(super) fn tests() -> Vec<$crate::hot::Test> {
            vec![$($crate::hot::Test {
                name: stringify!($name),
                run: |place| Box::pin($name(place)),
            }),+]
        }
    };
}

use tests;

/// Runs every behaviour on each of the engines, with `cargo test`'s arguments and output.
pub fn run(engines: Vec<Arc<dyn HotEngine>>) -> ExitCode {
    let mut trials = Vec::new();
    for engine in engines {
        for (file, tests) in all().into_iter().filter(|(file, _)| engine.wants(file)) {
            for Test { name, run } in tests {
                let engine = Arc::clone(&engine);
                let full = format!("{}::{file}::{name}", engine.name());
                let test =
                    move || run_within(TEST_MAX, async move { run(engine.place().await?).await });
                trials.push(Trial::test(full, test));
            }
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
