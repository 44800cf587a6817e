//! PostgreSQL's inserts: from arrays, cut where they must be, with keys given or left to it.

use larder_core::write::{ConflictAction, InsertRows, OnConflict, UpdateWhere, WriteOp};
use larder_core::{
    Assign, ColumnDef, Decimal, Expr, Filter, Kind, OnDelete, Output, Table, Value, Write,
};

use super::{KINDS, POSTS, USERS, column, reference, table};
use crate::{
    Dialect, Param, Shape, asks_keys, chunks, copy_in, largest_key, move_sequence, render_write,
    write_params,
};

fn insert(table: &'static Table, columns: &[usize], values: Vec<Value>) -> InsertRows {
    InsertRows {
        table,
        columns: columns.to_vec(),
        values,
        on_conflict: None,
    }
}

fn write(insert: InsertRows) -> Write {
    Write::new(WriteOp::Insert(insert))
}

/// An upsert by this column, which is given alone.
fn upsert(table: &'static Table, target: usize, values: Vec<Value>, action: Action) -> Write {
    let mut insert = insert(table, &[target], values);
    insert.on_conflict = Some(OnConflict {
        target: vec![target],
        action: match action {
            Action::Ignore => ConflictAction::Ignore,
            Action::Update => ConflictAction::Update {
                columns: vec![],
                set: vec![],
                filter: Filter::All,
            },
        },
    });
    write(insert)
}

#[derive(Clone, Copy)]
enum Action {
    Ignore,
    Update,
}

fn text(write: &Write, rows: usize) -> String {
    render_write(Dialect::Postgres, write, rows).sql
}

fn cuts(write: &Write) -> Vec<usize> {
    chunks(Dialect::Postgres, write)
        .map(|rows| rows.len())
        .collect()
}

fn ints(values: impl IntoIterator<Item = i64>) -> Vec<Value> {
    values.into_iter().map(Value::Int).collect()
}

#[test]
fn many_rows_are_arrays() {
    let mut rows = insert(&USERS, &[1, 6], vec![]);
    let set = vec![(7, Assign::Add(Value::Int(1)))];
    rows.on_conflict = Some(OnConflict {
        target: vec![1],
        action: ConflictAction::Update {
            columns: vec![6],
            set,
            filter: Filter::All,
        },
    });
    rows.values = vec![Value::Null; 6];
    let mut write = write(rows);
    write.returning = Some(Output::Exprs(vec![Expr::Column(0)]));
    let statement = render_write(Dialect::Postgres, &write, 3);
    assert_eq!(
        statement.sql,
        "INSERT INTO \"users\" (\"email\", \"balance\") SELECT _c0, _c1 \
         FROM UNNEST($1::text[], $2::numeric[]) WITH ORDINALITY AS _v (_c0, _c1, _n) ORDER BY _n \
         ON CONFLICT (\"email\") DO UPDATE SET \"balance\" = excluded.\"balance\", \
         \"version\" = \"users\".\"version\" + $3 RETURNING \"id\""
    );
    assert_eq!((statement.parameters, statement.sort_keys), (3, 0));
    assert_eq!(statement.sql, text(&write, 2));
    let mut seen = Vec::new();
    write_params(Dialect::Postgres, &write, 1..3, &mut |param| {
        seen.push(match param {
            Param::Column(values, step, kind) => (kind, values.iter().step_by(step).count()),
            Param::Value(_, kind) => (kind, 0),
            other => panic!("{other:?}"),
        });
        Ok::<_, ()>(())
    })
    .unwrap();
    assert_eq!(seen, [(Kind::Text, 2), (Kind::Decimal, 2), (Kind::I64, 0)]);
}

#[test]
fn shapes_tell_one_row_from_many() {
    let write = write(insert(&USERS, &[1], vec![Value::Null; 3]));
    let shape = |dialect, rows| Shape::new().of_write(dialect, &write, rows).to_vec();
    assert_eq!(shape(Dialect::Postgres, 2), shape(Dialect::Postgres, 3));
    assert_ne!(shape(Dialect::Postgres, 1), shape(Dialect::Postgres, 2));
    assert_ne!(shape(Dialect::Sqlite, 2), shape(Dialect::Sqlite, 3));
    let mut sequence = Shape::new();
    assert_ne!(
        sequence.of_sequence(&USERS),
        Shape::new().of_sequence(&POSTS)
    );
}

#[test]
fn a_key_that_is_null_is_the_next() {
    let key = write(insert(&POSTS, &[0, 2], vec![Value::Null; 4]));
    let next = "nextval((SELECT pg_get_serial_sequence('\"posts\"', 'id')))";
    assert_eq!(
        text(&key, 1),
        format!(
            "INSERT INTO \"posts\" (\"id\", \"title\") VALUES (COALESCE($1::bigint, {next}), $2)"
        )
    );
    assert_eq!(
        text(&key, 2),
        format!(
            "INSERT INTO \"posts\" (\"id\", \"title\") SELECT COALESCE(_c0, {next}), _c1 \
             FROM UNNEST($1::bigint[], $2::text[]) WITH ORDINALITY AS _v (_c0, _c1, _n) ORDER BY _n"
        )
    );
    assert!(asks_keys(&key));
    assert!(!asks_keys(&write(insert(&POSTS, &[0], ints(1..3)))));
    assert!(!asks_keys(&write(insert(&POSTS, &[2], vec![Value::Null]))));
    // Whose keys are its user's.
    let own = write(insert(&KINDS, &[0], vec![Value::Null]));
    assert!(!asks_keys(&own));
    assert_eq!(text(&own, 1), "INSERT INTO \"kinds\" (\"id\") VALUES ($1)");
}

const LONG: &str = "a_very_long_name_of_a_column_that_is_cut_by_the_database_at_63_ää";
static QUOTED: Table = table(
    "it's \"Q\"",
    &[ColumnDef {
        nullable: false,
        ..column(LONG, Kind::I32)
    }],
    &[0],
    true,
);

#[test]
fn names_of_sequences_are_quoted_and_cut() {
    let write = write(insert(&QUOTED, &[0], vec![Value::Null]));
    let kept = "a_very_long_name_of_a_column_that_is_cut_by_the_database_at_63_";
    assert_eq!(kept.len(), 63);
    assert_eq!(Dialect::Postgres.name_kept(LONG), kept);
    assert_eq!(Dialect::Sqlite.name_kept(LONG), LONG);
    let given = format!("pg_get_serial_sequence('\"it''s \"\"Q\"\"\"', '{kept}')");
    assert!(text(&write, 1).contains(&given), "{}", text(&write, 1));
}

#[test]
fn keys_that_are_given_move_the_sequence() {
    let rows = |values| write(insert(&USERS, &[0], values));
    let mixed = rows(vec![Value::Int(3), Value::Null, Value::Int(7)]);
    assert_eq!(largest_key(&mixed), Some(7));
    let statement = move_sequence(&mixed).unwrap();
    assert_eq!(statement.parameters, 1);
    // The aggregate must be of its own query, not of the one around it.
    assert_eq!(
        statement.sql,
        "SELECT CASE WHEN _g <= 1000 THEN (SELECT max(_k) FROM (SELECT nextval(_s) AS _k \
         FROM generate_series(1, _g) OFFSET 0) AS _t) \
         ELSE (SELECT setval(_s, GREATEST($1::bigint, nextval(_s))) \
         FROM (SELECT pg_advisory_xact_lock(1818325604, _s::oid::integer) OFFSET 0) AS _l \
         WHERE $1::bigint > COALESCE(pg_sequence_last_value(_s), 0)) END \
         FROM (SELECT _s, $1::bigint - COALESCE(pg_sequence_last_value(_s), 0) AS _g \
         FROM (SELECT pg_get_serial_sequence('\"users\"', 'id')::regclass AS _s OFFSET 0) AS _q \
         OFFSET 0) AS _r WHERE _g > 0"
    );
    for none in [
        rows(vec![Value::Null]),
        rows(ints(-5..=0)),
        write(insert(&USERS, &[5], ints(1..3))),
        write(insert(&KINDS, &[0], ints(1..3))),
    ] {
        assert_eq!(largest_key(&none), None);
        assert!(move_sequence(&none).is_none());
    }
    let update = |set| {
        Write::new(WriteOp::Update(UpdateWhere {
            table: &USERS,
            set,
            filter: Filter::All,
        }))
    };
    let set = |at| update(vec![(at, Assign::Set(Value::Int(9)))]);
    assert_eq!(
        (largest_key(&set(0)), largest_key(&set(5))),
        (Some(9), None)
    );
}

#[test]
fn arrays_end_at_rows_and_bytes() {
    let rows = |count: usize| write(insert(&USERS, &[5], vec![Value::Null; count]));
    assert_eq!(cuts(&rows(0)), [0; 0]);
    assert_eq!(cuts(&rows(1)), [1]);
    assert_eq!(cuts(&rows(237)), [237]);
    assert_eq!(cuts(&rows(20_001)), [10_000, 10_000, 1]);
    let large = || Value::Bytes(vec![0; 30 << 20]);
    let large = write(insert(&KINDS, &[8], (0..5).map(|_| large()).collect()));
    assert_eq!(cuts(&large), [2, 2, 1]);
}

static NODES: Table = table(
    "nodes",
    &[
        column("id", Kind::I64),
        reference("parent_id", || &NODES, OnDelete::Cascade),
    ],
    &[0],
    true,
);

#[test]
fn rows_that_may_refer_to_each_other_stay_together() {
    let nodes = write(insert(&NODES, &[1], vec![Value::Null; 20_001]));
    assert_eq!(cuts(&nodes), [20_001]);
}

#[test]
fn an_upsert_is_cut_before_a_key_comes_again() {
    let keys = |kind, values: Vec<Value>| cuts(&upsert(&KINDS, kind, values, Action::Update));
    assert_eq!(keys(0, ints([1, 2, 3])), [3]);
    assert_eq!(keys(0, ints([1, 2, 1, 2, 1, 1])), [2, 2, 1, 1]);
    let decimal = |text: &str| Value::Decimal(text.parse::<Decimal>().unwrap());
    assert_eq!(keys(12, vec![decimal("1.0"), decimal("1.00")]), [1, 1]);
    assert_eq!(keys(12, vec![decimal("0"), decimal("-0.00")]), [1, 1]);
    assert_eq!(keys(6, vec![Value::Float(0.0), Value::Float(-0.0)]), [1, 1]);
    let words = ["a", "A", "a"].map(|word| Value::Text(word.into()));
    assert_eq!(keys(7, words.to_vec()), [2, 1]);
    // NULL is not taken.
    assert_eq!(keys(13, vec![Value::Null, Value::Null]), [2]);
    let ignored = upsert(&KINDS, 0, ints([1, 1]), Action::Ignore);
    assert_eq!(cuts(&ignored), [2]);
    // A key of the store's is new.
    let mut by_key = insert(&USERS, &[1], vec![Value::Null; 2]);
    by_key.on_conflict = Some(OnConflict {
        target: vec![0],
        action: ConflictAction::Update {
            columns: vec![],
            set: vec![],
            filter: Filter::All,
        },
    });
    assert_eq!(cuts(&write(by_key)), [2]);
}

#[test]
fn copying() {
    assert_eq!(
        copy_in(&insert(&USERS, &[1, 2], vec![])),
        "COPY \"users\" (\"email\", \"name\") FROM STDIN (FORMAT binary)"
    );
}
