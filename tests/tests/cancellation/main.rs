//! Every call's future is dropped after each of its polls; the next users must find a clean store:
//! no open transaction, nothing half done, nobody else's answer, and an answer in time.
//!
//! ```text
//!   for each engine, each call:
//!     rival in  nobody | transactions that hold all there is to write with | .. to read with
//!       moment in  at once | a little later | .. | when its answer has come
//!         polls in  0, 1, 2, .. until the call comes to its end:
//!           poll (when woken) so many times, drop, look
//! ```

mod calls;
mod closing;
mod dropping;
mod migrating;
mod reads;
mod units;
mod writes;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use larder_core::Result;
use larder_core::migration::MigrationStatus;
use larder_core::rows::BoxFuture;
use larder_sqlite::migrate::Migrator;
use larder_sqlite::{Sqlite, SqliteOptions};
use larder_tests::databases::Databases;
use larder_tests::engines::{Memory, Postgres, Redis, SqliteFile, SqliteInMemory};
use larder_tests::redis_server::Namespaces;
use larder_tests::{Engine, run_within};
use libtest_mimic::{Arguments, Trial};
use migrating::Migrated;

/// How long the drops of one call may take.
const MAX: Duration = Duration::from_mins(2);

/// An engine, and how much of it there is to have at once.
struct Subject {
    engine: Box<dyn Engine>,
    /// How many transactions it takes until nobody else can write.
    writers: usize,
    /// How many read-only transactions use up what it reads with.
    readers: usize,
}

fn subjects(databases: &Arc<Databases>, namespaces: &Arc<Namespaces>) -> Vec<Subject> {
    vec![
        Subject {
            engine: Box::new(Postgres {
                name: "postgres",
                databases: Arc::clone(databases),
                options: |options| options.max_size(3).shared_connections(1),
                files: None,
            }),
            writers: 3,
            readers: 3,
        },
        Subject {
            engine: Box::new(Memory),
            writers: 1,
            readers: 2,
        },
        Subject {
            engine: Box::new(SqliteFile {
                name: "sqlite-file",
                options: |path| SqliteOptions::new(path).readers(2),
                files: None,
            }),
            writers: 1,
            readers: 4,
        },
        Subject {
            engine: Box::new(SqliteFile {
                name: "sqlite-durable",
                options: |path| SqliteOptions::new(path).readers(2).durable(),
                files: Some(&["writes", "units"]),
            }),
            writers: 1,
            readers: 4,
        },
        Subject {
            engine: Box::new(SqliteInMemory),
            writers: 1,
            readers: 1,
        },
        // Its transactions keep nobody from anything.
        Subject {
            engine: Box::new(Redis {
                name: "redis",
                namespaces: Arc::clone(namespaces),
                options: |options| options.connections(1),
                files: None,
            }),
            writers: 0,
            readers: 0,
        },
    ]
}

struct MigratedSqlite(Sqlite);

impl Migrated for MigratedSqlite {
    fn up(&self) -> BoxFuture<'static, Result<()>> {
        let store = self.0.clone();
        Box::pin(async move { store.migrate(&migrator(), None).await.map(drop) })
    }

    fn down(&self) -> BoxFuture<'static, Result<()>> {
        let store = self.0.clone();
        Box::pin(async move { store.migrate_down(&migrator(), 0).await.map(drop) })
    }

    fn status(&self) -> BoxFuture<'_, Result<Vec<MigrationStatus>>> {
        Box::pin(async { self.0.migration_status(&migrator()).await })
    }
}

fn migrator() -> Migrator {
    Migrator::new(larder_sqlite::migrate::migrations())
}

fn main() -> ExitCode {
    let servers = Databases::open().and_then(|one| Ok((Arc::new(one), Namespaces::open()?)));
    let (databases, namespaces) = match servers {
        Ok((databases, namespaces)) => (databases, Arc::new(namespaces)),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let mut trials = Vec::new();
    for subject in subjects(&databases, &namespaces).into_iter().map(Arc::new) {
        let engine = subject.engine.name();
        let calls = [
            ("reads", reads::calls()),
            ("writes", writes::calls()),
            ("units", units::calls()),
        ];
        let wanted = calls
            .into_iter()
            .filter(|(file, _)| subject.engine.wants(file));
        for call in wanted.flat_map(|(_, calls)| calls) {
            let subject = Arc::clone(&subject);
            trials.push(Trial::test(format!("{engine}::{}", call.name), || {
                run_within(MAX, async move {
                    dropping::drop_everywhere(&subject, call).await
                })
            }));
        }
        trials.push(Trial::test(format!("{engine}::close"), || {
            run_within(MAX, async move { closing::drop_close(&subject).await })
        }));
    }
    trials.push(Trial::test("sqlite-file::migrations", || {
        run_within(MAX, async {
            let directory = tempfile::tempdir().expect("a directory for the database");
            let store = Sqlite::open(directory.path().join("migrated.db")).await?;
            migrating::drop_both_ways(Box::new(MigratedSqlite(store))).await
        })
    }));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
