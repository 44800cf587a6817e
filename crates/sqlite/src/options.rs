//! How a SQLite database is opened: the file, the number of readers, the pragmas.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where a database lives and how its connections are configured.
///
/// [`SqliteOptions::new`] starts from the production profile, [`SqliteOptions::development`] from
/// one that is kinder to a developer's machine:
///
/// | setting | production | development |
/// |---|---|---|
/// | journal | WAL | WAL |
/// | synchronous | NORMAL | NORMAL |
/// | busy timeout | 5 s | 1 s |
/// | page cache of a connection | 20,000 KiB | SQLite's own, 2,000 KiB |
/// | memory map | 128 MiB | off |
/// | size the WAL file is cut back to | 64 MiB | 64 MiB |
///
/// Foreign keys are always on, a schema is never trusted to call functions with side effects, and
/// a string in double quotes is always an identifier.
///
/// ```
/// use larder_sqlite::SqliteOptions;
///
/// let options = SqliteOptions::new("app.db").durable().readers(4);
/// assert!(!options.is_in_memory());
/// ```
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    pub(crate) location: Location,
    pub(crate) readers: usize,
    pub(crate) journal_mode: JournalMode,
    pub(crate) synchronous: Synchronous,
    pub(crate) busy_timeout: Duration,
    pub(crate) cache_kib: Option<u32>,
    pub(crate) mmap_bytes: u64,
    pub(crate) wal_limit_bytes: u64,
    pub(crate) checkpoint_pages: u32,
    pub(crate) parked_snapshots: bool,
    pub(crate) inline_budget: u32,
    pub(crate) statement_cache: usize,
    pub(crate) queue_max: usize,
}

/// The database itself: a file, or memory that lives as long as its connections.
#[derive(Clone, Debug)]
pub(crate) enum Location {
    File(PathBuf),
    Memory,
}

/// How SQLite keeps a transaction safe while it is being written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum JournalMode {
    /// A write-ahead log: readers and the writer do not block each other. The default.
    #[default]
    Wal,
    /// A rollback journal, deleted after each transaction. For file systems without shared
    /// memory. A commit waits until no one reads, and reads cost a few system calls each.
    Rollback,
}

/// What an acknowledged commit survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Synchronous {
    /// A crash of the process. A loss of power may take the last commits back, but never leaves
    /// the database damaged. The default.
    #[default]
    Normal,
    /// A loss of power too: the log is flushed to the disk before a commit is acknowledged.
    Full,
}

impl SqliteOptions {
    /// Options for the database file at `path` in the production profile. Opens nothing.
    ///
    /// `":memory:"` means [`in_memory`](Self::in_memory). A path is never read as a SQLite URI:
    /// opening an empty one, or one that begins with `file:`, is refused.
    pub fn new(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        if path == ":memory:" {
            // To SQLite each connection would get a database of its own.
            return Self::in_memory();
        }
        Self::at(Location::File(path.to_owned()))
    }

    /// Options for a fresh database in memory, gone when its last connection is closed.
    ///
    /// A memory database has no write-ahead log: a read waits while a write transaction is open.
    pub fn in_memory() -> Self {
        Self::at(Location::Memory)
    }

    /// Options for the database file at `path` in the development profile.
    pub fn development(path: impl AsRef<Path>) -> Self {
        Self {
            busy_timeout: Duration::from_secs(1),
            cache_kib: None,
            mmap_bytes: 0,
            ..Self::new(path)
        }
    }

    fn at(location: Location) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            location,
            readers: (cores + 2).clamp(4, 10),
            journal_mode: JournalMode::Wal,
            synchronous: Synchronous::Normal,
            busy_timeout: Duration::from_secs(5),
            cache_kib: Some(20_000),
            mmap_bytes: 128 << 20,
            wal_limit_bytes: 64 << 20,
            checkpoint_pages: 1_000,
            parked_snapshots: true,
            inline_budget: 20_000,
            statement_cache: 256,
            queue_max: 4_096,
        }
    }

    /// Flushes the log to the disk before any commit is acknowledged ([`Synchronous::Full`]).
    pub fn durable(self) -> Self {
        self.synchronous(Synchronous::Full)
    }

    /// What an acknowledged commit survives. Default: [`Synchronous::Normal`].
    pub fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.synchronous = synchronous;
        self
    }

    /// The number of connections for reading, from 2 to 64 (other numbers are moved into that
    /// range). Default: one per core and two more, at least 4 and at most 10. Longer work opens
    /// further ones while it needs them, up to 64.
    pub fn readers(mut self, count: usize) -> Self {
        self.readers = count.clamp(2, 64);
        self
    }

    /// How long a statement waits for a lock that another process holds. Default: 5 seconds.
    /// At most 24 hours; longer times are cut.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout.min(Duration::from_hours(24));
        self
    }

    /// The page cache of each connection, in KiB. Default: 20,000.
    pub fn cache_kib(mut self, kib: u32) -> Self {
        self.cache_kib = Some(kib.min(i32::MAX as u32));
        self
    }

    /// How much of the file is read through a memory map, in bytes; 0 switches it off.
    /// Default: 128 MiB. With a map, a failing disk kills the process instead of failing a read.
    pub fn mmap_bytes(mut self, bytes: u64) -> Self {
        self.mmap_bytes = bytes.min(i64::MAX as u64);
        self
    }

    /// How SQLite keeps a transaction safe. Default: [`JournalMode::Wal`].
    pub fn journal_mode(mut self, mode: JournalMode) -> Self {
        self.journal_mode = mode;
        self
    }

    /// The size of the write-ahead log, in pages, at which it is copied into the database and
    /// started again. Default: 1,000 (4 MB). At least 1.
    pub fn checkpoint_pages(mut self, pages: u32) -> Self {
        self.checkpoint_pages = pages.clamp(1, i32::MAX as u32);
        self
    }

    /// Whether point reads may keep a reader's transaction open between reads. Default: true.
    ///
    /// Such a snapshot halves the cost of a point read. It is only used while it is the newest,
    /// so a commit is seen at once, by whomever it was made.
    pub fn parked_snapshots(mut self, parked: bool) -> Self {
        self.parked_snapshots = parked;
        self
    }

    /// How much of a read may run on the calling task, in steps of SQLite's virtual machine,
    /// before it is interrupted and repeated on a blocking thread. Default: 20,000, which is
    /// under a millisecond.
    pub fn inline_budget(mut self, steps: u32) -> Self {
        self.inline_budget = steps;
        self
    }

    /// The number of prepared statements that each connection keeps. Default: 256.
    pub fn statement_cache(mut self, statements: usize) -> Self {
        self.statement_cache = statements;
        self
    }

    /// The number of writes that may wait for the writer; one more is refused. Default: 4,096.
    pub fn queue_max(mut self, writes: usize) -> Self {
        self.queue_max = writes.max(1);
        self
    }

    /// Whether the database lives in memory only.
    pub fn is_in_memory(&self) -> bool {
        matches!(self.location, Location::Memory)
    }
}
