use std::time::{Duration, Instant};

use super::Rig;
use crate::connection::Opener;
use crate::error::{EngineError, Failure, failure};
use crate::interrupt::{Budget, Cancel, Ending, Patience};
use crate::options::SqliteOptions;

const ENDLESS: &str = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) \
                       SELECT max(i) FROM n";

#[test]
fn the_pragmas_are_in_force() {
    let dir = tempfile::TempDir::new().unwrap();
    let opener = Opener::new(SqliteOptions::new(dir.path().join("a.db")).durable());
    let writer = opener.writer().unwrap().connection;
    let reader = opener.reader().unwrap().connection;
    for connection in [&writer, &reader] {
        for (pragma, expected) in [
            ("foreign_keys", 1),
            ("trusted_schema", 0),
            ("synchronous", 2),
            ("cache_size", -20_000),
            ("temp_store", 2),
            ("mmap_size", 134_217_728),
            ("journal_size_limit", 67_108_864),
        ] {
            let value: i64 = connection
                .pragma_query_value(None, pragma, |row| row.get(0))
                .unwrap();
            assert_eq!(value, expected, "{pragma}");
        }
        // A string in double quotes is no string.
        assert!(connection.prepare("SELECT \"no such column\"").is_err());
    }
    assert!(reader.execute_batch("CREATE TABLE x (a)").is_err());
    for escape in [
        "query_only = 0",
        "journal_mode = DELETE",
        "locking_mode = EXCLUSIVE",
    ] {
        assert!(
            reader.execute_batch(&format!("PRAGMA {escape}")).is_err(),
            "{escape}"
        );
    }
}

#[test]
fn a_query_past_its_budget_is_interrupted_and_the_next_one_is_not() {
    let rig = Rig::new();
    rig.park();
    let mut lent = rig.readers.try_lend().unwrap();
    lent.interrupt().arm(Budget::Steps(2_000), Patience::None);
    let ended = lent.fresh().unwrap().query_row(ENDLESS, [], |_| Ok(()));
    assert_eq!(failure(&ended.unwrap_err()), Failure::Interrupted);
    assert_eq!(lent.interrupt().ending(), Ending::Budget);
    lent.interrupt().arm(Budget::Steps(2_000), Patience::None);
    assert_eq!(super::count(lent.fresh().unwrap()), 0);
    assert_eq!(lent.interrupt().ending(), Ending::Own);
}

#[tokio::test]
async fn a_scan_can_be_cancelled_from_outside() {
    let rig = Rig::new();
    let out = rig.readers.check_out(None).await.unwrap();
    let cancel = Cancel::default();
    let token = cancel.clone();
    let scan = tokio::task::spawn_blocking(move || {
        out.interrupt()
            .arm_cancellable(Budget::Unlimited, Patience::BusyTimeout, token);
        let ended = out.connection().query_row(ENDLESS, [], |_| Ok(()));
        (ended.is_err(), out.interrupt().ending())
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    cancel.cancel();
    assert_eq!(scan.await.unwrap(), (true, Ending::Cancelled));
}

#[tokio::test]
async fn longer_work_leaves_one_reader_for_point_reads() {
    let rig = Rig::with(|options| options.readers(3));
    let _first = rig.readers.check_out(None).await.unwrap();
    let second = rig.readers.check_out(None).await.unwrap();
    assert_eq!(rig.count(), 0);
    // Further ones are opened beyond the pool, up to a bound.
    let mut extra = Vec::new();
    for _ in 0..64 {
        extra.push(rig.readers.check_out(None).await.unwrap());
    }
    assert_eq!(rig.count(), 0);
    let deadline = Instant::now() + Duration::from_millis(20);
    let refused = rig.readers.check_out(Some(deadline)).await;
    assert!(matches!(refused, Err(EngineError::Timeout)));
    drop(extra);
    second
        .connection()
        .execute_batch("BEGIN; SELECT 1")
        .unwrap();
    drop(second);
    let again = rig.readers.check_out(None).await.unwrap();
    assert!(again.connection().is_autocommit());
    rig.readers.close();
    drop(again);
    assert!(rig.readers.try_lend().is_none());
    assert!(matches!(
        rig.readers.check_out(None).await,
        Err(EngineError::Closed)
    ));
}

#[tokio::test]
async fn closing_leaves_one_file() {
    let rig = Rig::new();
    rig.insert("a").await.unwrap();
    rig.readers.close();
    rig.writer.close().await.unwrap().close().unwrap();
    let files = std::fs::read_dir(rig.dir.path()).unwrap().count();
    assert_eq!(files, 1);
    assert!(matches!(rig.insert("b").await, Err(EngineError::Closed)));
}
