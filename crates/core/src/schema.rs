//! What a model is, as static data: tables, columns, keys, indexes and references.
//!
//! `#[derive(Entity)]` writes one [`Table`] per model. Everything else reads it: the planner
//! finds unique keys in it, engines create tables and check migrations against it, and errors
//! name its columns. Columns are referred to by their position in [`Table::columns`].

use crate::value::Kind;

/// One model's table.
#[derive(Debug)]
pub struct Table {
    /// The table's name.
    pub name: &'static str,
    /// The columns, in the order of the struct's fields.
    pub columns: &'static [ColumnDef],
    /// The columns of the primary key.
    pub key: &'static [usize],
    /// Whether the store makes the (single, integer) key.
    pub auto_key: bool,
    /// Unique constraints besides the key.
    pub uniques: &'static [Index],
    /// Other indexes.
    pub indexes: &'static [Index],
    /// The full-text index, over text columns. The key is then a single integer.
    pub search: Option<Index>,
    /// The column that the layer sets at insert.
    pub created_at: Option<usize>,
    /// The column that the layer sets at every write.
    pub updated_at: Option<usize>,
    /// The column that the layer counts up at every update, for optimistic locking.
    pub version: Option<usize>,
}

/// One column.
#[derive(Debug)]
pub struct ColumnDef {
    /// The column's name.
    pub name: &'static str,
    /// What it stores.
    pub kind: Kind,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// The longest text allowed, in characters.
    pub max_len: Option<u32>,
    /// The value of a new row that does not set the column.
    pub default: Option<DefaultValue>,
    /// The key of another table that the column holds.
    pub references: Option<Reference>,
    /// What the compiler says when a `#[derive(Insert)]` struct leaves the column out.
    pub missing: &'static str,
}

/// A constant default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DefaultValue {
    /// For [`Kind::Bool`].
    Bool(bool),
    /// For the integer kinds.
    Int(i64),
    /// For the float kinds.
    Float(f64),
    /// For [`Kind::Text`], enums included.
    Text(&'static str),
}

/// A unique constraint or an index.
#[derive(Debug)]
pub struct Index {
    /// Its name in the database, unique within it.
    pub name: &'static str,
    /// Its columns, in order.
    pub columns: &'static [usize],
}

/// A column that holds another table's key.
#[derive(Debug)]
pub struct Reference {
    /// The table referred to; a function, because models may refer to each other in circles.
    pub table: fn() -> &'static Table,
    /// What deleting the parent does to the row.
    pub on_delete: OnDelete,
}

/// What deleting the parent does to its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDelete {
    /// The deletion is refused if children exist at its end; those that go with it, by another
    /// reference, do not count.
    Restrict,
    /// The children go too.
    Cascade,
    /// The children's column becomes NULL.
    SetNull,
}

impl Table {
    /// The position of the column with this name.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// Every unique key: the primary one first, then the unique constraints.
    pub fn unique_keys(&self) -> impl Iterator<Item = &'static [usize]> {
        std::iter::once(self.key).chain(self.uniques.iter().map(|unique| unique.columns))
    }

    /// The primary key's column, if it has just one.
    pub fn single_key(&self) -> Option<usize> {
        match self.key {
            [one] => Some(*one),
            _ => None,
        }
    }

    /// Whether a new row must bring its own value for the column.
    pub const fn requires(&self, at: usize) -> bool {
        let column = &self.columns[at];
        !(column.nullable
            || column.default.is_some()
            || (self.auto_key && self.key[0] == at)
            || is(self.created_at, at)
            || is(self.updated_at, at)
            || is(self.version, at))
    }

    /// Whether two handles mean the same table.
    pub fn is(&self, other: &Table) -> bool {
        std::ptr::eq(self, other) || self.name == other.name
    }
}

const fn is(slot: Option<usize>, at: usize) -> bool {
    match slot {
        Some(found) => found == at,
        None => false,
    }
}

/// Fails the build when an insert struct leaves out a column that every row must set.
///
/// Called by `#[derive(Insert)]` in a constant; the message is the column's own.
#[doc(hidden)]
#[track_caller] // the compiler then shows the struct and nothing of this
pub const fn assert_insert_covers(table: &'static Table, columns: &[usize]) {
    let mut at = 0;
    while at < table.columns.len() {
        #[allow(
            clippy::manual_assert,
            reason = "assert! cannot show a message of its own here"
        )]
        if table.requires(at) && !contains(columns, at) {
            panic!("{}", table.columns[at].missing);
        }
        at += 1;
    }
}

/// Fails the build when the column at this place of a struct's stands there before already.
///
/// Called by `#[derive(Insert)]` and `#[derive(Patch)]` in a constant.
#[doc(hidden)]
#[track_caller]
pub const fn assert_set_once(columns: &[usize], at: usize) {
    let (before, rest) = columns.split_at(at);
    assert!(
        !contains(before, rest[0]),
        "another field of this struct sets the same column: remove one of them"
    );
}

const fn contains(columns: &[usize], at: usize) -> bool {
    let mut i = 0;
    while i < columns.len() {
        if columns[i] == at {
            return true;
        }
        i += 1;
    }
    false
}
