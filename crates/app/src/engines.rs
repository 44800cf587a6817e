//! [`Store`]: which engine a URL means. The one file that names the engines.

use std::path::{Path, PathBuf};

use larder_core::migration::{MigrationRun, MigrationStatus, Migrations};
use larder_core::{Db, DbOptions, Error, Memory, Result, Table, Value};
#[cfg(feature = "postgres")]
use larder_postgres::{Postgres, PostgresOptions, migrate as postgres_migrate};
#[cfg(feature = "redis")]
use larder_redis::{Redis, RedisOptions};
#[cfg(feature = "sqlite")]
use larder_sqlite::{Sqlite, migrate as sqlite_migrate};

/// The SQLite engine, for what a URL cannot say: options, backups, its migrator.
#[cfg(feature = "sqlite")]
pub mod sqlite {
    pub use larder_sqlite::{JournalMode, Sqlite, SqliteOptions, Synchronous, introspect, migrate};
}

/// The PostgreSQL engine, for what a URL cannot say: options, metrics, its migrator.
#[cfg(feature = "postgres")]
pub mod postgres {
    pub use larder_postgres::{PoolMetrics, Postgres, PostgresOptions, PrePing, migrate};
}

/// The Redis engine, for what a URL cannot say: options, its migrations, its indexes.
#[cfg(feature = "redis")]
pub mod redis {
    pub use larder_redis::{IndexDrift, Redis, RedisOptions};
}

/// Opens the database at a URL with the default options. See the [crate's table](crate) of URLs.
///
/// Makes no tables: that is [`Store::migrate_up`]'s, or `larder migrate up`'s.
///
/// # Errors
/// `Misuse` for a URL that names no engine, `Unsupported` for an engine that this build leaves
/// out, naming the feature; the engine's own errors when it cannot be opened. A password in the
/// URL is in none of them.
pub async fn connect(url: &str) -> Result<Db> {
    connect_with(url, DbOptions::default()).await
}

/// [`connect`] with options.
pub async fn connect_with(url: &str, options: DbOptions) -> Result<Db> {
    Ok(Store::open(url, options).await?.db)
}

/// An open database and what is needed to migrate it.
#[derive(Debug)]
pub struct Store {
    db: Db,
    engine: Engine,
}

/// Where a URL points.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Memory,
    SqliteMemory,
    SqliteFile(PathBuf),
    #[cfg(feature = "postgres")]
    Postgres(ServerUrl),
    #[cfg(feature = "redis")]
    Redis(ServerUrl),
}

impl Store {
    /// Opens the database at a URL; see [`connect`].
    pub async fn open(url: &str, options: DbOptions) -> Result<Self> {
        let (db, engine) = Engine::open(Place::parse(url)?, options).await?;
        Ok(Self { db, engine })
    }

    /// The file that a URL means, if it means one; it need not exist. Opens nothing.
    ///
    /// # Errors
    /// As [`connect`], as far as the URL itself goes.
    pub fn file(url: &str) -> Result<Option<PathBuf>> {
        match Place::parse(url)? {
            Place::SqliteFile(path) => Ok(Some(path)),
            _ => Ok(None),
        }
    }

    /// Whether a URL means a database that begins empty and is gone with the program. Opens
    /// nothing.
    ///
    /// # Errors
    /// As [`connect`], as far as the URL itself goes.
    pub fn is_in_memory(url: &str) -> Result<bool> {
        Ok(matches!(
            Place::parse(url)?,
            Place::Memory | Place::SqliteMemory
        ))
    }

    /// Whether two URLs mean the same database that stays, as far as can be told without opening
    /// it: two names of a file are one, two names of a server are not.
    ///
    /// # Errors
    /// As [`connect`], as far as the URLs themselves go.
    pub fn is_same(url: &str, other: &str) -> Result<bool> {
        Ok(match (Place::parse(url)?, Place::parse(other)?) {
            (Place::SqliteFile(one), Place::SqliteFile(two)) => {
                match (one.canonicalize(), two.canonicalize()) {
                    (Ok(one), Ok(two)) => one == two,
                    _ => one == two,
                }
            }
            #[cfg(feature = "postgres")]
            (Place::Postgres(one), Place::Postgres(two)) => one == two,
            #[cfg(feature = "redis")]
            (Place::Redis(one), Place::Redis(two)) => one == two,
            _ => false,
        })
    }

    /// What a URL's engine says to a value that it cannot keep though others can: why, or `None`.
    /// Opens nothing.
    ///
    /// # Errors
    /// As [`connect`], as far as the URL itself goes.
    pub fn refusal(url: &str) -> Result<fn(&Value) -> Option<&'static str>> {
        match Place::parse(url)? {
            // They keep every value there is.
            Place::Memory | Place::SqliteMemory | Place::SqliteFile(_) => Ok(|_| None),
            #[cfg(feature = "postgres")]
            Place::Postgres(_) => Ok(refusal_of_postgres),
            #[cfg(feature = "redis")]
            Place::Redis(_) => Ok(|_| None),
        }
    }

    /// The migrations that a URL's engine would run for [`larder_core::models`]; none for the
    /// in-memory store. Opens nothing.
    ///
    /// # Errors
    /// As [`connect`], as far as the URL itself goes.
    pub fn migrations(url: &str) -> Result<Migrations> {
        match Place::parse(url)? {
            Place::Memory => Ok(Migrations::default()),
            // Its tables are brought to the form of the models, without files.
            #[cfg(feature = "redis")]
            Place::Redis(_) => Ok(Migrations::default()),
            #[cfg(feature = "sqlite")]
            Place::SqliteMemory | Place::SqliteFile(_) => Ok(sqlite_migrate::migrations()),
            #[cfg(not(feature = "sqlite"))]
            Place::SqliteMemory | Place::SqliteFile(_) => Err(left_out("SQLite", "sqlite")),
            #[cfg(feature = "postgres")]
            Place::Postgres(_) => Ok(postgres_migrate::migrations()),
        }
    }

    /// How to ask for the state of the engine's pool; `None` if it has none.
    #[cfg(feature = "serve")]
    pub fn pool(&self) -> Option<impl Fn() -> crate::service::PoolState + Send + Sync + use<>> {
        self.engine.pool()
    }

    /// The handle.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Applies the migrations of [`larder_core::models`] that are missing, up to `target` (all
    /// of them if `None`), and answers which. The in-memory store needs none.
    ///
    /// # Errors
    /// See the engine's migrator: `Schema` if history and files disagree, `Busy` if another
    /// program migrates for too long, `Misuse` for an unknown target.
    pub async fn migrate_up(&self, target: Option<i32>) -> Result<Vec<MigrationRun>> {
        self.engine.migrate_up(target).await
    }

    /// Creates those of the tables that are missing, as features keep some beside the models'. May
    /// be called by several programs at once. The in-memory store makes them when they are used.
    ///
    /// # Errors
    /// The engine's, such as `ReadOnly` where the role may not create tables.
    pub async fn create_missing_tables(&self, tables: &[&'static Table]) -> Result<()> {
        self.engine.create_missing_tables(tables).await
    }

    /// Creates the tables of a [log of changes](larder_core::feed) where they are missing.
    ///
    /// # Errors
    /// As [`create_missing_tables`](Self::create_missing_tables).
    pub async fn create_change_log(&self) -> Result<()> {
        self.engine.create_change_log().await
    }

    /// Undoes every migration above `version`, newest first; 0 undoes all. Data goes with it.
    ///
    /// # Errors
    /// `Misuse` if one of them has no way back: nothing is undone then.
    pub async fn migrate_down(&self, version: i32) -> Result<Vec<MigrationRun>> {
        self.engine.migrate_down(version).await
    }

    /// How every migration stands; nothing for the in-memory store. Writes nothing.
    pub async fn migration_status(&self) -> Result<Vec<MigrationStatus>> {
        self.engine.migration_status().await
    }
}

impl Place {
    fn parse(url: &str) -> Result<Self> {
        let url = url.trim();
        let Some((scheme, rest)) = url.split_once(':') else {
            return Err(Error::misuse(
                "the database URL names no engine: write it as sqlite://app.db or memory:",
            ));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "memory" if rest.trim_matches('/').is_empty() => Ok(Self::Memory),
            "memory" => Err(Error::misuse(
                "the URL of the in-memory store is just `memory:`",
            )),
            "sqlite" => Self::sqlite(rest),
            "postgres" | "postgresql" => Self::postgres(rest),
            "redis" | "rediss" | "redis-cluster" | "rediss-cluster" | "redis-sentinel"
            | "rediss-sentinel" => Self::redis(url),
            // What stands before the colon may be a secret where the scheme was forgotten.
            _ => Err(Error::misuse(
                "the database URL has a scheme that Larder does not know; it knows sqlite:, \
                 postgres:, redis: and memory:, as in sqlite://app.db",
            )),
        }
    }

    #[cfg(feature = "postgres")]
    fn postgres(rest: &str) -> Result<Self> {
        let url = format!("postgres:{rest}");
        PostgresOptions::new(&url)?; // refuses what it cannot read
        Ok(Self::Postgres(ServerUrl(url)))
    }

    #[cfg(not(feature = "postgres"))]
    fn postgres(_: &str) -> Result<Self> {
        Err(left_out("PostgreSQL", "postgres"))
    }

    #[cfg(feature = "redis")]
    fn redis(url: &str) -> Result<Self> {
        RedisOptions::new(url)?; // refuses what it cannot read
        Ok(Self::Redis(ServerUrl(url.to_owned())))
    }

    #[cfg(not(feature = "redis"))]
    fn redis(_: &str) -> Result<Self> {
        Err(left_out("Redis", "redis"))
    }

    fn sqlite(rest: &str) -> Result<Self> {
        let path = rest.strip_prefix("//").unwrap_or(rest);
        if path == ":memory:" {
            return Ok(Self::SqliteMemory);
        }
        if path.contains('?') {
            return Err(Error::misuse(
                "the SQLite URL has parameters after `?`, which Larder does not take",
            ));
        }
        if path.is_empty() || path.ends_with('/') {
            return Err(Error::misuse(
                "the SQLite URL names no file: write sqlite://app.db for a file in the current \
                 directory, sqlite:///srv/app.db for an absolute path, or sqlite::memory:",
            ));
        }
        Ok(Self::SqliteFile(Path::new(path).to_owned()))
    }
}

/// A URL that may hold a password, which is not shown.
#[cfg(any(feature = "postgres", feature = "redis"))]
#[derive(Clone, PartialEq, Eq)]
struct ServerUrl(String);

#[cfg(any(feature = "postgres", feature = "redis"))]
impl std::fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerUrl(..)")
    }
}

/// The error of an engine that this build does not have.
#[cfg_attr(
    all(feature = "sqlite", feature = "postgres", feature = "redis"),
    allow(dead_code, reason = "this build has all")
)]
fn left_out(engine: &str, feature: &str) -> Error {
    Error::unsupported(
        "this build",
        &format!("{engine} needs the `{feature}` feature of the `larder` crate, which is off"),
    )
}

/// An open engine, as far as migrations go.
#[derive(Debug)]
enum Engine {
    Memory,
    #[cfg(feature = "sqlite")]
    Sqlite(Sqlite),
    #[cfg(feature = "postgres")]
    Postgres(Postgres),
    #[cfg(feature = "redis")]
    Redis(Redis),
}

impl Engine {
    async fn open(place: Place, options: DbOptions) -> Result<(Db, Self)> {
        match place {
            Place::Memory => Ok((Db::with_options(Memory::new(), options), Self::Memory)),
            #[cfg(feature = "sqlite")]
            Place::SqliteMemory => Self::sqlite(Sqlite::in_memory().await?, options),
            #[cfg(feature = "sqlite")]
            Place::SqliteFile(path) => Self::sqlite(Sqlite::open(path).await?, options),
            #[cfg(not(feature = "sqlite"))]
            Place::SqliteMemory | Place::SqliteFile(_) => Err(left_out("SQLite", "sqlite")),
            #[cfg(feature = "postgres")]
            Place::Postgres(url) => {
                let postgres = Postgres::connect(&url.0).await?;
                let db = Db::with_options(postgres.clone(), options);
                Ok((db, Self::Postgres(postgres)))
            }
            #[cfg(feature = "redis")]
            Place::Redis(url) => {
                let known = RedisOptions::new(&url.0)?.tables(&larder_core::models::tables());
                let redis = Redis::connect_with(known).await?;
                let db = Db::with_options(redis.clone(), options);
                Ok((db, Self::Redis(redis)))
            }
        }
    }

    #[cfg_attr(
        not(any(feature = "sqlite", feature = "postgres", feature = "redis")),
        allow(
            unused_variables,
            clippy::unused_async,
            reason = "memory has no use for it"
        )
    )]
    async fn create_missing_tables(&self, tables: &[&'static Table]) -> Result<()> {
        match self {
            Self::Memory => Ok(()),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => sqlite.create_missing_tables(tables).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(postgres) => postgres.create_missing_tables(tables).await,
            #[cfg(feature = "redis")]
            Self::Redis(redis) => redis.create_missing_tables(tables).await,
        }
    }

    #[cfg_attr(
        not(any(feature = "sqlite", feature = "postgres")),
        allow(clippy::unused_async, reason = "memory has no use for it")
    )]
    async fn create_change_log(&self) -> Result<()> {
        match self {
            Self::Memory => Ok(()),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => sqlite.create_change_log().await,
            #[cfg(feature = "postgres")]
            Self::Postgres(postgres) => postgres.create_change_log().await,
            // Keys are made before the commit, and so are not in the order of the commits.
            #[cfg(feature = "redis")]
            Self::Redis(_) => Err(Error::unsupported(
                "redis",
                "a durable log of changes in the transaction that makes them",
            )),
        }
    }

    #[cfg(feature = "serve")]
    fn pool(&self) -> Option<Box<dyn Fn() -> crate::service::PoolState + Send + Sync>> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(postgres) => {
                let postgres = postgres.clone();
                Some(Box::new(move || {
                    let pool = postgres.pool_metrics();
                    crate::service::PoolState {
                        max: pool.max,
                        in_use: pool.in_use,
                        idle: pool.idle,
                        waiting: pool.waiting,
                    }
                }))
            }
            _ => None,
        }
    }

    #[cfg(feature = "sqlite")]
    #[allow(clippy::unnecessary_wraps, reason = "its callers answer a Result")]
    fn sqlite(sqlite: Sqlite, options: DbOptions) -> Result<(Db, Self)> {
        Ok((
            Db::with_options(sqlite.clone(), options),
            Self::Sqlite(sqlite),
        ))
    }

    #[cfg_attr(
        not(any(feature = "sqlite", feature = "postgres", feature = "redis")),
        allow(
            unused_variables,
            clippy::unused_async,
            reason = "memory has no use for it"
        )
    )]
    async fn migrate_up(&self, target: Option<i32>) -> Result<Vec<MigrationRun>> {
        match self {
            Self::Memory => Ok(Vec::new()),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => sqlite.migrate(&sqlite_migrator(), target).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(postgres) => postgres.migrate(&postgres_migrator(), target).await,
            #[cfg(feature = "redis")]
            Self::Redis(redis) => {
                let tables = larder_core::models::tables();
                let wanted = target.map_or(Some(tables.len()), |to| usize::try_from(to).ok());
                match wanted.and_then(|many| tables.get(..many)) {
                    Some(tables) => redis.migrate(tables).await,
                    None => Err(Error::misuse("there is no step of this number")),
                }
            }
        }
    }

    #[cfg_attr(
        not(any(feature = "sqlite", feature = "postgres", feature = "redis")),
        allow(
            unused_variables,
            clippy::unused_async,
            reason = "memory has no use for it"
        )
    )]
    async fn migrate_down(&self, version: i32) -> Result<Vec<MigrationRun>> {
        match self {
            Self::Memory => Err(Error::misuse(
                "the in-memory store has no migrations to undo: close it instead",
            )),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => sqlite.migrate_down(&sqlite_migrator(), version).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(postgres) => postgres.migrate_down(&postgres_migrator(), version).await,
            #[cfg(feature = "redis")]
            Self::Redis(redis) => {
                let keep = usize::try_from(version).unwrap_or(0);
                redis
                    .migrate_down(&larder_core::models::tables(), keep)
                    .await
            }
        }
    }

    #[cfg_attr(
        not(any(feature = "sqlite", feature = "postgres", feature = "redis")),
        allow(clippy::unused_async, reason = "memory has no use for it")
    )]
    async fn migration_status(&self) -> Result<Vec<MigrationStatus>> {
        match self {
            Self::Memory => Ok(Vec::new()),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => sqlite.migration_status(&sqlite_migrator()).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(postgres) => postgres.migration_status(&postgres_migrator()).await,
            #[cfg(feature = "redis")]
            Self::Redis(redis) => redis.migration_status(&larder_core::models::tables()).await,
        }
    }
}

#[cfg(feature = "sqlite")]
fn sqlite_migrator() -> sqlite_migrate::Migrator {
    sqlite_migrate::Migrator::new(sqlite_migrate::migrations())
}

#[cfg(feature = "postgres")]
fn postgres_migrator() -> postgres_migrate::Migrator {
    postgres_migrate::Migrator::new(postgres_migrate::migrations())
}

/// The first instant that PostgreSQL keeps, in microseconds since 1970, and the first day.
#[cfg(feature = "postgres")]
const POSTGRES_BEGINS: (i64, larder_core::Date) = (
    -210_866_803_200_000_000,
    larder_core::Date::constant(-4713, 11, 24),
);

/// See [`Store::refusal`].
#[cfg(feature = "postgres")]
fn refusal_of_postgres(value: &Value) -> Option<&'static str> {
    let (instant, day) = POSTGRES_BEGINS;
    let early = match value {
        Value::Timestamp(at) => at.as_micros() < instant,
        Value::Date(date) => *date < day,
        _ => false,
    };
    early.then_some("is before 24 November 4714 BC, where PostgreSQL's calendar begins")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str) -> String {
        Place::parse(url).expect_err(url).to_string()
    }

    #[test]
    fn urls_name_a_place() {
        let file = |path: &str| Place::SqliteFile(path.into());
        for (url, place) in [
            ("memory:", Place::Memory),
            ("memory://", Place::Memory),
            ("sqlite::memory:", Place::SqliteMemory),
            ("sqlite://:memory:", Place::SqliteMemory),
            ("sqlite://app.db", file("app.db")),
            ("SQLITE://./data/app.db", file("./data/app.db")),
            ("sqlite:///srv/app.db", file("/srv/app.db")),
            ("sqlite:app.db", file("app.db")),
        ] {
            assert_eq!(Place::parse(url).expect(url), place, "{url}");
        }
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn both_names_of_postgres_are_known() {
        let server = |url: &str| Place::Postgres(ServerUrl(url.to_owned()));
        for url in [
            "postgres://u:hunter2@db/app",
            "PostgreSQL://u:hunter2@db/app",
        ] {
            let place = Place::parse(url).expect(url);
            assert_eq!(place, server("postgres://u:hunter2@db/app"));
            assert!(!format!("{place:?}").contains("hunter2"));
        }
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn postgres_begins_with_its_calendar() {
        let at = |text: &str| Value::Timestamp(text.parse().expect("a timestamp"));
        let on = |text: &str| Value::Date(text.parse().expect("a date"));
        for (value, held) in [
            (at("-004713-11-24T00:00:00Z"), true),
            (at("-004713-11-23T23:59:59.999999Z"), false),
            (on("-004713-11-24"), true),
            (on("-004713-11-23"), false),
        ] {
            assert_eq!(refusal_of_postgres(&value).is_none(), held, "{value:?}");
        }
    }

    #[test]
    fn other_urls_are_refused_without_their_secrets() {
        for url in [
            "hunter2",
            "mysql://ada:hunter2@db",
            "postgres://ada:hunter2@db:port/app",
            "redis://:hunter2@cache:port",
            "sqlite://",
            "sqlite://a?key=hunter2",
        ] {
            assert!(!refusal(url).contains("hunter2"), "{url}");
        }
        assert!(refusal("sqlite://").contains("names no file"));
    }
}
