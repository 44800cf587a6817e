//! What a text may begin with, and how columns are placed.

use super::*;
use crate::error::ErrorKind;
use crate::rows::OwnedRow;

fn named(name: &'static str, kind: Kind) -> SqlColumn {
    SqlColumn {
        name: Some(name),
        kind,
    }
}

fn placed(kind: Kind) -> SqlColumn {
    SqlColumn { name: None, kind }
}

fn found(name: &'static str, kind: Kind) -> FoundColumn<'static> {
    FoundColumn {
        name: name.into(),
        holds: Holds::Kind(kind),
    }
}

fn wanting(columns: Vec<SqlColumn>) -> RawStatement {
    let statement = RawStatement::new("SELECT".into(), RawAccess::Read);
    let mut statement = statement.expect("it reads");
    statement.columns = Some(columns);
    statement
}

#[test]
fn a_statement_reads_or_changes_rows() {
    let kind = |text: &'static str, access| {
        RawStatement::new(text.into(), access)
            .err()
            .map(|error| error.kind())
    };
    for text in [
        "SELECT 1",
        "  with x AS (SELECT 1) SELECT 1",
        "-- COMMIT\n /* DROP */ Values(1)",
    ] {
        assert_eq!(kind(text, RawAccess::Read), None, "{text}");
        assert_eq!(kind(text, RawAccess::Write), None, "{text}");
    }
    for text in ["INSERT INTO a", "update a", "/**/delete from a"] {
        assert_eq!(kind(text, RawAccess::Read), Some(ErrorKind::Misuse));
        assert_eq!(kind(text, RawAccess::Write), None, "{text}");
    }
    for text in [
        "",
        "COMMIT",
        ";COMMIT",
        "PRAGMA query_only = 0",
        "-- SELECT",
        "/* SELECT",
        "SELECTED",
        "\u{feff}COMMIT",
        "BEGIN",
        "DROP TABLE a",
        "VACUUM",
        "SET x = 1",
    ] {
        assert_eq!(
            kind(text, RawAccess::Write),
            Some(ErrorKind::Misuse),
            "{text}"
        );
    }
}

#[test]
fn names_are_found_wherever_they_are() {
    let statement = wanting(vec![named("b", Kind::I64), named("a", Kind::Text)]);
    let columns = [
        found("a", Kind::Text),
        found("extra", Kind::Bool),
        found("b", Kind::I16),
    ];
    let places = statement.place(&columns).expect("both are there");
    let values = [Value::Text("x".into()), Value::Bool(true), Value::Int(7)];
    let row = OwnedRow::new(&values);
    let row = places.row(&row);
    assert!(matches!(row.value(0, Kind::I64), Ok(ValueRef::Int(7))));
    assert!(matches!(row.value(1, Kind::Text), Ok(ValueRef::Text("x"))));
    assert!(row.value(2, Kind::Bool).is_err());
}

#[test]
fn what_does_not_fit_is_listed() {
    let message = |wanted, columns: &[FoundColumn<'_>]| {
        let error = wanting(wanted).place(columns).expect_err("it does not fit");
        assert_eq!(error.kind(), ErrorKind::Misuse);
        error.message().to_owned()
    };
    assert_eq!(
        message(
            vec![
                named("a", Kind::Text),
                named("n", Kind::I32),
                named("z", Kind::Bool)
            ],
            &[
                found("n", Kind::I64),
                found("a", Kind::Text),
                FoundColumn {
                    name: "a".into(),
                    holds: Holds::Other("point".into())
                },
            ],
        ),
        "the statement brings other columns: `a` is there twice, `n` i64 is no i32, `z` bool is \
         missing; wanted: `a` text, `n` i32, `z` bool; came: `n` i64, `a` text, `a` point"
    );
    assert_eq!(
        message(
            vec![placed(Kind::I64), placed(Kind::I64)],
            &[found("n", Kind::Text)]
        ),
        "the statement brings other columns: 1 columns instead of 2; wanted: i64, i64; \
         came: `n` text"
    );
    assert_eq!(
        message(vec![placed(Kind::I64)], &[]),
        "the statement brings other columns: 0 columns instead of 1; wanted: i64; came: nothing"
    );
}
