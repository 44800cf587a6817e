//! A disk without room: a process that may not make files larger than so much.

use std::process::Command;

use larder_core::models::{NewTag, Tag};
use larder_core::{Db, DbOptions, ErrorKind, Result};
use libtest_mimic::Failed;

use crate::place::{Place, Profile};

/// Asks a child to write until there is no room.
pub(crate) const FILL: &str = "LARDER_CRASH_FILL";
/// How many tags each write has.
const ROWS: usize = 100;
/// The largest file, in blocks of 512 bytes (of 1,024 where the shell counts so).
const BLOCKS: &str = "1200";

/// Lets a child run out of room and looks at what is left.
pub(crate) fn runs_out_of_room() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let place = Place::new(directory.path(), Profile::Sqlite);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let failed = |error: larder_core::Error| Failed::from(format!("{error:?}"));
    runtime.block_on(crate::prepare(&place)).map_err(failed)?;
    // The signal that goes with the limit would end the process.
    let mut command = Command::new("sh");
    let output = place
        .tell(&mut command)
        .args(["-c", r#"trap "" XFSZ; ulimit -f "$1"; exec "$0""#])
        .arg(std::env::current_exe()?)
        .arg(BLOCKS)
        .env(FILL, "yes")
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
    let left = runtime.block_on(look(&place)).map_err(failed)?;
    println!("no room after {rows} rows: {kind}");
    let unknown = u64::from(kind == "Unknown") * ROWS as u64;
    if left < rows || left > rows + unknown {
        return Err(Failed::from(format!(
            "{left} rows are left of {rows} written: {said}"
        )));
    }
    crate::check_file(&place)
}

/// Opens the database where there is room: it must be usable.
async fn look(place: &Place) -> Result<u64> {
    let db = Db::from_shared(place.open().await?, DbOptions::default());
    let rows = db.query::<Tag>().count().await?;
    db.insert(NewTag::new("room again")).await?;
    db.close().await?;
    Ok(rows)
}

/// The child: writes until it is refused, reads what it wrote, and says how it went.
pub(crate) async fn fill(place: &Place) -> Result<()> {
    let db = Db::from_shared(place.open().await?, DbOptions::default());
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
