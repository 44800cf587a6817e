//! The demo's small table of timings: medians, on the demo's data, leaving nothing behind.

use std::time::{Duration, Instant};

use fastrand::Rng;
use larder::models::{NewComment, NewTag, Post, PostStatus, Tag, User};
use larder::{Db, Id, TxOptions};

use super::UserPage;
use crate::cli::failure::Outcome;
use crate::cli::output::{Output, thousands};

/// What the tags of the insert measurement begin with.
const MARK: &str = "demo-timing-";
/// Rows of the bulk insert.
const BULK_ROWS: u32 = 10_000;

/// Measures and prints.
pub(super) async fn show(db: &Db, output: &mut Output) -> Outcome {
    output.line(format!(
        "   {:<46} {:>12} {:>8}",
        "operation", "median", "runs"
    ))?;
    let mut row = |what: &str, (time, runs): (Duration, u32)| {
        output.line(format!(
            "   {what:<46} {:>12} {:>8}",
            in_words(time),
            thousands(runs.into())
        ))
    };
    row("read a user by key", points(db).await?)?;
    row("a page of 20 posts, by position", pages(db).await?)?;
    row("plan: 100 users, posts, comments, counts", plans(db).await?)?;
    row("insert one row, committed", inserts(db).await?)?;
    row("bulk insert of 10,000 rows, per row", bulk(db).await?)?;
    if cfg!(debug_assertions) {
        output
            .note("   (built without optimisation: with --release it is several times faster)")?;
    }
    Ok(())
}

/// A time with a unit that leaves few digits before the point.
fn in_words(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    if micros < 1_000.0 {
        format!("{micros:.1} µs")
    } else {
        format!("{:.2} ms", micros / 1_000.0)
    }
}

fn median(mut times: Vec<Duration>) -> (Duration, u32) {
    times.sort_unstable();
    (
        times.get(times.len() / 2).copied().unwrap_or_default(),
        times.len() as u32,
    )
}

async fn points(db: &Db) -> Outcome<(Duration, u32)> {
    const RUNS: usize = 2_000;
    let mut rng = Rng::with_seed(1);
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let id = Id::new(rng.i64(1..=1_000));
        let since = Instant::now();
        std::hint::black_box(db.get::<User>(id).await?);
        times.push(since.elapsed());
    }
    Ok(median(times))
}

async fn pages(db: &Db) -> Outcome<(Duration, u32)> {
    const RUNS: usize = 100;
    let query = || {
        db.query::<Post>()
            .filter(Post::STATUS.eq(PostStatus::Published))
    };
    let mut page = query().order(Post::CREATED_AT.desc()).page(20).await?;
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let since = Instant::now();
        page = page.next(db).await?;
        times.push(since.elapsed());
    }
    Ok(median(times))
}

async fn plans(db: &Db) -> Outcome<(Duration, u32)> {
    const RUNS: usize = 20;
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let since = Instant::now();
        let users = db
            .query::<User>()
            .order(User::ID.asc())
            .limit(100)
            .load::<UserPage>()
            .await?;
        times.push(since.elapsed());
        std::hint::black_box(users);
    }
    Ok(median(times))
}

async fn inserts(db: &Db) -> Outcome<(Duration, u32)> {
    const RUNS: usize = 200;
    let marked = || db.query::<Tag>().filter(Tag::NAME.starts_with(MARK));
    marked().delete().await?; // what an interrupted run left
    let mut times = Vec::with_capacity(RUNS);
    for at in 0..RUNS {
        let since = Instant::now();
        db.insert(NewTag {
            name: format!("{MARK}{at}"),
        })
        .await?;
        times.push(since.elapsed());
    }
    marked().delete().await?;
    Ok(median(times))
}

async fn bulk(db: &Db) -> Outcome<(Duration, u32)> {
    const RUNS: usize = 3;
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let mut rng = Rng::with_seed(2);
        let rows: Vec<NewComment> = (0..BULK_ROWS)
            .map(|at| NewComment {
                post_id: Id::new(rng.i64(1..=5_000)),
                author_id: Id::new(rng.i64(1..=1_000)),
                content: format!("comment {at}"),
            })
            .collect();
        let tx = db.begin(TxOptions::new()).await?;
        let since = Instant::now();
        tx.insert_all(rows).await?;
        times.push(since.elapsed() / BULK_ROWS);
        tx.rollback().await?;
    }
    Ok(median(times))
}
