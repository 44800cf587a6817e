//! Full-text search: SQLite's FTS5, and `tsvector` on PostgreSQL.
//!
//! ```text
//!   SQLite       posts ──triggers──> posts_search (FTS5) <── reads ── posts_search_text (a view)
//!   PostgreSQL   posts ──────────────> GIN index over an expression that makes words of the texts
//! ```
//!
//! Core says what words are; neither database's own rule is asked. SQLite's tokenizer `ascii` takes
//! runs of ASCII letters, digits and all that is beyond ASCII, so the view makes spaces of the
//! separators beyond ASCII. PostgreSQL's parser depends on the locale, so the words are quoted by
//! an expression and cast to a `tsvector` as they are.
//!
//! What is searched for travels as a parameter: an FTS5 expression or a `tsquery`, in which every
//! word is quoted, and holds nothing that could end the quotes. PostgreSQL's vectors hold no
//! positions (they end at 16,383); phrases are looked for in the text of words instead.

use std::borrow::Cow;

use larder_core::search::{Phrase, SEPARATORS, WORD_CHARS_MAX};
use larder_core::{Index, SearchQuery, Table};

use crate::dialect::Dialect;
use crate::text::{Scope, Sql};

/// Writes the condition that a search finds the row.
pub(crate) fn condition(sql: &mut Sql, index: &Index, query: &SearchQuery, scope: Scope) {
    match sql.dialect {
        Dialect::Sqlite => {
            scope.column(sql, scope.table.key[0]);
            sql.push(" IN (SELECT rowid FROM ");
            sql.ident(index.name);
            sql.push(" WHERE ");
            sql.ident(index.name);
            sql.push(" MATCH ");
            sql.placeholder();
            sql.push(")");
        }
        Dialect::Postgres => {
            sql.push("(");
            vector(sql, index, scope);
            sql.push(" @@ ");
            sql.placeholder();
            sql.push("::tsquery");
            like_all(sql, index, scope, " LIKE", phrases(&query.wanted).count());
            like_all(
                sql,
                index,
                scope,
                " NOT LIKE",
                phrases(&query.excluded).count(),
            );
            sql.push(")");
        }
    }
}

fn like_all(sql: &mut Sql, index: &Index, scope: Scope, like: &str, count: usize) {
    if count > 0 {
        sql.push(" AND ");
        all_words(sql, index, scope);
        sql.push(like);
        sql.push(" ALL (ARRAY[");
        sql.list(0..count, ", ", |sql, _| {
            sql.placeholder();
        });
        sql.push("]::text[])");
    }
}

/// Shows what the condition takes to `each`.
pub(crate) fn params<E>(
    dialect: Dialect,
    query: &SearchQuery,
    each: &mut impl FnMut(Cow<'static, str>) -> Result<(), E>,
) -> Result<(), E> {
    match dialect {
        Dialect::Sqlite => each(fts5(query).into()),
        Dialect::Postgres => {
            each(tsquery(query).into())?;
            let all = phrases(&query.wanted).chain(phrases(&query.excluded));
            all.into_iter()
                .try_for_each(|phrase| each(pattern(phrase).into()))
        }
    }
}

/// How many phrases of several words are wanted, and how many excluded: part of the shape.
pub(crate) fn shape(query: &SearchQuery) -> [usize; 2] {
    [&query.wanted, &query.excluded].map(|some| phrases(some).count())
}

/// Writes the join by which SQLite ranks, and the search as the first condition.
pub(crate) fn ranked_join(sql: &mut Sql, index: &Index, scope: Scope) {
    sql.push(" JOIN ");
    sql.ident(index.name);
    sql.push(" AS _s ON _s.rowid = ");
    scope.column(sql, scope.table.key[0]);
    sql.push(" WHERE _s.");
    sql.ident(index.name);
    sql.push(" MATCH ");
    sql.placeholder();
}

/// Writes the rank, larger for rows that fit better.
pub(crate) fn rank(sql: &mut Sql, scope: Scope) {
    match (sql.dialect, &scope.table.search) {
        // BM25, which is smaller for rows that fit better.
        (Dialect::Sqlite, _) => sql.push("-_s.rank"),
        (Dialect::Postgres, Some(index)) => {
            sql.push("ts_rank(to_tsvector('pg_catalog.simple', left(");
            all_words(sql, index, scope);
            sql.push(", ");
            sql.number(WEIGHED_CHARS_MAX);
            sql.push(")), ");
            sql.placeholder();
            // 1: divided by the logarithm of the number of words.
            sql.push("::tsquery, 1)");
        }
        (Dialect::Postgres, None) => sql.push("NULL"), // nothing can be searched
    }
}

/// How much of a text PostgreSQL weighs, in characters. A vector with positions holds 1 MiB, which
/// texts may fit without them and not with them; of words that are all different, this fits.
const WEIGHED_CHARS_MAX: usize = 200_000;

/// What the rank takes on PostgreSQL: any of the words wanted.
pub(crate) fn rank_param(query: &SearchQuery) -> String {
    let words: Vec<String> = (query.wanted.iter()).flat_map(lexemes).collect();
    joined_or_nothing(&words, " | ", NO_LEXEME)
}

/// A phrase that no row has: no word is a space.
const NO_LEXEME: &str = "' '";

fn joined_or_nothing(parts: &[String], join: &str, nothing: &str) -> String {
    if parts.is_empty() {
        return nothing.to_owned();
    }
    parts.join(join)
}

/// `("quick" AND "fo" *) NOT ("a b" OR "c")`
fn fts5(query: &SearchQuery) -> String {
    let phrase = |phrase: &Phrase| {
        let star = if phrase.prefix { " *" } else { "" };
        format!("\"{}\"{star}", phrase.words.join(" "))
    };
    let all = |some: &[Phrase]| some.iter().map(phrase).collect::<Vec<_>>();
    let wanted = joined_or_nothing(&all(&query.wanted), " AND ", "\"\"");
    if query.excluded.is_empty() {
        return wanted;
    }
    format!("({wanted}) NOT ({})", all(&query.excluded).join(" OR "))
}

/// `'quick' & 'fo':* & !'c'`
fn tsquery(query: &SearchQuery) -> String {
    let mut all: Vec<String> = query.wanted.iter().flat_map(lexemes).collect();
    if all.is_empty() {
        return NO_LEXEME.to_owned();
    }
    let words = query
        .excluded
        .iter()
        .filter(|phrase| phrase.words.len() == 1);
    all.extend(words.flat_map(lexemes).map(|word| format!("!{word}")));
    all.join(" & ")
}

fn lexemes(phrase: &Phrase) -> impl Iterator<Item = String> {
    let last = phrase.words.len() - 1;
    let lexeme = move |(at, word): (usize, &String)| {
        let star = if phrase.prefix && at == last {
            ":*"
        } else {
            ""
        };
        format!("'{word}'{star}")
    };
    phrase.words.iter().enumerate().map(lexeme)
}

/// The phrases of several words, which a vector without positions does not find.
fn phrases(some: &[Phrase]) -> impl Iterator<Item = &Phrase> {
    some.iter().filter(|phrase| phrase.words.len() > 1)
}

/// Words hold no wildcards.
fn pattern(phrase: &Phrase) -> String {
    let end = if phrase.prefix { "%" } else { " %" };
    format!("% {}{end}", phrase.words.join(" "))
}

/// Writes a text of all words, folded, a space before and behind each; ` | ` keeps those of one
/// column from being neighbours of the next one's. Longer ones than can be found are cut.
fn all_words(sql: &mut Sql, index: &Index, scope: Scope) {
    sql.push("regexp_replace(lower((' '");
    for (i, &at) in index.columns.iter().enumerate() {
        sql.push(if i > 0 { " || ' | ' || " } else { " || " });
        sql.push("regexp_replace(");
        let nullable = scope.def(at).nullable;
        sql.push(if nullable { "COALESCE(" } else { "" });
        scope.column(sql, at);
        sql.push(if nullable { ", '')" } else { "" });
        sql.push(", '[\\u0001-\\u002f\\u003a-\\u0040\\u005b-\\u0060\\u007b-\\u007f");
        for separator in SEPARATORS {
            sql.push(&format!("\\u{:04x}", u32::from(separator)));
        }
        sql.push("]+', ' ', 'g')");
    }
    sql.push(" || ' ') COLLATE \"C\"), '([^ ]{");
    sql.number(WORD_CHARS_MAX + 1);
    sql.push("})[^ ]+', '\\1', 'g')");
}

/// Writes the words as a `tsvector`. The same in the index and in queries, so that it is used.
fn vector(sql: &mut Sql, index: &Index, scope: Scope) {
    sql.push("regexp_replace(");
    all_words(sql, index, scope);
    sql.push(", '[^ ]+', '''\\&''', 'g')::tsvector");
}

/// The statements that create the index.
pub(crate) fn create(
    dialect: Dialect,
    table: &'static Table,
    index: &'static Index,
) -> Vec<String> {
    let scope = Scope::bare(table);
    let write = |write: &dyn Fn(&mut Sql)| {
        let mut sql = Sql::new(dialect);
        write(&mut sql);
        sql.into_text()
    };
    match dialect {
        Dialect::Postgres => vec![write(&|sql| {
            sql.push("CREATE INDEX ");
            sql.ident(index.name);
            sql.push(" ON ");
            scope.from(sql);
            sql.push(" USING gin ((");
            vector(sql, index, scope);
            sql.push("))");
        })],
        Dialect::Sqlite => vec![
            write(&|sql| view(sql, index, scope)),
            write(&|sql| fts5_table(sql, index, scope)),
            write(&|sql| trigger(sql, index, scope, &INSERTED)),
            write(&|sql| trigger(sql, index, scope, &DELETED)),
            write(&|sql| trigger(sql, index, scope, &UPDATED_FROM)),
            write(&|sql| trigger(sql, index, scope, &UPDATED_TO)),
        ],
    }
}

/// The view's name: what FTS5 reads where it needs a row's texts.
fn view_name(sql: &mut Sql, index: &Index) {
    sql.ident(&format!("{}_text", index.name));
}

fn names(sql: &mut Sql, index: &Index, scope: Scope) {
    let columns = scope.table.key.iter().chain(index.columns);
    sql.list(columns, ", ", |sql, &at| sql.ident(scope.def(at).name));
}

fn view(sql: &mut Sql, index: &Index, scope: Scope) {
    sql.push("CREATE VIEW ");
    view_name(sql, index);
    sql.push(" AS\nSELECT ");
    scope.column(sql, scope.table.key[0]);
    for &at in index.columns {
        sql.push(",\n  ");
        spaced(sql, at, scope);
        sql.push(" AS ");
        sql.ident(scope.def(at).name);
    }
    sql.push("\nFROM ");
    scope.from(sql);
}

/// Writes the column with spaces for separators beyond ASCII; a text without any is left as it is.
fn spaced(sql: &mut Sql, at: usize, scope: Scope) {
    sql.push("CASE WHEN length(");
    scope.column(sql, at);
    sql.push(") = length(CAST(");
    scope.column(sql, at);
    sql.push(" AS BLOB)) THEN ");
    scope.column(sql, at);
    sql.push(" ELSE ");
    sql.push(&"replace(".repeat(SEPARATORS.len()));
    scope.column(sql, at);
    for separator in SEPARATORS {
        sql.push(", char(");
        sql.number(u32::from(separator) as usize);
        sql.push("), ' ')");
    }
    sql.push(" END");
}

fn fts5_table(sql: &mut Sql, index: &Index, scope: Scope) {
    sql.push("CREATE VIRTUAL TABLE ");
    sql.ident(index.name);
    sql.push(" USING fts5 (");
    sql.list(index.columns, ", ", |sql, &at| {
        sql.ident(scope.def(at).name);
    });
    sql.push(", content = ");
    view_name(sql, index);
    sql.push(", content_rowid = ");
    sql.ident(scope.def(scope.table.key[0]).name);
    sql.push(", tokenize = 'ascii')");
}

/// One of the triggers that keep the index. FTS5 must be told the very words it was given to take
/// a row out, so that is done while the table has them.
struct Trigger {
    ending: &'static str,
    event: &'static str,
    /// Whether it is for the indexed columns only.
    of_columns: bool,
    row: &'static str,
    removes: bool,
}

const INSERTED: Trigger = Trigger {
    ending: "insert",
    event: "AFTER INSERT",
    of_columns: false,
    row: "new",
    removes: false,
};
const DELETED: Trigger = Trigger {
    ending: "delete",
    event: "BEFORE DELETE",
    of_columns: false,
    row: "old",
    removes: true,
};
const UPDATED_FROM: Trigger = Trigger {
    ending: "update_from",
    event: "BEFORE UPDATE",
    of_columns: true,
    row: "old",
    removes: true,
};
const UPDATED_TO: Trigger = Trigger {
    ending: "update_to",
    event: "AFTER UPDATE",
    of_columns: true,
    row: "new",
    removes: false,
};

fn trigger(sql: &mut Sql, index: &Index, scope: Scope, trigger: &Trigger) {
    let key = scope.table.key[0];
    sql.push("CREATE TRIGGER ");
    sql.ident(&format!("{}_{}", index.name, trigger.ending));
    sql.push(" ");
    sql.push(trigger.event);
    if trigger.of_columns {
        sql.push(" OF ");
        names(sql, index, scope);
    }
    sql.push(" ON ");
    scope.from(sql);
    sql.push(" BEGIN\n  INSERT INTO ");
    sql.ident(index.name);
    sql.push(" (");
    if trigger.removes {
        sql.ident(index.name);
        sql.push(", ");
    }
    sql.push("rowid, ");
    sql.list(index.columns, ", ", |sql, &at| {
        sql.ident(scope.def(at).name);
    });
    sql.push(if trigger.removes {
        ")\n  SELECT 'delete', "
    } else {
        ")\n  SELECT "
    });
    names(sql, index, scope);
    sql.push(" FROM ");
    view_name(sql, index);
    sql.push(" WHERE ");
    sql.ident(scope.def(key).name);
    sql.push(" = ");
    sql.push(trigger.row);
    sql.push(".");
    sql.ident(scope.def(key).name);
    sql.push(";\nEND");
}
