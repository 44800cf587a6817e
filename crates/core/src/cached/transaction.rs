//! [`CachedTransaction`]: a transaction that makes the cache forget what it touched when it commits.

use std::sync::Arc;

use async_trait::async_trait;

use super::Shared;
use super::forget::{Forgetting, Notes};
use super::touched::Touched;
use crate::error::Result;
use crate::raw::RawStatement;
use crate::rows::Rows;
use crate::select::Select;
use crate::storage::{Capabilities, NamedLock, Storage, Transaction, TxOptions};
use crate::write::{Write, Written};

/// A transaction around a transaction of the store. It knows no cache: what it sees may never be
/// committed, and what is cached may be newer than what it is to see.
#[derive(Debug)]
pub(super) struct CachedTransaction {
    inner: Box<dyn Transaction>,
    shared: Arc<Shared>,
    /// Shared with nested ones: what they touch is forgotten though they are rolled back, which
    /// does no harm.
    notes: Notes,
    is_nested: bool,
}

impl CachedTransaction {
    pub(super) fn new(inner: Box<dyn Transaction>, shared: Arc<Shared>) -> Self {
        Self {
            inner,
            shared,
            notes: Notes::default(),
            is_nested: false,
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Storage for CachedTransaction {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn read(&self, query: Select, rows: Rows) -> Result<Rows> {
        self.inner.read(query, rows).await
    }

    async fn read_all(&self, queries: Vec<(Select, Rows)>) -> Result<Vec<Rows>> {
        self.inner.read_all(queries).await
    }

    async fn write(&self, write: Write, rows: Rows) -> Result<(Written, Rows)> {
        let touched = Touched::by(&write, &self.shared.tables);
        self.notes.add(touched);
        self.inner.write(write, rows).await
    }

    async fn sql(&self, statement: RawStatement, rows: Rows) -> Result<(Written, Rows)> {
        let touched = self.shared.touched_by_sql(&statement);
        self.notes.add(touched);
        self.inner.sql(statement, rows).await
    }

    async fn lock(&self, name: &str, wait: bool) -> Result<Option<Box<dyn NamedLock>>> {
        self.inner.lock(name, wait).await
    }

    async fn begin(&self, options: TxOptions) -> Result<Box<dyn Transaction>> {
        let inner = self.inner.begin(options).await?;
        Ok(Box::new(Self {
            inner,
            shared: Arc::clone(&self.shared),
            notes: self.notes.clone(),
            is_nested: true,
        }))
    }

    async fn explain(&self, query: Select) -> Result<String> {
        self.inner.explain(query).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Transaction for CachedTransaction {
    async fn commit(&self) -> Result<()> {
        if self.is_nested {
            return self.inner.commit().await;
        }
        let forgetting = Forgetting::new(&self.shared.cache, self.notes.clone());
        // If the process dies after the commit, what others load until then is all that is stale.
        forgetting.forget().await;
        forgetting.after(self.inner.commit()).await
    }

    async fn rollback(&self) -> Result<()> {
        self.inner.rollback().await
    }
}
