//! Opens connections: the right pragmas in the right order, and what Larder adds to SQL.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::{Connection, OpenFlags};

use crate::interrupt::Interrupt;
use crate::options::{JournalMode, Location, SqliteOptions, Synchronous};
use crate::{decimal, functions};

/// A database's options with what its connections have to agree on.
#[derive(Clone, Debug)]
pub(crate) struct Opener {
    options: SqliteOptions,
    memory_name: String,
}

/// A configured connection and the switch that ends its statements early.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    pub(crate) interrupt: Arc<Interrupt>,
}

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Writer,
    Reader,
}

impl Opener {
    pub(crate) fn new(options: SqliteOptions) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // Connections that give the memory file system the same name, beginning with a slash,
        // share a database.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            options,
            memory_name: format!("/larder-{number}"),
        }
    }

    pub(crate) fn options(&self) -> &SqliteOptions {
        &self.options
    }

    /// Opens the connection for writing; the first one of a database, for it creates the file and
    /// chooses the journal. Checkpoints are left to the [`Writer`](crate::writer::Writer).
    /// Blocks on the disk.
    pub(crate) fn writer(&self) -> rusqlite::Result<Opened> {
        let opened = self.open(Role::Writer)?;
        let connection = &opened.connection;
        if !self.options.is_in_memory() {
            let mode = match self.options.journal_mode {
                JournalMode::Wal => "wal",
                JournalMode::Rollback => "delete",
            };
            connection.pragma_update_and_check(None, "journal_mode", mode, |_| Ok(()))?;
        }
        connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
        connection.execute_batch("PRAGMA optimize = 0x10002")?;
        Ok(opened)
    }

    /// Opens a connection for reading. It can change neither data nor its own journal mode.
    /// Blocks on the disk.
    pub(crate) fn reader(&self) -> rusqlite::Result<Opened> {
        let mut opened = self.open(Role::Reader)?;
        opened.connection.pragma_update(None, "query_only", true)?;
        // The last step, because it also forbids `PRAGMA query_only` itself. A mapped wal-index
        // relies on it: no statement can take this connection out of WAL mode.
        opened.connection.authorizer(Some(refuse_mode_changes))?;
        Ok(opened)
    }

    fn open(&self, role: Role) -> rusqlite::Result<Opened> {
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        if role == Role::Writer || self.options.is_in_memory() {
            flags |= OpenFlags::SQLITE_OPEN_CREATE;
        }
        let mut connection = match &self.options.location {
            Location::File(path) => Connection::open_with_flags(path, flags)?,
            Location::Memory => {
                Connection::open_with_flags_and_vfs(&self.memory_name, flags, c"memdb")?
            }
        };
        // First of all, since any of the following may meet a lock.
        let interrupt = Interrupt::install(&mut connection, self.options.busy_timeout)?;
        self.configure(&connection)?;
        extend(&connection)?;
        rusqlite::vtab::array::load_module(&connection)?;
        Ok(Opened {
            connection,
            interrupt,
        })
    }

    fn configure(&self, connection: &Connection) -> rusqlite::Result<()> {
        // The stability guarantee keeps SQLite from preparing a statement again whenever a bound
        // limit changes.
        for (setting, on) in [
            (DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true),
            (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
            (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
            (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
            (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true),
        ] {
            connection.set_db_config(setting, on)?;
        }
        let options = &self.options;
        let synchronous = match options.synchronous {
            Synchronous::Normal => "NORMAL",
            Synchronous::Full => "FULL",
        };
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        if let Some(kib) = options.cache_kib {
            connection.pragma_update(None, "cache_size", -i64::from(kib))?;
        }
        let mmap_bytes = options.mmap_bytes.cast_signed();
        connection
            .pragma_update_and_check(None, "mmap_size", mmap_bytes, |_| Ok(()))
            .or_else(none)?;
        let wal_limit = options.wal_limit_bytes.cast_signed();
        connection.pragma_update_and_check(None, "journal_size_limit", wal_limit, |_| Ok(()))?;
        connection.set_prepared_statement_cache_capacity(options.statement_cache);
        Ok(())
    }
}

/// Adds what a schema of Larder's refers to, without which SQLite can neither write nor check it.
pub(crate) fn extend(connection: &Connection) -> rusqlite::Result<()> {
    decimal::register(connection)?;
    functions::register(connection)
}

/// `PRAGMA mmap_size` answers with no row where memory maps are not supported.
fn none(error: rusqlite::Error) -> rusqlite::Result<()> {
    match error {
        rusqlite::Error::QueryReturnedNoRows => Ok(()),
        other => Err(other),
    }
}

fn refuse_mode_changes(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Pragma {
            pragma_name,
            pragma_value: Some(_),
        } if ["journal_mode", "locking_mode", "query_only"]
            .iter()
            .any(|name| pragma_name.eq_ignore_ascii_case(name)) =>
        {
            Authorization::Deny
        }
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => Authorization::Deny,
        _ => Authorization::Allow,
    }
}
