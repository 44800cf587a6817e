//! The tables that remember: refinery's history, the stored down scripts, the log.

use larder_core::migration::{AppliedMigration, Migration, Rollback, Script, StoredDown};
use larder_core::{Error, ErrorKind, Result, Timestamp};
use refinery_core::Migrate;
use rusqlite::{Connection, Row, params};

use super::script::{engine_error, in_transaction};

/// The name that refinery gives its history table unless told otherwise.
pub(super) const HISTORY: &str = "refinery_schema_history";

const OWN_TABLES: &str = "
CREATE TABLE IF NOT EXISTS larder_migration_downs (
  version INTEGER PRIMARY KEY,
  text TEXT,
  checksum TEXT,
  irreversible TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS larder_migration_log (
  id INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  version INTEGER NOT NULL,
  name TEXT NOT NULL,
  direction TEXT NOT NULL CHECK (direction IN ('up', 'down'))
) STRICT;";

/// Creates the three tables unless they exist.
pub(super) fn create_tables(connection: &mut Connection) -> Result<()> {
    let refinerys = <Connection as Migrate>::assert_migrations_table_query(HISTORY);
    in_transaction(connection, false, |connection| {
        connection
            .execute_batch(&refinerys)
            .and_then(|()| connection.execute_batch(OWN_TABLES))
            .map_err(|error| engine_error("the history tables cannot be created", error))
    })
}

/// What the database has, lowest number first; nothing if it was never migrated.
pub(super) fn applied(connection: &Connection) -> Result<Vec<AppliedMigration>> {
    let sql = "SELECT version, name, applied_on, checksum FROM refinery_schema_history
        ORDER BY version";
    // A row that someone else wrote may hold anything, NULL included.
    let rows: Vec<[Option<String>; 4]> = read(connection, HISTORY, sql, |row| {
        let text = |at| row.get_ref(at).map(as_text);
        Ok([text(0)?, text(1)?, text(2)?, text(3)?])
    })?;
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
    rows.into_iter().map(parse).collect()
}

/// The stored down scripts.
pub(super) fn stored_downs(connection: &Connection) -> Result<Vec<StoredDown>> {
    let sql = "SELECT version, text, checksum, irreversible FROM larder_migration_downs";
    read(connection, "larder_migration_downs", sql, |row| {
        let checksum: Option<String> = row.get(2)?;
        Ok(StoredDown {
            version: row.get(0)?,
            text: row.get(1)?,
            checksum: checksum.and_then(|digits| digits.parse().ok()),
            irreversible: row.get(3)?,
        })
    })
}

/// Whether the history has this migration.
pub(super) fn has(connection: &Connection, version: i32) -> rusqlite::Result<bool> {
    connection
        .prepare("SELECT 1 FROM refinery_schema_history WHERE version = ?1")?
        .exists([version])
}

/// Stores the way back and writes the log; refinery writes the history row.
pub(super) fn record_up(connection: &Connection, migration: &Migration) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT OR REPLACE INTO larder_migration_downs (version, text, checksum, irreversible)
        VALUES (?1, ?2, ?3, ?4)",
        params![
            migration.version(),
            migration.down().map(Script::text),
            Rollback::checksum(migration).map(|checksum| checksum.to_string()),
            migration.up().directives().irreversible,
        ],
    )?;
    log(connection, migration.version(), migration.name(), "up")
}

/// Takes a migration out of the history and writes the log.
pub(super) fn record_down(connection: &Connection, rollback: &Rollback) -> rusqlite::Result<()> {
    for sql in [
        "DELETE FROM refinery_schema_history WHERE version = ?1",
        "DELETE FROM larder_migration_downs WHERE version = ?1",
    ] {
        connection.execute(sql, [rollback.version()])?;
    }
    log(connection, rollback.version(), rollback.name(), "down")
}

fn log(connection: &Connection, version: i32, name: &str, direction: &str) -> rusqlite::Result<()> {
    let sql = "INSERT INTO larder_migration_log (at, version, name, direction)
        VALUES (?1, ?2, ?3, ?4)";
    let at = Timestamp::now().as_micros();
    connection
        .execute(sql, params![at, version, name, direction])
        .map(drop)
}

fn read<T>(
    connection: &Connection,
    table: &str,
    sql: &str,
    row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>> {
    let read = || {
        // Asked in SQL: what the connection remembers of the schema may be old.
        let there = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1";
        if !connection.prepare(there)?.exists([table])? {
            return Ok(Vec::new());
        }
        connection.prepare(sql)?.query_map([], row)?.collect()
    };
    read().map_err(|error| engine_error("the migration history cannot be read", error))
}

fn as_text(value: rusqlite::types::ValueRef<'_>) -> Option<String> {
    use rusqlite::types::ValueRef::*;
    match value {
        Integer(number) => Some(number.to_string()),
        Text(text) => String::from_utf8(text.to_vec()).ok(),
        Null | Real(_) | Blob(_) => None,
    }
}
