//! What SQLite answers: the three-valued corners that the text alone does not show.

use larder_core::select::{Link, LinkPath, OrderBy};
use larder_core::{Aggregate, Comparison, Expr, Filter, Nulls, Output, TextMatch, Value};
use rusqlite::Connection;

use super::{POSTS, USERS, database, filtered, run, select};
use crate::filter::successor;
use crate::{Dialect, render_select};

fn filled() -> Connection {
    let db = database();
    db.execute_batch(
        "INSERT INTO users (id, email, name, bio, age, balance) VALUES
           (1, 'Ada@x', 'Ada', 'a_b%c', 30, '1.0'),
           (2, 'bob@x', 'Bob', NULL, NULL, NULL),
           (3, 'cyd@y', 'Cyd', '', 20, '10'),
           (4, 'dan@y', 'Dan', 'ÄÖ\u{10FFFF}z', 40, '1.00');
         INSERT INTO posts (author_id, title, rank) VALUES
           (1, 'a', 3), (1, 'b', 1), (1, 'c', NULL), (2, 'd', 5), (3, 'e', 2), (3, 'e', 2);",
    )
    .unwrap();
    db
}

/// The keys of the users that the filter takes.
#[track_caller]
fn takes(db: &Connection, filter: Filter, keys: &str) {
    let mut query = filtered(&USERS, filter);
    query.output = Output::Exprs(vec![Expr::Column(0)]);
    query.order = vec![OrderBy {
        expr: Expr::Column(0),
        descending: false,
        nulls: Nulls::Last,
    }];
    assert_eq!(run(db, &query).join(" "), keys);
}

fn not(filter: Filter) -> Filter {
    Filter::Not(Box::new(filter))
}

fn bio(op: TextMatch, fold: bool, pattern: &str) -> Filter {
    Filter::Text {
        column: 4,
        op,
        fold,
        pattern: pattern.to_owned(),
    }
}

#[test]
fn null_is_neither() {
    let db = filled();
    let adult = |value| Filter::Compare {
        left: Expr::Column(5),
        op: Comparison::Ge,
        value,
    };
    takes(&db, adult(Value::Int(30)), "1 4");
    takes(&db, not(adult(Value::Int(30))), "3");
    takes(&db, adult(Value::Null), "");
    takes(&db, not(adult(Value::Null)), "");
    takes(&db, Filter::IsNull { column: 5 }, "2");
    takes(&db, not(Filter::IsNull { column: 5 }), "1 3 4");
    let none = || Filter::In {
        column: 5,
        values: vec![],
    };
    takes(&db, none(), "");
    takes(&db, not(none()), "1 2 3 4");
    let some = || Filter::in_values(5, vec![Value::Int(20), Value::Int(30), Value::Int(20)]);
    takes(&db, some(), "1 3");
    takes(&db, not(some()), "4");
    takes(&db, Filter::And(vec![]), "1 2 3 4");
    takes(&db, Filter::Or(vec![]), "");
}

#[test]
fn text_is_literal() {
    use TextMatch::*;
    let db = filled();
    for (op, fold, pattern, yes, no) in [
        (Contains, false, "_b%", "1", "3 4"),
        (Contains, false, "", "1 3 4", ""),
        (Contains, true, "a", "1", "3 4"),
        (StartsWith, false, "a_", "1", "3 4"),
        (StartsWith, false, "A", "", "1 3 4"),
        (StartsWith, false, "", "1 3 4", ""),
        (StartsWith, false, "ÄÖ", "4", "1 3"),
        (StartsWith, false, "ÄÖ\u{10FFFF}", "4", "1 3"),
        (StartsWith, true, "äö", "", "1 3 4"),
        (EndsWith, false, "%c", "1", "3 4"),
        (EndsWith, false, "", "1 3 4", ""),
        (EndsWith, false, "xxxxxxa_b%c", "", "1 3 4"),
        (EndsWith, false, "\u{10FFFF}z", "4", "1 3"),
        (Equals, false, "", "3", "1 4"),
    ] {
        takes(&db, bio(op, fold, pattern), yes);
        takes(&db, not(bio(op, fold, pattern)), no);
    }
    let folded = |op, pattern: &str| Filter::Text {
        column: 1,
        op,
        fold: true,
        pattern: pattern.to_owned(),
    };
    takes(&db, folded(Equals, "ada@x"), "1");
    takes(&db, folded(StartsWith, "ad"), "1");
    takes(&db, folded(EndsWith, "a@x"), "1");
}

#[test]
fn decimals_compare_by_value() {
    let db = filled();
    let one = || Value::Decimal(larder_core::Decimal::ONE);
    let is = |op| Filter::Compare {
        left: Expr::Column(6),
        op,
        value: one(),
    };
    takes(&db, is(Comparison::Eq), "1 4");
    takes(&db, is(Comparison::Gt), "3");
    takes(&db, Filter::in_values(6, vec![one()]), "1 4");
    let sum = Expr::Aggregate(Aggregate::Sum, Some(6));
    let groups = select(&USERS, |select| {
        select.output = Output::Exprs(vec![
            Expr::Column(6),
            Expr::Aggregate(Aggregate::Count, None),
        ]);
        select.group_by = vec![6];
        select.having = Filter::Compare {
            left: sum,
            op: Comparison::Gt,
            value: one(),
        };
        select.order = vec![OrderBy {
            expr: sum,
            descending: true,
            nulls: Nulls::Last,
        }];
    });
    assert_eq!(run(&db, &groups), ["10 1", "1.0 2"]);
}

#[test]
fn limits_are_per_parent_and_in_order() {
    let db = filled();
    let mut query = select(&POSTS, |select| {
        select.output = Output::Exprs(vec![Expr::Column(2)]);
        let parents = (1..=3).map(Value::Int).collect();
        select.link = Some(Link {
            path: LinkPath::Column(1),
            parents,
            limit: Some(2),
        });
        select.order = vec![OrderBy {
            expr: Expr::Column(3),
            descending: true,
            nulls: Nulls::First,
        }];
    });
    assert_eq!(run(&db, &query), ["1 c", "2 d", "1 a", "3 e", "3 e"]);
    query.distinct = true;
    assert_eq!(run(&db, &query), ["1 c", "2 d", "1 a", "3 e"]);
    (query.limit, query.offset) = (Some(2), 1);
    assert_eq!(run(&db, &query), ["2 d", "1 a"]);
}

#[test]
fn lists_and_prefixes_use_indexes() {
    let db = database();
    let plan = |filter| {
        let sql = render_select(Dialect::Sqlite, &filtered(&USERS, filter)).sql;
        let mut plan = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let mut rows = plan.raw_query();
        let first = rows.next().unwrap().unwrap();
        first.get::<_, String>(3).unwrap()
    };
    let list = plan(Filter::In {
        column: 1,
        values: vec![],
    });
    assert_eq!(list, "SEARCH users USING INDEX users_email_key (email=?)");
    let prefix = plan(Filter::Text {
        column: 1,
        op: TextMatch::StartsWith,
        fold: false,
        pattern: "a".to_owned(),
    });
    assert_eq!(
        prefix,
        "SEARCH users USING INDEX users_email_key (email>? AND email<?)"
    );
}

#[test]
fn successors() {
    assert_eq!(successor("ab").as_deref(), Some("ac"));
    assert_eq!(successor("a\u{D7FF}").as_deref(), Some("a\u{E000}"));
    assert_eq!(successor("a\u{10FFFF}\u{10FFFF}").as_deref(), Some("b"));
    assert_eq!(successor("\u{10FFFF}"), None);
    assert_eq!(successor(""), None);
}
