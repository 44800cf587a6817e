//! Runs statements in SQLite's own SQL.

use larder_core::raw::{FoundColumn, Holds, Places, RawAccess, RawParam};
use larder_core::{Error, ErrorKind, Flow, RawStatement, Result, Rows, Written};
use larder_sql::Param;
use rusqlite::{CachedStatement, Connection, Statement, ffi};

use crate::bind::Binder;
use crate::error::EngineError;
use crate::interrupt::{Budget, Cancel, Ending, Interrupt, Patience};
use crate::row::SqliteRow;

/// Runs a statement that only reads. Blocks: for blocking threads only.
pub(crate) fn read_blocking(
    connection: &Connection,
    interrupt: &Interrupt,
    cancel: Cancel,
    raw: &RawStatement,
    rows: &mut Rows,
) -> Result<()> {
    interrupt.arm_cancellable(Budget::Unlimited, Patience::BusyTimeout, cancel);
    let outcome = run(connection, raw, rows);
    let ending = interrupt.ending();
    // A cancellation that comes late must not end whatever runs next on the connection.
    interrupt.arm(Budget::Unlimited, Patience::BusyTimeout);
    match outcome {
        Err(_) if ending == Ending::Cancelled => {
            Err(Error::new(ErrorKind::Timeout, "the read was cancelled"))
        }
        outcome => outcome.map(drop),
    }
}

/// Runs a statement that may write, whose changes the caller undoes if it fails.
pub(crate) fn run(connection: &Connection, raw: &RawStatement, rows: &mut Rows) -> Result<Written> {
    let mut prepared = Prepared::new(connection, raw)?;
    let statement = prepared.statement();
    let writes = !statement.readonly();
    if writes && raw.access == RawAccess::Read {
        return Err(Error::new(
            ErrorKind::ReadOnly,
            "the statement writes: end it with `execute` or `returning`",
        ));
    }
    let places = place(statement, raw)?;
    bind(statement, raw)?;
    show(statement, raw, &places, rows)?;
    let changed = if writes { connection.changes() } else { 0 };
    Ok(Written::rows(changed))
}

/// Shows the rows; of a statement that may write to the end, because it is done only then.
fn show(
    statement: &mut Statement<'_>,
    raw: &RawStatement,
    places: &Places,
    rows: &mut Rows,
) -> Result<()> {
    let reads = raw.access == RawAccess::Read;
    let mut wanted = raw.columns.is_some();
    let mut found = statement.raw_query();
    while let Some(row) = found.next().map_err(EngineError::from)? {
        let row = SqliteRow::new(row);
        let row = places.row(&row);
        if reads {
            if rows.row(&row)? == Flow::Stop {
                break;
            }
        } else if wanted {
            wanted = rows.returned(&row) != Flow::Stop;
        }
    }
    Ok(())
}

/// A text of the program is kept prepared; one made at run time may never come again.
enum Prepared<'c> {
    Kept(CachedStatement<'c>),
    Once(Statement<'c>),
}

impl<'c> Prepared<'c> {
    fn new(connection: &'c Connection, raw: &RawStatement) -> Result<Self> {
        let text = raw.text.as_str();
        let prepared = if raw.text.is_static() {
            connection.prepare_cached(text).map(Self::Kept)
        } else {
            connection.prepare(text).map(Self::Once)
        };
        prepared.map_err(unprepared)
    }

    fn statement(&mut self) -> &mut Statement<'c> {
        match self {
            Self::Kept(statement) => statement,
            Self::Once(statement) => statement,
        }
    }
}

fn place(statement: &Statement<'_>, raw: &RawStatement) -> Result<Places> {
    let columns = statement.column_names();
    let found: Vec<_> = columns
        .map(|name| FoundColumn {
            name: name.into(),
            holds: Holds::Anything,
        })
        .collect();
    raw.place(&found)
}

/// Binds each placeholder to the value whose number it bears: to SQLite `$2` is a name.
fn bind(statement: &mut Statement<'_>, raw: &RawStatement) -> Result<()> {
    let numbers = (1..=statement.parameter_count())
        .map(|at| number(statement.parameter_name(at), at))
        .collect::<Result<Vec<usize>>>()?;
    let most = numbers.iter().copied().max().unwrap_or(0);
    if most != raw.params.len() {
        return Err(Error::misuse(format!(
            "the statement takes {most} values, {} are bound",
            raw.params.len()
        )));
    }
    let mut binder = Binder::new(statement);
    for number in numbers {
        let param = match &raw.params[number - 1] {
            RawParam::Value(value, kind) => Param::Value(value, *kind),
            RawParam::List(values, kind) => Param::List(values, *kind),
        };
        binder.bind(&param).map_err(EngineError::from)?;
    }
    Ok(())
}

/// The number of a placeholder; without a name it has its place's.
fn number(name: Option<&str>, at: usize) -> Result<usize> {
    let Some(name) = name else { return Ok(at) };
    let number = name.strip_prefix(['$', '?']).and_then(|n| n.parse().ok());
    number.filter(|&number| number > 0).ok_or_else(|| {
        Error::misuse(format!(
            "`{name}` is no placeholder: write `$1` for the first value"
        ))
    })
}

/// SQLite has one code for whatever is wrong with a text, and says what in words.
#[cold]
fn unprepared(error: rusqlite::Error) -> Error {
    let message = match &error {
        rusqlite::Error::SqliteFailure(code, Some(message))
            if code.extended_code == ffi::SQLITE_ERROR =>
        {
            message.clone()
        }
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        rusqlite::Error::MultipleStatement => "it is more than one".to_owned(),
        _ => return EngineError::from(error).into(),
    };
    Error::misuse(format!("SQLite cannot run the statement: {message}"))
        .with_source(EngineError::from(error))
}
