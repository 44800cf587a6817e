//! Files to records: one per line, each with its number, its bad lines told apart from its good
//! ones. Reads one line at a time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use larder::Value;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};

use crate::cli::exchange::{self, Exchange, Problem, check, fields};
use crate::cli::failure::{Failure, Outcome};

/// The longest line of NDJSON, in bytes.
const LINE_MAX: u64 = 16 << 20;

/// What a file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Ndjson,
    Csv,
}

/// One line of a file: a model, or why it is none.
#[derive(Debug)]
pub(super) struct Record<E> {
    pub(super) line: u64,
    pub(super) row: Result<E, Problem>,
}

/// Reads the records of a file.
pub(super) struct Reader<E> {
    source: Source,
    /// The length of the file, in bytes.
    pub(super) bytes: u64,
    /// How many of them have been read.
    pub(super) position: u64,
    marker: std::marker::PhantomData<fn() -> E>,
}

enum Source {
    Ndjson {
        file: BufReader<File>,
        line: u64,
        buffer: Vec<u8>,
    },
    Csv {
        file: Box<csv::Reader<BufReader<File>>>,
        columns: Vec<usize>,
        record: csv::ByteRecord,
    },
}

impl<E: Exchange> Reader<E> {
    /// Opens a file; of CSV, reads the header.
    pub(super) fn open(path: &Path, format: Format) -> Outcome<Self> {
        let unreadable = |cause: io::Error| {
            Failure::operation(format!("`{}` cannot be read", path.display())).because(cause)
        };
        let file = File::open(path).map_err(unreadable)?;
        let bytes = file.metadata().map_err(unreadable)?.len();
        let mut file = BufReader::with_capacity(1 << 16, file);
        let marked = file
            .fill_buf()
            .map_err(unreadable)?
            .starts_with("\u{feff}".as_bytes());
        if marked {
            file.consume(3); // a byte order mark says nothing in UTF-8
        }
        let source = match format {
            Format::Ndjson => Source::Ndjson {
                file,
                line: 0,
                buffer: Vec::new(),
            },
            Format::Csv => open_csv::<E>(path, file)?,
        };
        Ok(Self {
            source,
            bytes,
            position: 0,
            marker: std::marker::PhantomData,
        })
    }

    /// The next record; `None` at the end. Blank lines are passed over.
    pub(super) fn next(&mut self, path: &Path) -> Outcome<Option<Record<E>>> {
        let next = match &mut self.source {
            Source::Ndjson { file, line, buffer } => {
                next_line(file, line, buffer, &mut self.position).map(|found| {
                    found.map(|text| Record {
                        line: *line,
                        row: text.and_then(from_ndjson),
                    })
                })
            }
            Source::Csv {
                file,
                columns,
                record,
            } => next_cells(file, columns, record, &mut self.position),
        };
        next.map_err(|cause| {
            Failure::operation(format!("`{}` cannot be read to its end", path.display()))
                .because(cause)
        })
    }
}

/// The next line that is not blank, without its end.
fn next_line<'a>(
    file: &mut BufReader<File>,
    line: &mut u64,
    buffer: &'a mut Vec<u8>,
    position: &mut u64,
) -> io::Result<Option<Result<&'a str, Problem>>> {
    loop {
        buffer.clear();
        let read = file.take(LINE_MAX).read_until(b'\n', buffer)? as u64;
        if read == 0 {
            return Ok(None);
        }
        *line += 1;
        *position += read;
        if read == LINE_MAX && !buffer.ends_with(b"\n") {
            *position += skip_line(file)?;
            return Ok(Some(Err(Problem::line("is longer than 16 MiB"))));
        }
        if !buffer.iter().all(u8::is_ascii_whitespace) {
            break;
        }
    }
    Ok(Some(
        std::str::from_utf8(buffer).map_err(|_| Problem::line("is not UTF-8 text")),
    ))
}

/// Passes over what is left of a line.
fn skip_line(file: &mut BufReader<File>) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let available = file.fill_buf()?;
        let end = available.iter().position(|&byte| byte == b'\n');
        let length = end.map_or(available.len(), |at| at + 1);
        file.consume(length);
        skipped += length as u64;
        if end.is_some() || length == 0 {
            return Ok(skipped);
        }
    }
}

/// The fields of a JSON object in their order, so that a repeated one is seen.
struct Fields(Vec<(String, serde_json::Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object such as {\"id\":1}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    fields.push(entry);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

fn from_ndjson<E: Exchange>(text: &str) -> Result<E, Problem> {
    let Fields(given) = serde_json::from_str(text).map_err(|error| {
        // The line within the line is always 1; the column is what helps.
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default();
        Problem::line(format!(
            "column {}: not a JSON object: {reason}",
            error.column()
        ))
    })?;
    let mut row = Building::new();
    for (name, json) in given {
        let (at, column) = field::<E>(&name).map_err(Problem::line)?;
        let value =
            exchange::from_json(column, json).map_err(|reason| Problem::of(&name, reason))?;
        row.set(at, value)?;
    }
    row.finish()
}

/// The column of a field, or a sentence with those there are.
fn field<E: Exchange>(name: &str) -> Result<(usize, &'static larder::ColumnDef), String> {
    fields::<E>()
        .find(|(_, column)| column.name == name)
        .ok_or_else(|| {
            format!(
                "unknown field {}; {} has {}",
                exchange::quoted(name),
                E::TABLE.name,
                E::FIELDS.join(", ")
            )
        })
}

/// The values of a row as they come in.
struct Building<E> {
    values: Vec<Option<Value>>,
    marker: std::marker::PhantomData<fn() -> E>,
}

impl<E: Exchange> Building<E> {
    fn new() -> Self {
        Self {
            values: vec![None; E::TABLE.columns.len()],
            marker: std::marker::PhantomData,
        }
    }

    fn set(&mut self, at: usize, value: Value) -> Result<(), Problem> {
        let column = &E::TABLE.columns[at];
        check::<E>(column, &value)?;
        match self.values[at].replace(value) {
            None => Ok(()),
            Some(_) => Err(Problem::of(column.name, "stands there twice")),
        }
    }

    /// Fills in what may be left out and builds the model.
    fn finish(self) -> Result<E, Problem> {
        let mut values = Vec::with_capacity(self.values.len());
        for (value, column) in self.values.into_iter().zip(E::TABLE.columns) {
            values.push(match (value, column.default) {
                (Some(value), _) => value,
                (None, Some(default)) => default.to_value(),
                (None, None) if column.nullable => Value::Null,
                (None, None) => return Err(Problem::of(column.name, "is missing")),
            });
        }
        match exchange::build::<E>(&values) {
            Ok(row) => Ok(row.completed()),
            Err(error) => Err(Problem {
                field: error.column().map(ToOwned::to_owned),
                reason: error.message().to_owned(),
            }),
        }
    }
}

fn open_csv<E: Exchange>(path: &Path, file: BufReader<File>) -> Outcome<Source> {
    let mut file = Box::new(csv::ReaderBuilder::new().from_reader(file));
    let refuse = |reason: String| Failure::input(format!("`{}`: {reason}", path.display()));
    let header = file
        .headers()
        .map_err(|error| refuse(format!("the header cannot be read: {error}")))?;
    let mut columns = Vec::with_capacity(header.len());
    for name in header {
        let (at, _) = field::<E>(name).map_err(|reason| refuse(format!("header: {reason}")))?;
        if columns.contains(&at) {
            return Err(refuse(format!("header: `{name}` stands there twice")));
        }
        columns.push(at);
    }
    if columns.is_empty() {
        return Err(refuse(format!(
            "the file has no header; its first line must be {}",
            E::FIELDS.join(",")
        )));
    }
    Ok(Source::Csv {
        file,
        columns,
        record: csv::ByteRecord::new(),
    })
}

fn next_cells<E: Exchange>(
    file: &mut csv::Reader<BufReader<File>>,
    columns: &[usize],
    record: &mut csv::ByteRecord,
    position: &mut u64,
) -> io::Result<Option<Record<E>>> {
    let (line, row) = match file.read_byte_record(record) {
        Ok(false) => return Ok(None),
        Ok(true) => {
            let line = record.position().map_or(0, csv::Position::line);
            (line, from_cells(columns, record))
        }
        Err(error) => {
            let line = error.position().map_or(0, csv::Position::line);
            match error.into_kind() {
                csv::ErrorKind::Io(error) => return Err(error),
                csv::ErrorKind::UnequalLengths {
                    expected_len, len, ..
                } => (
                    line,
                    Err(Problem::line(format!(
                        "has {len} cells where the header has {expected_len}"
                    ))),
                ),
                other => (line, Err(Problem::line(format!("is not CSV: {other:?}")))),
            }
        }
    };
    *position = file.position().byte();
    Ok(Some(Record { line, row }))
}

/// Reads cells; an empty one is NULL where the column may be NULL.
fn from_cells<E: Exchange>(columns: &[usize], record: &csv::ByteRecord) -> Result<E, Problem> {
    let mut row = Building::new();
    for (&at, cell) in columns.iter().zip(record) {
        let column = &E::TABLE.columns[at];
        let refuse = |reason: String| Problem::of(column.name, reason);
        let text = std::str::from_utf8(cell).map_err(|_| refuse("is not UTF-8 text".to_owned()))?;
        let value = match text {
            "" if column.nullable => Value::Null,
            text => exchange::from_text(column, text).map_err(refuse)?,
        };
        row.set(at, value)?;
    }
    row.finish()
}
