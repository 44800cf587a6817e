//! The tables of a feed of changes, as statements.

use larder_core::feed;

use crate::ddl::create_missing_tables;
use crate::dialect::Dialect;

/// The statements that create the tables of a [feed of changes](larder_core::feed) where they are
/// missing: for an engine, and for a service whose role may not create tables, to put in a migration.
///
/// On PostgreSQL a change gets the number of the transaction that inserts it by its column's default.
/// That number grows in the order in which transactions begin to write, and the server tells which of
/// them have ended.
pub fn change_log(dialect: Dialect) -> Vec<String> {
    let mut statements = create_missing_tables(dialect, &feed::tables());
    if dialect == Dialect::Postgres {
        statements.push(
            "ALTER TABLE \"larder_changes\"\n  \
             ALTER COLUMN \"tx\" SET DEFAULT (pg_current_xact_id()::text::bigint)"
                .to_owned(),
        );
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_created_only_where_it_is_missing() {
        for dialect in [Dialect::Sqlite, Dialect::Postgres] {
            let statements = change_log(dialect);
            let creating = statements.iter().filter(|one| one.starts_with("CREATE"));
            assert_eq!(creating.clone().count(), 6);
            assert!(
                creating
                    .into_iter()
                    .all(|one| one.contains(" IF NOT EXISTS \"larder_"))
            );
        }
    }
}
