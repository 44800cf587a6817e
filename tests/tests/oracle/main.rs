//! Random schemas and random operations, run on the memory store and on SQLite: every answer,
//! every error and every table must be the same.
//!
//! ```text
//!   seed ──> tables ──┐
//!   seeds ─> operations (of what the tables hold) ──> memory, SQLite file, SQLite in memory
//!                                                        └── compared after each ──┘
//! ```
//!
//! A difference is reported as the shortest list of operations that still shows it, as SQL. The
//! cases are the same in every run; `PROPTEST_RNG_SEED` gives others, `PROPTEST_CASES` more.

mod compare;
mod filters;
mod operations;
mod reads;
mod tables;
mod values;
mod writes;

use std::sync::Arc;

use fastrand::Rng;
use larder_core::{Memory, Result, Storage};
use larder_sqlite::{Sqlite, SqliteOptions};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

use compare::{Mismatch, Side};
use operations::Op;
use tables::Schema;

/// How many cases a run has, unless `PROPTEST_CASES` says otherwise.
const CASES: u32 = 80;
/// Which cases those are, unless `PROPTEST_RNG_SEED` says otherwise.
const SEED: u64 = 7;
/// The most operations of a case.
const OPERATIONS_MAX: usize = 60;

#[test]
fn sqlite_answers_as_memory_does() {
    let mut config = Config {
        failure_persistence: None,
        max_shrink_iters: 0,
        ..Config::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
        config.rng_seed = RngSeed::Fixed(SEED);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime needs no more than threads");
    let cases = (any::<u64>(), vec(any::<u64>(), 10..OPERATIONS_MAX));
    let outcome = TestRunner::new(config).run(&cases, |(schema, operations)| {
        runtime
            .block_on(case(schema, &operations))
            .map_err(|error| TestCaseError::fail(format!("{error:?}")))?
            .map_err(TestCaseError::fail)
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// Runs one case; a difference is answered as text.
async fn case(seed: u64, operations: &[u64]) -> Result<Result<(), String>> {
    let schema = Schema::random(&mut Rng::with_seed(seed));
    let mut stores = Stores::open(&schema).await?;
    let mut done = Vec::new();
    for &seed in operations {
        let state = compare::dump(&stores.sides[0], &schema).await?;
        let op = Op::random(
            &mut Rng::with_seed(seed),
            &schema,
            &state,
            stores.sides[0].depth(),
        );
        done.push(op);
        if let Err(mismatch) = stores.step(&schema, &done[done.len() - 1]).await? {
            stores.close().await?;
            return Ok(Err(report(&schema, done, mismatch).await?));
        }
    }
    stores.close().await?;
    Ok(Ok(()))
}

/// The same database three times.
struct Stores {
    sides: Vec<Side>,
    _directory: tempfile::TempDir,
}

impl Stores {
    async fn open(schema: &Schema) -> Result<Self> {
        let directory = tempfile::tempdir().expect("a directory for the database");
        let tables = schema.tables();
        let options = SqliteOptions::new(directory.path().join("oracle.db")).readers(2);
        let file = Sqlite::open_with(options).await?;
        file.create_tables(tables).await?;
        let in_memory = Sqlite::open_with(SqliteOptions::in_memory().readers(2)).await?;
        in_memory.create_tables(tables).await?;
        let sides: [(&'static str, Arc<dyn Storage>); 3] = [
            ("memory", Arc::new(Memory::with_tables(tables))),
            ("SQLite file", Arc::new(file)),
            ("SQLite in memory", Arc::new(in_memory)),
        ];
        let sides = sides.map(|(name, store)| Side::new(name, store)).into();
        Ok(Self {
            sides,
            _directory: directory,
        })
    }

    /// Runs an operation everywhere and compares what it answers and what it leaves.
    async fn step(&mut self, schema: &Schema, op: &Op) -> Result<Result<(), Mismatch>> {
        let (memory, others) = self.sides.split_at_mut(1);
        let expected = memory[0].run(op).await;
        let left = compare::dump(&memory[0], schema).await?;
        for side in others {
            let found = side.run(op).await;
            if let Err(mismatch) = compare::answers(op, &expected, &found, side.name()) {
                return Ok(Err(mismatch));
            }
            let dump = compare::dump(side, schema).await?;
            if let Err(mismatch) = compare::dumps(&left, &dump, schema, side.name()) {
                return Ok(Err(mismatch));
            }
        }
        Ok(Ok(()))
    }

    async fn close(self) -> Result<()> {
        for side in self.sides {
            side.close().await?;
        }
        Ok(())
    }
}

/// Leaves out every operation that the difference does not need, and describes the rest.
async fn report(schema: &Schema, mut ops: Vec<Op>, mut mismatch: Mismatch) -> Result<String> {
    let mut at = ops.len();
    while at > 0 {
        at -= 1;
        let mut smaller: Vec<Vec<Op>> = ops[at]
            .simpler()
            .into_iter()
            .map(|op| {
                let mut fewer = ops.clone();
                fewer[at] = op;
                fewer
            })
            .collect();
        let mut without = ops.clone();
        without.remove(at);
        smaller.insert(0, without);
        for fewer in smaller {
            if let Some((end, found)) = replay(schema, &fewer).await? {
                ops = fewer;
                ops.truncate(end + 1);
                mismatch = found;
                at = (at + 1).min(ops.len());
                break;
            }
        }
    }
    let ops: Vec<String> = ops.iter().map(Op::to_string).collect();
    Ok(format!("{mismatch}\n\n{schema}\n{}\n", ops.join("\n")))
}

/// Runs operations on fresh stores, up to the first difference.
async fn replay(schema: &Schema, ops: &[Op]) -> Result<Option<(usize, Mismatch)>> {
    let mut stores = Stores::open(schema).await?;
    for (at, op) in ops.iter().enumerate() {
        if let Err(mismatch) = stores.step(schema, op).await? {
            stores.close().await?;
            return Ok(Some((at, mismatch)));
        }
    }
    stores.close().await?;
    Ok(None)
}
