//! The sequences that PostgreSQL takes automatic keys from.
//!
//! A sequence knows nothing of keys that are given: the next automatic key would be one of them.
//! Before rows with given keys are written, the sequence is moved past the largest one:
//! [`largest_key`] says whether and how far, [`move_sequence`] is the statement.

use larder_core::write::WriteOp;
use larder_core::{Assign, Table, Value, Write};

use crate::Statement;
use crate::dialect::Dialect;
use crate::text::Sql;

/// Up to so many keys are skipped by taking them.
const TAKEN_MAX: usize = 1_000;
/// What tells our advisory locks from others: `lard`.
const LOCK_SPACE: usize = 0x6C61_7264;

/// The largest automatic key that the write itself gives: the parameter of [`move_sequence`].
/// `None` where the sequence need not be moved.
///
/// Sees the keys of inserted rows and one that an update sets. An update that adds to a key is not
/// seen. Cost: a look at every row, and at nothing where the key is not among the columns.
pub fn largest_key(write: &Write) -> Option<i64> {
    let key = column(write.table())?;
    let int = |value: &Value| match value {
        Value::Int(key) => Some(*key),
        _ => None,
    };
    let largest = match &write.op {
        WriteOp::Insert(insert) => {
            let place = insert.columns.iter().position(|&at| at == key)?;
            insert.rows().filter_map(|row| int(&row[place])).max()
        }
        WriteOp::Update(update) => update.set.iter().find_map(|(at, assign)| match assign {
            Assign::Set(value) if *at == key => int(value),
            _ => None,
        }),
        WriteOp::UpdateRows(_) | WriteOp::Delete(_) => None,
    };
    // Sequences begin at 1.
    largest.filter(|key| *key > 0)
}

/// Whether some row leaves its key to the store though the key's column is among those given.
///
/// The statements of [`render_write`](crate::render_write) give it the next key; COPY cannot.
pub fn asks_keys(write: &Write) -> bool {
    let WriteOp::Insert(insert) = &write.op else {
        return false;
    };
    let place = column(insert.table)
        .and_then(|key| insert.columns.iter().position(|&column| column == key));
    place.is_some_and(|place| insert.rows().any(|row| row[place].is_null()))
}

/// Moves the sequence of the table's automatic key to at least the key that is its only
/// parameter, [`largest_key`] as a `bigint`; `None` where that is. Never moves it back. For
/// PostgreSQL.
///
/// To be run before the write that gives the key, in the same transaction: rows of that write
/// that leave their key to the store then get one that is not given, and others cannot take a
/// given key meanwhile. A sequence is not rolled back: keys skipped stay skipped, also when the
/// write fails.
///
/// Others may take keys all the time. Up to 1,000 keys are skipped by taking them, which is atomic
/// each. Beyond that the sequence is set, by one at a time (an advisory lock until the end of the
/// transaction). Between its look at the sequence and setting it, some microseconds, others would
/// have to take more than the 1,000 keys for it to move back.
///
/// Where the column has no sequence of its own, nothing happens. The statement gives one row or
/// none, of no interest. It needs the privileges USAGE and UPDATE on the sequence.
pub fn move_sequence(write: &Write) -> Option<Statement> {
    largest_key(write)?;
    let (table, at) = (write.table(), column(write.table())?);
    let mut sql = Sql::new(Dialect::Postgres);
    let key = sql.reserve(1).start;
    sql.push("SELECT CASE WHEN _g <= ");
    sql.number(TAKEN_MAX);
    sql.push(
        " THEN (SELECT max(_k) FROM (SELECT nextval(_s) AS _k FROM generate_series(1, _g) OFFSET 0) \
         AS _t) ELSE (SELECT setval(_s, GREATEST(",
    );
    bigint(&mut sql, key);
    sql.push(", nextval(_s))) FROM (SELECT pg_advisory_xact_lock(");
    sql.number(LOCK_SPACE);
    // The lock comes first: what is around it looks at the sequence again.
    sql.push(", _s::oid::integer) OFFSET 0) AS _l WHERE ");
    bigint(&mut sql, key);
    sql.push(" > COALESCE(pg_sequence_last_value(_s), 0)) END FROM (SELECT _s, ");
    bigint(&mut sql, key);
    sql.push(" - COALESCE(pg_sequence_last_value(_s), 0) AS _g FROM (SELECT ");
    of_column(&mut sql, table, at);
    sql.push("::regclass AS _s OFFSET 0) AS _q OFFSET 0) AS _r WHERE _g > 0");
    Some(sql.finish())
}

fn bigint(sql: &mut Sql, number: usize) {
    sql.placeholder_again(number);
    sql.push("::bigint");
}

/// The column whose values the store makes.
pub(crate) fn column(table: &Table) -> Option<usize> {
    table.single_key().filter(|_| table.auto_key)
}

/// Writes the name of the column's sequence, as a text; NULL where it has none.
pub(crate) fn of_column(sql: &mut Sql, table: &Table, at: usize) {
    sql.push("pg_get_serial_sequence(");
    sql.literal(&sql.dialect.quote(table.name));
    sql.push(", ");
    sql.literal(sql.dialect.name_kept(table.columns[at].name));
    sql.push(")");
}
