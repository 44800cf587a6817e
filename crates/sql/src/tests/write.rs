//! Writes: the text, the chunks, and what SQLite does with them.

use larder_core::write::{
    ConflictAction, DeleteWhere, InsertRows, OnConflict, UpdateRows, UpdateWhere, WriteOp,
};
use larder_core::{Assign, Comparison, Expr, Filter, Kind, Output, Value, Write};
use rusqlite::Connection;

use super::{KINDS, POST_TAGS, USERS, bound, database, fitting, query};
use crate::{Dialect, Param, chunks, render_write, write_params};

/// Checks both texts for one row, SQLite's by preparing it too.
#[track_caller]
fn both(write: &Write, sqlite: &str, postgres: &str) {
    let text = render_write(Dialect::Sqlite, write, 1);
    assert_eq!(text.sql, sqlite);
    assert_eq!(render_write(Dialect::Postgres, write, 1).sql, postgres);
    let db = database();
    let prepared = db.prepare(sqlite).expect("SQLite accepts the text");
    assert_eq!(prepared.parameter_count(), text.parameters);
}

fn users(rows: usize, on_conflict: Option<OnConflict>) -> Write {
    let row = |i| {
        [
            Value::Text(format!("{i}@x").into()),
            Value::Text(format!("n{i}").into()),
        ]
    };
    Write::new(WriteOp::Insert(InsertRows {
        table: &USERS,
        columns: vec![1, 2],
        values: (0..rows).flat_map(row).collect(),
        on_conflict,
    }))
}

fn update(set: Vec<(usize, Assign)>) -> Write {
    let value = Value::Int(3);
    let filter = Filter::Compare {
        left: Expr::Column(0),
        op: Comparison::Eq,
        value,
    };
    Write::new(WriteOp::Update(UpdateWhere {
        table: &USERS,
        set,
        filter,
    }))
}

/// Runs the write as an engine would; answers the rows returned.
fn apply(db: &Connection, write: &Write) -> Vec<String> {
    let mut answers = Vec::new();
    for rows in chunks(Dialect::Sqlite, write) {
        let text = render_write(Dialect::Sqlite, write, rows.len());
        let mut params = Vec::new();
        write_params(Dialect::Sqlite, write, rows, &mut |param| {
            params.push(bound(param));
            Ok::<_, ()>(())
        })
        .unwrap();
        answers.extend(query(db, &text.sql, params, text.parameters));
    }
    answers
}

#[test]
fn inserts() {
    let start = "INSERT INTO \"users\" (\"email\", \"name\") VALUES";
    both(
        &users(1, None),
        &format!("{start} (?1, ?2)"),
        &format!("{start} ($1, $2)"),
    );
    let mut write = users(2, None);
    write.returning = Some(Output::Exprs(vec![Expr::Column(0)]));
    let text = render_write(Dialect::Sqlite, &write, 2);
    assert_eq!(
        text.sql,
        format!("{start} (?1, ?2), (?3, ?4) RETURNING \"id\"")
    );
    assert_eq!((text.parameters, text.sort_keys), (4, 0));
}

#[test]
fn conflicts() {
    let conflict = |action| {
        users(
            1,
            Some(OnConflict {
                target: vec![1],
                action,
            }),
        )
    };
    let start = |p| {
        format!(
            "INSERT INTO \"users\" (\"email\", \"name\") VALUES ({p}1, {p}2) \
             ON CONFLICT (\"email\") DO "
        )
    };
    let check = |write: &Write, rest: &str| {
        let [sqlite, postgres] = ["?", "$"].map(|p| start(p) + &rest.replace('%', p));
        both(write, &sqlite, &postgres);
    };
    check(&conflict(ConflictAction::Ignore), "NOTHING");
    let set = vec![(7, Assign::Add(Value::Int(1)))];
    check(
        &conflict(ConflictAction::Update {
            columns: vec![2],
            set,
            filter: Filter::All,
        }),
        "UPDATE SET \"name\" = excluded.\"name\", \"version\" = \"users\".\"version\" + %3",
    );
    check(
        &conflict(ConflictAction::Update {
            columns: vec![],
            set: vec![],
            filter: Filter::All,
        }),
        "UPDATE SET \"email\" = excluded.\"email\"",
    );
    let set = vec![(4, Assign::Set(Value::Null))];
    check(
        &conflict(ConflictAction::Update {
            columns: vec![],
            set,
            filter: Filter::All,
        }),
        "UPDATE SET \"bio\" = %3",
    );
    let new = Filter::CompareNew {
        column: 2,
        op: Comparison::Lt,
    };
    let old = Filter::Compare {
        left: Expr::Column(4),
        op: Comparison::Eq,
        value: Value::Int(1),
    };
    check(
        &conflict(ConflictAction::Update {
            columns: vec![2],
            set: vec![(7, Assign::Add(Value::Int(1)))],
            filter: new.and(old),
        }),
        "UPDATE SET \"name\" = excluded.\"name\", \"version\" = \"users\".\"version\" + %3 \
         WHERE \"users\".\"name\" < excluded.\"name\" AND \"users\".\"bio\" = %4",
    );
}

#[test]
fn updates_where() {
    let set = vec![
        (4, Assign::Set(Value::Null)),
        (7, Assign::Add(Value::Int(1))),
    ];
    let mut write = update(set);
    let text = |p| {
        format!(
            "UPDATE \"users\" SET \"bio\" = {p}1, \"version\" = \"version\" + {p}2 WHERE \"id\" = {p}3"
        )
    };
    both(&write, &text("?"), &text("$"));
    write.returning = Some(Output::Exprs(vec![Expr::Column(2)]));
    both(
        &write,
        &format!("{} RETURNING \"name\", \"id\"", text("?")),
        &format!(
            "WITH _w AS ({} RETURNING \"name\" AS _c0, \"id\" AS _c1) SELECT _c0 FROM _w ORDER BY _c1",
            text("$")
        ),
    );
    assert_eq!(render_write(Dialect::Sqlite, &write, 1).sort_keys, 1);
    assert_eq!(render_write(Dialect::Postgres, &write, 1).sort_keys, 0);
}

#[test]
fn additions() {
    let add = |column| (column, Assign::Add(Value::Int(1)));
    let write = Write::new(WriteOp::Update(UpdateWhere {
        table: &KINDS,
        set: vec![add(2), add(5), add(6), add(12)],
        filter: Filter::All,
    }));
    both(
        &write,
        "UPDATE \"kinds\" SET \"i16\" = \"i16\" + ?1, \"f32\" = larder_f32_add(\"f32\", ?2), \
         \"f64\" = \"f64\" + ?3, \"amount\" = larder_decimal_add(\"amount\", ?4)",
        &format!(
            "UPDATE \"kinds\" SET \"i16\" = \"i16\" + $1, \"f32\" = \"f32\" + $2, \
             \"f64\" = \"f64\" + $3, \"amount\" = {}",
            fitting("\"amount\" + $4"),
        ),
    );
}

fn rows_by_key(columns: Vec<usize>, set: Vec<(usize, Assign)>, values: Vec<Value>) -> Write {
    Write::new(WriteOp::UpdateRows(UpdateRows {
        table: &USERS,
        columns,
        by: 2,
        values,
        set,
    }))
}

#[test]
fn updates_by_key() {
    let write = rows_by_key(
        vec![0, 7, 2, 5],
        vec![(7, Assign::Add(Value::Int(1)))],
        vec![],
    );
    both(
        &write,
        "UPDATE \"users\" SET \"name\" = ?3, \"age\" = ?4, \"version\" = \"version\" + ?5 \
         WHERE \"id\" = ?1 AND \"version\" = ?2",
        "UPDATE \"users\" SET \"name\" = _v.\"name\", \"age\" = _v.\"age\", \
         \"version\" = \"users\".\"version\" + $5 \
         FROM UNNEST($1::bigint[], $2::bigint[], $3::text[], $4::integer[]) \
         AS _v (\"id\", \"version\", \"name\", \"age\") \
         WHERE \"users\".\"id\" = _v.\"id\" AND \"users\".\"version\" = _v.\"version\"",
    );
    let mut nothing = rows_by_key(vec![0, 7], vec![], vec![]);
    nothing.returning = Some(Output::Exprs(vec![Expr::Column(0)]));
    both(
        &nothing,
        "UPDATE \"users\" SET \"id\" = \"id\" WHERE \"id\" = ?1 AND \"version\" = ?2 \
         RETURNING \"id\", \"id\"",
        "WITH _w AS (UPDATE \"users\" SET \"id\" = \"users\".\"id\" \
         FROM UNNEST($1::bigint[], $2::bigint[]) AS _v (\"id\", \"version\") \
         WHERE \"users\".\"id\" = _v.\"id\" AND \"users\".\"version\" = _v.\"version\" \
         RETURNING \"users\".\"id\" AS _c0, \"users\".\"id\" AS _c1) \
         SELECT _c0 FROM _w ORDER BY _c1",
    );
}

#[test]
fn deletes() {
    let delete = |filter| {
        Write::new(WriteOp::Delete(DeleteWhere {
            table: &POST_TAGS,
            filter,
        }))
    };
    both(
        &delete(Filter::All),
        "DELETE FROM \"post_tags\"",
        "DELETE FROM \"post_tags\"",
    );
    let mut write = delete(Filter::In {
        column: 0,
        values: vec![],
    });
    write.returning = Some(Output::Entity);
    both(
        &write,
        "DELETE FROM \"post_tags\" WHERE \"post_id\" IN rarray(?1) \
         RETURNING \"post_id\", \"tag_id\", \"post_id\", \"tag_id\"",
        "WITH _w AS (DELETE FROM \"post_tags\" WHERE \"post_id\" = ANY($1) \
         RETURNING \"post_id\" AS _c0, \"tag_id\" AS _c1, \"post_id\" AS _c2, \"tag_id\" AS _c3) \
         SELECT _c0, _c1 FROM _w ORDER BY _c2, _c3",
    );
}

#[test]
fn chunks_cover_all_rows_in_few_shapes() {
    let sizes = |rows, dialect| -> Vec<usize> {
        chunks(dialect, &users(rows, None))
            .map(|rows| rows.len())
            .collect()
    };
    assert_eq!(sizes(0, Dialect::Sqlite), [0; 0]);
    assert_eq!(sizes(1, Dialect::Sqlite), [1]);
    assert_eq!(sizes(237, Dialect::Sqlite), [100, 100, 32, 4, 1]);
    let ranges: Vec<_> = chunks(Dialect::Sqlite, &users(103, None)).collect();
    assert_eq!(ranges, [0..100, 100..102, 102..103]);

    let wide = Write::new(WriteOp::Insert(InsertRows {
        table: &USERS,
        columns: vec![1; 1000],
        values: vec![Value::Null; 70_000],
        on_conflict: None,
    }));
    let sizes: Vec<_> = chunks(Dialect::Sqlite, &wide)
        .map(|rows| rows.len())
        .collect();
    assert_eq!(sizes, [32, 32, 4, 2]);

    let by_key = rows_by_key(vec![0, 7, 2], vec![], vec![Value::Null; 9]);
    assert_eq!(
        chunks(Dialect::Sqlite, &by_key).collect::<Vec<_>>(),
        [0..1, 1..2, 2..3]
    );
    assert!(chunks(Dialect::Postgres, &by_key).eq(std::iter::once(0..3)));
}

#[test]
fn sqlite_applies_them() {
    let db = database();
    let mut write = users(237, None);
    write.returning = Some(Output::Exprs(vec![Expr::Column(0), Expr::Column(1)]));
    let rows = apply(&db, &write);
    assert_eq!(rows.len(), 237);
    assert_eq!(
        (rows[0].as_str(), rows[236].as_str()),
        ("1 0@x", "237 236@x")
    );

    let action = ConflictAction::Update {
        columns: vec![2],
        set: vec![(7, Assign::Add(Value::Int(1)))],
        filter: Filter::All,
    };
    let mut write = users(
        2,
        Some(OnConflict {
            target: vec![1],
            action,
        }),
    );
    write.returning = Some(Output::Exprs(vec![Expr::Column(0), Expr::Column(7)]));
    assert_eq!(apply(&db, &write), ["1 2", "2 2"]);
    let ignore = users(
        2,
        Some(OnConflict {
            target: vec![1],
            action: ConflictAction::Ignore,
        }),
    );
    assert_eq!(apply(&db, &ignore), [""; 0]);

    let name = |name: &'static str| Value::Text(name.into());
    let values = vec![
        Value::Int(1),
        Value::Int(2),
        name("one"),
        Value::Int(2),
        Value::Int(9), // another version: not changed
        name("two"),
    ];
    let set = vec![(7, Assign::Add(Value::Int(1)))];
    let mut write = rows_by_key(vec![0, 7, 2], set, values);
    write.returning = Some(Output::Exprs(vec![Expr::Column(2), Expr::Column(7)]));
    assert_eq!(apply(&db, &write), ["one 3 1"]);
}

/// Adds to a column of the only row, from a value; whether SQLite took it.
fn overflows(column: usize, from: Value, by: Value) -> bool {
    let db = database();
    let kinds: Vec<Value> = (0..KINDS.columns.len())
        .map(|at| match KINDS.columns[at].kind {
            _ if at == column => from.clone(),
            Kind::Text => Value::Text("".into()),
            Kind::Decimal => Value::Decimal(larder_core::Decimal::ONE),
            Kind::Bytes | Kind::Uuid => Value::Bytes(vec![0; 16]),
            Kind::F32 | Kind::F64 => Value::Float(0.0),
            Kind::Json => Value::Null,
            _ => Value::Int(0),
        })
        .collect();
    let columns = (0..kinds.len()).collect();
    let insert = InsertRows {
        table: &KINDS,
        columns,
        values: kinds,
        on_conflict: None,
    };
    apply(&db, &Write::new(WriteOp::Insert(insert)));
    let write = Write::new(WriteOp::Update(UpdateWhere {
        table: &KINDS,
        set: vec![(column, Assign::Add(by))],
        filter: Filter::All,
    }));
    let mut params = Vec::new();
    write_params(Dialect::Sqlite, &write, 0..1, &mut |param| {
        params.push(bound(param));
        Ok::<_, ()>(())
    })
    .unwrap();
    let sql = render_write(Dialect::Sqlite, &write, 1).sql;
    db.execute(&sql, rusqlite::params_from_iter(params))
        .is_err()
}

#[test]
fn overflow_is_an_error() {
    let int = Value::Int;
    assert!(!overflows(4, int(i64::MAX - 1), int(1)));
    assert!(overflows(4, int(i64::MAX), int(1)));
    assert!(overflows(4, int(i64::MIN), int(-1)));
    assert!(overflows(4, int(i64::MIN), int(i64::MIN)));
    assert!(!overflows(2, int(32_766), int(1)));
    assert!(overflows(2, int(32_767), int(1)));
    assert!(overflows(3, int(-2_147_483_648), int(-1)));
    assert!(!overflows(6, Value::Float(f64::MAX), Value::Float(0.0)));
    assert!(overflows(6, Value::Float(f64::MAX), Value::Float(f64::MAX)));
    assert!(!overflows(
        5,
        Value::Float(f64::from(f32::MAX)),
        Value::Float(0.0)
    ));
    assert!(overflows(
        5,
        Value::Float(f64::from(f32::MAX)),
        Value::Float(f64::from(f32::MAX))
    ));
}

#[test]
fn columns_of_rows_for_postgres() {
    let values = (0..6).map(Value::Int).collect();
    let write = rows_by_key(vec![0, 7, 5], vec![(4, Assign::Set(Value::Null))], values);
    let mut seen = Vec::new();
    write_params(Dialect::Postgres, &write, 0..2, &mut |param| {
        seen.push(match param {
            Param::Column(values, step, kind) => (
                kind,
                values.iter().step_by(step).cloned().collect::<Vec<_>>(),
            ),
            Param::Value(value, kind) => (kind, vec![value.clone()]),
            other => panic!("{other:?}"),
        });
        Ok::<_, ()>(())
    })
    .unwrap();
    let ints = |a, b| vec![Value::Int(a), Value::Int(b)];
    assert_eq!(
        seen,
        [
            (Kind::I64, ints(0, 3)),
            (Kind::I64, ints(1, 4)),
            (Kind::I32, ints(2, 5)),
            (Kind::Text, vec![Value::Null]),
        ]
    );
}
