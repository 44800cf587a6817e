//! Random filters.

use fastrand::Rng;
use larder_core::filter::Related;
use larder_core::{
    Comparison, Expr, Filter, Index, JsonStep, JsonTest, Kind, SearchQuery, Table, TextMatch, Value,
};

use crate::tables::Schema;
use crate::values;

const COMPARISONS: [Comparison; 6] = [
    Comparison::Eq,
    Comparison::Ne,
    Comparison::Lt,
    Comparison::Le,
    Comparison::Gt,
    Comparison::Ge,
];
const MATCHES: [TextMatch; 4] = [
    TextMatch::Equals,
    TextMatch::Contains,
    TextMatch::StartsWith,
    TextMatch::EndsWith,
];

/// A filter on the table's rows, so many levels deep at most.
pub(crate) fn filter(rng: &mut Rng, schema: &Schema, table: &'static Table, depth: u32) -> Filter {
    if let Some(index) = &table.search
        && rng.u8(..10) < 2
    {
        return search(rng, index);
    }
    if depth == 0 || rng.u8(..10) < 4 {
        return leaf(rng, table);
    }
    let several = |rng: &mut Rng| {
        (0..rng.usize(..4))
            .map(|_| filter(rng, schema, table, depth - 1))
            .collect()
    };
    match rng.u8(..10) {
        0..3 => Filter::And(several(rng)),
        3..6 => Filter::Or(several(rng)),
        6..8 => Filter::Not(Box::new(filter(rng, schema, table, depth - 1))),
        _ => related(rng, schema, table, depth),
    }
}

/// A condition on one row of the table.
pub(crate) fn leaf(rng: &mut Rng, table: &'static Table) -> Filter {
    let column = rng.usize(..table.columns.len());
    let kind = table.columns[column].kind;
    if kind == Kind::Json && rng.bool() {
        return json(rng, column);
    }
    if kind == Kind::Json || rng.u8(..10) == 0 {
        return Filter::IsNull { column };
    }
    match rng.u8(..20) {
        0 => Filter::All,
        1..5 if kind.is_text() => text(rng, column),
        1..3 => compare_columns(rng, table, column),
        3..7 => {
            let values = (0..rng.usize(..5))
                .map(|_| values::value(rng, kind))
                .collect();
            Filter::in_values(column, values)
        }
        7 => Filter::Compare {
            left: Expr::Column(column),
            op: comparison(rng),
            value: Value::Null,
        },
        _ => {
            let value = values::value(rng, kind);
            Filter::Compare {
                left: Expr::Column(column),
                op: comparison(rng),
                value,
            }
        }
    }
}

/// Any comparison.
pub(crate) fn comparison(rng: &mut Rng) -> Comparison {
    COMPARISONS[rng.usize(..COMPARISONS.len())]
}

fn text(rng: &mut Rng, column: usize) -> Filter {
    let fold = rng.bool();
    let pattern = values::pattern(rng);
    Filter::Text {
        column,
        op: MATCHES[rng.usize(..MATCHES.len())],
        fold,
        pattern: if fold {
            pattern.to_ascii_lowercase()
        } else {
            pattern
        },
    }
}

/// A full-text search of what texts hold, with signs that mean something and such that do not.
fn search(rng: &mut Rng, index: &'static Index) -> Filter {
    const SIGNS: [&str; 8] = [" ", " ", " -", " \"", "\" ", "* ", "-", ":"];
    let mut text = String::new();
    for _ in 0..rng.usize(..4) {
        text.push_str(SIGNS[rng.usize(..SIGNS.len())]);
        text.push_str(&values::pattern(rng));
    }
    text.push_str(SIGNS[rng.usize(..SIGNS.len())]);
    let query = SearchQuery::parse(&text).expect("it is short");
    Filter::Matches { index, query }
}

fn compare_columns(rng: &mut Rng, table: &'static Table, left: usize) -> Filter {
    let kind = table.columns[left].kind;
    let same = (0..table.columns.len()).filter(|&at| table.columns[at].kind == kind);
    let right = rng
        .choice(same.collect::<Vec<_>>())
        .expect("the column itself is of the kind");
    Filter::CompareColumns {
        left,
        op: comparison(rng),
        right,
    }
}

fn related(rng: &mut Rng, schema: &Schema, table: &'static Table, depth: u32) -> Filter {
    let other = schema.tables()[rng.usize(..schema.tables().len())];
    match rng.choice(pairs(table, other)) {
        Some((from, to)) => {
            let filter = filter(rng, schema, other, depth - 1);
            Filter::Related(Box::new(Related {
                from,
                table: other,
                to,
                filter,
            }))
        }
        None => leaf(rng, table),
    }
}

/// Columns of two tables that can be compared. Those that refer to a key come several times.
pub(crate) fn pairs(one: &'static Table, other: &'static Table) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for (from, def) in one.columns.iter().enumerate() {
        for (to, target) in other.columns.iter().enumerate() {
            if def.kind == target.kind && def.kind != Kind::Json {
                let refers = |a: &larder_core::ColumnDef, b: &'static Table, key: usize| {
                    a.references.as_ref().is_some_and(|r| (r.table)().is(b)) && b.key == [key]
                };
                let likely = refers(def, other, to) || refers(target, one, from);
                pairs.extend(std::iter::repeat_n((from, to), if likely { 8 } else { 1 }));
            }
        }
    }
    pairs
}

/// A condition on what stands inside a document.
fn json(rng: &mut Rng, column: usize) -> Filter {
    let step = |rng: &mut Rng| match rng.u8(..3) {
        0 => JsonStep::Index(rng.u32(..5)),
        _ => JsonStep::Key(["a", "b", "0", "l", "$.a", "-1"][rng.usize(..6)].to_owned()),
    };
    let test = match rng.u8(..6) {
        0 => JsonTest::Exists,
        1 => JsonTest::IsNull,
        _ => JsonTest::Compare(
            COMPARISONS[rng.usize(..COMPARISONS.len())],
            match rng.u8(..4) {
                0 => Value::Text(["a", "B", ""][rng.usize(..3)].into()),
                1 => Value::Int(rng.i64(-1..3)),
                2 => Value::Float([0.0, 0.5, 1.5, 2.0][rng.usize(..4)]),
                _ => Value::Bool(rng.bool()),
            },
        ),
    };
    Filter::Json {
        column,
        path: (0..rng.usize(..4)).map(|_| step(rng)).collect(),
        test,
    }
}
