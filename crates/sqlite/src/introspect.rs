//! What a database's schema really is, read from SQLite itself, and how two schemas differ.
//!
//! Text is compared without its layout, quotes and letter case, and columns without their order,
//! so that a schema grown by migrations can equal one that was created at once.

mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use larder_core::migration::Facts;
use larder_core::{Error, ErrorKind, Result};
use rusqlite::Connection;

pub(crate) use text::skip_blanks;

/// A schema as SQLite sees it. SQLite's own tables are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Schema {
    /// The tables by name.
    pub tables: BTreeMap<String, TableSchema>,
    /// The definitions of the views by name, normalised.
    pub views: BTreeMap<String, String>,
    /// The definitions of the triggers by name, normalised.
    pub triggers: BTreeMap<String, String>,
    /// The definitions of the virtual tables by name, normalised. What those keep their rows in is
    /// their own business.
    pub virtual_tables: BTreeMap<String, String>,
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableSchema {
    /// Whether it is STRICT.
    pub strict: bool,
    /// Whether it is WITHOUT ROWID.
    pub without_rowid: bool,
    /// The columns by name.
    pub columns: BTreeMap<String, ColumnSchema>,
    /// The indexes, those behind unique constraints and keys included.
    pub indexes: BTreeSet<IndexSchema>,
    /// The foreign keys.
    pub references: BTreeSet<ReferenceSchema>,
    /// The checks, normalised.
    pub checks: BTreeSet<String>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ColumnSchema {
    /// The declared type.
    pub declared: String,
    /// Whether it is NOT NULL.
    pub not_null: bool,
    /// The default's text, normalised.
    pub default: Option<String>,
    /// Its place in the primary key, from 1.
    pub key: Option<u32>,
    /// Whether it is AUTOINCREMENT.
    pub auto_increment: bool,
    /// Whether it is computed.
    pub generated: bool,
    /// The collation of its text.
    pub collation: String,
}

/// An index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct IndexSchema {
    /// Its name; none if a constraint of the table made it.
    pub name: Option<String>,
    /// Whether it is unique.
    pub unique: bool,
    /// Column or `<expression>`, direction and collation of each part.
    pub parts: Vec<String>,
    /// The definition, normalised, where the parts do not say it all: partial indexes and those
    /// on expressions.
    pub definition: Option<String>,
}

/// A foreign key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct ReferenceSchema {
    /// The columns that refer.
    pub columns: Vec<String>,
    /// The table referred to.
    pub parent: String,
    /// The columns referred to.
    pub parent_columns: Vec<String>,
    /// `CASCADE`, `RESTRICT`, `SET NULL` and so on.
    pub on_delete: String,
    /// The same for changed keys.
    pub on_update: String,
}

impl Schema {
    /// Reads the schema of the main database. A few short queries per table; writes nothing.
    pub fn read(connection: &Connection) -> Result<Self> {
        read(connection).map_err(|error| {
            Error::new(ErrorKind::Engine, "the schema cannot be read").with_source(error)
        })
    }

    /// The schema with only the tables whose names pass.
    pub fn filtered(mut self, keep: impl Fn(&str) -> bool) -> Self {
        self.tables.retain(|name, _| keep(name));
        self
    }

    /// One sentence per difference, naming the thing and both sides; empty if there is none.
    pub fn differences(&self, other: &Self, names: (&str, &str)) -> Vec<String> {
        self.facts().differences(&other.facts(), names)
    }

    fn facts(&self) -> Facts {
        let mut facts = Facts::default();
        for (name, table) in &self.tables {
            let strict = if table.strict { "STRICT" } else { "not STRICT" };
            let rowid = if table.without_rowid {
                "WITHOUT ROWID"
            } else {
                "with a rowid"
            };
            facts.insert(format!("table `{name}`"), format!("{strict}, {rowid}"));
            for (column, schema) in &table.columns {
                facts.insert(format!("column `{name}.{column}`"), schema.to_string());
            }
            for index in &table.indexes {
                let subject = match &index.name {
                    Some(index) => format!("index `{index}` of `{name}`"),
                    None => format!("constraint ({}) of `{name}`", index.parts.join(", ")),
                };
                facts.insert(subject, index.to_string());
            }
            for reference in &table.references {
                let columns = reference.columns.join(", ");
                facts.insert(
                    format!("reference ({columns}) of `{name}`"),
                    reference.to_string(),
                );
            }
            for check in &table.checks {
                facts.insert(
                    format!("check ({check}) of `{name}`"),
                    "a constraint".to_owned(),
                );
            }
        }
        let definitions = [
            ("view", &self.views),
            ("trigger", &self.triggers),
            ("virtual table", &self.virtual_tables),
        ];
        for (what, some) in definitions {
            for (name, definition) in some {
                facts.insert(format!("{what} `{name}`"), definition.clone());
            }
        }
        facts
    }
}

impl fmt::Display for ColumnSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.declared)?;
        for (said, word) in [
            (self.not_null, " NOT NULL"),
            (self.auto_increment, " AUTOINCREMENT"),
            (self.generated, " GENERATED"),
        ] {
            if said {
                f.write_str(word)?;
            }
        }
        if let Some(place) = self.key {
            write!(f, " PRIMARY KEY #{place}")?;
        }
        if let Some(default) = &self.default {
            write!(f, " DEFAULT {default}")?;
        }
        write!(f, " COLLATE {}", self.collation)
    }
}

impl fmt::Display for IndexSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.unique { "unique on " } else { "on " })?;
        match &self.definition {
            Some(definition) => f.write_str(definition),
            None => f.write_str(&self.parts.join(", ")),
        }
    }
}

impl fmt::Display for ReferenceSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            parent,
            parent_columns,
            on_delete,
            on_update,
            ..
        } = self;
        let columns = parent_columns.join(", ");
        write!(
            f,
            "to {parent} ({columns}) ON DELETE {on_delete} ON UPDATE {on_update}"
        )
    }
}

fn read(connection: &Connection) -> rusqlite::Result<Schema> {
    let mut schema = Schema::default();
    let mut tables = connection.prepare(
        "SELECT l.name, l.strict, l.wr, s.sql
        FROM pragma_table_list AS l JOIN sqlite_schema AS s ON s.name = l.name
        WHERE l.schema = 'main' AND l.type = 'table' AND l.name NOT LIKE 'sqlite!_%' ESCAPE '!'",
    )?;
    let mut rows = tables.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let table = TableSchema {
            strict: row.get(1)?,
            without_rowid: row.get(2)?,
            columns: columns(connection, &name)?,
            indexes: indexes(connection, &name)?,
            references: references(connection, &name)?,
            checks: text::checks(&row.get::<_, String>(3)?),
        };
        schema.tables.insert(name, table);
    }
    let mut others = connection.prepare(
        "SELECT type, name, sql FROM sqlite_schema WHERE type IN ('view', 'trigger')
        UNION ALL
        SELECT l.type, l.name, s.sql
        FROM pragma_table_list AS l JOIN sqlite_schema AS s ON s.name = l.name
        WHERE l.schema = 'main' AND l.type = 'virtual'",
    )?;
    let mut rows = others.query([])?;
    while let Some(row) = rows.next()? {
        let kind: String = row.get(0)?;
        let into = match kind.as_str() {
            "view" => &mut schema.views,
            "trigger" => &mut schema.triggers,
            _ => &mut schema.virtual_tables,
        };
        into.insert(row.get(1)?, text::normalise(&row.get::<_, String>(2)?));
    }
    Ok(schema)
}

fn columns(
    connection: &Connection,
    table: &str,
) -> rusqlite::Result<BTreeMap<String, ColumnSchema>> {
    let sql = r#"SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?1)"#;
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([table])?;
    let mut columns = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let (_, collation, _, _, auto_increment) =
            connection.column_metadata(Some("main"), table, name.as_str())?;
        let key: u32 = row.get(4)?;
        let column = ColumnSchema {
            declared: row.get::<_, String>(1)?.to_ascii_uppercase(),
            not_null: row.get(2)?,
            default: row
                .get::<_, Option<String>>(3)?
                .map(|default| text::normalise(&default)),
            key: (key > 0).then_some(key),
            auto_increment,
            generated: row.get::<_, i64>(5)? >= 2,
            collation: collation.map_or_else(String::new, |name| name.to_string_lossy().into()),
        };
        columns.insert(name, column);
    }
    Ok(columns)
}

fn indexes(connection: &Connection, table: &str) -> rusqlite::Result<BTreeSet<IndexSchema>> {
    let sql = r#"SELECT l.name, l."unique", l.origin, l.partial, s.sql
        FROM pragma_index_list(?1) AS l LEFT JOIN sqlite_schema AS s ON s.name = l.name"#;
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([table])?;
    let mut indexes = BTreeSet::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let parts = index_parts(connection, &name)?;
        let incomplete = row.get(3)? || parts.iter().any(|part| part.starts_with('<'));
        let definition: Option<String> = row.get(4)?;
        indexes.insert(IndexSchema {
            unique: row.get(1)?,
            parts,
            definition: definition
                .filter(|_| incomplete)
                .map(|sql| text::after_on(&sql)),
            name: (row.get::<_, String>(2)? == "c").then_some(name),
        });
    }
    Ok(indexes)
}

fn index_parts(connection: &Connection, index: &str) -> rusqlite::Result<Vec<String>> {
    let sql = r#"SELECT name, "desc", coll FROM pragma_index_xinfo(?1) WHERE key ORDER BY seqno"#;
    let part = |row: &rusqlite::Row<'_>| {
        let mut part = row
            .get::<_, Option<String>>(0)?
            .unwrap_or_else(|| "<expression>".into());
        if row.get(1)? {
            part.push_str(" DESC");
        }
        let collation: String = row.get(2)?;
        if collation != "BINARY" {
            part.push_str(" COLLATE ");
            part.push_str(&collation);
        }
        Ok(part)
    };
    connection.prepare(sql)?.query_map([index], part)?.collect()
}

fn references(connection: &Connection, table: &str) -> rusqlite::Result<BTreeSet<ReferenceSchema>> {
    let sql = r#"SELECT id, "table", "from", "to", on_delete, on_update
        FROM pragma_foreign_key_list(?1) ORDER BY id, seq"#;
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([table])?;
    let mut references: BTreeMap<i64, ReferenceSchema> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (on_delete, on_update) = (row.get(4)?, row.get(5)?);
        let parent: String = row.get(1)?;
        let reference = references
            .entry(row.get(0)?)
            .or_insert_with(|| ReferenceSchema {
                columns: Vec::new(),
                parent,
                parent_columns: Vec::new(),
                on_delete,
                on_update,
            });
        reference.columns.push(row.get(2)?);
        reference
            .parent_columns
            .extend(row.get::<_, Option<String>>(3)?);
    }
    let mut references: Vec<_> = references.into_values().collect();
    for reference in &mut references {
        // `REFERENCES users` without columns means the key.
        if reference.parent_columns.is_empty() {
            reference.parent_columns = key(connection, &reference.parent)?;
        }
    }
    Ok(references.into_iter().collect())
}

fn key(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT name FROM pragma_table_xinfo(?1) WHERE pk > 0 ORDER BY pk";
    connection
        .prepare(sql)?
        .query_map([table], |row| row.get(0))?
        .collect()
}
