//! Inserts: their text, and which rows one statement takes.
//!
//! SQLite takes the values of some rows as so many parameters. PostgreSQL takes one array per
//! column, whatever the number of rows:
//!
//! ```text
//! INSERT INTO "tags" ("id", "name") SELECT _c0, _c1
//!   FROM UNNEST($1::uuid[], $2::text[]) WITH ORDINALITY AS _v (_c0, _c1, _n) ORDER BY _n
//! ```
//!
//! PostgreSQL makes the rows, and the keys that it gives them, in this order.

use std::borrow::Cow;
use std::collections::HashSet;

use larder_core::write::{ConflictAction, InsertRows, OnConflict};
use larder_core::{Table, Value};

use crate::dialect::{Dialect, postgres_array, postgres_parameter};
use crate::filter::clause;
use crate::params;
use crate::sequence;
use crate::text::{Scope, Sql};
use crate::write::{assignments, columns};

/// How many rows one INSERT of values adds at most: more gain nothing and make the text longer.
const ROWS_PREFERRED: usize = 100;
/// How many rows one INSERT of arrays adds at most. The server holds them twice, as arrays and as
/// rows; a statement more for every ten thousand costs nothing.
const ARRAY_ROWS_MAX: usize = 10_000;
/// From so many bytes of text, bytes and documents on, arrays end. PostgreSQL's limit is 1 GiB for
/// a message, and for an array.
const ARRAY_BYTES: usize = 64 << 20;

/// Writes the insert of so many rows.
pub(crate) fn insert_rows(sql: &mut Sql, insert: &InsertRows, rows: usize) -> Scope {
    let scope = Scope::bare(insert.table);
    sql.push("INSERT INTO ");
    scope.from(sql);
    sql.push(" (");
    columns(sql, &insert.columns, scope);
    sql.push(") ");
    if takes_arrays(sql.dialect, rows) {
        arrays(sql, insert);
    } else {
        values(sql, insert, rows);
    }
    if let Some(conflict) = &insert.on_conflict {
        on_conflict(sql, conflict, insert.table);
    }
    scope
}

/// Whether the insert of so many rows takes an array per column.
pub(crate) fn takes_arrays(dialect: Dialect, rows: usize) -> bool {
    dialect == Dialect::Postgres && rows != 1
}

fn values(sql: &mut Sql, insert: &InsertRows, rows: usize) {
    sql.push("VALUES ");
    sql.list(0..rows, ", ", |sql, _| {
        sql.push("(");
        sql.list(&insert.columns, ", ", |sql, &at| {
            let kind = insert.table.columns[at].kind;
            or_next_key(sql, insert.table, at, |sql, made| {
                sql.placeholder();
                if made {
                    sql.push("::");
                    sql.push(postgres_parameter(kind));
                }
            });
        });
        sql.push(")");
    });
}

fn arrays(sql: &mut Sql, insert: &InsertRows) {
    let given = |sql: &mut Sql, at: usize| {
        sql.push("_c");
        sql.number(at);
    };
    sql.push("SELECT ");
    let placed = insert.columns.iter().enumerate();
    sql.list(placed.clone(), ", ", |sql, (place, &at)| {
        or_next_key(sql, insert.table, at, |sql, _| given(sql, place));
    });
    sql.push(" FROM UNNEST(");
    sql.list(&insert.columns, ", ", |sql, &at| {
        sql.placeholder();
        sql.push("::");
        sql.push(postgres_array(insert.table.columns[at].kind));
    });
    sql.push(") WITH ORDINALITY AS _v (");
    for (place, _) in placed {
        given(sql, place);
        sql.push(", ");
    }
    sql.push("_n) ORDER BY _n");
}

/// Writes the value, and around it, where PostgreSQL makes the column's values, that NULL takes
/// the next one. `value` learns whether it does.
fn or_next_key(sql: &mut Sql, table: &Table, at: usize, value: impl FnOnce(&mut Sql, bool)) {
    let made = sql.dialect == Dialect::Postgres && sequence::column(table) == Some(at);
    sql.push(if made { "COALESCE(" } else { "" });
    value(sql, made);
    if made {
        // A query of its own is run at most once, and not where every row brings a key.
        sql.push(", nextval((SELECT ");
        sequence::of_column(sql, table, at);
        sql.push(")))");
    }
}

fn on_conflict(sql: &mut Sql, conflict: &OnConflict, table: &'static Table) {
    let scope = Scope::bare(table);
    sql.push(" ON CONFLICT (");
    columns(sql, &conflict.target, scope);
    match &conflict.action {
        ConflictAction::Ignore => sql.push(") DO NOTHING"),
        ConflictAction::Update {
            columns,
            set,
            filter,
        } => {
            sql.push(") DO UPDATE SET ");
            // Without a change, the key is set to itself: the old row still counts and comes back.
            let itself = if columns.is_empty() && set.is_empty() {
                &conflict.target
            } else {
                columns
            };
            sql.list(itself, ", ", |sql, &at| {
                scope.column(sql, at);
                sql.push(" = excluded.");
                scope.column(sql, at);
            });
            sql.push(if itself.is_empty() || set.is_empty() {
                ""
            } else {
                ", "
            });
            let named = Scope::named(table);
            assignments(sql, set, named);
            clause(sql, " WHERE ", filter, named);
        }
    }
}

/// The most rows that one insert of values takes.
pub(crate) fn values_max(dialect: Dialect, insert: &InsertRows) -> usize {
    let further = match &insert.on_conflict {
        Some(OnConflict {
            action: ConflictAction::Update { set, filter, .. },
            ..
        }) => set.len() + params::count(dialect, filter, insert.table),
        _ => 0,
    };
    let room = dialect.parameters_max().saturating_sub(further);
    (room / insert.columns.len().max(1)).clamp(1, ROWS_PREFERRED)
}

/// The statement that takes the insert's rows as PostgreSQL's binary COPY: all of them at once,
/// none of which comes back, meets a conflict or [asks for its key](crate::asks_keys).
pub fn copy_in(insert: &InsertRows) -> String {
    let mut sql = Sql::new(Dialect::Postgres);
    let scope = Scope::bare(insert.table);
    sql.push("COPY ");
    scope.from(&mut sql);
    sql.push(" (");
    columns(&mut sql, &insert.columns, scope);
    sql.push(") FROM STDIN (FORMAT binary)");
    sql.into_text()
}

/// Where the inserts of arrays end, each before this row; the last one ends with the rows.
///
/// Rows of a table that refers to itself stay together, because references are checked at the end
/// of a statement. An upsert is cut before a row whose key the statement has had already: of those
/// PostgreSQL refuses the second (SQLSTATE 21000), where the contract says that it updates the
/// first.
pub(crate) fn array_ends(insert: &InsertRows) -> Vec<usize> {
    let together = refers_to_itself(insert.table);
    let mut seen = Seen::new(insert);
    let mut ends = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, row) in insert.rows().enumerate() {
        let size: usize = row.iter().map(size).sum();
        let is_full = at > start && (at - start == ARRAY_ROWS_MAX || bytes + size > ARRAY_BYTES);
        let repeats = !seen.insert(row);
        if repeats || (is_full && !together) {
            ends.push(at);
            (start, bytes) = (at, 0);
            seen.start_with(row);
        }
        bytes += size;
    }
    ends.push(insert.rows().len());
    ends
}

fn refers_to_itself(table: &Table) -> bool {
    let mut references = table.columns.iter().filter_map(|c| c.references.as_ref());
    references.any(|reference| (reference.table)().is(table))
}

fn size(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Json(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => 0,
    }
}

/// The keys that an upsert's statement has had so far.
struct Seen<'a> {
    /// Where the key's values are in a row; `None` where keys may repeat, or cannot.
    places: Option<Vec<usize>>,
    keys: HashSet<Vec<Cow<'a, Value>>>,
}

impl<'a> Seen<'a> {
    fn new(insert: &InsertRows) -> Self {
        let target = match &insert.on_conflict {
            Some(OnConflict {
                target,
                action: ConflictAction::Update { .. },
            }) => target.as_slice(),
            _ => &[],
        };
        let place = |at| insert.columns.iter().position(|given| given == at);
        // What is not given is NULL or a new key, and neither is taken.
        let places = target.iter().map(place).collect::<Option<Vec<_>>>();
        Self {
            places: places.filter(|places| !places.is_empty()),
            keys: HashSet::new(),
        }
    }

    /// Whether the row's key is new. NULL is not equal to anything.
    fn insert(&mut self, row: &'a [Value]) -> bool {
        let Some(places) = &self.places else {
            return true;
        };
        let key: Vec<_> = places.iter().map(|&at| plain(&row[at])).collect();
        key.iter().any(|value| value.is_null()) || self.keys.insert(key)
    }

    fn start_with(&mut self, row: &'a [Value]) {
        self.keys.clear();
        self.insert(row);
    }
}

/// The value, negative zero as the zero that it equals.
fn plain(value: &Value) -> Cow<'_, Value> {
    match value {
        Value::Float(float) if *float == 0.0 => Cow::Owned(Value::Float(0.0)),
        value => Cow::Borrowed(value),
    }
}
