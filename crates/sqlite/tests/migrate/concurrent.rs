//! Several programs at once, and programs that die.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use larder_core::ErrorKind;
use tempfile::tempdir;

use super::*;

fn open(path: &Path) -> Connection {
    connect(SqliteOptions::new(path)).unwrap()
}

#[test]
fn many_at_once_apply_each_migration_once() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("app.db");
    let start = Barrier::new(4);
    let applied: usize = std::thread::scope(|scope| {
        let run = || {
            let mut connection = open(&path);
            start.wait();
            migrator(NOTES).up(&mut connection, None).unwrap().len()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(applied, 2);
    assert_eq!(
        one::<i64>(&open(&path), "SELECT count(*) FROM larder_migration_log"),
        2
    );
}

#[test]
fn waiting_for_the_lock_has_an_end() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("app.db");
    let mut connection = open(&path);
    let lock = File::create(directory.path().join("app.db.migrate.lock")).unwrap();
    lock.lock().unwrap();
    let migrator = migrator(NOTES).lock_timeout(Duration::from_millis(200));
    let since = Instant::now();
    let error = migrator.up(&mut connection, None).unwrap_err();
    assert!((200..2_000).contains(&since.elapsed().as_millis()));
    assert!(error.kind() == ErrorKind::Busy && error.is_retryable());
    assert!(error.to_string().contains("app.db.migrate.lock"), "{error}");
    assert_eq!(migrator.status(&connection).unwrap().len(), 2);
    drop(lock);
    assert_eq!(migrator.up(&mut connection, None).unwrap().len(), 2);
}

#[test]
fn with_nothing_to_do_no_one_waits() {
    let directory = tempdir().unwrap();
    let mut connection = open(&directory.path().join("app.db"));
    migrator(NOTES).up(&mut connection, None).unwrap();
    let lock = File::create(directory.path().join("app.db.migrate.lock")).unwrap();
    lock.lock().unwrap();
    assert!(
        migrator(NOTES)
            .up(&mut connection, None)
            .unwrap()
            .is_empty()
    );
}

/// The variable that makes [`killed_programs_leave_whole_migrations`] the child it kills.
const CHILD: &str = "LARDER_MIGRATING_CHILD";

/// 20 migrations that each make two tables and fill them.
fn twenty() -> Migrator {
    let file = |n: i32| {
        let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)";
        let table = |name: &str| {
            format!(
                "CREATE TABLE {name}{n} (i INTEGER) STRICT; INSERT INTO {name}{n} {fill} SELECT i FROM n;"
            )
        };
        (
            format!("V{n}__make.sql"),
            format!("{}{}", table("first"), table("second")),
        )
    };
    let files: Vec<_> = (1..=20).map(file).collect();
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| (&**name, &**text))
        .collect();
    migrator(&files)
}

#[test]
fn killed_programs_leave_whole_migrations() {
    if let Some(path) = std::env::var_os(CHILD) {
        twenty().up(&mut open(Path::new(&path)), None).unwrap();
        return;
    }
    for round in 0..12 {
        let directory = tempdir().unwrap();
        let path = directory.path().join("app.db");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "concurrent::killed_programs_leave_whole_migrations",
            ])
            .env(CHILD, &path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(3 + 4 * round));
        child.kill().unwrap();
        child.wait().unwrap();

        let mut connection = open(&path);
        let recorded = twenty()
            .status(&connection)
            .unwrap()
            .iter()
            .filter(|line| line.state == MigrationState::Applied)
            .count();
        assert_eq!(tables(&connection).len(), 2 * recorded, "round {round}");
        twenty().up(&mut connection, None).unwrap();
        assert_eq!(tables(&connection).len(), 40);
        for table in tables(&connection) {
            assert_eq!(
                one::<i64>(&connection, &format!("SELECT count(*) FROM {table}")),
                500
            );
        }
    }
}
