//! What a database's schema really is, read from PostgreSQL's catalog, and how two schemas differ.
//!
//! Expressions are as PostgreSQL itself writes them, so layout and letter case do not count;
//! columns are compared without their order and constraints without their names, so that a schema
//! grown by migrations can equal one that was created at once. Indexes are compared by name, and
//! a unique constraint equals a unique index of its name.

mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use larder_core::migration::Facts;
use larder_core::{Error, ErrorKind, Result};
use tokio_postgres::Client;

/// The schema that new tables go to (the first of `search_path`), without what extensions made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Schema {
    /// The tables by name.
    pub tables: BTreeMap<String, TableSchema>,
    /// The definitions of the views by name, materialized ones included.
    pub views: BTreeMap<String, String>,
    /// The definitions of the triggers by `table.name`.
    pub triggers: BTreeMap<String, String>,
    /// The values of the enums by name, in order.
    pub enums: BTreeMap<String, Vec<String>>,
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableSchema {
    /// Whether it is UNLOGGED: empty after a crash.
    pub unlogged: bool,
    /// How it is partitioned, if it is.
    pub partitioned: Option<String>,
    /// The columns by name.
    pub columns: BTreeMap<String, ColumnSchema>,
    /// The indexes, those behind unique constraints and keys included.
    pub indexes: BTreeSet<IndexSchema>,
    /// The foreign keys.
    pub references: BTreeSet<ReferenceSchema>,
    /// The checks and exclusions, as PostgreSQL writes them.
    pub checks: BTreeSet<String>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ColumnSchema {
    /// Its type, with length or precision.
    pub declared: String,
    /// Whether it is NOT NULL.
    pub not_null: bool,
    /// The expression of its default, or of what it is computed from.
    pub default: Option<String>,
    /// Its place in the primary key, from 1.
    pub key: Option<u32>,
    /// `ALWAYS` or `BY DEFAULT` if the database numbers the rows.
    pub identity: Option<String>,
    /// Whether it is computed.
    pub generated: bool,
    /// The collation of its text, unless it is the database's own.
    pub collation: Option<String>,
}

/// An index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct IndexSchema {
    /// Its name; none for the primary key's.
    pub name: Option<String>,
    /// Whether it is unique.
    pub unique: bool,
    /// Each column or expression of it.
    pub parts: Vec<String>,
    /// Method, parts and condition: `btree (email) WHERE is_active`.
    pub definition: String,
    /// Whether it is used; not so after a CREATE INDEX CONCURRENTLY that failed.
    pub valid: bool,
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
    /// Whether it may be checked at the end of the transaction.
    pub deferrable: bool,
    /// Whether the rows that were there before it are known to obey it.
    pub validated: bool,
}

impl Schema {
    /// Reads the schema. Seven queries whatever its size; writes nothing. Consistent if nobody
    /// changes the schema meanwhile.
    ///
    /// `Schema` if `search_path` names no schema that exists.
    pub async fn read(client: &Client) -> Result<Self> {
        match read::schema(client).await {
            Ok(Some(schema)) => Ok(schema),
            Ok(None) => Err(Error::new(
                ErrorKind::Schema,
                "`search_path` names no schema that exists; create it, or set another",
            )),
            Err(error) => {
                Err(Error::new(ErrorKind::Engine, "the schema cannot be read").with_source(error))
            }
        }
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
            table.facts(name, &mut facts);
        }
        let definitions = [("view", &self.views), ("trigger", &self.triggers)];
        for (what, some) in definitions {
            for (name, definition) in some {
                facts.insert(format!("{what} `{name}`"), definition.clone());
            }
        }
        for (name, values) in &self.enums {
            facts.insert(format!("enum `{name}`"), values.join(", "));
        }
        facts
    }
}

impl TableSchema {
    fn facts(&self, name: &str, facts: &mut Facts) {
        let mut kind = if self.unlogged { "unlogged" } else { "logged" }.to_owned();
        if let Some(by) = &self.partitioned {
            kind.push_str(" and partitioned by ");
            kind.push_str(by);
        }
        facts.insert(format!("table `{name}`"), kind);
        for (column, schema) in &self.columns {
            facts.insert(format!("column `{name}.{column}`"), schema.to_string());
        }
        for index in &self.indexes {
            let subject = match &index.name {
                Some(index) => format!("index `{index}` of `{name}`"),
                None => format!("primary key of `{name}`"),
            };
            facts.insert(subject, index.to_string());
        }
        for reference in &self.references {
            let columns = reference.columns.join(", ");
            let subject = format!("reference ({columns}) of `{name}` to {}", reference.parent);
            facts.insert(subject, reference.to_string());
        }
        for check in &self.checks {
            facts.insert(format!("{check} of `{name}`"), "a constraint".to_owned());
        }
    }
}

impl fmt::Display for ColumnSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.declared)?;
        if let Some(collation) = &self.collation {
            write!(f, " COLLATE {collation}")?;
        }
        if self.not_null {
            f.write_str(" NOT NULL")?;
        }
        if let Some(identity) = &self.identity {
            write!(f, " GENERATED {identity} AS IDENTITY")?;
        }
        if let Some(place) = self.key {
            write!(f, " PRIMARY KEY #{place}")?;
        }
        match &self.default {
            Some(expression) if self.generated => write!(f, " GENERATED AS ({expression})"),
            Some(expression) => write!(f, " DEFAULT {expression}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for IndexSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unique = if self.unique { "unique, " } else { "" };
        let invalid = if self.valid { "" } else { ", INVALID" };
        write!(f, "{unique}{}{invalid}", self.definition)
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
        )?;
        if self.deferrable {
            f.write_str(" DEFERRABLE")?;
        }
        if !self.validated {
            f.write_str(" NOT VALID")?;
        }
        Ok(())
    }
}
