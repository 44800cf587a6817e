//! Conditions: SQL's own three-valued logic says what core's documentation says.

use larder_core::filter::Related;
use larder_core::{Expr, Filter, Kind, Table, TextMatch};

use crate::dialect::{DECIMAL_COLLATION, Dialect, operator};
use crate::json;
use crate::search;
use crate::select::expression;
use crate::text::{Scope, Sql};

/// Writes the keyword and the conditions, or nothing where there are none.
pub(crate) fn clause(sql: &mut Sql, keyword: &str, filter: &Filter, scope: Scope) {
    conditions(sql, keyword, filter.conjuncts(), scope);
}

/// Writes the keyword and these conditions, or nothing where there are none.
pub(crate) fn conditions(sql: &mut Sql, keyword: &str, conditions: &[Filter], scope: Scope) {
    if !conditions.is_empty() {
        sql.push(keyword);
        joined(sql, conditions, " AND ", scope);
    }
}

/// The longest list that is written without parentheses.
const FLAT_MAX: usize = 8;

/// Writes the conditions with the word between them.
///
/// `a OR b OR c` is one level more for every further condition, and SQLite takes 1,000 levels.
/// Halves in parentheses are one level more for twice as many.
fn joined(sql: &mut Sql, parts: &[Filter], join: &str, scope: Scope) {
    if parts.len() <= FLAT_MAX {
        return sql.list(parts, join, |sql, one| condition(sql, one, scope));
    }
    let (left, right) = parts.split_at(parts.len() / 2);
    sql.list([left, right], join, |sql, half| {
        sql.push("(");
        joined(sql, half, join, scope);
        sql.push(")");
    });
}

/// Writes one condition, in parentheses where it needs them.
fn condition(sql: &mut Sql, filter: &Filter, scope: Scope) {
    match filter {
        Filter::All => sql.push("TRUE"),
        Filter::Compare { left, op, .. } => {
            expression(sql, *left, scope);
            collate(sql, *left, scope.table);
            sql.push(operator(*op));
            sql.placeholder();
        }
        Filter::CompareColumns { left, op, right } => {
            scope.column(sql, *left);
            sql.push(operator(*op));
            scope.column(sql, *right);
        }
        Filter::CompareNew { column, op } => {
            scope.column(sql, *column);
            sql.push(operator(*op));
            sql.push("excluded.");
            sql.ident(scope.def(*column).name);
        }
        Filter::In { column, .. } => {
            scope.column(sql, *column);
            one_of(sql);
        }
        Filter::IsNull { column } => {
            scope.column(sql, *column);
            sql.push(" IS NULL");
        }
        Filter::Text {
            column,
            op,
            fold,
            pattern,
        } => {
            text(sql, *column, TextForm::of(*op, pattern), *fold, scope);
        }
        Filter::Json { column, path, test } => json::condition(sql, *column, path, test, scope),
        Filter::Matches { index, query } => search::condition(sql, index, query, scope),
        Filter::And(all) => several(sql, all, " AND ", "TRUE", scope),
        Filter::Or(any) => several(sql, any, " OR ", "FALSE", scope),
        Filter::Not(inner) => {
            sql.push("NOT (");
            condition(sql, inner, scope);
            sql.push(")");
        }
        Filter::Related(related) => exists(sql, related, scope),
    }
}

/// Membership in a list that is one parameter, whatever its length.
pub(crate) fn one_of(sql: &mut Sql) {
    let (before, after) = match sql.dialect {
        Dialect::Sqlite => (" IN rarray(", ")"),
        Dialect::Postgres => (" = ANY(", ")"),
    };
    sql.push(before);
    sql.placeholder();
    sql.push(after);
}

/// SQLite's functions forget the collation of their argument; decimals need theirs.
pub(crate) fn collate(sql: &mut Sql, expr: Expr, table: &Table) {
    let computed = matches!(expr, Expr::Aggregate(..));
    if computed && sql.dialect == Dialect::Sqlite && expr.kind(table) == Kind::Decimal {
        sql.push(" COLLATE ");
        sql.push(DECIMAL_COLLATION);
    }
}

fn several(sql: &mut Sql, parts: &[Filter], join: &str, empty: &str, scope: Scope) {
    if parts.is_empty() {
        return sql.push(empty);
    }
    sql.push("(");
    joined(sql, parts, join, scope);
    sql.push(")");
}

fn exists(sql: &mut Sql, related: &Related, scope: Scope) {
    let inner = scope.nested(related.table);
    sql.push("EXISTS (SELECT 1 FROM ");
    inner.from(sql);
    sql.push(" WHERE ");
    inner.column(sql, related.to);
    sql.push(" = ");
    scope.outer_column(sql, related.from);
    clause(sql, " AND ", &related.filter, inner);
    sql.push(")");
}

/// The form of a text match. It is part of the statement's shape; the pattern is a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextForm {
    /// The empty pattern at one end: every text that is not NULL. No parameter.
    Anything,
    /// The whole text.
    Equals,
    /// Anywhere.
    Contains,
    /// From the pattern to before its successor: two parameters.
    Between,
    /// From the pattern on, where it has no successor.
    From,
    /// At the end.
    EndsWith,
}

impl TextForm {
    pub(crate) fn of(op: TextMatch, pattern: &str) -> Self {
        match op {
            TextMatch::Equals => Self::Equals,
            TextMatch::Contains => Self::Contains,
            TextMatch::StartsWith | TextMatch::EndsWith if pattern.is_empty() => Self::Anything,
            TextMatch::StartsWith if pattern.chars().all(|c| c == char::MAX) => Self::From,
            TextMatch::StartsWith => Self::Between,
            TextMatch::EndsWith => Self::EndsWith,
        }
    }
}

/// The least text that is greater than every text with this prefix.
pub(crate) fn successor(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        // The range skips the surrogates and ends with the last code point.
        if let Some(next) = (last..=char::MAX).nth(1) {
            text.push(next);
            return Some(text);
        }
    }
    None
}

fn text(sql: &mut Sql, column: usize, form: TextForm, fold: bool, scope: Scope) {
    let subject = |sql: &mut Sql| match (fold, sql.dialect) {
        (false, _) => scope.column(sql, column),
        (true, Dialect::Sqlite) => {
            sql.push("lower(");
            scope.column(sql, column);
            sql.push(")");
        }
        (true, Dialect::Postgres) => {
            sql.push("lower(");
            scope.column(sql, column);
            sql.push(" COLLATE \"C\")");
        }
    };
    match form {
        TextForm::Anything => {
            // Not `IS NOT NULL`: of NULL, the condition and its opposite must both be neither.
            scope.column(sql, column);
            sql.push(" >= ''");
        }
        TextForm::Equals | TextForm::From => {
            subject(sql);
            sql.push(if form == TextForm::Equals {
                " = "
            } else {
                " >= "
            });
            sql.placeholder();
        }
        TextForm::Between => {
            sql.push("(");
            subject(sql);
            sql.push(" >= ");
            sql.placeholder();
            sql.push(" AND ");
            subject(sql);
            sql.push(" < ");
            sql.placeholder();
            sql.push(")");
        }
        TextForm::Contains => {
            let sqlite = sql.dialect == Dialect::Sqlite;
            sql.push(if sqlite { "instr(" } else { "strpos(" });
            subject(sql);
            sql.push(", ");
            sql.placeholder();
            sql.push(") > 0");
        }
        TextForm::EndsWith => ends_with(sql, subject),
    }
}

fn ends_with(sql: &mut Sql, subject: impl Fn(&mut Sql)) {
    let (before, length, after) = match sql.dialect {
        Dialect::Sqlite => ("substr(", ", -length(", ")) = "),
        Dialect::Postgres => ("right(", ", length(", "::text)) = "),
    };
    sql.push(before);
    subject(sql);
    sql.push(length);
    let pattern = sql.placeholder();
    sql.push(after);
    sql.placeholder_again(pattern);
}
