//! [`Redis`]: the store.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::try_join_all;
use larder_core::eval::tables;
use larder_core::migration::{MigrationRun, MigrationStatus};
use larder_core::{
    Capabilities, Result, Rows, Select, Storage, Table, Transaction, TxOptions, Write, Written,
};

use crate::client::Client;
use crate::handle::Handle;
use crate::migrate::{self, IndexDrift};
use crate::options::RedisOptions;
use crate::plan::{self, Part};
use crate::transaction::RedisTransaction;
use crate::{read, write};

/// A namespace of a Redis server, as a store. Cheap to clone; needs a tokio runtime with time
/// enabled.
///
/// Every write is one script, all or nothing. Transactions are optimistic: nobody waits for them,
/// and one that has looked at what others changed meanwhile is refused at its commit (`Conflict`),
/// or earlier; `Db::transaction` runs it again. They are serializable.
///
/// ```no_run
/// use larder_redis::models::{self, NewTag, Tag};
/// use larder_redis::{Db, Redis};
///
/// # async fn open() -> larder_redis::Result<()> {
/// let redis = Redis::connect("redis://localhost:6379?namespace=blog").await?;
/// redis.create_tables(&models::tables()).await?;
/// let db = Db::new(redis);
/// let tag = db.insert(NewTag::new("rust")).await?;
/// assert_eq!(db.find::<Tag>(tag.id).await?, tag);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Redis {
    handle: Arc<Handle>,
}

impl Redis {
    /// Connects to the server at a URL, with the default options; see [`RedisOptions::new`].
    ///
    /// # Errors
    /// `Misuse` for a URL that cannot be read; `Unavailable` if nobody answers there within five
    /// seconds, or refuses the user or the password.
    pub async fn connect(url: &str) -> Result<Self> {
        Self::connect_with(RedisOptions::new(url)?).await
    }

    /// [`connect`](Self::connect) with options.
    pub async fn connect_with(options: RedisOptions) -> Result<Self> {
        let handle = Handle::new(Client::connect(options).await?);
        handle.schema.load(&handle.client, &[]).await?;
        Ok(Self { handle })
    }

    /// Makes tables that the namespace does not have yet, and knows them from then on. Those that
    /// it has stay as they are; several programs may do this at once.
    ///
    /// # Errors
    /// `Schema` if the namespace has one of them in another form: nothing is made then.
    pub async fn create_tables(&self, tables: &[&'static Table]) -> Result<()> {
        let _call = self.handle.enter().await?;
        self.handle.schema.create(&self.handle.client, tables).await
    }

    /// [`create_tables`](Self::create_tables), under the name that it has where that refuses tables
    /// which are there.
    pub async fn create_missing_tables(&self, tables: &[&'static Table]) -> Result<()> {
        self.create_tables(tables).await
    }

    /// Brings tables to the form of their models, and answers which were made or changed: new
    /// columns are filled with their defaults, indexes are built or dropped, some hundred rows at a
    /// time. Until it is done, every handle refuses the table (`Schema`). If it is interrupted,
    /// migrating again does the rest. The version of a table is its place in the list, from 1.
    ///
    /// # Errors
    /// `Unsupported` for another key, another kind of a column, or a new column that rows must have
    /// and that has no default: nothing is changed then. `Unique` if rows do not keep a new
    /// constraint. `Busy` while another program migrates the namespace.
    pub async fn migrate(&self, tables: &[&'static Table]) -> Result<Vec<MigrationRun>> {
        let _call = self.handle.enter().await?;
        migrate::up(&self.handle, tables).await
    }

    /// Drops the tables behind the first `keep` of the list, the last one first, with all rows.
    pub async fn migrate_down(
        &self,
        tables: &[&'static Table],
        keep: usize,
    ) -> Result<Vec<MigrationRun>> {
        let _call = self.handle.enter().await?;
        migrate::down(&self.handle, tables, keep).await
    }

    /// How the tables stand. Writes nothing.
    pub async fn migration_status(
        &self,
        tables: &[&'static Table],
    ) -> Result<Vec<MigrationStatus>> {
        let _call = self.handle.enter().await?;
        migrate::status(&self.handle, tables).await
    }

    /// Compares a table's indexes with its rows. They differ only if something else than Larder has
    /// written to the namespace, or while others write: then look again. Reads the whole table.
    pub async fn check_indexes(&self, table: &'static Table) -> Result<IndexDrift> {
        let _call = self.handle.enter().await?;
        migrate::check(&self.handle, table).await
    }

    /// Makes a table's indexes anew from its rows. Until it is done, every handle refuses the
    /// table (`Schema`).
    ///
    /// # Errors
    /// `Unique` if rows do not keep a constraint, `Busy` while the namespace is migrated.
    pub async fn repair_indexes(&self, table: &'static Table) -> Result<()> {
        let _call = self.handle.enter().await?;
        migrate::repair(&self.handle, table).await
    }

    /// The connections, for what shares them: caches, sessions, rate limits, feeds.
    pub(crate) fn client(&self) -> &Client {
        &self.handle.client
    }
}

#[async_trait]
impl Storage for Redis {
    fn capabilities(&self) -> &Capabilities {
        &self.handle.capabilities
    }

    async fn read(&self, query: Select, rows: Rows) -> Result<Rows> {
        let call = self.handle.enter().await?;
        read::read(&self.handle, call, query, rows).await
    }

    async fn read_all(&self, queries: Vec<(Select, Rows)>) -> Result<Vec<Rows>> {
        // What is sent at the same time travels together.
        try_join_all(
            queries
                .into_iter()
                .map(|(query, rows)| self.read(query, rows)),
        )
        .await
    }

    async fn write(&self, write: Write, rows: Rows) -> Result<(Written, Rows)> {
        let _call = self.handle.enter().await?;
        write::write(&self.handle, write, rows).await
    }

    async fn begin(&self, options: TxOptions) -> Result<Box<dyn Transaction>> {
        self.handle.capabilities.check_tx(&options)?;
        drop(self.handle.enter().await?);
        let handle = Arc::clone(&self.handle);
        Ok(Box::new(RedisTransaction::begin(handle, options)))
    }

    async fn explain(&self, query: Select) -> Result<String> {
        let _call = self.handle.enter().await?;
        explain(&self.handle, &query).await
    }

    async fn close(&self) -> Result<()> {
        self.handle.close().await
    }
}

/// Says what would be fetched. Holds no values.
pub(crate) async fn explain(handle: &Handle, query: &Select) -> Result<String> {
    let known = handle.schema.tables(&handle.client, &tables(query)).await?;
    let layout = known.layout(query.table)?;
    let parts = plan::candidates(layout, &query.filter);
    let table = query.table.name;
    let how = match parts.first() {
        None => format!("nothing: no row of `{table}` can satisfy the filter"),
        Some(Part::Row(_)) => format!("{} rows of `{table}` by key (HMGET)", parts.len()),
        Some(Part::Range(range)) => {
            let index = &layout.indexes[range.index];
            let many = parts.len();
            if range.from.is_empty() && range.to.is_none() {
                format!("all rows of `{table}` (ZRANGE over its keys)")
            } else if index.name.is_empty() {
                format!("{many} ranges of the keys of `{table}` (ZRANGE)")
            } else {
                format!(
                    "{many} ranges of the index `{}` of `{table}` (ZRANGE)",
                    index.name
                )
            }
        }
    };
    Ok(how)
}
