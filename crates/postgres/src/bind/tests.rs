use larder_core::write::{InsertRows, OnConflict, UpdateRows, UpdateWhere};
use larder_core::{
    ColumnDef, Comparison, Decimal, ErrorKind, Expr, Filter, Table, Timestamp, Uuid,
};
use proptest::prelude::*;

use super::*;

const fn column(name: &'static str, kind: Kind) -> ColumnDef {
    ColumnDef {
        name,
        kind,
        nullable: true,
        max_len: None,
        default: None,
        references: None,
        missing: "",
    }
}

static TABLE: Table = Table {
    name: "things",
    columns: &[
        column("id", Kind::I64),
        column("small", Kind::I16),
        column("single", Kind::F32),
        column("day", Kind::Date),
        column("name", Kind::Text),
    ],
    key: &[0],
    auto_key: false,
    uniques: &[],
    indexes: &[],
    search: None,
    created_at: None,
    updated_at: None,
    version: None,
};
const SMALL: usize = 1;
const SINGLE: usize = 2;
const NAME: usize = 4;

fn sent(bound: &Bound<'_>) -> Result<Option<Vec<u8>>, Unfit> {
    let mut out = BytesMut::new();
    Ok(match bound.encode(&mut out)? {
        IsNull::Yes => None,
        IsNull::No => Some(out.to_vec()),
    })
}

fn stored(value: &Value, kind: Kind) -> Bound<'_> {
    Bound {
        param: Param::Value(value, kind),
        role: Role::Stored,
    }
}

fn compared(value: &Value, kind: Kind) -> Bound<'_> {
    Bound::compared(Param::Value(value, kind))
}

/// What the driver writes for its own types.
fn driver(value: impl ToSql, ty: &Type) -> Vec<u8> {
    let mut out = BytesMut::new();
    value.to_sql(ty, &mut out).expect("the driver writes it");
    out.to_vec()
}

fn is_sent_like(value: &Value, kind: Kind, like: impl ToSql) {
    let bound = stored(value, kind);
    let expected = driver(like, &bound.ty());
    assert_eq!(sent(&bound), Ok(Some(expected)), "{value:?}");
}

#[test]
fn values_travel_as_the_driver_writes_them() {
    is_sent_like(&Value::Bool(true), Kind::Bool, true);
    is_sent_like(&Value::Int(-2), Kind::I16, -2_i16);
    is_sent_like(&Value::Int(i32::MIN.into()), Kind::I32, i32::MIN);
    is_sent_like(&Value::Int(i64::MAX), Kind::I64, i64::MAX);
    is_sent_like(&Value::Float(f64::from(0.1_f32)), Kind::F32, 0.1_f32);
    is_sent_like(&Value::Float(5e-324), Kind::F64, 5e-324);
    is_sent_like(
        &Value::Text("é\u{10ffff}".into()),
        Kind::Text,
        "é\u{10ffff}",
    );
    is_sent_like(&Value::Bytes(vec![0, 255]), Kind::Bytes, &[0_u8, 255][..]);
    let uuid = Uuid::from_u128(u128::MAX - 1);
    assert_eq!(
        sent(&stored(&Value::Uuid(uuid), Kind::Uuid)),
        Ok(Some(uuid.as_bytes().to_vec()))
    );
    let json = Value::Json("{}".into());
    assert_eq!(
        sent(&stored(&json, Kind::Json)),
        Ok(Some(b"\x01{}".to_vec()))
    );
    for (kind, ty) in [(Kind::I16, Type::INT2), (Kind::Json, Type::JSONB)] {
        assert_eq!(sent(&stored(&Value::Null, kind)), Ok(None));
        assert_eq!(stored(&Value::Null, kind).ty(), ty);
    }
}

#[test]
fn lists_travel_as_arrays() {
    let texts = ["a", "", "é"].map(|text| Value::Text(text.into()));
    let list = Bound::compared(Param::List(&texts, Kind::Text));
    assert_eq!(list.ty(), Type::TEXT_ARRAY);
    assert_eq!(
        sent(&list),
        Ok(Some(driver(&["a", "", "é"][..], &Type::TEXT_ARRAY)))
    );
    let none = Bound::compared(Param::List(&[], Kind::I16));
    assert_eq!(
        sent(&none),
        Ok(Some(driver(Vec::<i64>::new(), &Type::INT8_ARRAY)))
    );
    let rows = [
        Value::Int(1),
        Value::Bool(true),
        Value::Null,
        Value::Bool(false),
    ];
    let column = Bound {
        param: Param::Column(&rows, 2, Kind::I16),
        role: Role::Stored,
    };
    assert_eq!(column.ty(), Type::INT2_ARRAY);
    let expected = driver(vec![Some(1_i16), None], &Type::INT2_ARRAY);
    assert_eq!(sent(&column), Ok(Some(expected)));
}

#[test]
fn numbers_are_compared_wide_and_stored_narrow() {
    let large = Value::Int(40_000);
    assert_eq!(sent(&stored(&large, Kind::I16)), Err(OUT_OF_RANGE));
    assert_eq!(
        sent(&stored(&Value::Int(1 << 40), Kind::I32)),
        Err(OUT_OF_RANGE)
    );
    let wide = compared(&large, Kind::I16);
    assert_eq!(
        (wide.ty(), sent(&wide)),
        (Type::INT8, Ok(Some(driver(40_000_i64, &Type::INT8))))
    );
    let tenth = Value::Float(0.1);
    assert_eq!(sent(&stored(&tenth, Kind::F32)), Err(OUT_OF_RANGE));
    let wide = compared(&tenth, Kind::F32);
    assert_eq!(
        (wide.ty(), sent(&wide)),
        (Type::FLOAT8, Ok(Some(driver(0.1, &Type::FLOAT8))))
    );
    for bad in [f64::NAN, f64::INFINITY] {
        assert_eq!(
            sent(&stored(&Value::Float(bad), Kind::F64)),
            Err(OUT_OF_RANGE)
        );
        assert_eq!(
            sent(&stored(&Value::Float(bad), Kind::F32)),
            Err(OUT_OF_RANGE)
        );
    }
}

#[test]
fn what_is_before_the_first_day_compares_and_is_not_stored() {
    let day = Value::Date("-009999-01-01".parse().expect("a date"));
    let at: Timestamp = "-009999-01-02T01:59:59Z".parse().expect("a timestamp");
    let at = Value::Timestamp(at);
    assert!(sent(&stored(&day, Kind::Date)).is_err());
    assert!(sent(&stored(&at, Kind::Timestamp)).is_err());
    let infinity = i32::MIN.to_be_bytes().to_vec();
    assert_eq!(sent(&compared(&day, Kind::Date)), Ok(Some(infinity)));
    let infinity = i64::MIN.to_be_bytes().to_vec();
    assert_eq!(sent(&compared(&at, Kind::Timestamp)), Ok(Some(infinity)));
}

#[test]
fn garbage_is_not_sent() {
    for (value, kind) in [
        (Value::Text("a\0b".into()), Kind::Text),
        (Value::Json("\0".into()), Kind::Json),
        (Value::Int(1), Kind::Text),
        (Value::Text("1".into()), Kind::I64),
        (Value::Decimal(Decimal::ONE), Kind::F64),
    ] {
        assert!(sent(&stored(&value, kind)).is_err(), "{value:?}");
        assert!(sent(&compared(&value, kind)).is_err(), "{value:?}");
    }
    let text = Bound::compared(Param::Text("\0".into()));
    assert!(sent(&text).is_err());
}

fn types(bound: &[Bound<'_>]) -> Vec<Type> {
    bound.iter().map(Bound::ty).collect()
}

fn small_is(number: i64) -> Filter {
    Filter::Compare {
        left: Expr::Column(SMALL),
        op: Comparison::Eq,
        value: Value::Int(number),
    }
}

#[test]
fn a_read_compares_wide() {
    let mut select = Select::new(&TABLE);
    select.filter = Filter::And(vec![
        small_is(1),
        Filter::in_values(SINGLE, vec![Value::Float(1.0)]),
    ]);
    select.limit = Some(u64::MAX);
    let expected = [Type::INT8, Type::FLOAT8_ARRAY, Type::INT8];
    assert_eq!(types(&of_select(&select)), expected);
}

#[test]
fn a_write_stores_adds_and_compares() {
    let set = |at, value| (at, Assign::Set(value));
    let update = Write::new(WriteOp::Update(UpdateWhere {
        table: &TABLE,
        set: vec![
            set(SMALL, Value::Int(1)),
            (SINGLE, Assign::Add(Value::Float(1.0))),
        ],
        filter: small_is(2),
    }));
    let expected = [Type::INT2, Type::FLOAT8, Type::INT8];
    assert_eq!(types(&of_write(&update, 0..1)), expected);
    let rows = Write::new(WriteOp::UpdateRows(UpdateRows {
        table: &TABLE,
        columns: vec![0, SMALL],
        by: 1,
        values: [1, 2, 3, 4].map(Value::Int).to_vec(),
        set: vec![(SMALL, Assign::Add(Value::Int(1)))],
    }));
    let expected = [Type::INT8_ARRAY, Type::INT2_ARRAY, Type::INT8];
    assert_eq!(types(&of_write(&rows, 0..2)), expected);
}

fn insert(rows: usize) -> InsertRows {
    let row = || [Value::Int(7), Value::Null, Value::Text("larder".into())];
    InsertRows {
        table: &TABLE,
        columns: vec![0, SMALL, NAME],
        values: (0..rows).flat_map(|_| row()).collect(),
        on_conflict: None,
    }
}

#[test]
fn an_insert_stores_and_an_upsert_adds() {
    let mut one = insert(1);
    one.on_conflict = Some(OnConflict {
        target: vec![0],
        action: ConflictAction::Update {
            columns: vec![NAME],
            set: vec![(SMALL, Assign::Add(Value::Int(1)))],
            filter: Filter::All,
        },
    });
    let one = Write::new(WriteOp::Insert(one));
    let expected = [Type::INT8, Type::INT2, Type::TEXT, Type::INT8];
    assert_eq!(types(&of_write(&one, 0..1)), expected);
    let several = Write::new(WriteOp::Insert(insert(3)));
    let expected = [Type::INT8_ARRAY, Type::INT2_ARRAY, Type::TEXT_ARRAY];
    assert_eq!(types(&of_write(&several, 0..3)), expected);
}

fn copied(insert: &InsertRows) -> Vec<Bytes> {
    let mut encoder = CopyEncoder::new(insert);
    let next = || encoder.next_piece().expect("the values fit");
    std::iter::from_fn(next).collect()
}

#[test]
fn rows_travel_as_copy_takes_them() {
    let mut expected = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    expected.extend(b"\0\x03\0\0\0\x08\0\0\0\0\0\0\0\x07\xff\xff\xff\xff\0\0\0\x06larder");
    expected.extend([0xff, 0xff]);
    assert_eq!(copied(&insert(1)).concat(), expected);
    assert_eq!(copied(&insert(0)).concat().len(), 19 + 2);
    let pieces = copied(&insert(20_000));
    assert!(pieces.iter().all(|piece| piece.len() < PIECE_BYTES + 100));
    assert_eq!(pieces.concat().len(), 19 + 20_000 * 28 + 2);
}

#[test]
fn a_row_that_does_not_fit_is_named() {
    let mut rows = insert(2);
    rows.values[4] = Value::Int(40_000);
    let error = CopyEncoder::new(&rows)
        .next_piece()
        .expect_err("it is too large");
    assert_eq!(
        (error.kind(), error.column()),
        (ErrorKind::Invalid, Some("small"))
    );
}

proptest! {
    #[test]
    fn lists_of_any_length_are_those_of_the_driver(list: Vec<Option<i32>>) {
        let values: Vec<Value> = list.iter()
            .map(|one| one.map_or(Value::Null, |v| Value::Int(v.into())))
            .collect();
        let param = Param::Column(&values, 1, Kind::I32);
        let bound = Bound { param, role: Role::Stored };
        prop_assert_eq!(sent(&bound), Ok(Some(driver(&list, &Type::INT4_ARRAY))));
    }
}
