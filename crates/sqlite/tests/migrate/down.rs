//! Backward: the whole range or nothing, step by step, and by programs that are older.

use larder_core::ErrorKind;
use larder_core::migration::MigrationState::*;

use super::*;

#[test]
fn down_and_up_again_is_a_round_trip() {
    let (migrator, mut connection) = (migrator(NOTES), memory());
    migrator.up(&mut connection, None).unwrap();
    let undone = migrator.down_steps(&mut connection, 1).unwrap();
    assert_eq!(undone[0].label(), "V2__create_marks");
    assert_eq!(states(&migrator, &connection), [(1, Applied), (2, Pending)]);
    assert_eq!(tables(&connection), ["notes"]);
    migrator.up(&mut connection, None).unwrap();
    let undone = migrator.down_to(&mut connection, 0).unwrap();
    assert_eq!(
        undone.iter().map(|run| run.version).collect::<Vec<_>>(),
        [2, 1]
    );
    assert!(tables(&connection).is_empty());
    assert!(migrator.down_steps(&mut connection, 9).unwrap().is_empty());
    let log =
        "SELECT group_concat(direction || version, ' ' ORDER BY id) FROM larder_migration_log";
    assert_eq!(
        one::<String>(&connection, log),
        "up1 up2 down2 up2 down2 down1"
    );
}

#[test]
fn what_cannot_be_undone_stops_before_anything_is() {
    let migrator = notes_and(&[
        (
            "V3__no_way.sql",
            "-- irreversible: the old prices are gone\nDELETE FROM notes;",
        ),
        ("V4__more.sql", "CREATE TABLE more (id INTEGER) STRICT;"),
        ("V4__more.down.sql", "DROP TABLE more;"),
    ]);
    let mut connection = memory();
    migrator.up(&mut connection, None).unwrap();
    let error = migrator.down_to(&mut connection, 1).unwrap_err();
    assert!(error.is_misuse());
    assert!(
        error
            .to_string()
            .contains("`V3__no_way` cannot be undone: the old prices are gone")
    );
    assert_eq!(tables(&connection), ["marks", "more", "notes"]);
    // An older program knows the reason too.
    let error = super::migrator(NOTES)
        .down_to(&mut connection, 1)
        .unwrap_err();
    assert!(
        error.to_string().contains("the old prices are gone"),
        "{error}"
    );
    assert_eq!(migrator.down_steps(&mut connection, 1).unwrap().len(), 1);
}

#[test]
fn a_missing_down_script_is_asked_for() {
    let migrator = notes_and(&[("V3__more.sql", "CREATE TABLE more (id INTEGER) STRICT;")]);
    let mut connection = memory();
    migrator.up(&mut connection, None).unwrap();
    let error = migrator.down_to(&mut connection, 0).unwrap_err();
    assert!(
        error.to_string().contains("write `V3__more.down.sql`"),
        "{error}"
    );
    assert_eq!(tables(&connection).len(), 3);
}

#[test]
fn an_older_program_undoes_what_it_does_not_know() {
    let mut connection = memory();
    migrator(NOTES).up(&mut connection, None).unwrap();
    let older = migrator(&NOTES[..2]);
    assert!(older.up(&mut connection, None).unwrap_err().is_schema());
    assert_eq!(
        older.down_steps(&mut connection, 1).unwrap()[0].label(),
        "V2__create_marks"
    );
    assert_eq!(states(&older, &connection), [(1, Applied)]);
    assert_eq!(tables(&connection), ["notes"]);
}

#[test]
fn an_altered_stored_script_is_not_run() {
    let mut connection = memory();
    migrator(NOTES).up(&mut connection, None).unwrap();
    let alter = "UPDATE larder_migration_downs SET text = 'DROP TABLE notes' WHERE version = 2";
    connection.execute_batch(alter).unwrap();
    let error = migrator(&NOTES[..2])
        .down_steps(&mut connection, 1)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(tables(&connection), ["marks", "notes"]);
}

#[test]
fn a_failing_down_script_leaves_everything_and_can_be_corrected() {
    let up = ("V3__more.sql", "CREATE TABLE more (id INTEGER) STRICT;");
    let faulty = notes_and(&[
        up,
        ("V3__more.down.sql", "DROP TABLE more;\nDROP TABLE mroe;"),
    ]);
    let mut connection = memory();
    faulty.up(&mut connection, None).unwrap();
    let error = faulty.down_steps(&mut connection, 1).unwrap_err();
    assert!(
        error.to_string().contains("`V3__more.down.sql` failed"),
        "{error}"
    );
    assert_eq!(tables(&connection), ["marks", "more", "notes"]);
    assert_eq!(states(&faulty, &connection)[2], (3, Applied));
    let corrected = notes_and(&[up, ("V3__more.down.sql", "DROP TABLE more;")]);
    assert_eq!(corrected.down_steps(&mut connection, 1).unwrap().len(), 1);
    assert_eq!(tables(&connection), ["marks", "notes"]);
}
