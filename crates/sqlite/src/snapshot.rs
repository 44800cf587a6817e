//! Parked snapshots: a read transaction that stays open between point reads.
//!
//! Half of a point read's time goes into taking and dropping the read lock of the write-ahead
//! log. A connection that keeps its read transaction open saves it, and may do so for as long as
//! its snapshot is the newest. SQLite keeps a header in shared memory that every commit rewrites,
//! so a look at it tells, without a system call, whether there has been a commit since.
//!
//! # Why a parked read is never stale
//!
//! A connection remembers the stamp (the header's bytes) it saw *before* it opened its
//! transaction. Say the stamp is the same when a later read starts.
//!
//! 1. SQLite read the header again, from the same memory and later in the same thread, when it
//!    opened the snapshot. So the snapshot is at least as new as the remembered stamp.
//! 2. Each commit changes the stamp: the header holds a counter of changes, the length of the
//!    log, the log's salt and a checksum over every frame of it. A later commit does not bring an
//!    earlier stamp back.
//! 3. A commit rewrites the first copy of the header, the one read here, before SQLite's COMMIT
//!    returns. Whoever learns that the commit was acknowledged learns it by a synchronisation
//!    (a lock, a channel, a system call) that comes after those writes, and starts the read
//!    after it. The words are loaded with acquire ordering, so the read sees them.
//!
//! So a commit that was acknowledged before the read started would have changed the stamp. A look
//! that falls into the middle of a commit sees some words of the old header and some of the new:
//! it equals the old stamp only if it saw nothing new, and then the commit was not acknowledged
//! yet. The same holds for commits by other processes, for the memory is shared with them.
//!
//! # What it refuses
//!
//! Only a database in WAL mode whose file system offers shared memory has that header. Anything
//! else (a rollback journal, a database in memory, a file system without shared memory, a read-only
//! one) gets no [`WalIndex`] and reads in autocommit mode, as SQLite always does.

#![allow(
    unsafe_code,
    reason = "the wal-index is reached through SQLite's C interface; this is the one file that does"
)]

use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rusqlite::{Connection, ffi};

/// A connection that can keep a snapshot open from one read to the next.
#[derive(Debug)]
pub(crate) struct Parking {
    /// Points into memory that `connection` keeps mapped. Private, and never handed out.
    index: Option<WalIndex>,
    connection: Connection,
    seen: Option<Stamp>,
    epoch: u64,
}

/// What a connection is to do about its snapshot before a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Snapshots {
    /// It may be kept, if it was parked in this epoch.
    Allowed { epoch: u64 },
    /// It must not be kept: someone is about to checkpoint.
    Refused,
}

impl Parking {
    /// Wraps a connection; with `wanted`, maps the wal-index if there is one.
    pub(crate) fn new(connection: Connection, wanted: bool) -> Self {
        Self {
            index: wanted.then(|| WalIndex::map(&connection)).flatten(),
            connection,
            seen: None,
            epoch: 0,
        }
    }

    /// The connection as it is: inside the parked snapshot, or in autocommit mode.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whether this connection can park at all.
    #[cfg(test)]
    pub(crate) fn is_supported(&self) -> bool {
        self.index.is_some()
    }

    /// Whether a transaction is open. SQLite is asked, because some errors end a transaction.
    pub(crate) fn is_parked(&self) -> bool {
        !self.connection.is_autocommit()
    }

    /// Makes sure that the next read on the connection sees every commit acknowledged so far.
    ///
    /// Parks when two reads in a row have seen the same stamp. So a database that is written
    /// between any two reads pays for a comparison only, not for a BEGIN and a COMMIT each.
    pub(crate) fn refresh(&mut self, snapshots: Snapshots) -> rusqlite::Result<()> {
        let Some(index) = &self.index else {
            return Ok(());
        };
        // Before the transaction begins: see "never stale" above.
        let now = Some(index.stamp());
        let Snapshots::Allowed { epoch } = snapshots else {
            return self.release();
        };
        let unchanged = now == self.seen;
        if self.is_parked() {
            if unchanged && epoch == self.epoch {
                return Ok(());
            }
            self.release()?;
        }
        if unchanged && now.is_some_and(|stamp| stamp.is_initialised()) {
            // Deferred: the read that follows opens the snapshot.
            self.connection
                .prepare_cached("BEGIN DEFERRED")?
                .execute([])?;
            self.epoch = epoch;
        } else {
            self.seen = now;
        }
        Ok(())
    }

    /// Lets the snapshot go, if there is one.
    pub(crate) fn release(&mut self) -> rusqlite::Result<()> {
        if self.is_parked() {
            self.connection.prepare_cached("COMMIT")?.execute([])?;
        }
        Ok(())
    }
}

/// The words of the wal-index that change with each commit and each finished checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    header: [u64; HEADER_WORDS],
    /// How far the log has been copied into the database. A snapshot does not go stale by that,
    /// but one taken before a checkpoint keeps the log from being started again, and one taken
    /// after it does not.
    copied: u32,
}

/// The length of the first copy of the header, in words of 8 bytes.
const HEADER_WORDS: usize = 6;

/// The position of the field `nBackfill`, behind the two copies of the header, in bytes.
const COPIED_OFFSET: usize = 96;

/// The size of a region of the wal-index, in bytes. Fixed by SQLite's file format.
const REGION_BYTES: i32 = 32_768;

impl Stamp {
    /// Whether the header is in use; it is all zeros before the first access.
    fn is_initialised(&self) -> bool {
        // The flag `isInit` is the byte at position 12, in the second word.
        self.header[1].to_ne_bytes()[4] != 0
    }
}

/// The first region of a connection's wal-index.
///
/// # Soundness
///
/// `base` points to 32 KiB that SQLite maps when a connection first reads in WAL mode. All
/// connections of the process to that database share the mapping, and SQLite neither moves nor
/// shortens it before the last of them closes or leaves WAL mode. [`Parking`] keeps the pointer
/// together with a connection that it owns. Safe code gets `&Connection` only, which is not enough
/// to close it, and readers refuse the statements that would change the journal or locking mode.
///
/// Other threads and processes write the memory while it is read here, so it is read through
/// atomics only; a mixture of old and new words is harmless, see the module's documentation.
#[derive(Debug)]
struct WalIndex {
    base: NonNull<AtomicU64>,
}

// SAFETY: the pointer is not tied to the thread that asked for it, and it is only read through
// atomics. It moves together with its connection, which is `Send` as well.
unsafe impl Send for WalIndex {}

impl WalIndex {
    /// Finds the wal-index of a connection's main database; `None` where there is none.
    fn map(connection: &Connection) -> Option<Self> {
        // The first read makes SQLite open the log and map its index.
        let read = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()));
        let mode = connection.query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0));
        if read.is_err() || mode.ok()? != "wal" {
            return None;
        }
        let mut region: *mut c_void = ptr::null_mut();
        // SAFETY: the handle is that of an open connection, which nobody else uses during this
        // call, since a `Connection` is not `Sync`. FILE_POINTER writes a pointer to the file
        // object, which lives as long as the connection. The methods are called as sqlite3.h
        // says: version 2 and later have xShmMap. With 0 for "extend" it only maps what exists,
        // and answers with a null pointer otherwise.
        let code = unsafe {
            let mut file: *mut ffi::sqlite3_file = ptr::null_mut();
            let code = ffi::sqlite3_file_control(
                connection.handle(),
                c"main".as_ptr(),
                ffi::SQLITE_FCNTL_FILE_POINTER,
                (&raw mut file).cast(),
            );
            if code != ffi::SQLITE_OK || file.is_null() {
                return None;
            }
            let methods = (*file).pMethods.as_ref()?;
            if methods.iVersion < 2 {
                return None;
            }
            let map = methods.xShmMap?;
            map(file, 0, REGION_BYTES, 0, (&raw mut region).cast())
        };
        let base = NonNull::new(region.cast::<AtomicU64>())?;
        (code == ffi::SQLITE_OK && base.is_aligned()).then_some(Self { base })
    }

    /// Reads the stamp: seven loads, no system call.
    fn stamp(&self) -> Stamp {
        let words = self.base.as_ptr();
        // SAFETY: both positions lie within the 32 KiB of the region, which is mapped for as long
        // as `self` exists, and are aligned to the size of what is read.
        unsafe {
            Stamp {
                header: std::array::from_fn(|word| (*words.add(word)).load(Ordering::Acquire)),
                copied: (*words.byte_add(COPIED_OFFSET).cast::<AtomicU32>())
                    .load(Ordering::Acquire),
            }
        }
    }
}
