//! Tests: the tables they share, and a SQLite connection with what an engine brings.

mod answers;
mod ddl;
mod insert;
mod search;
mod select;
mod shape;
mod write;

use std::rc::Rc;

use larder_core::{
    ColumnDef, DefaultValue, Filter, Index, Kind, OnDelete, Reference, Select, Table, Value,
};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::functions::{Aggregate, Context, FunctionFlags};
use rusqlite::types::{ToSql, Value as Stored};

use crate::{Dialect, Param, create_tables, render_select, select_params};

pub(super) const BOTH: [Dialect; 2] = [Dialect::Sqlite, Dialect::Postgres];

const fn column(name: &'static str, kind: Kind) -> ColumnDef {
    ColumnDef {
        name,
        kind,
        nullable: false,
        max_len: None,
        default: None,
        references: None,
        missing: "",
    }
}

const fn nullable(name: &'static str, kind: Kind) -> ColumnDef {
    ColumnDef {
        nullable: true,
        ..column(name, kind)
    }
}

const fn reference(
    name: &'static str,
    table: fn() -> &'static Table,
    on_delete: OnDelete,
) -> ColumnDef {
    ColumnDef {
        references: Some(Reference { table, on_delete }),
        ..column(name, Kind::I64)
    }
}

const fn table(
    name: &'static str,
    columns: &'static [ColumnDef],
    key: &'static [usize],
    auto_key: bool,
) -> Table {
    Table {
        name,
        columns,
        key,
        auto_key,
        uniques: &[],
        indexes: &[],
        search: None,
        created_at: None,
        updated_at: None,
        version: None,
    }
}

pub(super) static USERS: Table = Table {
    uniques: &[Index {
        name: "users_email_key",
        columns: &[1],
    }],
    version: Some(7),
    ..table(
        "users",
        &[
            column("id", Kind::I64),
            column("email", Kind::Text),
            ColumnDef {
                max_len: Some(100),
                ..column("name", Kind::Text)
            },
            ColumnDef {
                default: Some(DefaultValue::Bool(true)),
                ..column("active", Kind::Bool)
            },
            nullable("bio", Kind::Text),
            nullable("age", Kind::I32),
            nullable("balance", Kind::Decimal),
            ColumnDef {
                default: Some(DefaultValue::Int(1)),
                ..column("version", Kind::I64)
            },
        ],
        &[0],
        true,
    )
};

pub(super) static POSTS: Table = Table {
    indexes: &[Index {
        name: "posts_author_id_rank_idx",
        columns: &[1, 3],
    }],
    ..table(
        "posts",
        &[
            column("id", Kind::I64),
            reference("author_id", || &USERS, OnDelete::Cascade),
            column("title", Kind::Text),
            nullable("rank", Kind::I16),
            nullable("score", Kind::F64),
        ],
        &[0],
        true,
    )
};

pub(super) static TAGS: Table = table(
    "tags",
    &[
        column("id", Kind::Uuid),
        ColumnDef {
            default: Some(DefaultValue::Text("it's")),
            ..column("na\"me", Kind::Text)
        },
    ],
    &[0],
    false,
);

pub(super) static POST_TAGS: Table = table(
    "post_tags",
    &[
        reference("post_id", || &POSTS, OnDelete::Cascade),
        ColumnDef {
            kind: Kind::Uuid,
            ..reference("tag_id", || &TAGS, OnDelete::Restrict)
        },
    ],
    &[0, 1],
    false,
);

pub(super) static KINDS: Table = table(
    "kinds",
    &[
        column("id", Kind::I64),
        column("flag", Kind::Bool),
        column("i16", Kind::I16),
        column("i32", Kind::I32),
        column("i64", Kind::I64),
        column("f32", Kind::F32),
        ColumnDef {
            default: Some(DefaultValue::Float(-0.5)),
            ..column("f64", Kind::F64)
        },
        column("text", Kind::Text),
        column("bytes", Kind::Bytes),
        column("at", Kind::Timestamp),
        column("day", Kind::Date),
        column("uuid", Kind::Uuid),
        column("amount", Kind::Decimal),
        nullable("doc", Kind::Json),
    ],
    &[0],
    false,
);

pub(super) const TABLES: [&Table; 5] = [&POST_TAGS, &POSTS, &TAGS, &USERS, &KINDS];

/// PostgreSQL's text for a decimal that is computed.
pub(super) fn fitting(value: &str) -> String {
    format!(
        "(SELECT CASE WHEN scale(trim_scale(_d)) <= 28 \
         AND replace(abs(trim_scale(_d))::text, '.', '')::numeric <= 79228162514264337593543950335 \
         THEN _d ELSE (abs(_d) + 1e28)::numeric(28) END FROM (SELECT {value} AS _d OFFSET 0) AS _s)"
    )
}

/// Selects of these tables with one thing set.
pub(super) fn select(table: &'static Table, change: impl FnOnce(&mut Select)) -> Select {
    let mut select = Select::new(table);
    change(&mut select);
    select
}

pub(super) fn filtered(table: &'static Table, filter: Filter) -> Select {
    select(table, |select| select.filter = filter)
}

/// A decimal as the tests need it: compared as a float, which is enough for small ones.
fn decimal(text: &str) -> f64 {
    text.parse().expect("the tests store numbers")
}

struct Sum {
    average: bool,
}

impl Aggregate<(f64, f64), Option<String>> for Sum {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<(f64, f64)> {
        Ok((0.0, 0.0))
    }

    fn step(&self, context: &mut Context<'_>, sum: &mut (f64, f64)) -> rusqlite::Result<()> {
        if let Some(text) = context.get::<Option<String>>(0)? {
            *sum = (sum.0 + decimal(&text), sum.1 + 1.0);
        }
        Ok(())
    }

    fn finalize(
        &self,
        _: &mut Context<'_>,
        sum: Option<(f64, f64)>,
    ) -> rusqlite::Result<Option<String>> {
        let sum = sum.filter(|(_, count)| *count > 0.0);
        let value = sum.map(|(sum, count)| if self.average { sum / count } else { sum });
        Ok(value.map(|value| value.to_string()))
    }
}

/// An empty database with the tables and what the text expects of an engine.
pub(super) fn database() -> Connection {
    let db = Connection::open_in_memory().unwrap();
    for config in [
        DbConfig::SQLITE_DBCONFIG_DQS_DDL,
        DbConfig::SQLITE_DBCONFIG_DQS_DML,
    ] {
        db.set_db_config(config, false).unwrap();
    }
    rusqlite::vtab::array::load_module(&db).unwrap();
    db.create_collation("LARDER_DECIMAL", |a, b| decimal(a).total_cmp(&decimal(b)))
        .unwrap();
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    db.create_aggregate_function("larder_decimal_sum", 1, flags, Sum { average: false })
        .unwrap();
    db.create_aggregate_function("larder_decimal_avg", 1, flags, Sum { average: true })
        .unwrap();
    db.create_scalar_function("larder_decimal_add", 2, flags, |context| {
        let (a, b) = (
            context.get::<Option<String>>(0)?,
            context.get::<Option<String>>(1)?,
        );
        Ok(a.zip(b)
            .map(|(a, b)| (decimal(&a) + decimal(&b)).to_string()))
    })
    .unwrap();
    db.create_scalar_function("larder_f32_add", 2, flags, |context| {
        let (a, b) = (
            context.get::<Option<f64>>(0)?,
            context.get::<Option<f64>>(1)?,
        );
        Ok(a.zip(b).map(|(a, b)| f64::from(a as f32 + b as f32)))
    })
    .unwrap();
    for name in [
        "larder_json_look",
        "larder_json_compare",
        "larder_json_compare_bool",
    ] {
        db.create_scalar_function(name, -1, flags, |_| Ok(None::<i64>))
            .unwrap();
    }
    for statement in create_tables(Dialect::Sqlite, &TABLES) {
        db.execute_batch(&statement).expect(&statement);
    }
    db
}

/// What SQLite stores for a value, as far as the tests use them.
pub(super) fn stored(value: &Value) -> Stored {
    match value {
        Value::Null => Stored::Null,
        Value::Bool(v) => Stored::Integer(i64::from(*v)),
        Value::Int(v) => Stored::Integer(*v),
        Value::Float(v) => Stored::Real(*v),
        Value::Text(v) => Stored::Text(v.to_string()),
        Value::Bytes(v) => Stored::Blob(v.clone()),
        Value::Uuid(v) => Stored::Blob(v.as_bytes().to_vec()),
        Value::Decimal(v) => Stored::Text(v.to_string()),
        Value::Json(v) => Stored::Text(v.clone()),
        other => panic!("the tests bind no {other:?}"),
    }
}

pub(super) type Bound = Box<dyn ToSql>;

pub(super) fn bound(param: Param<'_>) -> Bound {
    match param {
        Param::Value(value, _) => Box::new(stored(value)),
        Param::List(values, _) => Box::new(Rc::new(values.iter().map(stored).collect::<Vec<_>>())),
        Param::Number(number) => Box::new(number),
        Param::Text(text) => Box::new(text.into_owned()),
        Param::Column(..) => panic!("SQLite has no column parameters"),
    }
}

/// Runs the read; every value as text, `NULL` for NULL.
pub(super) fn run(db: &Connection, select: &Select) -> Vec<String> {
    let text = render_select(Dialect::Sqlite, select);
    let mut params = Vec::new();
    select_params(Dialect::Sqlite, select, &mut |param| {
        params.push(bound(param));
        Ok::<_, ()>(())
    })
    .unwrap();
    query(db, &text.sql, params, text.parameters)
}

pub(super) fn query(
    db: &Connection,
    sql: &str,
    params: Vec<Bound>,
    expected: usize,
) -> Vec<String> {
    let mut statement = db.prepare(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    assert_eq!(
        (params.len(), statement.parameter_count()),
        (expected, expected),
        "{sql}"
    );
    let width = statement.column_count();
    let mut rows = statement.query(rusqlite::params_from_iter(params)).unwrap();
    let mut answers = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let values = (0..width).map(|at| match row.get::<_, Stored>(at).unwrap() {
            Stored::Null => "NULL".to_owned(),
            Stored::Integer(v) => v.to_string(),
            Stored::Real(v) => format!("{v:?}"),
            Stored::Text(v) => v,
            Stored::Blob(v) => format!("{v:02x?}"),
        });
        answers.push(values.collect::<Vec<_>>().join(" "));
    }
    answers
}
