//! `larder export`: the tables as files, in the order of their keys.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use larder::models::{Comment, Post, PostTag, Tag, User};
use larder::{Column, Db, Entity, TxOptions, Value};
use tempfile::NamedTempFile;

use super::Database;
use super::exchange::{Exchange, fields, to_text, write_json};
use super::failure::{Failure, Outcome};
use super::output::{Output, thousands};

/// How long the reading of one table may take.
const TABLE_TIMEOUT: Duration = Duration::from_hours(24);

/// Write users, posts, comments, tags and post_tags to files
///
/// Writes one file per table into DIR, which is made if need be, rows in the order of their keys,
/// all from one moment. The files appear only once all of them are complete. What `larder import`
/// reads is what this writes. Password hashes are left out; in CSV an empty text that may be
/// absent reads back as absent. Times have milliseconds, or microseconds where there are any.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder export backup/
  larder export sheets/ --format csv --force")]
pub(super) struct Export {
    /// The directory to write to
    dir: PathBuf,
    #[command(flatten)]
    database: Database,
    /// What the files are written in
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    format: Format,
    /// Replace files that are there already
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One JSON object a line
    Ndjson,
    /// Comma-separated, with a header
    Csv,
}

/// A file that is complete but not in its place yet.
struct Written {
    file: NamedTempFile,
    path: PathBuf,
    line: String,
}

impl Export {
    pub(super) async fn run(&self, output: &mut Output) -> Outcome {
        self.refuse_to_overwrite()?;
        let store = self.database.open_existing().await?;
        std::fs::create_dir_all(&self.dir).map_err(|cause| unwritable(&self.dir, cause))?;
        // One transaction, so that the files fit together.
        let tx = store.db().begin(TxOptions::new().read_only()).await?;
        let written = [
            self.write::<User>(&tx).await?,
            self.write::<Post>(&tx).await?,
            self.write::<Comment>(&tx).await?,
            self.write::<Tag>(&tx).await?,
            self.write::<PostTag>(&tx).await?,
        ];
        tx.rollback().await?;
        for Written { file, path, line } in written {
            self.put(file, &path)?;
            output.note(line)?;
        }
        store.db().close().await?;
        Ok(())
    }

    fn path(&self, table: &str) -> PathBuf {
        let extension = match self.format {
            Format::Ndjson => "ndjson",
            Format::Csv => "csv",
        };
        self.dir.join(format!("{table}.{extension}"))
    }

    fn refuse_to_overwrite(&self) -> Outcome {
        let tables = [
            User::TABLE,
            Post::TABLE,
            Comment::TABLE,
            Tag::TABLE,
            PostTag::TABLE,
        ];
        match tables
            .iter()
            .map(|table| self.path(table.name))
            .find(|path| path.exists())
        {
            Some(path) if !self.force => Err(there_already(&path)),
            _ => Ok(()),
        }
    }

    async fn write<E: Exchange>(&self, db: &Db) -> Outcome<Written> {
        let path = self.path(E::TABLE.name);
        let failed = |cause: std::io::Error| unwritable(&path, cause);
        let file = NamedTempFile::new_in(&self.dir).map_err(failed)?;
        let mut out = BufWriter::with_capacity(1 << 16, file);
        let rows = match self.format {
            Format::Ndjson => write_ndjson::<E>(db, &mut out, &path).await?,
            Format::Csv => write_csv::<E>(db, &mut out, &path).await?,
        };
        let file = out
            .into_inner()
            .map_err(|error| failed(error.into_error()))?;
        file.as_file().sync_all().map_err(failed)?;
        let line = format!(
            "{:<10} {:>9} to {}",
            E::TABLE.name,
            thousands(rows),
            path.display()
        );
        Ok(Written { file, path, line })
    }

    fn put(&self, file: NamedTempFile, path: &Path) -> Outcome {
        let put = if self.force {
            file.persist(path)
        } else {
            file.persist_noclobber(path)
        };
        match put {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(there_already(path))
            }
            Err(error) => Err(unwritable(path, error.error)),
        }
    }
}

fn there_already(path: &Path) -> Failure {
    Failure::operation(format!("`{}` is there already", path.display()))
        .advice("replace the files with --force, or choose another directory")
}

fn unwritable(path: &Path, cause: std::io::Error) -> Failure {
    Failure::operation(format!("`{}` cannot be written", path.display())).because(cause)
}

/// Gives every row's values, in the order of the keys, to `each`.
async fn for_each_row<E: Exchange>(
    db: &Db,
    path: &Path,
    mut each: impl FnMut(&[Value]) -> std::io::Result<()>,
) -> Outcome<u64> {
    let mut query = db.query::<E>().timeout(TABLE_TIMEOUT);
    for &at in E::TABLE.key {
        query = query.order(Column::<E, i64>::new(at).asc());
    }
    let mut stream = query.stream();
    let mut rows = 0;
    while let Some(row) = stream.next().await {
        each(&Entity::into_values(row?)?).map_err(|cause| unwritable(path, cause))?;
        rows += 1;
    }
    Ok(rows)
}

async fn write_ndjson<E: Exchange>(db: &Db, out: &mut impl Write, path: &Path) -> Outcome<u64> {
    for_each_row::<E>(db, path, |values| {
        write_json(
            out,
            fields::<E>().map(|(at, column)| (column.name, &values[at])),
        )
    })
    .await
}

async fn write_csv<E: Exchange>(db: &Db, out: &mut impl Write, path: &Path) -> Outcome<u64> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(E::FIELDS)
        .map_err(|error| unwritable(path, error.into()))?;
    let rows = for_each_row::<E>(db, path, |values| {
        csv.write_record(fields::<E>().map(|(at, _)| to_text(&values[at])))?;
        Ok(())
    })
    .await?;
    csv.flush().map_err(|cause| unwritable(path, cause))?;
    Ok(rows)
}
