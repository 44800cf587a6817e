//! The connection that writes, and its checkpoints.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rusqlite::Connection;
use rusqlite::hooks::Wal;
use rusqlite::wal::CheckpointMode;

use crate::connection::{Opened, Opener};
use crate::interrupt::{Budget, Interrupt, Patience};
use crate::options::Synchronous;
use crate::readers::Gate;

/// A database's one connection for writing.
#[derive(Debug)]
pub(crate) struct WriteConnection {
    connection: Connection,
    interrupt: Arc<Interrupt>,
    is_wal: bool,
    synchronous: Synchronous,
    /// The length of the log after the last commit, in pages.
    wal_pages: Arc<AtomicU32>,
    checkpoint_pages: u32,
    /// The length of the log at which it is tried again.
    checkpoint_at: u32,
    gate: Option<Gate>,
}

impl WriteConnection {
    /// Takes charge of a connection made by [`Opener::writer`].
    pub(crate) fn new(opened: Opened, opener: &Opener) -> rusqlite::Result<Self> {
        let Opened {
            mut connection,
            interrupt,
        } = opened;
        let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        let wal_pages = Arc::new(AtomicU32::new(0));
        let pages = Arc::clone(&wal_pages);
        connection.wal_hook(Some(move |_: &mut Wal, length: i32| {
            pages.store(u32::try_from(length).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        let checkpoint_pages = opener.options().checkpoint_pages;
        Ok(Self {
            connection,
            interrupt,
            is_wal: mode == "wal",
            synchronous: opener.options().synchronous,
            wal_pages,
            checkpoint_pages,
            checkpoint_at: checkpoint_pages,
            gate: None,
        })
    }

    /// Lets checkpoints release the readers' parked snapshots first.
    pub(crate) fn with_gate(mut self, gate: Gate) -> Self {
        self.gate = Some(gate);
        self
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(crate) fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// What its statements may do.
    pub(crate) fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// Whether the database has a write-ahead log.
    pub(crate) fn is_wal(&self) -> bool {
        self.is_wal
    }

    /// Whether a commit neither flushes to the disk nor waits for readers.
    pub(crate) fn commits_without_waiting(&self) -> bool {
        self.is_wal && self.synchronous == Synchronous::Normal
    }

    pub(crate) fn arm(&mut self, patience: Patience) {
        self.interrupt.arm(Budget::Unlimited, patience);
    }

    /// Runs a statement without parameters that is used again and again.
    pub(crate) fn execute(&mut self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }

    /// Rolls back the transaction that is open, if one is.
    pub(crate) fn roll_back(&mut self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.execute("ROLLBACK")
        {
            tracing::error!(%error, "a transaction could not be rolled back");
        }
    }

    pub(crate) fn checkpoint_is_due(&self) -> bool {
        self.wal_pages.load(Ordering::Relaxed) >= self.checkpoint_at
    }

    /// Copies the log into the database if it has become long, so that it starts again at its
    /// beginning. Readers that are under way are not waited for, unless the log has become four
    /// times as long as it should be. Blocks on the disk.
    pub(crate) fn checkpoint_if_due(&mut self) {
        if !self.checkpoint_is_due() {
            return;
        }
        let pages = self.wal_pages.load(Ordering::Relaxed);
        let patience = if pages > self.checkpoint_pages.saturating_mul(4) {
            Patience::Brief
        } else {
            Patience::None
        };
        self.checkpoint_at = match self.checkpoint(CheckpointMode::RESTART, patience) {
            Ok(()) => self.checkpoint_pages,
            Err(error) => {
                tracing::debug!(%error, pages, "the log could not be started again yet");
                pages.saturating_add(self.checkpoint_pages.div_ceil(4))
            }
        };
        // Known again after the next commit.
        self.wal_pages.store(0, Ordering::Relaxed);
    }

    fn checkpoint(&mut self, mode: CheckpointMode, patience: Patience) -> rusqlite::Result<()> {
        self.arm(patience);
        let Self {
            gate, connection, ..
        } = self;
        let run = || connection.wal_checkpoint_v2(Some(c"main"), mode).map(drop);
        match gate {
            Some(gate) => gate.without_snapshots(run),
            None => run(),
        }
    }

    /// Brings the statistics up to date, copies the log into the database, empties it and closes
    /// the connection. The readers should be closed first. Blocks on the disk.
    pub(crate) fn close(mut self) -> rusqlite::Result<()> {
        self.roll_back();
        self.arm(Patience::Brief);
        self.connection.execute_batch("PRAGMA optimize")?;
        if self.is_wal
            && let Err(error) = self.checkpoint(CheckpointMode::TRUNCATE, Patience::Brief)
        {
            // Another process reads or writes. The log is as good a place as the database.
            tracing::debug!(%error, "the log could not be emptied at closing");
        }
        self.connection.close().map_err(|(_, error)| error)
    }
}
