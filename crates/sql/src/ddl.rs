//! Schemas: the statements that create the models' tables.

use larder_core::{ColumnDef, DefaultValue, Index, Kind, OnDelete, Reference, Table};

use crate::dialect::Dialect;
use crate::search;
use crate::text::{Scope, Sql};

/// The statements that create the table, its unique constraints and its indexes. (The full-text
/// index is on SQLite a table, a view and four triggers, for which [`Dialect::Sqlite`] needs FTS5.)
///
/// ```text
/// CREATE TABLE "tags" (
///   "id" INTEGER PRIMARY KEY AUTOINCREMENT,
///   "name" TEXT NOT NULL CHECK (length("name") <= 50)
/// ) STRICT
/// CREATE UNIQUE INDEX "tags_name_key" ON "tags" ("name")
/// ```
///
/// On SQLite, checks keep what the column's type does not: the range of small integers, 0 and 1
/// for booleans, finite floats. They make an overflow in an update an error. A table with a key
/// of several columns is stored by that key (WITHOUT ROWID).
///
/// Constraints have no names here. PostgreSQL gives them `users_pkey`, `users_name_check` and
/// `posts_author_id_fkey`, one of each at most per table or column; of tables like `a` with `b_c`
/// and `a_b` with `c`, the second gets a number behind it. Where a name would be longer than 63
/// bytes, the longer of the table's and the column's is cut until it is not (PostgreSQL's
/// `makeObjectName`). Tables, columns and indexes keep 63 bytes of their own names:
/// [`Dialect::name_kept`] is what errors say.
pub fn create_table(dialect: Dialect, table: &'static Table) -> Vec<String> {
    create(dialect, table, &|_| true)
}

/// The statements that create all the tables, in an order that has every table after those it
/// refers to.
///
/// Where tables refer to each other in a circle, SQLite takes the reference before its table is
/// there; for PostgreSQL the reference is added at the end.
pub fn create_tables(dialect: Dialect, tables: &[&'static Table]) -> Vec<String> {
    let mut ordered = Vec::with_capacity(tables.len());
    let mut visited = Vec::with_capacity(tables.len());
    for table in tables {
        visit(table, tables, &mut visited, &mut ordered);
    }
    let mut statements = Vec::new();
    let mut late = Vec::new();
    for (at, table) in ordered.iter().enumerate() {
        let there = |reference: &Reference| {
            let parent = (reference.table)();
            dialect == Dialect::Sqlite
                || ordered[..=at].iter().any(|one| one.is(parent))
                || !ordered.iter().any(|one| one.is(parent))
        };
        statements.extend(create(dialect, table, &there));
        for column in table.columns {
            if let Some(reference) = column.references.as_ref().filter(|r| !there(r)) {
                late.push(add_reference(dialect, table, column, reference));
            }
        }
    }
    statements.append(&mut late);
    statements
}

/// The statements of [`create_tables`], which do nothing where what they create is there.
pub fn create_missing_tables(dialect: Dialect, tables: &[&'static Table]) -> Vec<String> {
    let statements = create_tables(dialect, tables);
    statements.iter().map(|one| if_missing(one)).collect()
}

/// The statement, which then does nothing where what it creates is there.
fn if_missing(statement: &str) -> String {
    for creates in ["CREATE TABLE ", "CREATE UNIQUE INDEX ", "CREATE INDEX "] {
        if let Some(rest) = statement.strip_prefix(creates) {
            return format!("{creates}IF NOT EXISTS {rest}");
        }
    }
    statement.to_owned()
}

/// Puts the tables that this one refers to before it. Circles end where they began.
fn visit(
    table: &'static Table,
    wanted: &[&'static Table],
    visited: &mut Vec<&'static Table>,
    ordered: &mut Vec<&'static Table>,
) {
    if visited.iter().any(|one| one.is(table)) {
        return;
    }
    visited.push(table);
    for reference in table
        .columns
        .iter()
        .filter_map(|column| column.references.as_ref())
    {
        let parent = (reference.table)();
        if let Some(parent) = wanted.iter().find(|one| one.is(parent)) {
            visit(parent, wanted, visited, ordered);
        }
    }
    ordered.push(table);
}

fn create(
    dialect: Dialect,
    table: &'static Table,
    inline: &dyn Fn(&Reference) -> bool,
) -> Vec<String> {
    let scope = Scope::bare(table);
    let mut sql = Sql::new(dialect);
    sql.push("CREATE TABLE ");
    scope.from(&mut sql);
    sql.push(" (\n  ");
    sql.list(0..table.columns.len(), ",\n  ", |sql, at| {
        column(sql, scope, at, inline);
    });
    if table.key.len() > 1 {
        sql.push(",\n  PRIMARY KEY (");
        sql.list(table.key, ", ", |sql, &at| scope.column(sql, at));
        sql.push(")");
    }
    sql.push(match (dialect, table.key.len() > 1) {
        (Dialect::Sqlite, false) => "\n) STRICT",
        (Dialect::Sqlite, true) => "\n) STRICT, WITHOUT ROWID",
        (Dialect::Postgres, _) => "\n)",
    });
    let mut statements = vec![sql.into_text()];
    let indexes = |unique, some: &'static [Index]| some.iter().map(move |one| (unique, one));
    for (unique, one) in indexes(true, table.uniques).chain(indexes(false, table.indexes)) {
        statements.push(index(dialect, scope, one, unique));
    }
    if let Some(index) = &table.search {
        statements.append(&mut search::create(dialect, table, index));
    }
    statements
}

fn index(dialect: Dialect, scope: Scope, index: &Index, unique: bool) -> String {
    let mut sql = Sql::new(dialect);
    sql.push(if unique {
        "CREATE UNIQUE INDEX "
    } else {
        "CREATE INDEX "
    });
    sql.ident(index.name);
    sql.push(" ON ");
    scope.from(&mut sql);
    sql.push(" (");
    sql.list(index.columns, ", ", |sql, &at| scope.column(sql, at));
    sql.push(")");
    sql.into_text()
}

fn column(sql: &mut Sql, scope: Scope, at: usize, inline: &dyn Fn(&Reference) -> bool) {
    let table = scope.table;
    let def = &table.columns[at];
    let only_key = table.key == [at];
    let auto = table.auto_key && only_key;
    sql.ident(def.name);
    sql.push(" ");
    sql.push(sql.dialect.column_type(def.kind));
    match (sql.dialect, auto) {
        (Dialect::Sqlite, true) => sql.push(" PRIMARY KEY AUTOINCREMENT"),
        (Dialect::Postgres, true) => sql.push(" GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"),
        (_, false) => {
            sql.push(if def.nullable && !table.key.contains(&at) {
                ""
            } else {
                " NOT NULL"
            });
            sql.push(if only_key { " PRIMARY KEY" } else { "" });
        }
    }
    if let Some(value) = def.default {
        sql.push(" DEFAULT ");
        literal(sql, value);
    }
    checks(sql, def);
    if let Some(reference) = def
        .references
        .as_ref()
        .filter(|reference| inline(reference))
    {
        sql.push(" ");
        references(sql, reference);
    }
}

fn checks(sql: &mut Sql, def: &ColumnDef) {
    let (before, after) = match (sql.dialect, def.kind) {
        (Dialect::Sqlite, Kind::Bool) => ("", " IN (0, 1)"),
        (Dialect::Sqlite, Kind::I16) => ("", " BETWEEN -32768 AND 32767"),
        (Dialect::Sqlite, Kind::I32) => ("", " BETWEEN -2147483648 AND 2147483647"),
        // SQLite reads 9e999 as infinity.
        (Dialect::Sqlite, Kind::F32 | Kind::F64) => ("abs(", ") < 9e999"),
        _ => ("", ""),
    };
    if !after.is_empty() {
        sql.push(" CHECK (");
        sql.push(before);
        sql.ident(def.name);
        sql.push(after);
        sql.push(")");
    }
    if let Some(max) = def.max_len {
        sql.push(" CHECK (length(");
        sql.ident(def.name);
        sql.push(") <= ");
        sql.number(max as usize);
        sql.push(")");
    }
}

fn references(sql: &mut Sql, reference: &Reference) {
    let parent = Scope::bare((reference.table)());
    sql.push("REFERENCES ");
    parent.from(sql);
    sql.push(" (");
    sql.list(parent.table.key, ", ", |sql, &at| parent.column(sql, at));
    sql.push(match reference.on_delete {
        // Refused while children exist at the end of the statement; RESTRICT would refuse even
        // where a child goes in the same statement.
        OnDelete::Restrict => ") ON DELETE NO ACTION",
        OnDelete::Cascade => ") ON DELETE CASCADE",
        OnDelete::SetNull => ") ON DELETE SET NULL",
    });
}

fn add_reference(
    dialect: Dialect,
    table: &Table,
    column: &ColumnDef,
    reference: &Reference,
) -> String {
    let mut sql = Sql::new(dialect);
    sql.push("ALTER TABLE ");
    sql.ident(table.name);
    sql.push(" ADD FOREIGN KEY (");
    sql.ident(column.name);
    sql.push(") ");
    references(&mut sql, reference);
    sql.into_text()
}

/// Writes a constant default: the only place that makes text of a value, one that the model's
/// source code holds.
///
/// # Panics
/// If a text holds NUL or a float is not finite, which no column can hold.
fn literal(sql: &mut Sql, value: DefaultValue) {
    match value {
        DefaultValue::Bool(value) if sql.dialect == Dialect::Postgres => {
            sql.push(if value { "TRUE" } else { "FALSE" });
        }
        DefaultValue::Bool(value) => sql.push(if value { "1" } else { "0" }),
        DefaultValue::Int(value) => sql.push(&value.to_string()),
        DefaultValue::Float(value) => {
            assert!(value.is_finite(), "the default of a column must be finite");
            sql.push(&format!("{value:?}"));
        }
        DefaultValue::Text(value) => sql.literal(value),
    }
}
