//! Runs statements in PostgreSQL's own SQL.

use std::pin::pin;
use std::time::Instant;

use futures_util::StreamExt;
use larder_core::raw::{FoundColumn, Holds, Places, RawAccess};
use larder_core::{Error, Flow, Kind, RawStatement, Result, Rows, Written};
use tokio_postgres::types::Type;
use tokio_postgres::{Column, RowStream};

use crate::bind::{self, Bound};
use crate::connection::{Connection, Failure};
use crate::database::Database;
use crate::read::starts_over;
use crate::row::PgRow;
use crate::{error, write};

/// With what a statement begins that changes nothing.
const READING: [&str; 3] = ["SELECT", "VALUES", "TABLE"];

/// Runs a statement outside of a transaction.
pub(crate) async fn run(
    database: &Database,
    raw: RawStatement,
    mut rows: Rows,
) -> Result<(Written, Rows)> {
    let started = Instant::now();
    let mut lease = database.acquire(raw.deadline).await?;
    lease.begin();
    let running = alone(&lease, &raw, &mut rows);
    let Some(outcome) = write::by_deadline(&lease, started, raw.deadline, running).await else {
        return Err(error::unknown_outcome());
    };
    lease.end_after(&outcome);
    let written = outcome.map_err(|failure| failure.of_sql(raw.access));
    if let (Err(error), RawAccess::Write) = (&written, raw.access) {
        lease.heed(error);
    }
    Ok((written?, rows))
}

async fn alone(
    connection: &Connection,
    raw: &RawStatement,
    rows: &mut Rows,
) -> Result<Written, Failure> {
    match try_alone(connection, raw, rows).await {
        // Refused before anything was done, and not the next time.
        Err(failure) if failure.is_stale() => {
            connection.forget_statements();
            if !starts_over(rows) {
                return Err(failure);
            }
            try_alone(connection, raw, rows).await
        }
        outcome => outcome,
    }
}

async fn try_alone(
    connection: &Connection,
    raw: &RawStatement,
    rows: &mut Rows,
) -> Result<Written, Failure> {
    let begin = match raw.access {
        RawAccess::Read => "BEGIN READ ONLY",
        // What comes is known before it runs, or nobody wants it: a transaction by itself.
        RawAccess::Write if connection.is_named() || raw.columns.is_none() => {
            return statement(connection, raw, rows).await;
        }
        RawAccess::Write => "BEGIN",
    };
    write::in_transaction(connection, begin, statement(connection, raw, rows)).await
}

/// Has the transaction refuse to write until the savepoint is gone back to.
pub(crate) async fn forbid_writes(connection: &Connection) -> Result<(), tokio_postgres::Error> {
    connection
        .batch_execute("SET LOCAL transaction_read_only = on")
        .await
}

/// Runs a statement; the caller sees to it that it is undone if it fails.
pub(crate) async fn statement(
    connection: &Connection,
    raw: &RawStatement,
    rows: &mut Rows,
) -> Result<Written, Failure> {
    let bound = bind::of_raw(&raw.params);
    check_placeholders(raw)?;
    if may_leave_something(raw.text.as_str()) {
        connection.taint();
    }
    if !connection.is_named() {
        let found = connection.once(raw.text.as_str(), &bound).await?;
        return show(found, raw, None, rows).await;
    }
    let types: Vec<Type> = bound.iter().map(Bound::ty).collect();
    let statement = connection.prepare_sql(&raw.text, &types).await?;
    if statement.params().len() > bound.len() {
        return Err(Failure::Own(too_few_values(
            statement.params().len(),
            bound.len(),
        )));
    }
    let places = place(raw, statement.columns())?;
    let found = connection.query_raw(&statement, bound.iter()).await?;
    show(found, raw, Some(places), rows).await
}

/// Shows the rows to the end. Where the columns are is looked up at the first row if it is not
/// known.
async fn show(
    found: RowStream,
    raw: &RawStatement,
    mut places: Option<Places>,
    rows: &mut Rows,
) -> Result<Written, Failure> {
    let mut wanted = raw.columns.is_some();
    let mut count = 0;
    let mut found = pin!(found);
    while let Some(row) = found.next().await {
        let row = row?;
        count += 1;
        if !wanted {
            continue;
        }
        let places = match &places {
            Some(places) => places,
            None => places.insert(place(raw, row.columns())?),
        };
        let flow = show_row(&PgRow::new(&row), raw.access, places, rows)?;
        wanted = flow != Flow::Stop;
        if flow == Flow::Full {
            wanted = rows.flush().await != Flow::Stop;
        }
    }
    Ok(Written::rows(match raw.access {
        RawAccess::Read => 0,
        // Its tag counts the rows that it reads.
        RawAccess::Write if READING.contains(&&*raw.text.first_word()) => 0,
        RawAccess::Write => found.rows_affected().unwrap_or(count),
    }))
}

fn show_row(
    row: &PgRow<'_>,
    access: RawAccess,
    places: &Places,
    rows: &mut Rows,
) -> Result<Flow, Failure> {
    let row = places.row(row);
    match access {
        RawAccess::Read => rows.row(&row).map_err(Failure::Own),
        RawAccess::Write => Ok(rows.returned(&row)),
    }
}

fn place(raw: &RawStatement, columns: &[Column]) -> Result<Places> {
    let found: Vec<_> = columns
        .iter()
        .map(|column| FoundColumn {
            name: column.name().into(),
            holds: match kind(column.type_()) {
                Some(kind) => Holds::Kind(kind),
                None => Holds::Other(column.type_().name().into()),
            },
        })
        .collect();
    raw.place(&found)
}

/// The kind of the values of a type.
fn kind(ty: &Type) -> Option<Kind> {
    Some(match *ty {
        Type::BOOL => Kind::Bool,
        Type::INT2 => Kind::I16,
        Type::INT4 => Kind::I32,
        Type::INT8 => Kind::I64,
        Type::FLOAT4 => Kind::F32,
        Type::FLOAT8 => Kind::F64,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME => Kind::Text,
        Type::BYTEA => Kind::Bytes,
        Type::TIMESTAMPTZ => Kind::Timestamp,
        Type::DATE => Kind::Date,
        Type::UUID => Kind::Uuid,
        Type::NUMERIC => Kind::Decimal,
        Type::JSON | Type::JSONB => Kind::Json,
        _ => return None,
    })
}

/// Whether a text may change settings of the session, or leave locks or tables in it, which are
/// nobody else's business.
fn may_leave_something(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["set_config", "advisory", "temp", "into"]
        .iter()
        .any(|word| text.contains(word))
        && !text.trim_start().starts_with("insert into")
}

/// Refuses values that no placeholder stands for; the server would take them in silence.
fn check_placeholders(raw: &RawStatement) -> Result<()> {
    let text = raw.text.as_str();
    let most = text.split('$').skip(1).filter_map(|after| {
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        after[..digits].parse::<usize>().ok()
    });
    let most = most.max().unwrap_or(0);
    if most < raw.params.len() {
        return Err(too_few_values(most, raw.params.len()));
    }
    Ok(())
}

#[cold]
fn too_few_values(taken: usize, bound: usize) -> Error {
    Error::misuse(format!(
        "the statement takes {taken} values, {bound} are bound"
    ))
}

impl Failure {
    /// The failure as the error of a statement in SQL.
    pub(crate) fn of_sql(self, access: RawAccess) -> Error {
        match self {
            Self::Driver(cause) => error::sql_failed(cause, access == RawAccess::Write),
            Self::Own(error) => error,
        }
    }
}
