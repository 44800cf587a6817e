//! [`Metered`]: a storage around a storage that counts and times what is asked of it.

use std::fmt::Debug;
use std::future::Future;
use std::ops::Deref;
use std::time::Instant;

use async_trait::async_trait;
use larder_core::raw::RawStatement;
use larder_core::{
    Capabilities, NamedLock, Result, Rows, Select, Storage, Transaction, TxOptions, Write, Written,
};

use super::metrics::Metrics;

/// A storage whose statements are measured; so are those of its transactions. `S` points to one.
#[derive(Debug)]
pub(crate) struct Metered<S> {
    inner: S,
    metrics: Metrics,
}

impl<S> Metered<S> {
    /// Around this one.
    pub(crate) fn new(inner: S, metrics: Metrics) -> Self {
        Self { inner, metrics }
    }

    /// Counts so many statements of a kind once they have been answered.
    async fn measure<T>(
        &self,
        kind: &'static str,
        statements: u64,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let started = Instant::now();
        let outcome = work.await;
        let error = outcome.as_ref().err().map(larder_core::Error::kind);
        self.metrics
            .statements(kind, statements, started.elapsed(), error);
        outcome
    }
}

#[async_trait]
#[deny(
    clippy::missing_trait_methods,
    reason = "a new method must not bypass this one"
)]
impl<S> Storage for Metered<S>
where
    S: Deref<Target: Storage> + Debug + Send + Sync + 'static,
{
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn read(&self, query: Select, rows: Rows) -> Result<Rows> {
        self.measure("read", 1, self.inner.read(query, rows)).await
    }

    async fn read_all(&self, queries: Vec<(Select, Rows)>) -> Result<Vec<Rows>> {
        let count = queries.len() as u64;
        self.measure("read", count, self.inner.read_all(queries))
            .await
    }

    async fn write(&self, write: Write, rows: Rows) -> Result<(Written, Rows)> {
        self.measure("write", 1, self.inner.write(write, rows))
            .await
    }

    async fn begin(&self, options: TxOptions) -> Result<Box<dyn Transaction>> {
        let transaction = self.measure("begin", 1, self.inner.begin(options)).await?;
        Ok(Box::new(Metered::new(transaction, self.metrics.clone())))
    }

    async fn sql(&self, statement: RawStatement, rows: Rows) -> Result<(Written, Rows)> {
        self.measure("sql", 1, self.inner.sql(statement, rows))
            .await
    }

    async fn lock(&self, name: &str, wait: bool) -> Result<Option<Box<dyn NamedLock>>> {
        self.inner.lock(name, wait).await
    }

    async fn explain(&self, query: Select) -> Result<String> {
        self.inner.explain(query).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

#[async_trait]
#[deny(
    clippy::missing_trait_methods,
    reason = "a new method must not bypass this one"
)]
impl Transaction for Metered<Box<dyn Transaction>> {
    async fn commit(&self) -> Result<()> {
        self.measure("commit", 1, self.inner.commit()).await
    }

    async fn rollback(&self) -> Result<()> {
        self.measure("rollback", 1, self.inner.rollback()).await
    }
}
