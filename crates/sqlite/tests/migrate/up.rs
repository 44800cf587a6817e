//! Forward: what is applied, what refuses, what remains after a failure.

use larder_core::ErrorKind;
use larder_core::migration::MigrationState::*;
use refinery_core::Runner;

use super::*;

#[test]
fn up_applies_what_is_missing_and_status_tells() {
    let (migrator, mut connection) = (migrator(NOTES), memory());
    assert_eq!(states(&migrator, &connection), [(1, Pending), (2, Pending)]);
    let first = migrator.up(&mut connection, Some(1)).unwrap();
    assert_eq!(first[0].label(), "V1__create_notes");
    assert_eq!(states(&migrator, &connection), [(1, Applied), (2, Pending)]);
    assert_eq!(migrator.up(&mut connection, None).unwrap().len(), 1);
    assert_eq!(migrator.up(&mut connection, None).unwrap().len(), 0);
    assert_eq!(tables(&connection), ["marks", "notes"]);
    let at = migrator.status(&connection).unwrap()[0].applied_at.unwrap();
    assert!(at.as_micros() > 1_700_000_000_000_000);
}

#[test]
fn status_writes_nothing() {
    let connection = memory();
    migrator(NOTES).status(&connection).unwrap();
    assert_eq!(
        one::<i64>(&connection, "SELECT count(*) FROM sqlite_schema"),
        0
    );
}

#[test]
fn a_failing_migration_leaves_nothing_and_the_ones_before_stay() {
    let migrator = notes_and(&[
        (
            "V3__fails.sql",
            "CREATE TABLE half (id INTEGER) STRICT;\nINSERT INTO half VALUES (1);\n-- why; not\nINSERT INTO nowhere VALUES (2);\n",
        ),
        ("V4__after.sql", "CREATE TABLE after (id INTEGER) STRICT;"),
    ]);
    let mut connection = memory();
    let error = migrator.up(&mut connection, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Engine);
    let text = error.to_string();
    assert!(text.contains("`V3__fails.sql` failed at line 4"), "{text}");
    assert!(text.contains("no such table: nowhere"), "{text}");
    assert_eq!(tables(&connection), ["marks", "notes"]);
    assert_eq!(
        states(&migrator, &connection)[1..],
        [(2, Applied), (3, Pending), (4, Pending)]
    );
    assert!(connection.is_autocommit());
    for table in [
        "refinery_schema_history",
        "larder_migration_downs",
        "larder_migration_log",
    ] {
        assert_eq!(
            one::<i64>(&connection, &format!("SELECT count(*) FROM {table}")),
            2,
            "{table}"
        );
    }
}

#[test]
fn sql_goes_when_its_history_row_cannot_be_written() {
    let (migrator, mut connection) = (migrator(NOTES), memory());
    migrator.up(&mut connection, Some(1)).unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON refinery_schema_history
        BEGIN SELECT RAISE(FAIL, 'no row for you'); END";
    connection.execute_batch(refuse).unwrap();
    let error = migrator.up(&mut connection, None).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`V2__create_marks` cannot be recorded"),
        "{error}"
    );
    assert_eq!(tables(&connection), ["notes"]);
    connection.execute_batch("DROP TRIGGER refuse").unwrap();
    migrator.up(&mut connection, None).unwrap();
    assert_eq!(tables(&connection), ["marks", "notes"]);
}

#[test]
fn transactions_inside_a_file_are_refused() {
    for sql in [
        "BEGIN; CREATE TABLE x (a); COMMIT;",
        "CREATE TABLE x (a); COMMIT;",
        "ROLLBACK",
        "END",
    ] {
        let (migrator, mut connection) = (notes_and(&[("V3__own.sql", sql)]), memory());
        let error = migrator.up(&mut connection, None).unwrap_err();
        assert!(error.is_misuse(), "{error:?}");
        assert!(
            error
                .to_string()
                .contains("`V3__own.sql` has a BEGIN, COMMIT"),
            "{error}"
        );
        assert_eq!(tables(&connection), ["marks", "notes"]);
        assert_eq!(states(&migrator, &connection)[2], (3, Pending));
    }
    let trigger = "CREATE TRIGGER t AFTER INSERT ON notes BEGIN DELETE FROM marks; END;";
    notes_and(&[("V3__trigger.sql", trigger)])
        .up(&mut memory(), None)
        .unwrap();
}

#[test]
fn settings_that_a_rebuild_needs_are_not_for_files() {
    let migrator = notes_and(&[(
        "V3__off.sql",
        "PRAGMA foreign_keys = OFF; DROP TABLE notes;",
    )]);
    let mut connection = memory();
    let error = migrator.up(&mut connection, None).unwrap_err();
    assert!(
        error.is_misuse() && error.to_string().contains("`-- rebuild`"),
        "{error}"
    );
    assert_eq!(tables(&connection), ["marks", "notes"]);
}

#[test]
fn no_transaction_is_refused_before_anything_runs() {
    let migrator = notes_and(&[("V3__vacuum.sql", "-- no-transaction\nVACUUM;")]);
    let mut connection = memory();
    let error = migrator.up(&mut connection, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("`V3__vacuum`"), "{error}");
    assert!(tables(&connection).is_empty());
}

#[test]
fn an_open_transaction_is_refused() {
    let mut connection = memory();
    connection.execute_batch("BEGIN").unwrap();
    assert!(
        migrator(NOTES)
            .up(&mut connection, None)
            .unwrap_err()
            .is_misuse()
    );
}

#[test]
fn a_changed_or_missing_file_is_named() {
    let mut connection = memory();
    migrator(NOTES).up(&mut connection, None).unwrap();
    let changed = migrator(&[
        NOTES[0],
        ("V2__create_marks.sql", "CREATE TABLE marks (x) STRICT;"),
    ]);
    let error = changed.up(&mut connection, None).unwrap_err();
    assert!(
        error.is_schema()
            && error
                .to_string()
                .contains("`V2__create_marks.sql` has changed")
    );
    assert_eq!(states(&changed, &connection), [(1, Applied), (2, Changed)]);

    let missing = migrator(&NOTES[..2]);
    let error = missing.up(&mut connection, None).unwrap_err();
    assert!(
        error.is_schema()
            && error
                .to_string()
                .contains("the database has `V2__create_marks`")
    );
    assert_eq!(states(&missing, &connection), [(1, Applied), (2, Missing)]);
}

#[test]
fn line_ends_make_no_difference() {
    let windows: Vec<_> = NOTES
        .iter()
        .map(|(name, text)| (*name, text.replace('\n', "\r\n")))
        .collect();
    let windows: Vec<_> = windows
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    let mut connection = memory();
    migrator(&windows).up(&mut connection, None).unwrap();
    assert_eq!(
        states(&migrator(NOTES), &connection),
        [(1, Applied), (2, Applied)]
    );
    assert!(
        migrator(NOTES)
            .up(&mut connection, None)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn refinery_agrees_on_what_is_applied() {
    let mut connection = memory();
    migrator(NOTES).up(&mut connection, Some(1)).unwrap();
    let files = [NOTES[0], NOTES[2]];
    let theirs = files.map(|(name, text)| {
        refinery_core::Migration::unapplied(&name[..name.len() - 4], text).unwrap()
    });
    let report = Runner::new(&theirs).run(&mut connection).unwrap();
    assert_eq!(report.applied_migrations().len(), 1);
    assert_eq!(
        states(&migrator(NOTES), &connection),
        [(1, Applied), (2, Applied)]
    );
    assert_eq!(
        migrator(NOTES).down_to(&mut connection, 0).unwrap().len(),
        2
    );
    assert!(tables(&connection).is_empty());
}

#[test]
fn a_history_that_someone_else_wrote_is_an_error_not_a_panic() {
    let mut connection = memory();
    migrator(NOTES).up(&mut connection, None).unwrap();
    for damage in [
        "applied_on = 'yesterday'",
        "checksum = 'x'",
        "checksum = NULL",
        "version = 'one'",
    ] {
        connection.execute_batch("SAVEPOINT before").unwrap();
        let sql = format!("UPDATE refinery_schema_history SET {damage} WHERE version = 2");
        connection.execute_batch(&sql).unwrap();
        let error = migrator(NOTES).status(&connection).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{damage}");
        connection
            .execute_batch("ROLLBACK TO before; RELEASE before")
            .unwrap();
    }
}
