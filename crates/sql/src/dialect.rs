//! How the SQL databases differ.

use larder_core::select::Nulls;
use larder_core::{Comparison, Kind};

/// The collation under which SQLite compares decimals, which it stores as text.
pub(crate) const DECIMAL_COLLATION: &str = "LARDER_DECIMAL";

/// The longest name that PostgreSQL keeps, in bytes.
pub(crate) const POSTGRES_NAME_MAX: usize = 63;

/// A SQL database's way of writing things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// SQLite 3.37 or later: STRICT tables, `?1`, lists by `rarray`.
    Sqlite,
    /// PostgreSQL 13 or later: `$1`, lists as arrays.
    Postgres,
}

impl Dialect {
    /// The most parameters one statement takes.
    pub const fn parameters_max(self) -> usize {
        match self {
            Self::Sqlite => 32_766,
            Self::Postgres => 65_535,
        }
    }

    /// The identifier, quoted. The only place that does it, the same for both databases.
    ///
    /// # Panics
    /// If the name holds NUL. Names come from the models' static schema, never from input.
    pub fn quote(self, name: &str) -> String {
        let mut quoted = String::with_capacity(name.len() + 2);
        quote_into(&mut quoted, name);
        quoted
    }

    /// The name as the database keeps it, and says it in errors: PostgreSQL cuts names to 63 bytes.
    pub fn name_kept(self, name: &str) -> &str {
        match self {
            Self::Sqlite => name,
            Self::Postgres => &name[..name.floor_char_boundary(POSTGRES_NAME_MAX)],
        }
    }

    /// The type of a column of this kind, with the collation that gives it core's order.
    ///
    /// | kind | SQLite holds |
    /// |---|---|
    /// | bool | 0 or 1 |
    /// | timestamp | microseconds since 1970-01-01T00:00:00Z |
    /// | date | days since 1970-01-01 |
    /// | uuid | its 16 bytes |
    /// | decimal, json | text |
    pub const fn column_type(self, kind: Kind) -> &'static str {
        match self {
            Self::Sqlite => sqlite_type(kind),
            Self::Postgres => postgres_type(kind),
        }
    }

    /// Where NULLs go when nothing is said.
    pub(crate) const fn nulls(self, descending: bool) -> Nulls {
        match (self, descending) {
            (Self::Sqlite, false) | (Self::Postgres, true) => Nulls::First,
            (Self::Sqlite, true) | (Self::Postgres, false) => Nulls::Last,
        }
    }
}

/// Appends the quoted identifier.
pub(crate) fn quote_into(out: &mut String, name: &str) {
    assert!(
        !name.contains('\0'),
        "the name of a table, column or index must not hold NUL"
    );
    out.push('"');
    for part in name.split_inclusive('"') {
        out.push_str(part);
        if part.ends_with('"') {
            out.push('"');
        }
    }
    out.push('"');
}

/// The comparison's operator.
pub(crate) const fn operator(op: Comparison) -> &'static str {
    match op {
        Comparison::Eq => " = ",
        Comparison::Ne => " <> ",
        Comparison::Lt => " < ",
        Comparison::Le => " <= ",
        Comparison::Gt => " > ",
        Comparison::Ge => " >= ",
    }
}

const fn sqlite_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool | Kind::I16 | Kind::I32 | Kind::I64 | Kind::Timestamp | Kind::Date => "INTEGER",
        Kind::F32 | Kind::F64 => "REAL",
        Kind::Bytes | Kind::Uuid => "BLOB",
        Kind::Decimal => "TEXT COLLATE LARDER_DECIMAL",
        _ => "TEXT",
    }
}

const fn postgres_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "boolean",
        Kind::I16 => "smallint",
        Kind::I32 => "integer",
        Kind::I64 => "bigint",
        Kind::F32 => "real",
        Kind::F64 => "double precision",
        Kind::Bytes => "bytea",
        Kind::Timestamp => "timestamptz",
        Kind::Date => "date",
        Kind::Uuid => "uuid",
        Kind::Decimal => "numeric",
        Kind::Json => "jsonb",
        Kind::Text => "text COLLATE \"C\"",
    }
}

/// PostgreSQL's type of a parameter of this kind.
pub(crate) const fn postgres_parameter(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        kind => postgres_type(kind),
    }
}

/// PostgreSQL's type of a list of values of this kind.
pub(crate) const fn postgres_array(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "boolean[]",
        Kind::I16 => "smallint[]",
        Kind::I32 => "integer[]",
        Kind::I64 => "bigint[]",
        Kind::F32 => "real[]",
        Kind::F64 => "double precision[]",
        Kind::Bytes => "bytea[]",
        Kind::Timestamp => "timestamptz[]",
        Kind::Date => "date[]",
        Kind::Uuid => "uuid[]",
        Kind::Decimal => "numeric[]",
        Kind::Json => "jsonb[]",
        Kind::Text => "text[]",
    }
}
