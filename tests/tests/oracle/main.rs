//! Random schemas and random operations, run on the memory store and on an engine: every answer,
//! every error and every table must be the same, but for what [`differences`] names.
//!
//! ```text
//!   seed ──> tables ──┐
//!   seeds ─> operations (of what the tables hold) ──> memory, and the stores of an engine
//!                                                        └── compared after each ──┘
//! ```
//!
//! A difference is reported as the shortest list of operations that still shows it, as SQL. The
//! cases are the same in every run; `PROPTEST_RNG_SEED` gives others, `PROPTEST_CASES` more.

mod compare;
mod differences;
mod engines;
mod filters;
mod keys;
mod operations;
mod reads;
mod tables;
mod values;
mod writes;

use std::sync::{Mutex, PoisonError};

use fastrand::Rng;
use larder_core::Result;
use larder_tests::databases::Databases;
use larder_tests::redis_server::Namespaces;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

use compare::{Mismatch, Side};
use engines::Engine;
use operations::Op;
use tables::Schema;

/// Which cases a run has, unless `PROPTEST_RNG_SEED` says otherwise.
const SEED: u64 = 7;
/// The most operations of a case.
const OPERATIONS_MAX: usize = 60;
/// One schema is in use at a time.
static ONE: Mutex<()> = Mutex::new(());

#[test]
fn sqlite_answers_as_memory_does() {
    answers_as_memory_does(&Engine::Sqlite, 80);
}

#[test]
fn postgres_answers_as_memory_does() {
    let databases = Databases::open().unwrap_or_else(|error| panic!("{error}"));
    answers_as_memory_does(&Engine::Postgres(databases), 30);
}

#[test]
fn redis_answers_as_memory_does() {
    let namespaces = Namespaces::open().unwrap_or_else(|error| panic!("{error}"));
    answers_as_memory_does(&Engine::Redis(namespaces), 40);
}

/// Runs so many cases, unless `PROPTEST_CASES` says otherwise.
fn answers_as_memory_does(engine: &Engine, count: u32) {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut config = Config {
        failure_persistence: None,
        max_shrink_iters: 0,
        ..Config::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = count;
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
            .block_on(case(engine, schema, &operations))
            .map_err(|error| TestCaseError::fail(format!("{error:?}")))?
            .map_err(TestCaseError::fail)
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// Runs one case; a difference is answered as text.
async fn case(engine: &Engine, seed: u64, operations: &[u64]) -> Result<Result<(), String>> {
    let schema = Schema::random(&mut Rng::with_seed(seed));
    let mut stores = Stores::open(engine, &schema).await?;
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
            return Ok(Err(report(engine, &schema, done, mismatch).await?));
        }
    }
    stores.close().await?;
    Ok(Ok(()))
}

/// The same database several times, the first in memory.
struct Stores {
    sides: Vec<Side>,
    /// Dropped after them.
    _keep: Vec<Box<dyn std::any::Any>>,
}

impl Stores {
    async fn open(engine: &Engine, schema: &Schema) -> Result<Self> {
        let opened = engine.open(schema.tables()).await?;
        let (sides, keep) = opened.into_iter().unzip();
        Ok(Self { sides, _keep: keep })
    }

    /// Runs an operation everywhere and compares what it answers and what it leaves. Where stores
    /// may differ it is undone everywhere if they do.
    async fn step(&mut self, schema: &Schema, op: &Op) -> Result<Result<(), Mismatch>> {
        let differs = |side: &Side| differences::may_change(side.name(), schema, op);
        if !self.sides.iter().any(differs) {
            return self.compare(schema, op).await.map(|same| same.map(drop));
        }
        for side in &mut self.sides {
            side.run(&Op::Begin).await?;
        }
        let end = match self.compare(schema, op).await? {
            Ok(true) => Op::Commit,
            Ok(false) => Op::Rollback,
            Err(mismatch) => return Ok(Err(mismatch)),
        };
        self.compare(schema, &end).await.map(|same| same.map(drop))
    }

    /// Answers false if a store differs where it may.
    async fn compare(&mut self, schema: &Schema, op: &Op) -> Result<Result<bool, Mismatch>> {
        let (memory, others) = self.sides.split_at_mut(1);
        let expected = memory[0].run(op).await?;
        let left = compare::dump(&memory[0], schema).await?;
        for side in others {
            let found = side.run(op).await?;
            if let Err(mismatch) = compare::answers(op, &expected, &found, side.name()) {
                if differences::known(side.name(), schema, op, &expected, &found).is_some() {
                    return Ok(Ok(false));
                }
                return Ok(Err(mismatch));
            }
            let dump = compare::dump(side, schema).await?;
            if let Err(mismatch) = compare::dumps(&left, &dump, schema, side.name()) {
                return Ok(Err(mismatch));
            }
        }
        Ok(Ok(true))
    }

    async fn close(self) -> Result<()> {
        for side in self.sides {
            side.close().await?;
        }
        Ok(())
    }
}

/// Leaves out every operation that the difference does not need, and describes the rest.
async fn report(
    engine: &Engine,
    schema: &Schema,
    mut ops: Vec<Op>,
    mut mismatch: Mismatch,
) -> Result<String> {
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
            if let Some((end, found)) = replay(engine, schema, &fewer).await? {
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
async fn replay(engine: &Engine, schema: &Schema, ops: &[Op]) -> Result<Option<(usize, Mismatch)>> {
    let mut stores = Stores::open(engine, schema).await?;
    for (at, op) in ops.iter().enumerate() {
        if let Err(mismatch) = stores.step(schema, op).await? {
            stores.close().await?;
            return Ok(Some((at, mismatch)));
        }
    }
    stores.close().await?;
    Ok(None)
}
