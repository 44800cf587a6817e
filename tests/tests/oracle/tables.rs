//! Random tables, made at run time.

use std::fmt;
use std::sync::RwLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use fastrand::Rng;
use larder_core::{ColumnDef, Index, Kind, OnDelete, Reference, Table};
use larder_sql::{Dialect, create_tables};

/// The most tables of a schema.
const TABLES_MAX: usize = 3;

/// Every kind, those twice that most can be done with.
const KINDS: [Kind; 17] = [
    Kind::I64,
    Kind::I64,
    Kind::Text,
    Kind::Text,
    Kind::Text,
    Kind::Decimal,
    Kind::Decimal,
    Kind::Bool,
    Kind::I16,
    Kind::I32,
    Kind::F32,
    Kind::F64,
    Kind::Bytes,
    Kind::Timestamp,
    Kind::Date,
    Kind::Uuid,
    Kind::Json,
];

/// What a key the application makes can be.
const KEY_KINDS: [Kind; 8] = [
    Kind::I64,
    Kind::Text,
    Kind::Uuid,
    Kind::I32,
    Kind::Decimal,
    Kind::Bytes,
    Kind::Date,
    Kind::Timestamp,
];

/// References find their tables here, because a function pointer cannot carry one. One schema is
/// in use at a time.
static PARENTS: RwLock<[Option<&'static Table>; TABLES_MAX]> = RwLock::new([None; TABLES_MAX]);

/// One function for each table of a schema.
const PARENT: [fn() -> &'static Table; TABLES_MAX] = [|| parent(0), || parent(1), || parent(2)];

fn parent(at: usize) -> &'static Table {
    PARENTS.read().expect("nobody panics while writing")[at].expect("only made for these tables")
}

/// Tables that refer to each other.
pub(crate) struct Schema {
    tables: Vec<&'static Table>,
}

/// What a table's key is to be; decided for all tables first, because references need it.
enum KeyPlan {
    Auto,
    One(Kind),
    Pair,
}

impl Schema {
    /// One to three tables, never to be freed.
    pub(crate) fn random(rng: &mut Rng) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let keys: Vec<KeyPlan> = (0..rng.usize(1..=TABLES_MAX)).map(|_| key(rng)).collect();
        let tables: Vec<&'static Table> = (0..keys.len())
            .map(|at| table(rng, format!("t{at}_{number}"), at, &keys))
            .collect();
        let mut parents = PARENTS.write().expect("nobody panics while writing");
        for (slot, table) in parents.iter_mut().zip(&tables) {
            *slot = Some(table);
        }
        drop(parents);
        Self { tables }
    }

    pub(crate) fn tables(&self) -> &[&'static Table] {
        &self.tables
    }
}

/// As SQL.
impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for statement in create_tables(Dialect::Sqlite, &self.tables) {
            writeln!(f, "{statement};")?;
        }
        Ok(())
    }
}

fn key(rng: &mut Rng) -> KeyPlan {
    match rng.u8(..10) {
        0..5 => KeyPlan::Auto,
        5..8 => KeyPlan::One(KEY_KINDS[rng.usize(..KEY_KINDS.len())]),
        _ => KeyPlan::Pair,
    }
}

fn table(rng: &mut Rng, name: String, at: usize, keys: &[KeyPlan]) -> &'static Table {
    let mut columns = Vec::new();
    let key: &[usize] = match &keys[at] {
        KeyPlan::Auto => {
            columns.push(column("id", Kind::I64, false, None));
            &[0]
        }
        KeyPlan::One(kind) => {
            columns.push(column("id", *kind, false, None));
            &[0]
        }
        KeyPlan::Pair => {
            for name in ["k0", "k1"] {
                let reference = reference(rng, at, keys, false);
                let kind = KEY_KINDS[rng.usize(..KEY_KINDS.len())];
                columns.push(reference.map_or_else(
                    || column(name, kind, false, None),
                    |(kind, reference)| column(name, kind, false, Some(reference)),
                ));
            }
            &[0, 1]
        }
    };
    for number in 0..rng.usize(1..=4) {
        let name = ["a", "b", "c", "d"][number];
        let nullable = rng.bool();
        columns.push(match reference(rng, at, keys, nullable) {
            Some((kind, reference)) => column(name, kind, nullable, Some(reference)),
            None => column(name, KINDS[rng.usize(..KINDS.len())], nullable, None),
        });
    }
    let uniques = indexes(rng, &format!("u_{name}"), &columns, key);
    let others = indexes(rng, &format!("i_{name}"), &columns, key);
    let search = search(rng, &name, &columns, key);
    Box::leak(Box::new(Table {
        name: String::leak(name),
        columns: Vec::leak(columns),
        key,
        auto_key: matches!(keys[at], KeyPlan::Auto),
        uniques: Vec::leak(uniques),
        indexes: Vec::leak(others),
        search,
        created_at: None,
        updated_at: None,
        version: None,
    }))
}

fn column(
    name: &'static str,
    kind: Kind,
    nullable: bool,
    references: Option<Reference>,
) -> ColumnDef {
    ColumnDef {
        name,
        kind,
        nullable,
        max_len: None,
        default: None,
        references,
        missing: "",
    }
}

/// Sometimes a reference to a table with a key of one column, and the key's kind. A required one
/// refers to an earlier table, so that rows can be added at all.
fn reference(
    rng: &mut Rng,
    at: usize,
    keys: &[KeyPlan],
    nullable: bool,
) -> Option<(Kind, Reference)> {
    let to = rng.usize(..if nullable { keys.len() } else { at.max(1) });
    if rng.u8(..10) < 5 || (!nullable && to >= at) {
        return None;
    }
    let kind = match keys[to] {
        KeyPlan::Auto => Kind::I64,
        // Of a row that refers to itself, SQLite compares the texts: `1.0` is not `1.00` there.
        KeyPlan::One(Kind::Decimal) | KeyPlan::Pair => return None,
        KeyPlan::One(kind) => kind,
    };
    let rules = [OnDelete::Cascade, OnDelete::Restrict, OnDelete::SetNull];
    let on_delete = rules[rng.usize(..if nullable { 3 } else { 2 })];
    Some((
        kind,
        Reference {
            table: PARENT[to],
            on_delete,
        },
    ))
}

/// A full-text index over all texts, where there can be one.
fn search(rng: &mut Rng, name: &str, columns: &[ColumnDef], key: &[usize]) -> Option<Index> {
    let texts: Vec<usize> = (0..columns.len())
        .filter(|&at| columns[at].kind.is_text())
        .collect();
    let by_integer = matches!(key, [at] if columns[*at].kind.is_integer());
    (by_integer && !texts.is_empty() && rng.u8(..4) > 0).then(|| Index {
        name: String::leak(format!("s_{name}")),
        columns: Vec::leak(texts),
    })
}

/// Up to two indexes over one or two columns, no two over the same ones. None has the whole key,
/// beside which nothing adds to being unique (SQLite takes no such index for an upsert's).
fn indexes(rng: &mut Rng, name: &str, columns: &[ColumnDef], key: &[usize]) -> Vec<Index> {
    let usable: Vec<usize> = (0..columns.len())
        .filter(|&at| columns[at].kind != Kind::Json)
        .collect();
    let mut sets: Vec<Vec<usize>> = Vec::new();
    for _ in 0..rng.usize(..=2) {
        let many = rng.usize(1..=2);
        let set = rng.choose_multiple(usable.iter().copied(), many);
        let same = |other: &Vec<usize>| {
            other.len() == set.len() && set.iter().all(|column| other.contains(column))
        };
        let whole_key = key.iter().all(|column| set.contains(column));
        if !set.is_empty() && !whole_key && !sets.iter().any(same) {
            sets.push(set);
        }
    }
    let named = |(number, columns): (usize, Vec<usize>)| Index {
        name: String::leak(format!("{name}_{number}")),
        columns: Vec::leak(columns),
    };
    sets.into_iter().enumerate().map(named).collect()
}
