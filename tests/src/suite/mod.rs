//! The behaviours, one file each.

use larder_core::Table;

use crate::harness::Test;
use crate::schema;

/// Declares the files and lists their tests.
macro_rules! files {
    ($($file:ident),+ $(,)?) => {
        $(mod $file;)+

        /// Every behaviour's name and tests.
        pub(crate) fn all() -> Vec<(&'static str, Vec<Test>)> {
            vec![$((stringify!($file), $file::tests())),+]
        }
    };
}

files![
    advisory_locks,
    aggregates,
    cascades,
    closing,
    conditional_upserts,
    constraints,
    crud,
    deadlines,
    defaults,
    effects,
    filters,
    hostile,
    inserting,
    json_paths,
    loading,
    locking,
    observing,
    order,
    pages,
    raw_sql,
    relations,
    reopening,
    row_locks,
    search,
    streaming,
    tasks,
    text,
    timestamps,
    transactions,
    types,
    updates,
    upserts,
];

/// The tables that every test's database has, parents before their children.
pub(crate) fn tables() -> Vec<&'static Table> {
    larder_core::models::tables()
        .into_iter()
        .chain(schema::tables())
        .collect()
}
