//! Finds what stands in the way of a deletion, or of a change of keys.
//!
//! SQLite says only that some reference refuses. The statement was undone, so what it was about to
//! delete is found again: the rows of its filter, and those that go with them by cascades. What
//! refers to one of them and does not go as well is what stands in the way.

use std::rc::Rc;

use larder_core::write::WriteOp;
use larder_core::{Expr, Output, Select, Table, Write};
use larder_sql::Dialect;
use rusqlite::Connection;
use rusqlite::types::Value as SqlValue;
use rusqlite::vtab::array::Array;

use crate::violation::values;

/// The most rows of a table that are looked at in one step.
const ROWS_MAX: u64 = 10_000;
/// The most steps that cascades are followed.
const STEPS_MAX: usize = 1_000;

/// A column that refers to a row the write deletes or renames.
#[derive(Debug)]
pub(crate) struct Referrer {
    pub(crate) table: String,
    pub(crate) column: String,
}

/// Looks for one in the open transaction of the refused write.
pub(crate) fn find(connection: &Connection, write: &Write) -> rusqlite::Result<Option<Referrer>> {
    let (filter, deletes) = match &write.op {
        WriteOp::Delete(delete) => (&delete.filter, true),
        WriteOp::Update(update) => (&update.filter, false),
        _ => return Ok(None),
    };
    let table = write.table();
    let Some(key) = table.single_key() else {
        return Ok(None);
    };
    let mut select = Select::new(table);
    select.output = Output::Exprs(vec![Expr::Column(key)]);
    select.filter = filter.clone();
    select.limit = Some(ROWS_MAX);
    let mut going = Going::default();
    going.add(
        table.name,
        rows(connection, table, key, values(connection, &select)?)?,
    );
    if deletes {
        going.follow_cascades(connection)?;
    }
    going.find_referrer(connection, deletes)
}

/// The rows of a table that have these keys.
fn rows(
    connection: &Connection,
    table: &Table,
    key: usize,
    keys: Vec<SqlValue>,
) -> rusqlite::Result<Vec<i64>> {
    let sql = format!(
        "SELECT rowid FROM {} WHERE {} IN rarray(?1)",
        quote(table.name),
        quote(table.columns[key].name),
    );
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map([Rc::new(keys)], |row| row.get(0))?;
    rows.collect()
}

/// The rows that a deletion takes, by table and in the order they were found.
#[derive(Debug, Default)]
struct Going {
    tables: Vec<GoingTable>,
}

#[derive(Debug)]
struct GoingTable {
    name: String,
    /// Their rowids.
    rows: Vec<i64>,
    /// How many of them have been followed.
    followed: usize,
}

impl Going {
    fn rows(&self, table: &str) -> &[i64] {
        let known = self.tables.iter().find(|known| same(&known.name, table));
        known.map_or(&[], |known| &known.rows)
    }

    /// Adds rows that are not known yet.
    fn add(&mut self, table: &str, rows: Vec<i64>) {
        let known: std::collections::HashSet<i64> = self.rows(table).iter().copied().collect();
        let new = rows.into_iter().filter(|row| !known.contains(row));
        match self
            .tables
            .iter_mut()
            .find(|known| same(&known.name, table))
        {
            Some(known) => known.rows.extend(new),
            None => self.tables.push(GoingTable {
                name: table.to_owned(),
                rows: new.collect(),
                followed: 0,
            }),
        }
    }

    fn follow_cascades(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        for _ in 0..STEPS_MAX {
            let mut open = self.tables.iter_mut();
            let Some(parent) = open.find(|table| table.followed < table.rows.len()) else {
                break;
            };
            let (name, parents) = (parent.name.clone(), array(&parent.rows[parent.followed..]));
            parent.followed = parent.rows.len();
            for reference in references_to(connection, &name)? {
                if reference.on_delete == "CASCADE" && reference.has_rowid {
                    let children = reference.children(connection, &name, &parents)?;
                    self.add(&reference.table, children);
                }
            }
        }
        Ok(())
    }

    fn find_referrer(
        &self,
        connection: &Connection,
        deletes: bool,
    ) -> rusqlite::Result<Option<Referrer>> {
        for parent in &self.tables {
            let parents = array(&parent.rows);
            for reference in references_to(connection, &parent.name)? {
                let refuses = ["RESTRICT", "NO ACTION"].contains(&reference.on_delete.as_str());
                // No reference follows a key that changes.
                if deletes && !refuses {
                    continue;
                }
                // RESTRICT refuses even where the child goes as well.
                let excused = if deletes && reference.on_delete == "NO ACTION" {
                    self.rows(&reference.table)
                } else {
                    &[]
                };
                if reference.has_child(connection, &parent.name, &parents, excused)? {
                    return Ok(Some(Referrer {
                        table: reference.table,
                        column: reference.column,
                    }));
                }
            }
        }
        Ok(None)
    }
}

/// A reference of the database.
#[derive(Debug)]
struct Reference {
    table: String,
    column: String,
    /// The column it refers to.
    to: String,
    on_delete: String,
    has_rowid: bool,
}

/// The references to this table.
fn references_to(connection: &Connection, parent: &str) -> rusqlite::Result<Vec<Reference>> {
    let sql = "SELECT t.name, f.\"from\", \
               coalesce(f.\"to\", (SELECT name FROM pragma_table_info(?1) WHERE pk = 1)), \
               f.on_delete, NOT t.wr \
               FROM pragma_table_list AS t, pragma_foreign_key_list(t.name) AS f \
               WHERE t.schema = 'main' AND f.\"table\" = ?1 COLLATE NOCASE";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([parent], |row| {
        Ok(Reference {
            table: row.get(0)?,
            column: row.get(1)?,
            to: row.get(2)?,
            on_delete: row.get(3)?,
            has_rowid: row.get(4)?,
        })
    })?;
    rows.collect()
}

impl Reference {
    /// The condition that a row refers to one of the parents with these rowids.
    fn refers(&self, parent: &str) -> String {
        format!(
            "FROM {} AS c WHERE c.{} IN (SELECT p.{} FROM {} AS p WHERE p.rowid IN rarray(?1))",
            quote(&self.table),
            quote(&self.column),
            quote(&self.to),
            quote(parent),
        )
    }

    fn children(
        &self,
        connection: &Connection,
        parent: &str,
        parents: &Array,
    ) -> rusqlite::Result<Vec<i64>> {
        let sql = format!("SELECT c.rowid {} LIMIT {ROWS_MAX}", self.refers(parent));
        let mut statement = connection.prepare(&sql)?;
        let rows = statement.query_map([parents], |row| row.get(0))?;
        rows.collect()
    }

    /// Whether a row other than the excused ones refers to one of the parents.
    fn has_child(
        &self,
        connection: &Connection,
        parent: &str,
        parents: &Array,
        excused: &[i64],
    ) -> rusqlite::Result<bool> {
        let others = if self.has_rowid {
            "AND c.rowid NOT IN rarray(?2)"
        } else {
            "AND ?2 IS ?2"
        };
        let sql = format!("SELECT EXISTS (SELECT 1 {} {others})", self.refers(parent));
        connection.query_row(&sql, [parents, &array(excused)], |row| row.get(0))
    }
}

fn array(rows: &[i64]) -> Array {
    Rc::new(rows.iter().copied().map(SqlValue::Integer).collect())
}

fn quote(name: &str) -> String {
    Dialect::Sqlite.quote(name)
}

/// Names differ in more than case.
fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}
