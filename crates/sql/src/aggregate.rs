//! Aggregates and sums, so that they have the kind that [`Expr::kind`](larder_core::Expr::kind)
//! says, the same value on every database and an error where there is none.
//!
//! What PostgreSQL needs for that:
//!
//! | | text |
//! |---|---|
//! | sum of integers | `sum(x)::bigint`, exact before the cast, which refuses what is too large |
//! | average of integers | the exact sum as a double, divided by the number of values |
//! | sum, average of floats | in double precision, added without compensating what rounding loses |
//! | sum of decimals | the exact sum, refused where it needs more digits than a decimal has |
//! | average of decimals | the exact quotient, rounded once as below |
//!
//! What is refused is SQLSTATE 22003. A decimal has 96 bits and a scale of 0 to 28: 28 digits, or
//! 29 up to 79228162514264337593543950335. An average has the largest scale with which it fits,
//! and is rounded to it half to even.

use larder_core::{Aggregate, Kind};

use crate::dialect::Dialect;
use crate::text::{Scope, Sql};

/// The largest decimal without a point.
const DECIMAL_MAX: &str = "79228162514264337593543950335";
/// What is no more than that when rounded, divided by 10^28: tells how many digits fit.
const DECIMAL_ROOM: &str = "7.92281625142643375935439503355";
/// One, with the scale that a quotient is to have. A quotient that is not half way between two
/// decimals of 28 places, of no more than 2^63 values, is told from those that are in 48.
const ONE: &str = "1.000000000000000000000000000000000000000000000000000000000000";

/// Writes the aggregate of the column.
pub(crate) fn aggregate(sql: &mut Sql, function: Aggregate, at: usize, scope: Scope) {
    let kind = scope.def(at).kind;
    if sql.dialect == Dialect::Postgres && kind == Kind::Decimal {
        match function {
            Aggregate::Sum => return decimal_sum(sql, at, scope),
            Aggregate::Avg => return decimal_average(sql, at, scope),
            _ => {}
        }
    }
    let (before, after) = around(sql.dialect, function, kind);
    sql.push(before);
    scope.column(sql, at);
    sql.push(after);
    if sql.dialect == Dialect::Postgres && function == Aggregate::Avg {
        // avg() refuses large floats whose average is small, and rounds the sum of integers.
        sql.push(" / count(");
        scope.column(sql, at);
        sql.push("))");
    }
}

/// What stands before and after the column.
fn around(dialect: Dialect, function: Aggregate, kind: Kind) -> (&'static str, &'static str) {
    match (dialect, function, kind) {
        (_, Aggregate::Count, _) => ("count(", ")"),
        (_, Aggregate::CountDistinct, _) => ("count(DISTINCT ", ")"),
        (Dialect::Sqlite, Aggregate::Sum, Kind::Decimal) => ("larder_decimal_sum(", ")"),
        (Dialect::Sqlite, Aggregate::Avg, Kind::Decimal) => ("larder_decimal_avg(", ")"),
        (Dialect::Sqlite, Aggregate::Sum, _) => ("sum(", ")"),
        (Dialect::Sqlite, Aggregate::Avg, _) => ("avg(", ")"),
        (Dialect::Postgres, Aggregate::Sum, kind) if kind.is_integer() => ("sum(", ")::bigint"),
        (Dialect::Postgres, Aggregate::Sum, _) => ("sum(", "::double precision)"),
        (Dialect::Postgres, Aggregate::Avg, kind) if kind.is_integer() => {
            ("(sum(", ")::double precision")
        }
        (Dialect::Postgres, Aggregate::Avg, _) => ("(sum(", "::double precision)"),
        // PostgreSQL has no min and max of these; the text forms below sort as the values do.
        (Dialect::Postgres, Aggregate::Min, Kind::Bool) => ("bool_and(", ")"),
        (Dialect::Postgres, Aggregate::Max, Kind::Bool) => ("bool_or(", ")"),
        (Dialect::Postgres, Aggregate::Min, Kind::Uuid) => ("min(", "::text COLLATE \"C\")::uuid"),
        (Dialect::Postgres, Aggregate::Max, Kind::Uuid) => ("max(", "::text COLLATE \"C\")::uuid"),
        (Dialect::Postgres, Aggregate::Min, Kind::Bytes) => {
            ("decode(min(encode(", ", 'hex') COLLATE \"C\"), 'hex')")
        }
        (Dialect::Postgres, Aggregate::Max, Kind::Bytes) => {
            ("decode(max(encode(", ", 'hex') COLLATE \"C\"), 'hex')")
        }
        (_, Aggregate::Min, _) => ("min(", ")"),
        (_, Aggregate::Max, _) => ("max(", ")"),
    }
}

fn decimal_sum(sql: &mut Sql, at: usize, scope: Scope) {
    fitting(sql, |sql| {
        sql.push("sum(");
        scope.column(sql, at);
        sql.push(")");
    });
}

fn decimal_average(sql: &mut Sql, at: usize, scope: Scope) {
    // Half way to the next, twice the rounded half is even.
    sql.push(
        "(SELECT trim_scale(CASE WHEN abs(_q - round(_q, _n)) * 2 * 10::numeric ^ _n = 1 \
         THEN 2 * round(_q / 2, _n) ELSE round(_q, _n) END) \
         FROM (SELECT _q, 29 - length(div(abs(_q) * 10, ",
    );
    sql.push(DECIMAL_ROOM);
    sql.push(")::text) AS _n FROM (SELECT ");
    decimal_sum(sql, at, scope);
    sql.push(" * ");
    sql.push(ONE);
    sql.push(" / count(");
    scope.column(sql, at);
    sql.push(") AS _q OFFSET 0) AS _a OFFSET 0) AS _b)");
}

/// Writes the numeric value for PostgreSQL, refused with 22003 where no decimal holds it exactly.
/// It keeps its zeros at the end, even those that a decimal has no room for.
pub(crate) fn fitting(sql: &mut Sql, value: impl FnOnce(&mut Sql)) {
    sql.push(
        "(SELECT CASE WHEN scale(trim_scale(_d)) <= 28 \
         AND replace(abs(trim_scale(_d))::text, '.', '')::numeric <= ",
    );
    sql.push(DECIMAL_MAX);
    // What is 29 digits long is refused as one of 28.
    sql.push(" THEN _d ELSE (abs(_d) + 1e28)::numeric(28) END FROM (SELECT ");
    value(sql);
    sql.push(" AS _d OFFSET 0) AS _s)"); // computed once
}
