//! [`Peer`]: what every library has to do.

use std::future::Future;

use crate::data::NewUser;

/// The result of whatever a peer does.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// One library on one engine. Clones share their connections.
///
/// All futures run on a runtime of [`data::THREADS`](crate::data::THREADS) workers, and every row
/// is read in full: all columns, into the structs that the library's users would write.
pub trait Peer: Clone + Send + Sync + 'static {
    /// A row to insert, as the library wants it. Made before the clock starts.
    type New: Send + 'static;

    /// Name and version of the library, for the table.
    const NAME: &'static str;

    /// Opens the connections.
    fn open(target: &Target) -> impl Future<Output = Result<Self>> + Send;

    /// The version of SQLite that is linked, or of the server.
    fn engine_version(&self) -> impl Future<Output = Result<String>> + Send;

    /// The first users by key, so many.
    fn users(&self, count: i64) -> impl Future<Output = Result<Seen>> + Send;

    /// The newest published posts of active users with their authors, so many.
    fn newest(&self, count: i64) -> impl Future<Output = Result<Seen>> + Send;

    /// The first users by key, so many, with their posts and the posts' comments, put together.
    fn authors(&self, count: i64) -> impl Future<Output = Result<Seen>> + Send;

    /// Every comment.
    fn comments(&self) -> impl Future<Output = Result<Seen>> + Send;

    /// The user with this key.
    fn user(&self, id: i64) -> impl Future<Output = Result<Seen>> + Send;

    /// Makes a row out of the plain data.
    fn prepare(user: NewUser) -> Self::New;

    /// Inserts and commits one user and returns the stored row.
    fn insert(&self, user: Self::New) -> impl Future<Output = Result<Seen>> + Send;

    /// Inserts and commits all of these users or none of them; no rows come back unless the
    /// library cannot leave it.
    fn insert_all(&self, users: Vec<Self::New>) -> impl Future<Output = Result<Seen>> + Send;
}

/// What a peer has got: proof that all of them did the same work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The number of rows.
    pub rows: u64,
    /// A checksum: the sum of the keys and of the lengths of some texts.
    pub sum: u64,
}

impl Seen {
    /// Counts a row with this key and with a text of this many bytes.
    pub fn row(&mut self, id: i64, bytes: usize) {
        self.rows += 1;
        self.sum += id.unsigned_abs() + bytes as u64;
    }

    /// So many rows were written.
    pub fn written(rows: usize) -> Self {
        Self {
            rows: rows as u64,
            sum: 0,
        }
    }

    /// Counts what another one counted.
    pub fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

/// The kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A file.
    Sqlite,
    /// A server.
    Postgres,
}

/// What to open, and for what.
#[derive(Clone, Debug)]
pub struct Target {
    /// See [`Engine`].
    pub engine: Engine,
    /// `sqlite:<path>` or `postgres://..`.
    pub url: String,
    /// Whether a commit survives a loss of power on SQLite (`synchronous = FULL`, else NORMAL).
    pub durable: bool,
    /// The number of connections that a pool should have.
    pub pool: u32,
    /// Whether many tasks share the connections.
    pub tasks: bool,
}

impl Target {
    /// The path of a SQLite database.
    pub fn path(&self) -> &str {
        self.url.strip_prefix("sqlite:").unwrap_or(&self.url)
    }

    /// The pragmas of every SQLite connection, the same for every library.
    pub fn pragmas(&self) -> Vec<(&'static str, String)> {
        let synchronous = if self.durable { "FULL" } else { "NORMAL" };
        [
            // First, since any other may meet a lock.
            ("busy_timeout", "5000"),
            ("journal_mode", "WAL"),
            ("synchronous", synchronous),
            ("foreign_keys", "ON"),
            ("temp_store", "MEMORY"),
            ("cache_size", "-20000"),
            ("mmap_size", "134217728"),
            ("journal_size_limit", "67108864"),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .into()
    }

    /// The same as one piece of SQL.
    pub fn pragma_sql(&self) -> String {
        let each = |(name, value): (&str, String)| format!("PRAGMA {name} = {value};");
        self.pragmas().into_iter().map(each).collect()
    }
}
