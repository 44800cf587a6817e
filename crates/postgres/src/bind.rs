//! Binds parameters, in the binary format.
//!
//! | kind | travels as |
//! |---|---|
//! | bool, integers, floats | `bool`, `int2`/`int4`/`int8`, `float4`/`float8` |
//! | text, bytes, uuid | the same bytes |
//! | timestamp, date | microseconds and days since 2000 |
//! | decimal | `numeric`: groups of four digits |
//! | json | `jsonb`: its version, 1, and the text |
//! | lists | a one-dimensional array of the above |

use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;
use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use larder_core::raw::RawParam;
use larder_core::write::{ConflictAction, InsertRows, WriteOp};
use larder_core::{Assign, Kind, Result as CoreResult, Select, Value, Write};
use larder_sql::{Dialect, Param, largest_key, select_params, write_params};
use tokio_postgres::types::{Format, IsNull, ToSql, Type};

use crate::{calendar, numeric, violation};

/// A parameter on its way to the server.
#[derive(Debug)]
pub(crate) struct Bound<'a> {
    param: Param<'a>,
    role: Role,
}

/// What the server does with a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Stores it: it travels as the column's own type, which it must fit.
    Stored,
    /// Adds it to a column: numbers travel wide, the sum must fit.
    Added,
    /// Compares it with something: numbers travel wide, so that one that no column of the kind
    /// could hold still compares as it should.
    Compared,
}

impl<'a> Bound<'a> {
    /// The type of the statement's parameter. Depends on the statement's shape alone.
    pub(crate) fn ty(&self) -> Type {
        match self.param {
            Param::Value(_, kind) => element(self.role.travels(kind)),
            Param::List(_, kind) | Param::Column(_, _, kind) => array(self.role.travels(kind)),
            Param::Number(_) => Type::INT8,
            Param::Text(_) => Type::TEXT,
        }
    }

    fn compared(param: Param<'a>) -> Self {
        let role = Role::Compared;
        Self { param, role }
    }

    fn encode(&self, out: &mut BytesMut) -> Result<IsNull, Unfit> {
        match &self.param {
            Param::Value(value, kind) => return encode(value, *kind, self.role, out),
            Param::Number(number) => out.put_i64(*number),
            Param::Text(value) => put_text(value, out)?,
            Param::List(values, kind) => put_array(values.iter(), *kind, self.role, out)?,
            Param::Column(values, step, kind) => {
                put_array(values.iter().step_by(*step), *kind, self.role, out)?;
            }
        }
        Ok(IsNull::No)
    }
}

/// The parameters of a read.
pub(crate) fn of_select(select: &Select) -> Vec<Bound<'_>> {
    let mut bound = Vec::new();
    let Ok(()) = select_params::<Infallible>(Dialect::Postgres, select, &mut |param| {
        bound.push(Bound::compared(param));
        Ok(())
    });
    bound
}

/// The parameters of the write's statement for these rows.
pub(crate) fn of_write(write: &Write, rows: Range<usize>) -> Vec<Bound<'_>> {
    let (width, set) = match &write.op {
        WriteOp::Insert(insert) => (insert.columns.len(), upsert_set(write)),
        WriteOp::UpdateRows(update) => (update.columns.len(), &update.set[..]),
        WriteOp::Update(update) => (0, &update.set[..]),
        WriteOp::Delete(_) => (0, &[][..]),
    };
    let mut bound = Vec::new();
    let mut stored = width * rows.len();
    let Ok(()) = write_params::<Infallible>(Dialect::Postgres, write, rows, &mut |param| {
        if bound.is_empty() && matches!(param, Param::Column(..)) {
            stored = width; // a list for each column
        }
        let role = match bound.len().checked_sub(stored).map(|at| set.get(at)) {
            None | Some(Some((_, Assign::Set(_)))) => Role::Stored,
            Some(Some((_, Assign::Add(_)))) => Role::Added,
            Some(None) => Role::Compared,
        };
        bound.push(Bound { param, role });
        Ok(())
    });
    bound
}

/// The values of a statement in SQL; each travels as its own kind.
pub(crate) fn of_raw(params: &[RawParam]) -> Vec<Bound<'_>> {
    let params = params.iter().map(|param| match param {
        RawParam::Value(value, kind) => Param::Value(value, *kind),
        RawParam::List(values, kind) => Param::List(values, *kind),
    });
    let role = Role::Stored;
    params.map(|param| Bound { param, role }).collect()
}

/// The parameter of the statement that moves the sequence of the write's table.
pub(crate) fn of_sequence(write: &Write) -> Vec<Bound<'static>> {
    let largest = largest_key(write).map(|key| Bound::compared(Param::Number(key)));
    largest.into_iter().collect()
}

/// What an upsert sets besides the columns of the new row.
pub(crate) fn upsert_set(write: &Write) -> &[(usize, Assign)] {
    match &write.op {
        WriteOp::Insert(insert) => match insert.on_conflict.as_ref().map(|on| &on.action) {
            Some(ConflictAction::Update { set, .. }) => set,
            _ => &[],
        },
        _ => &[],
    }
}

/// Why a value cannot be sent. Holds no data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unfit(&'static str);

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl StdError for Unfit {}

impl ToSql for Bound<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        Ok(self.encode(out)?)
    }

    /// The statement was prepared with [`Bound::ty`].
    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        self.to_sql(ty, out)
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Binary
    }
}

/// Whether a column of this kind can store the value.
pub(crate) fn check_stored(value: &Value, kind: Kind) -> Result<(), Unfit> {
    encode(value, kind, Role::Stored, &mut BytesMut::new()).map(drop)
}

/// From how many bytes on a piece of a COPY is sent.
const PIECE_BYTES: usize = 64 * 1_024;
const COPY_SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// An insert's rows as binary COPY takes them, in pieces of 64 KiB and at most a row more.
#[derive(Debug)]
pub(crate) struct CopyEncoder<'a> {
    insert: &'a InsertRows,
    /// The row that comes next; behind the last one comes the end of the whole.
    next: usize,
    ended: bool,
    buffer: BytesMut,
}

impl<'a> CopyEncoder<'a> {
    pub(crate) fn new(insert: &'a InsertRows) -> Self {
        let mut buffer = BytesMut::with_capacity(PIECE_BYTES);
        buffer.put_slice(COPY_SIGNATURE);
        buffer.put_i32(0); // flags
        buffer.put_i32(0); // length of a further header
        Self {
            insert,
            next: 0,
            ended: false,
            buffer,
        }
    }

    /// The next piece; `None` when all have been taken.
    ///
    /// # Errors
    /// What a column cannot hold, by its name. The COPY then must not be finished.
    pub(crate) fn next_piece(&mut self) -> CoreResult<Option<Bytes>> {
        if self.ended {
            return Ok(None);
        }
        for row in self.insert.rows().skip(self.next) {
            if self.buffer.len() >= PIECE_BYTES {
                return Ok(Some(self.take()));
            }
            self.put_row(row)?;
            self.next += 1;
        }
        self.ended = true;
        self.buffer.put_i16(-1);
        Ok(Some(self.take()))
    }

    fn put_row(&mut self, row: &[Value]) -> CoreResult<()> {
        let (table, columns) = (self.insert.table, &self.insert.columns);
        self.buffer.put_i16(columns.len() as i16); // a table has at most 1,600
        for (value, &at) in row.iter().zip(columns) {
            let kind = table.columns[at].kind;
            put_sized(value, kind, Role::Stored, &mut self.buffer)
                .map_err(|unfit| violation::unfit(table, at, value, unfit))?;
        }
        Ok(())
    }

    fn take(&mut self) -> Bytes {
        let piece = self.buffer.split().freeze();
        self.buffer.reserve(PIECE_BYTES);
        piece
    }
}

impl Role {
    /// The kind as which a value of this kind travels.
    fn travels(self, kind: Kind) -> Kind {
        match (self, kind) {
            (Self::Added | Self::Compared, Kind::I16 | Kind::I32) => Kind::I64,
            (Self::Added | Self::Compared, Kind::F32) => Kind::F64,
            (_, kind) => kind,
        }
    }
}

fn element(kind: Kind) -> Type {
    match kind {
        Kind::Bool => Type::BOOL,
        Kind::I16 => Type::INT2,
        Kind::I32 => Type::INT4,
        Kind::I64 => Type::INT8,
        Kind::F32 => Type::FLOAT4,
        Kind::F64 => Type::FLOAT8,
        Kind::Text => Type::TEXT,
        Kind::Bytes => Type::BYTEA,
        Kind::Timestamp => Type::TIMESTAMPTZ,
        Kind::Date => Type::DATE,
        Kind::Uuid => Type::UUID,
        Kind::Decimal => Type::NUMERIC,
        Kind::Json => Type::JSONB,
    }
}

fn array(kind: Kind) -> Type {
    match kind {
        Kind::Bool => Type::BOOL_ARRAY,
        Kind::I16 => Type::INT2_ARRAY,
        Kind::I32 => Type::INT4_ARRAY,
        Kind::I64 => Type::INT8_ARRAY,
        Kind::F32 => Type::FLOAT4_ARRAY,
        Kind::F64 => Type::FLOAT8_ARRAY,
        Kind::Text => Type::TEXT_ARRAY,
        Kind::Bytes => Type::BYTEA_ARRAY,
        Kind::Timestamp => Type::TIMESTAMPTZ_ARRAY,
        Kind::Date => Type::DATE_ARRAY,
        Kind::Uuid => Type::UUID_ARRAY,
        Kind::Decimal => Type::NUMERIC_ARRAY,
        Kind::Json => Type::JSONB_ARRAY,
    }
}

/// The version of the format of `jsonb`.
pub(crate) const JSONB_VERSION: u8 = 1;

/// Appends a value that the server takes as one of this kind.
fn encode(value: &Value, kind: Kind, role: Role, out: &mut BytesMut) -> Result<IsNull, Unfit> {
    // What is before PostgreSQL's first day compares as `-infinity` does.
    let early = |days| match role {
        Role::Compared => Ok(days),
        Role::Stored | Role::Added => {
            Err(Unfit("PostgreSQL keeps no day before 24 November 4714 BC"))
        }
    };
    match (role.travels(kind), value) {
        (_, Value::Null) => return Ok(IsNull::Yes),
        (Kind::Bool, Value::Bool(v)) => out.put_u8(u8::from(*v)),
        (Kind::I16, Value::Int(v)) => out.put_i16(i16::try_from(*v).map_err(|_| OUT_OF_RANGE)?),
        (Kind::I32, Value::Int(v)) => out.put_i32(i32::try_from(*v).map_err(|_| OUT_OF_RANGE)?),
        (Kind::I64, Value::Int(v)) => out.put_i64(*v),
        (Kind::F32, Value::Float(v)) => out.put_f32(single(*v)?),
        (Kind::F64, Value::Float(v)) if v.is_finite() => out.put_f64(*v),
        (Kind::F64, Value::Float(_)) => return Err(OUT_OF_RANGE),
        (Kind::Text, Value::Text(v)) => put_text(v, out)?,
        (Kind::Bytes, Value::Bytes(v)) => out.put_slice(v),
        (Kind::Uuid, Value::Uuid(v)) => out.put_slice(v.as_bytes()),
        (Kind::Decimal, Value::Decimal(v)) => numeric::write(*v, out),
        (Kind::Json, Value::Json(v)) => {
            out.put_u8(JSONB_VERSION);
            put_text(v, out)?;
        }
        (Kind::Timestamp, Value::Timestamp(v)) => {
            out.put_i64(calendar::micros(*v).map_or_else(|| early(i64::MIN), Ok)?);
        }
        (Kind::Date, Value::Date(v)) => {
            let days = calendar::days(*v).map(i64::from);
            out.put_i32(days.map_or_else(|| early(i64::from(i32::MIN)), Ok)? as i32);
        }
        _ => return Err(Unfit("the value is not of the column's kind")),
    }
    Ok(IsNull::No)
}

const OUT_OF_RANGE: Unfit = Unfit("the number is out of the range of its column");
const TOO_LARGE: Unfit = Unfit("the value is larger than PostgreSQL takes");

/// The same number in single precision, if there is one.
fn single(v: f64) -> Result<f32, Unfit> {
    let narrow = v as f32;
    #[allow(clippy::float_cmp)] // nothing may be lost: that is the check
    let same = v.is_finite() && f64::from(narrow) == v;
    if same { Ok(narrow) } else { Err(OUT_OF_RANGE) }
}

fn put_text(text: &str, out: &mut BytesMut) -> Result<(), Unfit> {
    if text.as_bytes().contains(&0) {
        return Err(Unfit("text must not hold NUL"));
    }
    out.put_slice(text.as_bytes());
    Ok(())
}

/// Appends the value behind its length; NULL is -1 bytes long.
fn put_sized(value: &Value, kind: Kind, role: Role, out: &mut BytesMut) -> Result<(), Unfit> {
    let start = out.len();
    out.put_i32(-1);
    if matches!(encode(value, kind, role, out)?, IsNull::No) {
        let length = i32::try_from(out.len() - start - 4).map_err(|_| TOO_LARGE)?;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

fn put_array<'v>(
    values: impl Iterator<Item = &'v Value> + Clone,
    kind: Kind,
    role: Role,
    out: &mut BytesMut,
) -> Result<(), Unfit> {
    let mut length = 0;
    let mut any_null = false;
    for value in values.clone() {
        length += 1;
        any_null |= value.is_null();
    }
    out.put_i32(1); // dimension
    out.put_i32(i32::from(any_null));
    out.put_u32(element(role.travels(kind)).oid());
    out.put_i32(length);
    out.put_i32(1); // the first index
    for value in values {
        put_sized(value, kind, role, out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
