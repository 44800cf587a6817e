//! The text of reads, construct by construct; SQLite's is prepared for real.

use larder_core::filter::Related;
use larder_core::select::{Link, LinkPath, OrderBy};
use larder_core::{
    Aggregate, Comparison, Expr, Filter, JsonStep, JsonTest, Kind, Nulls, Output, RowLock, Select,
    TextMatch, Value,
};

use super::{KINDS, POST_TAGS, POSTS, TAGS, USERS, database, filtered, fitting, select};
use crate::{Dialect, render_select};

/// Checks both texts, SQLite's by preparing it too.
#[track_caller]
fn both(select: &Select, sqlite: &str, postgres: &str) {
    let text = render_select(Dialect::Sqlite, select);
    assert_eq!(text.sql, sqlite);
    assert_eq!(render_select(Dialect::Postgres, select).sql, postgres);
    let db = database();
    let prepared = db.prepare(sqlite).expect("SQLite accepts the text");
    assert_eq!(prepared.parameter_count(), text.parameters);
}

/// Checks the condition of a read of users' keys.
#[track_caller]
fn condition(filter: Filter, sqlite: &str, postgres: &str) {
    let mut select = filtered(&USERS, filter);
    select.output = Output::Exprs(vec![Expr::Column(0)]);
    let start = "SELECT \"id\" FROM \"users\" WHERE ";
    both(
        &select,
        &format!("{start}{sqlite}"),
        &format!("{start}{postgres}"),
    );
}

fn compare(column: usize, op: Comparison, value: i64) -> Filter {
    Filter::Compare {
        left: Expr::Column(column),
        op,
        value: Value::Int(value),
    }
}

fn text(op: TextMatch, fold: bool, pattern: &str) -> Filter {
    Filter::Text {
        column: 1,
        op,
        fold,
        pattern: pattern.to_owned(),
    }
}

fn by(expr: Expr, descending: bool, nulls: Nulls) -> OrderBy {
    OrderBy {
        expr,
        descending,
        nulls,
    }
}

#[test]
fn a_point_read() {
    let start = "SELECT \"id\", \"author_id\", \"title\", \"rank\", \"score\" FROM \"posts\" WHERE \"id\" = ";
    both(
        &filtered(&POSTS, compare(0, Comparison::Eq, 7)),
        &format!("{start}?1"),
        &format!("{start}$1"),
    );
    both(
        &Select::new(&TAGS),
        "SELECT \"id\", \"na\"\"me\" FROM \"tags\"",
        "SELECT \"id\", \"na\"\"me\" FROM \"tags\"",
    );
}

#[test]
fn comparisons() {
    for (op, sign) in [
        (Comparison::Eq, "="),
        (Comparison::Ne, "<>"),
        (Comparison::Lt, "<"),
        (Comparison::Le, "<="),
        (Comparison::Gt, ">"),
        (Comparison::Ge, ">="),
    ] {
        let [sqlite, postgres] = ["?1", "$1"].map(|p| format!("\"age\" {sign} {p}"));
        condition(compare(5, op, 1), &sqlite, &postgres);
    }
    let columns = Filter::CompareColumns {
        left: 0,
        op: Comparison::Lt,
        right: 7,
    };
    condition(columns, "\"id\" < \"version\"", "\"id\" < \"version\"");
    condition(
        Filter::IsNull { column: 4 },
        "\"bio\" IS NULL",
        "\"bio\" IS NULL",
    );
    let list = Filter::In {
        column: 0,
        values: vec![],
    };
    condition(list, "\"id\" IN rarray(?1)", "\"id\" = ANY($1)");
}

#[test]
fn logic() {
    let (one, two) = (
        || compare(0, Comparison::Gt, 1),
        || Filter::IsNull { column: 4 },
    );
    condition(Filter::And(vec![]).and(one()), "\"id\" > ?1", "\"id\" > $1");
    condition(
        Filter::And(vec![one(), Filter::Or(vec![two(), one()])]),
        "\"id\" > ?1 AND (\"bio\" IS NULL OR \"id\" > ?2)",
        "\"id\" > $1 AND (\"bio\" IS NULL OR \"id\" > $2)",
    );
    condition(Filter::Or(vec![]), "FALSE", "FALSE");
    let not = Filter::Not(Box::new(Filter::And(vec![one(), two()])));
    condition(
        not,
        "NOT ((\"id\" > ?1 AND \"bio\" IS NULL))",
        "NOT ((\"id\" > $1 AND \"bio\" IS NULL))",
    );
    condition(
        Filter::Not(Box::new(Filter::And(vec![]))),
        "NOT (TRUE)",
        "NOT (TRUE)",
    );
}

#[test]
fn texts() {
    use TextMatch::*;
    condition(text(Equals, false, "a"), "\"email\" = ?1", "\"email\" = $1");
    condition(
        text(Equals, true, "a"),
        "lower(\"email\") = ?1",
        "lower(\"email\" COLLATE \"C\") = $1",
    );
    condition(
        text(Contains, false, "a"),
        "instr(\"email\", ?1) > 0",
        "strpos(\"email\", $1) > 0",
    );
    condition(
        text(StartsWith, false, "a"),
        "(\"email\" >= ?1 AND \"email\" < ?2)",
        "(\"email\" >= $1 AND \"email\" < $2)",
    );
    condition(
        text(StartsWith, false, "\u{10FFFF}"),
        "\"email\" >= ?1",
        "\"email\" >= $1",
    );
    condition(
        text(StartsWith, true, ""),
        "\"email\" >= ''",
        "\"email\" >= ''",
    );
    condition(
        text(EndsWith, true, "a"),
        "substr(lower(\"email\"), -length(?1)) = ?1",
        "right(lower(\"email\" COLLATE \"C\"), length($1::text)) = $1",
    );
}

#[test]
fn paths_into_json() {
    let path = || vec![JsonStep::Key("a".to_owned()), JsonStep::Index(2)];
    let check = |test, sqlite: &str, postgres: &str| {
        let filter = Filter::Json {
            column: 13,
            path: path(),
            test,
        };
        let mut select = filtered(&KINDS, filter);
        select.output = Output::Exprs(vec![Expr::Column(0)]);
        let start = "SELECT \"id\" FROM \"kinds\" WHERE ";
        let place = "jsonb_path_query_first((\"doc\" -> $1::text), 'strict $[$i]', \
                     jsonb_build_object('i', $2::int), TRUE)";
        let postgres = postgres.replace('@', place);
        both(
            &select,
            &(start.to_owned() + sqlite),
            &(start.to_owned() + &postgres),
        );
    };
    let steps = "\"doc\", ?1, ?2";
    check(
        JsonTest::Exists,
        &format!("larder_json_look({steps}) IS NOT NULL"),
        "@ IS NOT NULL",
    );
    check(
        JsonTest::IsNull,
        &format!("larder_json_look({steps}) IS 1"),
        "jsonb_typeof(@) IS NOT DISTINCT FROM 'null'",
    );
    for (value, function, postgres) in [
        (
            Value::Text("t".into()),
            "",
            "'string' THEN (@ #>> '{}') COLLATE \"C\"",
        ),
        (Value::Int(1), "", "'number' THEN (@)::numeric"),
        (Value::Float(0.5), "", "'number' THEN (@)::float8"),
        (Value::Bool(true), "_bool", "'boolean' THEN (@)::boolean"),
    ] {
        check(
            JsonTest::Compare(Comparison::Le, value),
            &format!("larder_json_compare{function}(\"doc\", ?3, ?1, ?2) <= 0"),
            &format!("CASE WHEN jsonb_typeof(@) = {postgres} <= $3 END"),
        );
    }
}

#[test]
fn relations() {
    let posts_of_active = Filter::Related(Box::new(Related {
        from: 1,
        table: &USERS,
        to: 0,
        filter: Filter::Related(Box::new(Related {
            from: 0,
            table: &POSTS,
            to: 1,
            filter: compare(3, Comparison::Gt, 1),
        })),
    }));
    let mut select = filtered(&POSTS, posts_of_active);
    select.output = Output::Exprs(vec![Expr::Column(0)]);
    let text = |p: &str| {
        format!(
            "SELECT \"id\" FROM \"posts\" WHERE EXISTS (SELECT 1 FROM \"users\" AS _1 WHERE \
             _1.\"id\" = \"posts\".\"author_id\" AND EXISTS (SELECT 1 FROM \"posts\" AS _2 WHERE \
             _2.\"author_id\" = _1.\"id\" AND _2.\"rank\" > {p}1))"
        )
    };
    both(&select, &text("?"), &text("$"));
}

#[test]
fn order_and_limits() {
    let ordered = |order: Vec<OrderBy>| {
        select(&POSTS, |select| {
            select.output = Output::Exprs(vec![Expr::Column(0)]);
            select.order = order;
        })
    };
    let steps = |nulls| {
        vec![
            by(Expr::Column(3), false, nulls),
            by(Expr::Column(0), true, nulls),
        ]
    };
    let start = "SELECT \"id\" FROM \"posts\" ORDER BY \"rank\"";
    both(
        &ordered(steps(Nulls::Last)),
        &format!("{start} NULLS LAST, \"id\" DESC"),
        &format!("{start}, \"id\" DESC"),
    );
    both(
        &ordered(steps(Nulls::First)),
        &format!("{start}, \"id\" DESC"),
        &format!("{start} NULLS FIRST, \"id\" DESC"),
    );
    let limited = |limit, offset| {
        let mut select = ordered(vec![]);
        (select.limit, select.offset, select.distinct) = (limit, offset, true);
        select
    };
    let start = "SELECT DISTINCT \"id\" FROM \"posts\"";
    both(
        &limited(Some(1), 0),
        &format!("{start} LIMIT ?1"),
        &format!("{start} LIMIT $1"),
    );
    both(
        &limited(Some(1), 2),
        &format!("{start} LIMIT ?1 OFFSET ?2"),
        &format!("{start} LIMIT $1 OFFSET $2"),
    );
    both(
        &limited(None, 2),
        &format!("{start} LIMIT -1 OFFSET ?1"),
        &format!("{start} OFFSET $1"),
    );
}

#[test]
fn locks() {
    for (lock, words) in [
        (RowLock::Wait, "FOR UPDATE"),
        (RowLock::SkipLocked, "FOR UPDATE SKIP LOCKED"),
        (RowLock::NoWait, "FOR UPDATE NOWAIT"),
    ] {
        let query = select(&POSTS, |select| {
            select.output = Output::Exprs(vec![Expr::Column(0)]);
            (select.limit, select.lock) = (Some(1), Some(lock));
        });
        let start = "SELECT \"id\" FROM \"posts\" LIMIT";
        both(
            &query,
            &format!("{start} ?1"),
            &format!("{start} $1 {words}"),
        );
    }
}

#[test]
fn groups() {
    let balance = Expr::Aggregate(Aggregate::Sum, Some(6));
    let query = select(&USERS, |select| {
        select.output = Output::Exprs(vec![Expr::Column(3), balance]);
        select.group_by = vec![3];
        let value = Value::Decimal(larder_core::Decimal::ONE);
        select.having = Filter::Compare {
            left: balance,
            op: Comparison::Gt,
            value,
        };
        select.order = vec![by(balance, true, Nulls::First)];
    });
    both(
        &query,
        "SELECT \"active\", larder_decimal_sum(\"balance\") FROM \"users\" GROUP BY \"active\" \
         HAVING larder_decimal_sum(\"balance\") COLLATE LARDER_DECIMAL > ?1 \
         ORDER BY larder_decimal_sum(\"balance\") COLLATE LARDER_DECIMAL DESC NULLS FIRST",
        &format!(
            "SELECT \"active\", {sum} FROM \"users\" GROUP BY \"active\" \
             HAVING {sum} > $1 ORDER BY {sum} DESC",
            sum = fitting("sum(\"balance\")"),
        ),
    );
}

#[test]
fn aggregates_have_the_kind_core_gives_them() {
    use Aggregate::*;
    let cases = [
        (Count, None, "count(*)", "count(*)"),
        (Count, Some(7), "count(\"text\")", "count(\"text\")"),
        (
            CountDistinct,
            Some(7),
            "count(DISTINCT \"text\")",
            "count(DISTINCT \"text\")",
        ),
        (Sum, Some(3), "sum(\"i32\")", "sum(\"i32\")::bigint"),
        (
            Sum,
            Some(5),
            "sum(\"f32\")",
            "sum(\"f32\"::double precision)",
        ),
        (
            Avg,
            Some(4),
            "avg(\"i64\")",
            "(sum(\"i64\")::double precision / count(\"i64\"))",
        ),
        (
            Avg,
            Some(5),
            "avg(\"f32\")",
            "(sum(\"f32\"::double precision) / count(\"f32\"))",
        ),
        (
            Sum,
            Some(12),
            "larder_decimal_sum(\"amount\")",
            &fitting("sum(\"amount\")"),
        ),
        (
            Avg,
            Some(12),
            "larder_decimal_avg(\"amount\")",
            &format!(
                "(SELECT trim_scale(CASE WHEN abs(_q - round(_q, _n)) * 2 * 10::numeric ^ _n = 1 \
                 THEN 2 * round(_q / 2, _n) ELSE round(_q, _n) END) \
                 FROM (SELECT _q, 29 - length(div(abs(_q) * 10, 7.92281625142643375935439503355)\
                 ::text) AS _n FROM (SELECT {} * 1.{} / count(\"amount\") \
                 AS _q OFFSET 0) AS _a OFFSET 0) AS _b)",
                fitting("sum(\"amount\")"),
                "0".repeat(60),
            ),
        ),
        (Min, Some(1), "min(\"flag\")", "bool_and(\"flag\")"),
        (Max, Some(1), "max(\"flag\")", "bool_or(\"flag\")"),
        (Min, Some(9), "min(\"at\")", "min(\"at\")"),
        (
            Max,
            Some(11),
            "max(\"uuid\")",
            "max(\"uuid\"::text COLLATE \"C\")::uuid",
        ),
        (
            Min,
            Some(8),
            "min(\"bytes\")",
            "decode(min(encode(\"bytes\", 'hex') COLLATE \"C\"), 'hex')",
        ),
    ];
    for (function, column, sqlite, postgres) in cases {
        let query = select(&KINDS, |select| {
            select.output = Output::Exprs(vec![Expr::Aggregate(function, column)]);
        });
        let text = |expr: &str| format!("SELECT {expr} FROM \"kinds\"");
        both(&query, &text(sqlite), &text(postgres));
    }
    assert_eq!(Expr::Aggregate(Sum, Some(3)).kind(&KINDS), Kind::I64);
}

fn linked(path: LinkPath, limit: Option<u64>) -> Select {
    select(&POSTS, |select| {
        select.output = Output::Exprs(vec![Expr::Column(0), Expr::Column(2)]);
        select.link = Some(Link {
            path,
            parents: vec![],
            limit,
        });
        select.order = vec![by(Expr::Column(3), false, Nulls::First)];
    })
}

#[test]
fn links_by_column() {
    let query = linked(LinkPath::Column(1), None);
    both(
        &query,
        "SELECT \"author_id\", \"id\", \"title\" FROM \"posts\" \
         WHERE \"author_id\" IN rarray(?1) ORDER BY \"rank\"",
        "SELECT \"author_id\", \"id\", \"title\" FROM \"posts\" \
         WHERE \"author_id\" = ANY($1) ORDER BY \"rank\" NULLS FIRST",
    );
    let count = select(&POSTS, |select| {
        select.output = Output::Exprs(vec![Expr::Aggregate(Aggregate::Count, None)]);
        select.link = query.link;
    });
    both(
        &count,
        "SELECT \"author_id\", count(*) FROM \"posts\" WHERE \"author_id\" IN rarray(?1) \
         GROUP BY \"author_id\"",
        "SELECT \"author_id\", count(*) FROM \"posts\" WHERE \"author_id\" = ANY($1) \
         GROUP BY \"author_id\"",
    );
}

#[test]
fn links_through_a_join_table() {
    let mut query = linked(
        LinkPath::Through {
            table: &POST_TAGS,
            parent: 1,
            child: 0,
            to: 0,
        },
        None,
    );
    query.filter = compare(0, Comparison::Gt, 1);
    let text = |list: &str, p: &str, nulls: &str| {
        format!(
            "SELECT _1.\"tag_id\", \"posts\".\"id\", \"posts\".\"title\" FROM \"posts\" \
             JOIN \"post_tags\" AS _1 ON _1.\"post_id\" = \"posts\".\"id\" \
             WHERE _1.\"tag_id\" {list} AND \"posts\".\"id\" > {p}2 \
             ORDER BY \"posts\".\"rank\"{nulls}"
        )
    };
    both(
        &query,
        &text("IN rarray(?1)", "?", ""),
        &text("= ANY($1)", "$", " NULLS FIRST"),
    );
}

#[test]
fn limits_per_parent() {
    let mut query = linked(LinkPath::Column(1), Some(5));
    query.limit = Some(100);
    let text = |list: &str, p: &str, nulls: &str| {
        format!(
            "SELECT _p, _c0, _c1 FROM (SELECT \"author_id\" AS _p, \"id\" AS _c0, \"title\" AS _c1, \
             \"rank\" AS _o0, ROW_NUMBER() OVER (PARTITION BY \"author_id\" ORDER BY \
             \"rank\"{nulls}) AS _n FROM \"posts\" WHERE \"author_id\" {list}) AS _r \
             WHERE _n <= {p}2 ORDER BY _o0{nulls} LIMIT {p}3"
        )
    };
    both(
        &query,
        &text("IN rarray(?1)", "?", ""),
        &text("= ANY($1)", "$", " NULLS FIRST"),
    );
    query.distinct = true;
    query.limit = None;
    let text = |list: &str, p: &str, nulls: &str| {
        format!(
            "SELECT _p, _c0, _c1 FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY _p ORDER BY \
             _o0{nulls}) AS _n FROM (SELECT DISTINCT \"author_id\" AS _p, \"id\" AS _c0, \
             \"title\" AS _c1, \"rank\" AS _o0 FROM \"posts\" WHERE \"author_id\" {list}) AS _d) \
             AS _r WHERE _n <= {p}2 ORDER BY _o0{nulls}"
        )
    };
    both(
        &query,
        &text("IN rarray(?1)", "?", ""),
        &text("= ANY($1)", "$", " NULLS FIRST"),
    );
}

#[test]
fn long_lists_become_balanced_trees() {
    let some = |many: usize| (0..many).map(|_| compare(0, Comparison::Ne, 1)).collect();
    let ten = filtered(&TAGS, Filter::And(some(10)));
    let ten = render_select(Dialect::Postgres, &ten).sql;
    assert_eq!(
        ten.split_once(" WHERE ").map(|(_, conditions)| conditions),
        Some(
            "(\"id\" <> $1 AND \"id\" <> $2 AND \"id\" <> $3 AND \"id\" <> $4 AND \"id\" <> $5) AND \
         (\"id\" <> $6 AND \"id\" <> $7 AND \"id\" <> $8 AND \"id\" <> $9 AND \"id\" <> $10)"
        )
    );
    for list in [Filter::And, Filter::Or] {
        let text = render_select(Dialect::Sqlite, &filtered(&TAGS, list(some(2_000))));
        assert!(database().prepare(&text.sql).is_ok(), "SQLite takes it");
        let text = render_select(Dialect::Sqlite, &filtered(&TAGS, list(some(30_000))));
        assert_eq!(text.parameters, 30_000);
        let depth = text.sql.chars().scan(0, |depth, c| {
            *depth += i32::from(c == '(') - i32::from(c == ')');
            Some(*depth)
        });
        assert!(depth.max() <= Some(13), "half as many at each level");
    }
}
