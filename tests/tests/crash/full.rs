//! A disk without room: a process that may not make files larger than so much.

use std::path::Path;
use std::process::Command;

use larder_core::models::{NewTag, Tag};
use larder_core::{Db, ErrorKind, Result, Storage};
use larder_sqlite::Sqlite;
use libtest_mimic::Failed;

use crate::{child, options};

/// Asks a child to write until there is no room.
pub(crate) const FILL: &str = "LARDER_CRASH_FILL";
/// How many tags each write has.
const ROWS: usize = 100;
/// The largest file, in blocks of 512 bytes (of 1,024 where the shell counts so).
const BLOCKS: &str = "1200";

/// Lets a child run out of room and looks at what is left.
pub(crate) fn runs_out_of_room() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("crash.db");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let failed = |error: larder_core::Error| Failed::from(format!("{error:?}"));
    runtime
        .block_on(crate::prepare(&path, false))
        .map_err(failed)?;
    // The signal that goes with the limit would end the process.
    let output = Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; ulimit -f "$1"; exec "$0""#])
        .arg(std::env::current_exe()?)
        .arg(BLOCKS)
        .env(FILL, "yes")
        .env(child::DIRECTORY, directory.path())
        .output()?;
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = format!("{answer}{}", String::from_utf8_lossy(&output.stderr));
    let mut words = answer.split_whitespace();
    let (Some(kind), Some(rows)) = (words.next(), words.next()) else {
        return Err(Failed::from(said));
    };
    let rows: u64 = rows.parse()?;
    let typed = [ErrorKind::Full, ErrorKind::Unavailable, ErrorKind::Unknown];
    if rows == 0 || !typed.iter().any(|one| format!("{one:?}") == kind) {
        return Err(Failed::from(said));
    }
    let left = runtime.block_on(look(&path)).map_err(failed)?;
    println!("no room after {rows} rows: {kind}");
    let unknown = u64::from(kind == "Unknown") * ROWS as u64;
    if left < rows || left > rows + unknown {
        return Err(Failed::from(format!(
            "{left} rows are left of {rows} written: {said}"
        )));
    }
    crate::check_file(&path)
}

/// Opens the database where there is room: it must be usable.
async fn look(path: &Path) -> Result<u64> {
    let store = Sqlite::open_with(options(path, false)).await?;
    let db = Db::new(store.clone());
    let rows = db.query::<Tag>().count().await?;
    db.insert(NewTag::new("room again")).await?;
    store.close().await?;
    Ok(rows)
}

/// The child: writes until it is refused, reads what it wrote, and says how it went.
pub(crate) async fn fill(directory: &Path) -> Result<()> {
    let store = Sqlite::open_with(options(&directory.join("crash.db"), false)).await?;
    let db = Db::new(store);
    let mut rows = 0;
    let refused = loop {
        let tags = (rows..)
            .take(ROWS)
            .map(|at| NewTag::new(format!("a tag to fill it {at:09}")));
        match db.insert_all(tags.collect::<Vec<_>>()).await {
            Ok(_) => rows += ROWS,
            Err(error) => break error,
        }
    };
    let found = db.query::<Tag>().count().await?;
    println!("{:?} {rows} ({found} found; {refused:?})", refused.kind());
    Ok(())
}
