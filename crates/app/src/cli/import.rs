//! `larder import`: rows from files, checked line by line, all or nothing per file.

mod load;
mod read;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use larder::models::{Comment, Post, PostTag, Tag, User};
use larder::{Entity, Table};

use super::exchange::Exchange;
use super::failure::{Failure, Outcome};
use super::output::{Output, counted, thousands};
use super::{Database, Store};
use load::{Loaded, load};
use read::Format;

/// Read users, posts, comments, tags and post_tags from files
///
/// DIR holds one file per table: users.ndjson, posts.ndjson, comments.ndjson, tags.ndjson,
/// post_tags.ndjson (one JSON object a line), or the same as .csv with a header. Those that are
/// not there are left out. The database is made and migrated if need be.
///
/// Every line is checked first: types, lengths, email addresses, times (RFC 3339), unknown
/// fields. A file with a bad line changes nothing, and the files after it are not read; --skip-bad
/// takes the good lines. In CSV an empty cell is no value where there may be none. A user without
/// a username gets one made of name and id.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder import data/
  larder import data/ --database-url memory:      checks the files, keeps nothing
  larder import data/ --on-conflict ignore        once more, after new lines were added
  larder import data/ --skip-bad 2> refused.txt")]
pub(super) struct Import {
    /// The directory of the files
    dir: PathBuf,
    #[command(flatten)]
    database: Database,
    /// What to do with a row whose key is there already
    #[arg(long, value_enum, default_value_t = OnConflict::Fail)]
    on_conflict: OnConflict,
    /// Import the good lines of a file with bad ones
    #[arg(long)]
    skip_bad: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnConflict {
    /// Refuse the file
    Fail,
    /// Keep the row that is there
    Ignore,
}

/// The progress through the bytes of a file.
const BAR: &str = "{msg:10} {bar:30} {bytes:>10} of {total_bytes}  {eta} left";

/// A file to import.
struct Source {
    table: &'static Table,
    path: PathBuf,
    format: Format,
}

impl Import {
    pub(super) async fn run(&self, output: &mut Output) -> Outcome {
        let sources = find_sources(&self.dir)?;
        let store = self.database.open().await?;
        let applied = store.migrate_up(None).await?;
        if !applied.is_empty() {
            let steps = counted(applied.len() as u64, "migration");
            output.note(format!("made ready by {steps}"))?;
        }
        let mut done = Vec::new();
        for source in &sources {
            if let Err(failure) = self.import_one(&store, source, output).await {
                let left = sources.len() - done.len() - 1;
                if !done.is_empty() || left > 0 {
                    output.warn(standing(&done, left))?;
                }
                return Err(failure);
            }
            done.push(source.table.name);
        }
        store.db().close().await?;
        Ok(())
    }

    async fn import_one(&self, store: &Store, source: &Source, output: &mut Output) -> Outcome {
        match source.table.name {
            "users" => self.import_as::<User>(store, source, output).await,
            "posts" => self.import_as::<Post>(store, source, output).await,
            "comments" => self.import_as::<Comment>(store, source, output).await,
            "tags" => self.import_as::<Tag>(store, source, output).await,
            _ => self.import_as::<PostTag>(store, source, output).await,
        }
    }

    async fn import_as<E: Exchange>(
        &self,
        store: &Store,
        source: &Source,
        output: &mut Output,
    ) -> Outcome {
        let bar = output.bar(source.table.name, BAR);
        let loaded = load::<E>(store.db(), source, self.on_conflict, self.skip_bad, &bar).await;
        bar.finish_and_clear();
        let loaded = loaded?;
        self.report(&loaded, source, output)
    }

    fn report(&self, loaded: &Loaded, source: &Source, output: &mut Output) -> Outcome {
        let file = source.path.display();
        for (line, problem) in &loaded.shown {
            output.warn(format!("{file}:{line}: {problem}"))?;
        }
        let bad = loaded.bad;
        if bad > loaded.shown.len() as u64 {
            output.warn(format!(
                "{file}: and {} more{}",
                thousands(bad - loaded.shown.len() as u64),
                if loaded.may_be_more() {
                    ", or yet more: the rest was not tried"
                } else {
                    ""
                }
            ))?;
        }
        if bad > 0 && !self.skip_bad {
            let failure = Failure::input(format!(
                "`{file}` has {}{}; nothing of it was imported",
                if loaded.may_be_more() {
                    "at least "
                } else {
                    ""
                },
                counted(bad, "bad line")
            ));
            return Err(failure.advice(if loaded.conflicts == bad && self.on_conflict == OnConflict::Fail {
                "rows with these keys are there already: --on-conflict ignore keeps them and imports the others"
            } else {
                "mend the lines, or import the others with --skip-bad"
            }));
        }
        let mut line = format!(
            "{:<10} {:>9} imported",
            source.table.name,
            thousands(loaded.imported)
        );
        for (count, what) in [
            (loaded.kept, "there already, kept as they are"),
            (bad, "bad, left out"),
        ] {
            if count > 0 {
                let _ = write!(line, ", {} {what}", thousands(count));
            }
        }
        if loaded.imported + loaded.kept + bad == 0 {
            line += ": the file has no lines";
        }
        output.note(line)?;
        Ok(())
    }
}

/// What a file that failed leaves behind.
fn standing(done: &[&str], left: usize) -> String {
    let done = match done {
        [] => "nothing was imported before it".to_owned(),
        done => format!("imported before it and kept: {}", done.join(", ")),
    };
    match left {
        0 => done,
        1 => format!("{done}; one file after it was not read"),
        left => format!("{done}; {left} files after it were not read"),
    }
}

/// The files of a directory, parents before their children.
fn find_sources(dir: &Path) -> Outcome<Vec<Source>> {
    match std::fs::metadata(dir) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => {
            return Err(
                Failure::usage(format!("`{}` is not a directory", dir.display()))
                    .advice("name the directory that holds users.ndjson and the others"),
            );
        }
        Err(cause) => {
            return Err(Failure::operation(format!(
                "the directory `{}` cannot be read",
                dir.display()
            ))
            .because(cause)
            .advice("check the path"));
        }
    }
    let mut sources = Vec::new();
    for table in [
        User::TABLE,
        Post::TABLE,
        Comment::TABLE,
        Tag::TABLE,
        PostTag::TABLE,
    ] {
        let ndjson = dir.join(format!("{}.ndjson", table.name));
        let csv = dir.join(format!("{}.csv", table.name));
        match (ndjson.exists(), csv.exists()) {
            (true, true) => {
                return Err(Failure::usage(format!(
                    "both `{}` and `{}` are there, for one table",
                    ndjson.display(),
                    csv.display()
                ))
                .advice("keep one of them"));
            }
            (true, false) => sources.push(Source {
                table,
                path: ndjson,
                format: Format::Ndjson,
            }),
            (false, true) => sources.push(Source {
                table,
                path: csv,
                format: Format::Csv,
            }),
            (false, false) => {}
        }
    }
    if sources.is_empty() {
        return Err(
            Failure::operation(format!("`{}` holds none of the files", dir.display())).advice(
                "they are named users, posts, comments, tags and post_tags, with .ndjson or .csv",
            ),
        );
    }
    Ok(sources)
}
