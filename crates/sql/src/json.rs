//! Conditions on what stands inside a JSON column.
//!
//! PostgreSQL's `->` with a text goes into objects only, as the contract has it; with a number it
//! takes a text or a number for a list of one, so a position goes by a path that is strict.
//! SQLite's own operators read keys as paths; the engine brings functions that see documents as the
//! contract does.

use larder_core::{Comparison, JsonStep, JsonTest, Kind, Value};

use crate::dialect::{Dialect, operator};
use crate::text::{Scope, Sql};

/// The kind that what stands at a path can be compared with by this value; `None` if there is
/// none, so that the condition is neither true nor false.
pub(crate) fn kind(value: &Value) -> Option<Kind> {
    match value {
        Value::Text(_) => Some(Kind::Text),
        Value::Int(_) => Some(Kind::I64),
        Value::Float(_) => Some(Kind::F64),
        Value::Bool(_) => Some(Kind::Bool),
        _ => None,
    }
}

/// Whether the condition can be true at all; if not, it takes no parameters.
pub(crate) fn is_possible(test: &JsonTest) -> bool {
    match test {
        JsonTest::Compare(_, value) => kind(value).is_some(),
        JsonTest::Exists | JsonTest::IsNull => true,
    }
}

/// Writes the condition. The steps are parameters, and then the value.
pub(crate) fn condition(
    sql: &mut Sql,
    column: usize,
    path: &[JsonStep],
    test: &JsonTest,
    scope: Scope,
) {
    match sql.dialect {
        _ if !is_possible(test) => sql.push("NULL"),
        Dialect::Sqlite => sqlite(sql, column, path, test, scope),
        Dialect::Postgres => postgres(sql, column, path, test, scope),
    }
}

fn sqlite(sql: &mut Sql, column: usize, path: &[JsonStep], test: &JsonTest, scope: Scope) {
    let (function, after) = match test {
        JsonTest::Exists => ("larder_json_look(", ") IS NOT NULL"),
        JsonTest::IsNull => ("larder_json_look(", ") IS 1"),
        JsonTest::Compare(op, value) => {
            return sqlite_compare(sql, column, path, *op, value, scope);
        }
    };
    sql.push(function);
    scope.column(sql, column);
    for _ in path {
        sql.push(", ");
        sql.placeholder();
    }
    sql.push(after);
}

fn sqlite_compare(
    sql: &mut Sql,
    column: usize,
    path: &[JsonStep],
    op: Comparison,
    value: &Value,
    scope: Scope,
) {
    let steps = sql.reserve(path.len());
    // A bool is an integer to SQLite: the function's name says which it is.
    sql.push(if kind(value) == Some(Kind::Bool) {
        "larder_json_compare_bool("
    } else {
        "larder_json_compare("
    });
    scope.column(sql, column);
    sql.push(", ");
    sql.placeholder();
    for step in steps {
        sql.push(", ");
        sql.placeholder_again(step);
    }
    sql.push(")");
    sql.push(operator(op));
    sql.push("0");
}

fn postgres(sql: &mut Sql, column: usize, path: &[JsonStep], test: &JsonTest, scope: Scope) {
    let steps = sql.reserve(path.len());
    let place = |sql: &mut Sql| {
        for step in path.iter().rev() {
            sql.push(match step {
                JsonStep::Key(_) => "(",
                JsonStep::Index(_) => "jsonb_path_query_first(",
            });
        }
        scope.column(sql, column);
        for (step, number) in path.iter().zip(steps.clone()) {
            let (before, after) = match step {
                JsonStep::Key(_) => (" -> ", "::text)"),
                JsonStep::Index(_) => (
                    ", 'strict $[$i]', jsonb_build_object('i', ",
                    "::int), TRUE)",
                ),
            };
            sql.push(before);
            sql.placeholder_again(number);
            sql.push(after);
        }
    };
    match test {
        JsonTest::Exists => {
            place(sql);
            sql.push(" IS NOT NULL");
        }
        JsonTest::IsNull => {
            sql.push("jsonb_typeof(");
            place(sql);
            sql.push(") IS NOT DISTINCT FROM 'null'");
        }
        JsonTest::Compare(op, value) => {
            let (of_type, before, after) = match kind(value) {
                Some(Kind::Text) => ("string", "(", " #>> '{}') COLLATE \"C\""),
                Some(Kind::I64) => ("number", "(", ")::numeric"),
                Some(Kind::F64) => ("number", "(", ")::float8"),
                _ => ("boolean", "(", ")::boolean"),
            };
            // Only CASE promises that what is of another type is not cast.
            sql.push("CASE WHEN jsonb_typeof(");
            place(sql);
            sql.push(") = '");
            sql.push(of_type);
            sql.push("' THEN ");
            sql.push(before);
            place(sql);
            sql.push(after);
            sql.push(operator(*op));
            sql.placeholder();
            sql.push(" END");
        }
    }
}
