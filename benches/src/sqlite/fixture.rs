//! The databases: one is filled, every scenario gets copies of its file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use larder_core::{Db, models};
use larder_sql::{Dialect, create_tables};
use larder_sqlite::{Sqlite, SqliteOptions};
use rusqlite::params;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::Durability;
use super::raw::Raw;
use crate::data::{FIRST_CREATED, RawNewUser, USERS, filled_posts};
use crate::run;

/// A directory with the filled database, and the runtime that Larder's side runs on. Clones share
/// both.
#[derive(Clone, Debug)]
pub struct Fixture {
    directory: Arc<TempDir>,
    runtime: Arc<Runtime>,
    copies: Arc<AtomicUsize>,
}

impl Fixture {
    /// Fills the database, in a temporary directory in `parent`, which should be on a real disk.
    pub fn new(parent: &Path) -> Self {
        let directory = TempDir::with_prefix_in("bench-", parent).expect("a writable directory");
        fill(&directory.path().join("filled.db")).expect("the made-up data fits its schema");
        Self {
            directory: Arc::new(directory),
            runtime: run::runtime(),
            copies: Arc::default(),
        }
    }

    /// The runtime: as many workers as the baseline has bare threads.
    pub fn runtime(&self) -> Arc<Runtime> {
        Arc::clone(&self.runtime)
    }

    /// A file of its own with the filled database.
    pub fn copy(&self) -> PathBuf {
        let number = self.copies.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.path().join(format!("copy{number}.db"));
        std::fs::copy(self.directory.path().join("filled.db"), &path).expect("room on the disk");
        path
    }

    /// Two equal databases: one for the driver, one for Larder.
    pub fn pair(&self, durability: Durability) -> (Raw, Db) {
        (
            self.raw(&self.copy(), durability),
            self.larder(&self.copy(), durability),
        )
    }

    /// Opens a file with the driver.
    pub fn raw(&self, path: &Path, durability: Durability) -> Raw {
        Raw::open(path, durability).expect("a database that was just copied")
    }

    /// Opens a file with Larder's production profile.
    pub fn larder(&self, path: &Path, durability: Durability) -> Db {
        let options = SqliteOptions::new(path);
        self.larder_with(match durability {
            Durability::Normal => options,
            Durability::Full => options.durable(),
        })
    }

    /// Opens a file with Larder, with these options.
    pub fn larder_with(&self, options: SqliteOptions) -> Db {
        let store = self.runtime.block_on(Sqlite::open_with(options));
        Db::new(store.expect("a database that was just copied"))
    }
}

/// Removes a copy and what belongs to it, so that a long run does not fill the disk.
pub fn remove(path: &Path) {
    for ending in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        // It may not exist; what stays is removed with the directory.
        let _ = std::fs::remove_file(name);
    }
}

fn fill(path: &Path) -> rusqlite::Result<()> {
    let mut raw = Raw::open(path, Durability::Normal)?;
    for statement in create_tables(Dialect::Sqlite, &models::tables()) {
        raw.connection().execute_batch(&statement)?;
    }
    let users: Vec<RawNewUser> = (1..=USERS).map(RawNewUser::new).collect();
    raw.insert_users(&users)?;
    raw.connection().execute(
        "UPDATE users SET created_at = ?1 + id * 1000000",
        [FIRST_CREATED],
    )?;
    fill_posts(&raw)?;
    raw.connection()
        .execute_batch("ANALYZE; PRAGMA wal_checkpoint(TRUNCATE);")
}

fn fill_posts(raw: &Raw) -> rusqlite::Result<()> {
    let transaction = raw.connection().unchecked_transaction()?;
    let mut post = transaction.prepare(
        "INSERT INTO posts (id, author_id, slug, title, content, status, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let mut comment = transaction.prepare(
        "INSERT INTO comments (post_id, author_id, content, created_at) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for row in filled_posts() {
        let (status, created) = (row.status.as_str(), row.created_at);
        post.execute(params![
            row.id,
            row.author,
            row.slug,
            row.title,
            row.content,
            status,
            created
        ])?;
        for (author, text) in row.comments {
            comment.execute(params![row.id, author, text, created])?;
        }
    }
    drop((post, comment));
    transaction.commit()
}
