//! One file into its table: batches in one transaction, so that memory stays small and the file
//! is imported whole or not at all.

use indicatif::ProgressBar;
use larder::{ConstraintTarget, Db, Entity, Error, ErrorKind, Table, Tx, TxOptions, Value};

use super::read::{Reader, Record};
use super::{OnConflict, Source};
use crate::cli::exchange::{Exchange, Problem, quoted, to_text};
use crate::cli::failure::Outcome;

/// How many rows are sent together.
const BATCH_ROWS: usize = 1_000;
/// How many bad lines are shown one by one.
const SHOWN_MAX: usize = 20;

/// What became of a file.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// Rows that are in the table now and were not before.
    pub(super) imported: u64,
    /// Rows whose key was taken, left as they were.
    pub(super) kept: u64,
    /// Lines that were refused.
    pub(super) bad: u64,
    /// Those of them that were refused because a key was taken.
    pub(super) conflicts: u64,
    /// Whether the database refused a line.
    refused: bool,
    /// Whether lines were not sent to it.
    unsent: bool,
    /// The first of them and why.
    pub(super) shown: Vec<(u64, Problem)>,
}

impl Loaded {
    /// Whether there may be more bad lines than were counted: once the database has refused one,
    /// those after it are only checked by themselves.
    pub(super) fn may_be_more(&self) -> bool {
        self.refused && self.unsent
    }

    fn refuse(&mut self, line: u64, problem: Problem) {
        self.bad += 1;
        if self.shown.len() < SHOWN_MAX {
            self.shown.push((line, problem));
        }
    }
}

/// Imports a file in one transaction; rolled back if a line is bad, unless those are skipped.
pub(super) async fn load<E: Exchange>(
    db: &Db,
    source: &Source,
    on_conflict: OnConflict,
    skip_bad: bool,
    bar: &ProgressBar,
) -> Outcome<Loaded> {
    let mut reader = Reader::<E>::open(&source.path, source.format)?;
    bar.set_length(reader.bytes);
    let tx = db.begin(TxOptions::new()).await?;
    let mut loaded = Loaded::default();
    loop {
        let (batch, more) = next_batch(&mut reader, source, &mut loaded)?;
        // Once a line is bad the rows will not stay; the rest is read for its bad lines only.
        if skip_bad || loaded.bad == 0 {
            send(&tx, batch, on_conflict, &mut loaded).await?;
        } else {
            loaded.unsent |= !batch.is_empty();
        }
        bar.set_position(reader.position);
        if !more {
            break;
        }
        tokio::task::yield_now().await; // lets Ctrl-C in
    }
    if loaded.bad > 0 && !skip_bad {
        tx.rollback().await?;
    } else {
        tx.commit().await?;
    }
    Ok(loaded)
}

/// The next rows with their line numbers, and whether there may be more.
fn next_batch<E: Exchange>(
    reader: &mut Reader<E>,
    source: &Source,
    loaded: &mut Loaded,
) -> Outcome<(Vec<(u64, E)>, bool)> {
    let mut batch = Vec::with_capacity(BATCH_ROWS);
    for _ in 0..BATCH_ROWS {
        match reader.next(&source.path)? {
            None => return Ok((batch, false)),
            Some(Record { line, row: Ok(row) }) => batch.push((line, row)),
            Some(Record {
                line,
                row: Err(problem),
            }) => loaded.refuse(line, problem),
        }
    }
    Ok((batch, true))
}

/// Inserts a batch. If the database refuses it, inserts its rows one by one to learn which.
async fn send<E: Exchange>(
    tx: &Tx,
    batch: Vec<(u64, E)>,
    on_conflict: OnConflict,
    loaded: &mut Loaded,
) -> Outcome {
    let sent = batch.len() as u64;
    if sent == 0 {
        return Ok(());
    }
    let rows: Vec<E> = batch.iter().map(|(_, row)| row.clone()).collect();
    match insert(tx, rows, on_conflict).await {
        Ok(inserted) => {
            loaded.imported += inserted;
            loaded.kept += sent - inserted;
            return Ok(());
        }
        Err(error) if is_about_data(&error) => {}
        Err(error) => return Err(error.into()),
    }
    for (line, row) in batch {
        match insert(tx, vec![row.clone()], on_conflict).await {
            Ok(inserted) => {
                loaded.imported += inserted;
                loaded.kept += 1 - inserted;
            }
            Err(error) if is_about_data(&error) => {
                loaded.refused = true;
                loaded.conflicts += u64::from(error.violates(PrimaryKey(E::TABLE)));
                loaded.refuse(line, refusal(&error, row));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Inserts rows in a nested transaction, so that a refusal leaves the outer one as it was.
async fn insert<E: Exchange>(
    tx: &Tx,
    rows: Vec<E>,
    on_conflict: OnConflict,
) -> larder::Result<u64> {
    let inner = tx.begin(TxOptions::new()).await?;
    let inserted = match on_conflict {
        OnConflict::Fail => inner.insert_all(rows).await,
        OnConflict::Ignore => {
            inner
                .upsert(rows)
                .on(PrimaryKey(E::TABLE))
                .ignore()
                .run()
                .await
        }
    };
    match inserted {
        Ok(inserted) => {
            inner.commit().await?;
            Ok(inserted)
        }
        Err(error) => {
            inner.rollback().await?;
            Err(error)
        }
    }
}

/// The primary key of a table as what an upsert looks at.
struct PrimaryKey(&'static Table);

impl ConstraintTarget for PrimaryKey {
    fn target(&self) -> (&'static Table, Vec<usize>) {
        (self.0, self.0.key.to_vec())
    }
}

/// Whether the database refused the data, as opposed to failing.
fn is_about_data(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unique
            | ErrorKind::Reference
            | ErrorKind::NotNull
            | ErrorKind::Check
            | ErrorKind::TooLong
            | ErrorKind::Invalid
    )
}

/// What a refusal means for a line of the file.
fn refusal<E: Entity>(error: &Error, row: E) -> Problem {
    let table = E::TABLE;
    let columns: Vec<&str> = error.columns().collect();
    let values = row.into_values().unwrap_or_default();
    let value = |name: &&str| {
        let value = values.get(table.column(name)?)?;
        let text = to_text(value);
        Some(if matches!(value, Value::Text(_)) {
            quoted(&text)
        } else {
            text
        })
    };
    let given: Vec<String> = columns.iter().filter_map(value).collect();
    let given = given.join(", ");
    let constraint = error
        .constraint()
        .map(|name| format!(" (constraint `{name}`)"))
        .unwrap_or_default();
    let reason = match error.kind() {
        ErrorKind::Unique => format!("{given} is there already{constraint}"),
        ErrorKind::Reference => {
            let parent = columns
                .first()
                .and_then(|name| table.columns[table.column(name)?].references.as_ref())
                .map_or("the other table", |reference| (reference.table)().name);
            format!("there is no row {given} in {parent}{constraint}")
        }
        _ => format!("{}{constraint}", error.message()),
    };
    let field = (!columns.is_empty()).then(|| columns.join(", "));
    Problem { field, reason }
}
