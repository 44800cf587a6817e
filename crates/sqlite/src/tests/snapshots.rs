use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::{Rig, open};
use crate::options::{JournalMode, SqliteOptions};

const CHILD: &str = "LARDER_TEST_CHILD_DATABASE";

fn is_parked(rig: &Rig) -> bool {
    let mut lent = rig.readers.try_lend().unwrap();
    !lent.fresh().unwrap().is_autocommit()
}

#[tokio::test]
async fn a_commit_by_this_handle_is_seen_at_once() {
    let rig = Rig::new();
    assert!(rig.readers.parking_supported());
    for round in 0..200 {
        rig.park();
        assert!(is_parked(&rig));
        rig.insert(format!("{round}")).await.unwrap();
        assert_eq!(rig.count(), round + 1);
    }
}

#[tokio::test]
async fn a_commit_by_another_handle_is_seen_at_once() {
    let rig = Rig::new();
    let (_, other) = open(SqliteOptions::new(rig.path()));
    let bare = Connection::open(rig.path()).unwrap();
    for round in 0..200 {
        rig.park();
        assert!(is_parked(&rig));
        super::insert(&other, super::INLINE, format!("{round}"))
            .await
            .unwrap();
        assert_eq!(rig.count(), 2 * round + 1);
        super::insert_row(&bare, &format!("bare {round}")).unwrap();
        assert_eq!(rig.count(), 2 * round + 2);
        if round % 50 == 0 {
            // Starts the log again, and with it the counters in its header.
            let _ = bare.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        }
    }
}

/// Not a test of its own: the other process of the test below, when it runs this binary.
#[test]
fn child_that_writes() {
    let Ok(path) = std::env::var(CHILD) else {
        return;
    };
    let connection = Connection::open(path).unwrap();
    for line in std::io::stdin().lines() {
        super::insert_row(&connection, &line.unwrap()).unwrap();
        println!("committed");
    }
}

#[test]
fn a_commit_by_another_process_is_seen_at_once() {
    let rig = Rig::new();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "tests::snapshots::child_that_writes",
            "--nocapture",
        ])
        .env(CHILD, rig.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut orders = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    for round in 0..200 {
        rig.park();
        assert!(is_parked(&rig));
        writeln!(orders, "{round}").unwrap();
        assert!(answers.any(|line| line.unwrap().ends_with("committed")));
        assert_eq!(rig.count(), round + 1);
    }
    drop(orders);
    assert!(child.wait().unwrap().success());
}

/// Two readers look all the time, while the writer says how far it has got.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_is_older_than_what_was_acknowledged_before_it() {
    let rig = Arc::new(Rig::new());
    let acknowledged = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (rig, acknowledged, stop) = (rig.clone(), acknowledged.clone(), stop.clone());
            std::thread::spawn(move || {
                let mut reads = 0;
                while !stop.load(Ordering::Relaxed) {
                    let before = acknowledged.load(Ordering::Acquire);
                    let Some(mut lent) = rig.readers.try_lend() else {
                        continue;
                    };
                    let seen = super::count(lent.fresh().unwrap());
                    assert!(seen as u64 >= before, "{seen} rows of {before}");
                    reads += 1;
                }
                reads
            })
        })
        .collect();
    for round in 0..3_000 {
        rig.insert(format!("{round}")).await.unwrap();
        acknowledged.store(round + 1, Ordering::Release);
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.join().unwrap() > 100);
    }
}

#[tokio::test]
async fn an_idle_snapshot_is_let_go_of() {
    let rig = Rig::new();
    rig.park();
    assert!(is_parked(&rig));
    let bare = Connection::open(rig.path()).unwrap();
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        std::thread::sleep(Duration::from_millis(10));
        super::insert_row(&bare, &format!("{:?}", Instant::now())).unwrap();
        // TRUNCATE needs that nobody reads from the log.
        bare.busy_timeout(Duration::ZERO).unwrap();
        let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
        let busy: i64 = bare.query_row(sql, [], |row| row.get(0)).unwrap();
        if busy == 0 {
            break;
        }
        assert!(Instant::now() < until, "the snapshot is still held");
    }
    // And taken up again.
    rig.park();
    assert!(is_parked(&rig));
}

async fn log_size_under_load(reader_of: &Arc<Rig>, rig: &Rig) -> u64 {
    let stop = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..2)
        .map(|_| {
            let (rig, stop) = (reader_of.clone(), stop.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    if let Some(mut lent) = rig.readers.try_lend() {
                        let connection = lent.fresh().unwrap();
                        let mut read = connection
                            .prepare_cached("SELECT body FROM t WHERE id = 1")
                            .unwrap();
                        let _ = read.query_row([], |_| Ok(()));
                    }
                }
            })
        })
        .collect();
    for round in 0..4_000 {
        rig.insert(format!("{round} {}", "x".repeat(1_000)))
            .await
            .unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    for thread in load {
        thread.join().unwrap();
    }
    std::fs::metadata(rig.dir.path().join("test.db-wal"))
        .unwrap()
        .len()
}

/// 4,000 commits write some 20,000 pages, 80 MB of log if it never starts again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_starts_again_under_a_steady_load_of_reads() {
    let rig = Arc::new(Rig::with(|options| options.checkpoint_pages(200)));
    let size = log_size_under_load(&rig, &rig).await;
    assert!(size < 8 << 20, "the log has {size} bytes");
}

/// The same when the reads come by another handle, whose snapshots the writer cannot release.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_starts_again_though_another_handle_reads() {
    let rig = Rig::with(|options| options.checkpoint_pages(200));
    let (readers, writer) = open(SqliteOptions::new(rig.path()));
    let dir = tempfile::TempDir::new().unwrap();
    let other = Arc::new(Rig {
        readers,
        writer,
        dir,
    });
    let size = log_size_under_load(&other, &rig).await;
    assert!(size < 16 << 20, "the log has {size} bytes");
}

#[tokio::test]
async fn without_a_log_reads_are_ordinary() {
    let memory = {
        let dir = tempfile::TempDir::new().unwrap();
        let (readers, writer) = open(SqliteOptions::in_memory());
        Rig {
            readers,
            writer,
            dir,
        }
    };
    for rig in [
        Rig::with(|options| options.journal_mode(JournalMode::Rollback)),
        Rig::with(|options| options.parked_snapshots(false)),
        memory,
    ] {
        assert!(!rig.readers.parking_supported());
        for round in 0..20 {
            rig.insert(format!("{round}")).await.unwrap();
            rig.park();
            assert!(!is_parked(&rig));
            assert_eq!(rig.count(), round + 1);
        }
    }
}
