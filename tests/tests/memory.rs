//! The suite on the in-memory store.

use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use larder_core::{Memory, Result, Table};
use larder_tests::{Engine, Fresh, run};

struct InMemory;

#[async_trait]
impl Engine for InMemory {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn fresh(&self, _: &[&'static Table]) -> Result<Fresh> {
        Ok(Fresh {
            storage: Arc::new(Memory::new()),
            keep: Box::new(()),
            again: None,
        })
    }
}

fn main() -> ExitCode {
    run(vec![Box::new(InMemory)])
}
