//! The suite on the in-memory store.

use std::any::Any;
use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use larder_core::{Memory, Result, Storage, Table};
use larder_tests::{Engine, run};

struct InMemory;

#[async_trait]
impl Engine for InMemory {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn fresh(
        &self,
        _: &[&'static Table],
    ) -> Result<(Arc<dyn Storage>, Box<dyn Any + Send + Sync>)> {
        Ok((Arc::new(Memory::new()), Box::new(())))
    }
}

fn main() -> ExitCode {
    run(vec![Box::new(InMemory)])
}
