//! [`Layout`]: where a table's rows and indexes lie in the namespace.
//!
//! | key | holds |
//! |---|---|
//! | `row:TABLE:KEY` | a hash: the row's columns that are not NULL; under the empty name its version |
//! | `all:TABLE` | a sorted set of the rows' encoded keys |
//! | `index:TABLE:NAME` | a sorted set: the encoded columns, the encoded key, its length in 4 bytes |
//! | `clock` | the number of the last commit |
//! | `changed` | a hash: the last commit that changed each table |
//! | `last` | a hash: the last key made for each table |
//! | `schema` | a hash: the description of each table; under the empty name its version |
//!
//! A unique constraint is such a set as well: it finds equal values, and serves ranges and orders.
//! Every column that refers to another table begins an index, made for it if there is no other.

use bytes::Bytes;
use larder_core::work::{Key, pick};
use larder_core::{Table, Value};

use crate::encode;
use crate::namespace::Namespace;

/// The field of a row that holds its version; no column has this name.
pub(crate) const VERSION: Bytes = Bytes::new();

/// One table's keys.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) table: &'static Table,
    /// What a row's key begins with.
    pub(crate) row: Bytes,
    /// The key's first, then the unique ones, then others.
    pub(crate) indexes: Vec<Index>,
    /// The columns' names.
    pub(crate) fields: Vec<Bytes>,
}

/// A sorted set that finds rows.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) name: String,
    pub(crate) key: Bytes,
    pub(crate) columns: Vec<usize>,
    pub(crate) kind: IndexKind,
}

/// What an index promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IndexKind {
    /// Its members are the keys themselves.
    Key,
    /// No two rows have the same values, unless one is NULL.
    Unique,
    Plain,
}

impl Layout {
    pub(crate) fn new(namespace: &Namespace, table: &'static Table) -> Self {
        let name = word(table.name);
        let index = |index_name: &str, columns: &[usize], kind| Index {
            name: index_name.to_owned(),
            key: namespace.key(&[b"index", name.as_bytes(), word(index_name).as_bytes()]),
            columns: columns.to_vec(),
            kind,
        };
        let mut indexes = vec![Index {
            key: namespace.key(&[b"all", name.as_bytes()]),
            ..index("", table.key, IndexKind::Key)
        }];
        let uniques = table.uniques.iter();
        indexes.extend(uniques.map(|one| index(one.name, one.columns, IndexKind::Unique)));
        let others = table.indexes.iter();
        indexes.extend(others.map(|one| index(one.name, one.columns, IndexKind::Plain)));
        for (at, column) in table.columns.iter().enumerate() {
            let leads = |index: &Index| index.columns[0] == at;
            if column.references.is_some() && !indexes.iter().any(leads) {
                // The empty beginning cannot be another index's name.
                let name = format!(".{}", column.name);
                indexes.push(index(&name, &[at], IndexKind::Plain));
            }
        }
        let columns = table.columns.iter();
        let columns = columns.map(|column| Bytes::from_static(column.name.as_bytes()));
        Self {
            table,
            row: namespace.key(&[b"row", name.as_bytes(), b""]),
            indexes,
            fields: columns.collect(),
        }
    }

    /// Where the index with this name lies, whether the model has it or not.
    pub(crate) fn index_key(&self, namespace: &Namespace, name: &str) -> Bytes {
        let table = word(self.table.name);
        namespace.key(&[b"index", table.as_bytes(), word(name).as_bytes()])
    }

    /// The key of the row whose key has these encoded values.
    pub(crate) fn row_key(&self, encoded: &[u8]) -> Bytes {
        [&self.row, encoded].concat().into()
    }

    /// The key values of a row.
    pub(crate) fn key_of(&self, row: &[Value]) -> Key {
        pick(self.table.key, row)
    }

    /// The index over just these columns of a unique key.
    pub(crate) fn unique(&self, columns: &[usize]) -> Option<usize> {
        self.indexes
            .iter()
            .position(|index| index.kind != IndexKind::Plain && index.columns == columns)
    }

    /// An index that begins with this column.
    pub(crate) fn leading(&self, column: usize) -> Option<usize> {
        self.indexes
            .iter()
            .position(|index| index.columns[0] == column)
    }
}

impl Index {
    /// What stands for a row in the set.
    pub(crate) fn member(&self, table: &Table, row: &[Value]) -> Bytes {
        let key = encode::values(table.key.iter().map(|&at| &row[at]));
        if self.kind == IndexKind::Key {
            return key.into();
        }
        let mut member = self.values(row);
        member.extend_from_slice(&key);
        member.extend_from_slice(&(key.len() as u32).to_be_bytes());
        member.into()
    }

    /// The encoded values of its columns.
    pub(crate) fn values(&self, row: &[Value]) -> Vec<u8> {
        encode::values(self.columns.iter().map(|&at| &row[at]))
    }
}

/// The name without the sign that separates names.
fn word(name: &str) -> String {
    name.replace('%', "%25").replace(':', "%3A")
}
