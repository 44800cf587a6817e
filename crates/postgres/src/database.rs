//! An open database: its connections and what every part of the engine needs of it.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join;
use larder_core::{Capabilities, Date, Error, ErrorKind, Result, Table};
use larder_sql::{Dialect, create_tables};

use crate::change_log;
use crate::connection::Connector;
use crate::lanes::Lanes;
use crate::options::PostgresOptions;
use crate::pool::{Lease, Pool};

/// The name of the lock under which missing tables are made: `larder` in ASCII.
const LOCK: i64 = 0x6c61_7264_6572;

#[derive(Debug)]
pub(crate) struct Database {
    options: Arc<PostgresOptions>,
    capabilities: Capabilities,
    pool: Pool,
    lanes: Arc<Lanes>,
    connector: Connector,
}

impl Database {
    /// Opens the first connection, to see that the server is there and may be used.
    pub(crate) async fn connect(options: PostgresOptions) -> Result<Self> {
        let options = Arc::new(options);
        let connector = Connector::new(Arc::clone(&options))?;
        let pool = Pool::new(connector.clone(), Arc::clone(&options))?;
        drop(pool.acquire(None).await?);
        pool.reap_idle();
        let mut capabilities = Capabilities::full("postgres");
        capabilities.keeps_deadlines = true;
        capabilities.named_locks = options.prepared_statements;
        capabilities.raw_sql = Some("postgresql");
        capabilities.horizon = Some(change_log::HORIZON);
        capabilities.first_day = Date::constant(-4713, 11, 24);
        Ok(Self {
            capabilities,
            lanes: Arc::new(Lanes::new(connector.clone(), &options)),
            connector,
            pool,
            options,
        })
    }

    pub(crate) fn options(&self) -> &PostgresOptions {
        &self.options
    }

    pub(crate) fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// What opens connections beside the pool.
    pub(crate) fn connector(&self) -> &Connector {
        &self.connector
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(crate) fn lanes(&self) -> &Arc<Lanes> {
        &self.lanes
    }

    /// A connection of one's own.
    pub(crate) async fn acquire(&self, deadline: Option<Instant>) -> Result<Lease> {
        self.pool.acquire(deadline).await
    }

    /// Creates the tables, all or none.
    pub(crate) async fn create_tables(&self, tables: &[&'static Table]) -> Result<()> {
        let statements = create_tables(Dialect::Postgres, tables).join(";\n");
        let mut lease = self.acquire(None).await?;
        lease.begin();
        // One message is one transaction.
        let created = lease.batch_execute(&statements).await;
        lease.end();
        created.map_err(|cause| {
            let message = "the tables could not be created; does one of them exist already?";
            Error::new(ErrorKind::Schema, message).with_source(cause)
        })
    }

    /// Runs statements that create what is missing, as one transaction, unless all the tables exist.
    pub(crate) async fn create_missing(
        &self,
        tables: &[&'static Table],
        statements: &[String],
    ) -> Result<()> {
        let names: Vec<_> = tables.iter().map(|table| table.name).collect();
        let mut lease = self.acquire(None).await?;
        lease.begin();
        let created = create_missing(&lease, &names, statements).await;
        lease.end();
        created.map_err(|cause| {
            let message = format!(
                "the tables {} could not be created: run their statements in a migration, by a role \
                 that may",
                names.join(", ")
            );
            Error::new(ErrorKind::Schema, message).with_source(cause)
        })
    }

    /// Refuses new work, waits for what is under way and closes the connections.
    pub(crate) async fn close(&self) -> Result<()> {
        let (shared, pooled) = join(self.lanes.close(), self.pool.close()).await;
        shared.and(pooled)?;
        self.connector.canceller().close().await;
        Ok(())
    }
}

/// Runs the statements, unless all the tables are there.
async fn create_missing(
    client: &tokio_postgres::Client,
    tables: &[&str],
    statements: &[String],
) -> Result<(), tokio_postgres::Error> {
    let present = "SELECT bool_and(to_regclass(name) IS NOT NULL) FROM unnest($1::text[]) AS name";
    let types = [(
        &tables as &(dyn tokio_postgres::types::ToSql + Sync),
        tokio_postgres::types::Type::TEXT_ARRAY,
    )];
    let found = client.query_typed(present, &types).await?;
    if found.first().is_some_and(|row| row.get(0)) {
        return Ok(());
    }
    // One message is one transaction.
    let script = format!(
        "SELECT pg_advisory_xact_lock({LOCK});\n{}",
        statements.join(";\n")
    );
    client.batch_execute(&script).await
}
