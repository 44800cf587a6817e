use super::fixture::{NOTES, POST_TAGS, POSTS, TAGS, USERS, decimal, int, text, user};
use super::*;
use crate::error::ErrorKind;
use crate::filter::{Comparison, Related, TextMatch};
use crate::select::{Aggregate, Link, Nulls, OrderBy};

/// Rows in plain lists: the default methods of [`Source`] do the rest.
#[derive(Default)]
struct Lists(Vec<(&'static Table, Vec<Stored>)>);

impl Lists {
    fn with(mut self, table: &'static Table, rows: Vec<Vec<Value>>) -> Self {
        self.0
            .push((table, rows.into_iter().map(Stored::from).collect()));
        self
    }
}

impl Source for Lists {
    fn rows(&self, table: &'static Table) -> RowIter<'_> {
        Box::new(
            self.0
                .iter()
                .filter(|(one, _)| one.is(table))
                .flat_map(|(_, rows)| rows),
        )
    }
}

/// Ada 36, Bob 20 (boss Ada), Cyd of no age (boss Ada), Dan 20 (boss Bob).
fn users() -> Lists {
    Lists::default().with(
        &USERS,
        vec![
            user(1, "Ada", Some(36), None),
            user(2, "bob", Some(20), Some(1)),
            user(3, "Cyd%", None, Some(1)),
            user(4, "dan", Some(20), Some(2)),
        ],
    )
}

/// Posts 10 and 11 by Ada, 12 by bob; tags 1 and 2; post 10 has both, 12 has tag 1.
fn blog() -> Lists {
    users()
        .with(
            &POSTS,
            vec![
                vec![int(10), int(1), text("b")],
                vec![int(11), int(1), text("a")],
                vec![int(12), int(2), text("c")],
            ],
        )
        .with(
            &TAGS,
            vec![vec![int(1), text("x")], vec![int(2), text("y")]],
        )
        .with(
            &POST_TAGS,
            vec![
                vec![int(10), int(1)],
                vec![int(10), int(2)],
                vec![int(12), int(1)],
            ],
        )
}

fn compare(column: usize, op: Comparison, value: Value) -> Filter {
    Filter::Compare {
        left: Expr::Column(column),
        op,
        value,
    }
}

fn not(filter: Filter) -> Filter {
    Filter::Not(Box::new(filter))
}

/// The ids that a filter of users takes.
fn ids(filter: Filter) -> Vec<i64> {
    let mut select = Select::new(&USERS);
    select.filter = filter;
    first_ints(&evaluate(select, &blog()).expect("answers"))
}

fn first_ints(rows: &[Stored]) -> Vec<i64> {
    rows.iter().map(|row| as_int(&row[0])).collect()
}

fn as_int(value: &Value) -> i64 {
    match value {
        Value::Int(v) => *v,
        other => panic!("not an integer: {other:?}"),
    }
}

fn order(column: usize, descending: bool, nulls: Nulls) -> OrderBy {
    OrderBy {
        expr: Expr::Column(column),
        descending,
        nulls,
    }
}

fn aggregate(function: Aggregate, column: usize) -> Expr {
    Expr::Aggregate(function, Some(column))
}

const COUNT: Expr = Expr::Aggregate(Aggregate::Count, None);

fn select(table: &'static Table, exprs: Vec<Expr>) -> Select {
    let mut select = Select::new(table);
    select.output = Output::Exprs(exprs);
    select
}

fn rows(select: Select, source: &dyn Source) -> Vec<Vec<Value>> {
    evaluate(select, source)
        .expect("answers")
        .iter()
        .map(|row| row.to_vec())
        .collect()
}

fn kind_of(select: Select, source: &dyn Source) -> ErrorKind {
    evaluate(select, source).expect_err("refused").kind()
}

#[test]
fn comparing_with_null_is_neither_true_nor_false() {
    let twenty = || compare(3, Comparison::Eq, int(20));
    assert_eq!(ids(twenty()), [2, 4]);
    assert_eq!(ids(not(twenty())), [1]);
    assert_eq!(ids(compare(3, Comparison::Ne, int(20))), [1]);
    assert_eq!(ids(compare(3, Comparison::Eq, Value::Null)), [0_i64; 0]);
    assert_eq!(
        ids(not(compare(3, Comparison::Eq, Value::Null))),
        [0_i64; 0]
    );
    assert_eq!(ids(Filter::IsNull { column: 3 }), [3]);
    assert_eq!(ids(not(Filter::IsNull { column: 3 })), [1, 2, 4]);
    // Neither OR true is true; neither AND false is false, whose opposite is true.
    let cyd = || compare(0, Comparison::Eq, int(3));
    assert_eq!(ids(Filter::Or(vec![twenty(), cyd()])), [2, 3, 4]);
    assert_eq!(ids(not(Filter::And(vec![twenty(), not(cyd())]))), [1, 3]);
    assert_eq!(ids(Filter::And(vec![])), [1, 2, 3, 4]);
    assert_eq!(ids(Filter::Or(vec![])), [0_i64; 0]);
}

#[test]
fn every_comparison_means_what_it_says() {
    for (op, expected) in [
        (Comparison::Lt, vec![2, 4]),
        (Comparison::Le, vec![1, 2, 4]),
        (Comparison::Gt, vec![]),
        (Comparison::Ge, vec![1]),
    ] {
        assert_eq!(ids(compare(3, op, int(36))), expected, "{op:?}");
    }
    let below = Filter::CompareColumns {
        left: 6,
        op: Comparison::Lt,
        right: 0,
    };
    assert_eq!(ids(below), [2, 3, 4]); // Ada has no boss: neither
}

#[test]
fn membership_follows_sql() {
    let within = |values| Filter::In { column: 3, values };
    assert_eq!(
        ids(within(vec![int(36), int(20)])),
        [1, 2, 4],
        "the list need not be sorted"
    );
    assert_eq!(
        ids(not(within(vec![int(36)]))),
        [2, 4],
        "NULL is neither in nor out"
    );
    assert_eq!(ids(within(vec![])), [0_i64; 0]);
    assert_eq!(
        ids(not(within(vec![]))),
        [1, 2, 3, 4],
        "even NULL is not in an empty list"
    );
}

#[test]
fn texts_match_literally_and_fold_ascii_only() {
    let find = |op, fold, pattern: &str| {
        ids(Filter::Text {
            column: 1,
            op,
            fold,
            pattern: pattern.to_owned(),
        })
    };
    assert_eq!(find(TextMatch::Contains, false, "%"), [3]);
    assert_eq!(find(TextMatch::StartsWith, false, "a"), [0_i64; 0]);
    assert_eq!(find(TextMatch::StartsWith, true, "a"), [1]);
    assert_eq!(find(TextMatch::EndsWith, false, "a"), [1]);
    assert_eq!(find(TextMatch::Equals, true, "ada"), [1]);
    assert_eq!(find(TextMatch::Contains, false, ""), [1, 2, 3, 4]);
    let nick = Filter::Text {
        column: 2,
        op: TextMatch::Contains,
        fold: false,
        pattern: String::new(),
    };
    assert_eq!(
        ids(nick.clone()),
        [0_i64; 0],
        "NULL holds no text, not even the empty one"
    );
    assert_eq!(ids(not(nick)), [0_i64; 0]);
}

#[test]
fn relations_are_never_neither() {
    let with_post = |title| {
        Filter::Related(Box::new(Related {
            from: 0,
            table: &POSTS,
            to: 1,
            filter: compare(2, Comparison::Eq, text(title)),
        }))
    };
    assert_eq!(ids(with_post("a")), [1]);
    assert_eq!(ids(not(with_post("a"))), [2, 3, 4]);
    let boss_is_ada = Filter::Related(Box::new(Related {
        from: 6,
        table: &USERS,
        to: 0,
        filter: compare(1, Comparison::Eq, text("Ada")),
    }));
    assert_eq!(
        ids(not(boss_is_ada)),
        [1, 4],
        "no boss at all is false, not neither"
    );
}

#[test]
fn nulls_go_where_the_order_says() {
    let ordered = |descending, nulls| {
        let mut select = Select::new(&USERS);
        select.order = vec![order(3, descending, nulls), order(0, true, Nulls::Last)];
        first_ints(&evaluate(select, &users()).expect("answers"))
    };
    assert_eq!(ordered(false, Nulls::Last), [4, 2, 1, 3]);
    assert_eq!(ordered(false, Nulls::First), [3, 4, 2, 1]);
    assert_eq!(ordered(true, Nulls::First), [3, 1, 4, 2]);
    assert_eq!(ordered(true, Nulls::Last), [1, 4, 2, 3]);
}

#[test]
fn limits_count_after_duplicates_are_gone() {
    let mut ages = select(&USERS, vec![Expr::Column(3)]);
    ages.distinct = true;
    ages.order = vec![order(3, false, Nulls::Last)];
    assert_eq!(
        rows(ages.clone(), &users()),
        [[int(20)], [int(36)], [Value::Null]]
    );
    ages.offset = 1;
    ages.limit = Some(1);
    assert_eq!(rows(ages.clone(), &users()), [[int(36)]]);
    ages.limit = Some(0);
    assert!(rows(ages.clone(), &users()).is_empty());
    ages.limit = None;
    ages.offset = u64::MAX;
    assert!(rows(ages, &users()).is_empty());
}

#[test]
fn aggregates_leave_nulls_out() {
    let all = |column| {
        select(
            &USERS,
            vec![
                COUNT,
                aggregate(Aggregate::Count, column),
                aggregate(Aggregate::CountDistinct, column),
                aggregate(Aggregate::Sum, column),
                aggregate(Aggregate::Avg, column),
                aggregate(Aggregate::Min, column),
                aggregate(Aggregate::Max, column),
            ],
        )
    };
    let avg = Value::Float(76.0 / 3.0);
    let expected = vec![int(4), int(3), int(2), int(76), avg, int(20), int(36)];
    assert_eq!(rows(all(3), &users()), [expected]);
    let mut nothing = vec![int(0), int(0), int(0)];
    nothing.resize(7, Value::Null);
    assert_eq!(
        rows(all(3), &Lists::default()),
        [nothing.clone()],
        "no rows give one row"
    );
    nothing[0] = int(4);
    assert_eq!(rows(all(4), &users()), [nothing], "NULLs alone give NULL");
}

#[test]
fn decimals_add_up_exactly() {
    let paid = |amounts: &[&str]| {
        let rows = amounts.iter().zip(1..).map(|(amount, id)| {
            let mut row = user(id, "a", None, None);
            row[5] = decimal(amount);
            row
        });
        Lists::default().with(&USERS, rows.collect())
    };
    let sum = || {
        select(
            &USERS,
            vec![aggregate(Aggregate::Sum, 5), aggregate(Aggregate::Avg, 5)],
        )
    };
    let third = decimal("0.3333333333333333333333333333");
    assert_eq!(
        rows(sum(), &paid(&["0.1", "0.70", "0.2"])),
        [[decimal("1.0"), third]]
    );
    let huge = paid(&["79228162514264337593543950335", "1"]);
    assert_eq!(kind_of(sum(), &huge), ErrorKind::Engine);
    let too_fine = paid(&["79228162514264337593543950335", "0.4"]);
    assert_eq!(
        kind_of(sum(), &too_fine),
        ErrorKind::Engine,
        "it is not rounded in silence"
    );
    let mut distinct = select(&USERS, vec![aggregate(Aggregate::CountDistinct, 5)]);
    assert_eq!(rows(distinct.clone(), &paid(&["1.0", "1.00"])), [[int(1)]]);
    distinct.output = Output::Exprs(vec![Expr::Column(5)]);
    distinct.distinct = true;
    assert_eq!(rows(distinct, &paid(&["1.0", "1.00"])).len(), 1);
}

#[test]
fn a_sum_beyond_its_type_is_an_error() {
    let keys = |ids: &[i64]| {
        let rows = ids.iter().map(|id| user(*id, "a", None, None)).collect();
        Lists::default().with(&USERS, rows)
    };
    let sum = || select(&USERS, vec![aggregate(Aggregate::Sum, 0)]);
    let error = evaluate(sum(), &keys(&[i64::MAX, 1])).expect_err("overflow");
    assert_eq!(
        (error.kind(), error.column()),
        (ErrorKind::Engine, Some("id"))
    );
    assert!(
        error.to_string().contains("integer overflow in sum"),
        "{error}"
    );
    assert_eq!(rows(sum(), &keys(&[i64::MAX, 1, -1])), [[int(i64::MAX)]]);
    let floats = || {
        let rows = [1, 2].map(|id| {
            let mut row = user(id, "a", None, None);
            row[4] = Value::Float(f64::MAX);
            row
        });
        Lists::default().with(&USERS, rows.to_vec())
    };
    let sum = select(&USERS, vec![aggregate(Aggregate::Sum, 4)]);
    assert_eq!(kind_of(sum, &floats()), ErrorKind::Engine);
}

#[test]
fn groups_keep_null_together_and_having_chooses() {
    let mut by_boss = select(&USERS, vec![Expr::Column(6), COUNT]);
    by_boss.group_by = vec![6];
    by_boss.order = vec![
        OrderBy {
            expr: COUNT,
            descending: true,
            nulls: Nulls::Last,
        },
        order(6, false, Nulls::Last),
    ];
    let expected = [[int(1), int(2)], [int(2), int(1)], [Value::Null, int(1)]];
    assert_eq!(rows(by_boss.clone(), &users()), expected);
    // An aggregate of `having` need not be in the output.
    by_boss.having = Filter::Compare {
        left: aggregate(Aggregate::Max, 0),
        op: Comparison::Ge,
        value: int(3),
    };
    assert_eq!(
        rows(by_boss.clone(), &users()),
        [[int(1), int(2)], [int(2), int(1)]]
    );
    assert!(
        rows(by_boss, &Lists::default()).is_empty(),
        "no rows, no groups"
    );
}

#[test]
fn having_can_refuse_the_only_group() {
    let mut count = select(&USERS, vec![COUNT]);
    count.having = Filter::Compare {
        left: COUNT,
        op: Comparison::Gt,
        value: int(0),
    };
    assert!(rows(count.clone(), &Lists::default()).is_empty());
    assert_eq!(rows(count, &users()), [[int(4)]]);
}

#[test]
fn children_come_with_their_parent() {
    let mut posts = select(&POSTS, vec![Expr::Column(0)]);
    posts.link = Some(Link {
        path: LinkPath::Column(1),
        parents: vec![int(3), int(2), int(1), int(2)],
        limit: None,
    });
    posts.order = vec![order(2, false, Nulls::Last)];
    let all = [[int(1), int(11)], [int(1), int(10)], [int(2), int(12)]];
    assert_eq!(rows(posts.clone(), &blog()), all);
    posts.link.as_mut().expect("set").limit = Some(1);
    assert_eq!(
        rows(posts.clone(), &blog()),
        [[int(1), int(11)], [int(2), int(12)]]
    );
    posts.output = Output::Entity;
    let whole = rows(posts.clone(), &blog());
    assert_eq!(whole[0], [int(1), int(11), int(1), text("a")]);
    posts.output = Output::Exprs(vec![COUNT]);
    posts.order.clear();
    posts.link.as_mut().expect("set").limit = None;
    let counts = [[int(1), int(2)], [int(2), int(1)]];
    assert_eq!(
        rows(posts, &blog()),
        counts,
        "a parent without children does not appear"
    );
}

#[test]
fn a_join_gives_a_child_to_each_of_its_parents() {
    let through = LinkPath::Through {
        table: &POST_TAGS,
        parent: 1,
        child: 0,
        to: 0,
    };
    let mut posts = select(&POSTS, vec![Expr::Column(0)]);
    posts.link = Some(Link {
        path: through,
        parents: vec![int(1), int(2), int(9)],
        limit: None,
    });
    posts.order = vec![order(0, true, Nulls::Last)];
    let all = [[int(1), int(12)], [int(1), int(10)], [int(2), int(10)]];
    assert_eq!(rows(posts.clone(), &blog()), all);
    posts.filter = compare(1, Comparison::Eq, int(1));
    assert_eq!(
        rows(posts.clone(), &blog()),
        [[int(1), int(10)], [int(2), int(10)]]
    );
    posts.filter = Filter::All;
    posts.output = Output::Exprs(vec![COUNT]);
    posts.order.clear();
    assert_eq!(rows(posts, &blog()), [[int(1), int(2)], [int(2), int(1)]]);
}

#[test]
fn what_makes_no_sense_is_misuse() {
    let mut not_grouped = select(&USERS, vec![Expr::Column(1), COUNT]);
    not_grouped.group_by = vec![3];
    let mut aggregate_in_filter = Select::new(&USERS);
    aggregate_in_filter.filter = Filter::Compare {
        left: COUNT,
        op: Comparison::Eq,
        value: int(1),
    };
    let mut having = Select::new(&USERS);
    having.having = compare(0, Comparison::Eq, int(1));
    let mut number_as_text = Select::new(&USERS);
    number_as_text.filter = Filter::Text {
        column: 0,
        op: TextMatch::Contains,
        fold: false,
        pattern: "1".to_owned(),
    };
    let mut order_by_aggregate = Select::new(&USERS);
    order_by_aggregate.order = vec![OrderBy {
        expr: COUNT,
        descending: false,
        nulls: Nulls::Last,
    }];
    for wrong in [
        not_grouped,
        aggregate_in_filter,
        having,
        number_as_text,
        order_by_aggregate,
        select(&USERS, vec![Expr::Column(7)]),
        select(&USERS, vec![aggregate(Aggregate::Sum, 1)]),
        select(&USERS, vec![Expr::Aggregate(Aggregate::Max, None)]),
    ] {
        assert_eq!(kind_of(wrong, &Lists::default()), ErrorKind::Misuse);
    }
}

#[test]
fn a_read_names_all_its_tables() {
    let mut posts = Select::new(&POSTS);
    posts.filter = not(Filter::Related(Box::new(Related {
        from: 0,
        table: &NOTES,
        to: 2,
        filter: Filter::All,
    })));
    let names: Vec<_> = tables(&posts).iter().map(|table| table.name).collect();
    assert_eq!(names, ["posts", "notes"]);
}
