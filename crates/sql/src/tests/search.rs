//! Full-text search: the text of conditions and ranks, and what they take.

use larder_core::select::OrderBy;
use larder_core::{Comparison, Expr, Filter, Index, Kind, Nulls, Output, SearchQuery, Select};
use larder_core::{Table, Value};

use super::{column, database, nullable, table};
use crate::{Dialect, Param, Shape, create_table, render_select, select_params};

static NOTES: Table = Table {
    search: Some(Index {
        name: "notes_search",
        columns: &[1, 2],
    }),
    ..table(
        "notes",
        &[
            column("id", Kind::I64),
            column("title", Kind::Text),
            nullable("text", Kind::Text),
        ],
        &[0],
        true,
    )
};

fn search(text: &str) -> Select {
    let mut select = Select::new(&NOTES);
    select.output = Output::Exprs(vec![Expr::Column(0)]);
    select.filter = Filter::Matches {
        index: NOTES.search.as_ref().expect("it is searched"),
        query: SearchQuery::parse(text).expect("it is short"),
    };
    select
}

fn ranked(text: &str) -> Select {
    let mut select = search(text);
    select.filter = select.filter.and(Filter::Compare {
        left: Expr::Column(0),
        op: Comparison::Gt,
        value: Value::Int(3),
    });
    select.order = vec![OrderBy {
        expr: Expr::Rank,
        descending: true,
        nulls: Nulls::Last,
    }];
    select
}

/// The parameters, which must be as many as the text has.
fn params(dialect: Dialect, select: &Select) -> Vec<String> {
    let mut params = Vec::new();
    select_params(dialect, select, &mut |param| {
        params.push(match param {
            Param::Text(text) => text.into_owned(),
            Param::Value(value, _) => format!("{value:?}"),
            other => panic!("{other:?}"),
        });
        Ok::<_, ()>(())
    })
    .unwrap();
    assert_eq!(params.len(), render_select(dialect, select).parameters);
    params
}

/// PostgreSQL's text, with names for the expressions of the words.
fn postgres(select: &Select) -> String {
    let index = &create_table(Dialect::Postgres, &NOTES)[1];
    let vector = index.split_once("gin ((").expect("an index").1;
    let vector = vector.strip_suffix("))").expect("in parentheses");
    let words = vector.strip_prefix("regexp_replace(").expect("of words");
    let words = words.strip_suffix(", '[^ ]+', '''\\&''', 'g')::tsvector");
    let text = render_select(Dialect::Postgres, select).sql;
    let bare = text.replace("\"notes\".", "");
    bare.replace(vector, "VECTOR")
        .replace(words.expect("quoted"), "WORDS")
}

fn sqlite(select: &Select) -> String {
    let db = database();
    for statement in create_table(Dialect::Sqlite, &NOTES) {
        db.execute_batch(&statement).expect("SQLite takes it");
    }
    let text = render_select(Dialect::Sqlite, select);
    let prepared = db.prepare(&text.sql).expect("SQLite takes it");
    assert_eq!(prepared.parameter_count(), text.parameters);
    text.sql
}

#[test]
fn a_search_is_a_parameter() {
    let select = search("quick \"brown fo\"* -dog -\"a b\" c*");
    assert_eq!(
        sqlite(&select),
        "SELECT \"id\" FROM \"notes\" WHERE \"id\" IN \
         (SELECT rowid FROM \"notes_search\" WHERE \"notes_search\" MATCH ?1)"
    );
    assert_eq!(
        params(Dialect::Sqlite, &select),
        ["(\"quick\" AND \"brown fo\" * AND \"c\" *) NOT (\"dog\" OR \"a b\")"]
    );
    assert_eq!(
        postgres(&select),
        "SELECT \"id\" FROM \"notes\" WHERE (VECTOR @@ $1::tsquery \
         AND WORDS LIKE ALL (ARRAY[$2]::text[]) AND WORDS NOT LIKE ALL (ARRAY[$3]::text[]))"
    );
    assert_eq!(
        params(Dialect::Postgres, &select),
        [
            "'quick' & 'brown' & 'fo':* & 'c':* & !'dog'",
            "% brown fo%",
            "% a b %"
        ]
    );
}

#[test]
fn a_rank_joins_the_index_or_weighs_the_words() {
    let select = ranked("quick \"brown fox\" -dog");
    assert_eq!(
        sqlite(&select),
        "SELECT \"notes\".\"id\" FROM \"notes\" \
         JOIN \"notes_search\" AS _s ON _s.rowid = \"notes\".\"id\" \
         WHERE _s.\"notes_search\" MATCH ?1 AND \"notes\".\"id\" > ?2 ORDER BY -_s.rank DESC"
    );
    assert_eq!(params(Dialect::Sqlite, &select)[1], "Int(3)");
    assert_eq!(
        postgres(&select),
        "SELECT \"id\" FROM \"notes\" WHERE (VECTOR @@ $1::tsquery \
         AND WORDS LIKE ALL (ARRAY[$2]::text[])) AND \"id\" > $3 \
         ORDER BY ts_rank(to_tsvector('pg_catalog.simple', left(WORDS, 200000)), $4::tsquery, 1) DESC"
    );
    assert_eq!(
        params(Dialect::Postgres, &select)[3],
        "'quick' | 'brown' | 'fox'"
    );
}

#[test]
fn what_is_searched_is_no_part_of_the_shape() {
    let mut shape = Shape::new();
    let mut of = |text| shape.of_select(&search(text)).to_vec();
    assert_eq!(of("quick fox"), of("dog* -cat"));
    assert_eq!(of(""), of("fox"));
    assert_ne!(of("quick fox"), of("\"quick fox\""));
    assert_ne!(of("\"a b\" c"), of("c -\"a b\""));
    let of_ranked = shape.of_select(&ranked("fox")).to_vec();
    assert_ne!(of_ranked, shape.of_select(&search("fox")).to_vec());
}
