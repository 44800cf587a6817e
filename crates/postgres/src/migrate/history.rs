//! The tables that remember: refinery's history, the stored down scripts, the log.

use larder_core::migration::{AppliedMigration, Migration, Rollback, Script, StoredDown};
use larder_core::{Error, ErrorKind, Result};
use refinery_core::traits::r#async::AsyncMigrate;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::failure::{DriverError, engine_error};
use super::step::Step;

/// The name that refinery gives its history table unless told otherwise.
pub(super) const HISTORY: &str = "refinery_schema_history";

const OWN_TABLES: &str = "
CREATE TABLE IF NOT EXISTS larder_migration_downs (
  version integer PRIMARY KEY,
  text text,
  checksum text,
  irreversible text
);
CREATE TABLE IF NOT EXISTS larder_migration_log (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT now(),
  version integer NOT NULL,
  name text NOT NULL,
  direction text NOT NULL CHECK (direction IN ('up', 'down'))
);
CREATE TABLE IF NOT EXISTS larder_migration_steps (
  version integer NOT NULL,
  direction text NOT NULL CHECK (direction IN ('up', 'down')),
  step integer NOT NULL,
  statement text NOT NULL,
  started timestamptz NOT NULL DEFAULT now(),
  finished timestamptz,
  PRIMARY KEY (version, direction, step)
);";

/// Creates the four tables unless they exist.
pub(super) async fn create_tables(client: &Client) -> Result<()> {
    let uncreated = |error| engine_error("the history tables cannot be created", error);
    // Not by IF NOT EXISTS alone, which makes a notice of every table that exists.
    for table in [
        HISTORY,
        "larder_migration_downs",
        "larder_migration_log",
        "larder_migration_steps",
    ] {
        if !exists(client, table).await.map_err(uncreated)? {
            let refinerys = Step::assert_migrations_table_query(HISTORY);
            let all = format!("BEGIN; {refinerys}; {OWN_TABLES} COMMIT");
            let created = client.batch_execute(&all).await;
            if created.is_err() {
                let _ = client.batch_execute("ROLLBACK").await;
            }
            return created.map_err(uncreated);
        }
    }
    Ok(())
}

/// What the database has, lowest number first; nothing if it was never migrated.
pub(super) async fn applied(client: &Client) -> Result<Vec<AppliedMigration>> {
    // A row that someone else wrote may hold anything, NULL included.
    let sql = "SELECT version::text, name::text, applied_on::text, checksum::text
        FROM refinery_schema_history
        ORDER BY version";
    let rows = read(client, HISTORY, sql, |row| {
        Ok([
            row.try_get(0)?,
            row.try_get(1)?,
            row.try_get(2)?,
            row.try_get(3)?,
        ])
    });
    let parse = |[version, name, applied_on, checksum]: [Option<String>; 4]| {
        let version = version.and_then(|text| text.parse().ok()).ok_or_else(|| {
            let message = "a history row has no number; repair the row by hand";
            Error::new(ErrorKind::Corrupt, message).with_table(HISTORY)
        })?;
        AppliedMigration::parse(
            version,
            name.unwrap_or_default(),
            &applied_on.unwrap_or_default(),
            &checksum.unwrap_or_default(),
        )
    };
    rows.await?.into_iter().map(parse).collect()
}

/// The stored down scripts.
pub(super) async fn stored_downs(client: &Client) -> Result<Vec<StoredDown>> {
    let sql = "SELECT version, text, checksum, irreversible FROM larder_migration_downs";
    let rows = read(client, "larder_migration_downs", sql, |row| {
        let checksum: Option<String> = row.try_get(2)?;
        Ok(StoredDown {
            version: row.try_get(0)?,
            text: row.try_get(1)?,
            checksum: checksum.and_then(|digits| digits.parse().ok()),
            irreversible: row.try_get(3)?,
        })
    });
    rows.await
}

/// Whether the history has this migration.
pub(super) async fn has(client: &Client, version: i32) -> Result<bool, DriverError> {
    let sql = "SELECT 1 FROM refinery_schema_history WHERE version = $1";
    let rows = client.query_typed(sql, &[(&version, Type::INT4)]).await?;
    Ok(!rows.is_empty())
}

/// Stores the way back and writes the log; refinery writes the history row.
pub(super) async fn record_up(client: &Client, migration: &Migration) -> Result<(), DriverError> {
    let (version, text) = (migration.version(), migration.down().map(Script::text));
    let checksum = Rollback::checksum(migration).map(|checksum| checksum.to_string());
    let irreversible = &migration.up().directives().irreversible;
    client
        .execute_typed(
            "INSERT INTO larder_migration_downs (version, text, checksum, irreversible)
            VALUES ($1, $2, $3, $4)
            ON CONFLICT (version) DO UPDATE
            SET text = excluded.text,
              checksum = excluded.checksum,
              irreversible = excluded.irreversible",
            &[
                (&version, Type::INT4),
                (&text, Type::TEXT),
                (&checksum, Type::TEXT),
                (irreversible, Type::TEXT),
            ],
        )
        .await?;
    log(client, version, migration.name(), "up").await
}

/// Takes a migration out of the history and writes the log.
pub(super) async fn record_down(client: &Client, rollback: &Rollback) -> Result<(), DriverError> {
    for sql in [
        "DELETE FROM refinery_schema_history WHERE version = $1",
        "DELETE FROM larder_migration_downs WHERE version = $1",
    ] {
        let version = rollback.version();
        client.execute_typed(sql, &[(&version, Type::INT4)]).await?;
    }
    log(client, rollback.version(), rollback.name(), "down").await
}

async fn log(
    client: &Client,
    version: i32,
    name: &str,
    direction: &str,
) -> Result<(), DriverError> {
    let sql = "INSERT INTO larder_migration_log (version, name, direction) VALUES ($1, $2, $3)";
    client
        .execute_typed(
            sql,
            &[
                (&version, Type::INT4),
                (&name, Type::TEXT),
                (&direction, Type::TEXT),
            ],
        )
        .await
        .map(drop)
}

/// The rows of one of the tables, none if there is no such table.
pub(super) async fn read<T>(
    client: &Client,
    table: &str,
    sql: &str,
    row: impl Fn(&Row) -> Result<T, DriverError>,
) -> Result<Vec<T>> {
    let unread = |error| engine_error("the migration history cannot be read", error);
    if !exists(client, table).await.map_err(unread)? {
        return Ok(Vec::new());
    }
    let rows = client.query_typed(sql, &[]).await.map_err(unread)?;
    rows.iter()
        .map(row)
        .collect::<Result<_, _>>()
        .map_err(unread)
}

async fn exists(client: &Client, table: &str) -> Result<bool, DriverError> {
    let sql = "SELECT to_regclass($1) IS NOT NULL";
    let row = client.query_typed_one(sql, &[(&table, Type::TEXT)]).await?;
    row.try_get(0)
}
