//! Shows SQLite's rows to the caller's sink, value by value, as the model's kinds.

use larder_core::rows::OwnedRow;
use larder_core::{
    Decimal, Error, ErrorKind, Flow, Kind, Result, Row, Rows, Timestamp, Uuid, Value, ValueRef,
};
use rusqlite::types::ValueRef as SqlRef;

use crate::bind;

/// A row that SQLite holds at the moment.
pub(crate) struct SqliteRow<'a, 's> {
    row: &'a rusqlite::Row<'s>,
}

impl<'a, 's> SqliteRow<'a, 's> {
    pub(crate) fn new(row: &'a rusqlite::Row<'s>) -> Self {
        Self { row }
    }
}

impl Row for SqliteRow<'_, '_> {
    #[inline]
    fn value(&self, at: usize, kind: Kind) -> Result<ValueRef<'_>> {
        match self.row.get_ref(at) {
            Ok(found) => convert(found, kind),
            Err(error) => {
                Err(Error::misuse(format!("the row has no position {at}")).with_source(error))
            }
        }
    }

    fn name(&self, at: usize) -> String {
        self.row
            .as_ref()
            .column_name(at)
            .map_or_else(|_| format!("output {at}"), str::to_owned)
    }
}

/// Reads a stored value as this kind.
#[inline]
fn convert(found: SqlRef<'_>, kind: Kind) -> Result<ValueRef<'_>> {
    match (kind, found) {
        (_, SqlRef::Null) => Ok(ValueRef::Null),
        (Kind::Text, SqlRef::Text(v)) => text(v).map(ValueRef::Text),
        (Kind::I64 | Kind::I32 | Kind::I16, SqlRef::Integer(v)) => Ok(ValueRef::Int(v)),
        (Kind::Timestamp, SqlRef::Integer(v)) => Timestamp::from_micros(v)
            .map(ValueRef::Timestamp)
            .map_err(|_| unreadable(kind, found)),
        (Kind::Bool, SqlRef::Integer(v @ (0 | 1))) => Ok(ValueRef::Bool(v == 1)),
        (Kind::F64 | Kind::F32, SqlRef::Real(v)) if v.is_finite() => Ok(ValueRef::Float(v)),
        (Kind::F64 | Kind::F32, SqlRef::Real(_)) => Err(overflow()),
        (Kind::Bytes, SqlRef::Blob(v)) => Ok(ValueRef::Bytes(v)),
        (Kind::Json, SqlRef::Text(v)) => text(v).map(ValueRef::Json),
        (Kind::Date, SqlRef::Integer(v)) => bind::date(v)
            .map(ValueRef::Date)
            .ok_or_else(|| unreadable(kind, found)),
        (Kind::Uuid, SqlRef::Blob(v)) => Uuid::from_slice(v)
            .map(ValueRef::Uuid)
            .map_err(|_| unreadable(kind, found)),
        (Kind::Decimal, SqlRef::Text(v)) => text(v)?
            .parse::<Decimal>()
            .map(ValueRef::Decimal)
            .map_err(|_| unreadable(kind, found)),
        _ => Err(unreadable(kind, found)),
    }
}

#[inline]
fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| {
        Error::decode("the stored text is not UTF-8; it was not written by Larder")
            .with_source(error)
    })
}

/// Columns hold no infinities: it was computed.
#[cold]
fn overflow() -> Error {
    Error::new(ErrorKind::Engine, "float overflow in an aggregate")
}

#[cold]
fn unreadable(kind: Kind, found: SqlRef<'_>) -> Error {
    let message = format!(
        "the stored {} cannot be read as {}",
        found.data_type(),
        kind.name()
    );
    let error = Error::decode(message);
    match found {
        SqlRef::Integer(v) => error.with_value(v),
        SqlRef::Real(v) => error.with_value(v),
        SqlRef::Text(v) => error.with_value(String::from_utf8_lossy(v)),
        _ => error,
    }
}

/// Rows that must be put in the order of their keys before they are shown: a write returns them
/// in any order.
pub(crate) struct Sorted {
    width: usize,
    kinds: Vec<Kind>,
    rows: Vec<(Vec<Value>, Vec<Value>)>,
}

impl Sorted {
    /// Rows of these kinds, the last `keys` of which are the sort key.
    pub(crate) fn new(kinds: Vec<Kind>, keys: usize) -> Self {
        Self {
            width: kinds.len() - keys,
            kinds,
            rows: Vec::new(),
        }
    }

    /// Keeps a copy of the row.
    pub(crate) fn push(&mut self, row: &SqliteRow<'_, '_>) -> Result<()> {
        let mut values = (self.kinds.iter().enumerate())
            .map(|(at, &kind)| Ok(row.value(at, kind)?.to_value()))
            .collect::<Result<Vec<Value>>>()?;
        let key = values.split_off(self.width);
        self.rows.push((key, values));
        Ok(())
    }

    /// Shows the rows in order, as those of a write.
    pub(crate) fn show(mut self, rows: &mut Rows) {
        self.rows.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (_, values) in &self.rows {
            if rows.returned(&OwnedRow::new(values)) == Flow::Stop {
                break;
            }
        }
    }
}
