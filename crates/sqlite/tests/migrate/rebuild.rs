//! `-- rebuild`: a parent table is replaced and its children stay.

use larder_core::ErrorKind;

use super::*;

const FAMILY: &[(&str, &str)] = &[(
    "V1__family.sql",
    "CREATE TABLE parents (id INTEGER PRIMARY KEY AUTOINCREMENT, age TEXT) STRICT;
    CREATE TABLE children (
      id INTEGER PRIMARY KEY,
      parent_id INTEGER NOT NULL REFERENCES parents (id) ON DELETE CASCADE
    ) STRICT;
    CREATE VIEW elders AS SELECT id FROM parents WHERE age > '60';
    INSERT INTO parents VALUES (1, '40'), (7, '70');
    INSERT INTO children VALUES (1, 1), (2, 7), (3, 7);",
)];

const REBUILD: &str = "-- rebuild
CREATE TABLE _new_parents (id INTEGER PRIMARY KEY AUTOINCREMENT, age INTEGER NOT NULL) STRICT;
INSERT INTO _new_parents (id, age) SELECT id, CAST(age AS INTEGER) FROM parents;
UPDATE sqlite_sequence SET seq = (SELECT seq FROM sqlite_sequence WHERE name = 'parents')
  WHERE name = '_new_parents';
DROP TABLE parents;
ALTER TABLE _new_parents RENAME TO parents;
";

fn pragmas(connection: &Connection) -> (bool, bool) {
    (
        one(connection, "PRAGMA foreign_keys"),
        one(connection, "PRAGMA legacy_alter_table"),
    )
}

#[test]
fn a_rebuild_keeps_children_sequence_and_views() {
    let migrator = migrator(&[FAMILY, &[("V2__age.sql", REBUILD)]].concat());
    let mut connection = memory();
    migrator.up(&mut connection, None).unwrap();
    assert_eq!(one::<i64>(&connection, "SELECT count(*) FROM children"), 3);
    assert_eq!(
        one::<i64>(
            &connection,
            "SELECT seq FROM sqlite_sequence WHERE name = 'parents'"
        ),
        7
    );
    assert_eq!(one::<i64>(&connection, "SELECT count(*) FROM elders"), 1);
    assert_eq!(pragmas(&connection), (true, false));
    let orphan = connection.execute_batch("INSERT INTO children VALUES (4, 99)");
    assert!(orphan.is_err(), "the children refer to the new table");
    connection
        .execute_batch("DELETE FROM parents WHERE id = 7")
        .unwrap();
    assert_eq!(one::<i64>(&connection, "SELECT count(*) FROM children"), 1);
}

#[test]
fn a_rebuild_that_would_leave_orphans_is_undone() {
    let lossy = REBUILD.replace(
        "FROM parents;\nUPDATE",
        "FROM parents WHERE id = 1;\nUPDATE",
    );
    assert_ne!(lossy, REBUILD);
    let migrator = migrator(&[FAMILY, &[("V2__age.sql", &lossy)]].concat());
    let mut connection = memory();
    let error = migrator.up(&mut connection, None).unwrap_err();
    assert_eq!(
        (error.kind(), error.table()),
        (ErrorKind::Reference, Some("children"))
    );
    assert_eq!(
        one::<String>(&connection, "SELECT age FROM parents WHERE id = 7"),
        "70"
    );
    assert_eq!(one::<i64>(&connection, "SELECT count(*) FROM children"), 3);
    assert_eq!(pragmas(&connection), (true, false));
}

#[test]
fn the_settings_come_back_after_an_error() {
    let migrator = migrator(
        &[
            FAMILY,
            &[("V2__age.sql", "-- rebuild\nDROP TABLE nothing;")],
        ]
        .concat(),
    );
    let mut connection = memory();
    migrator.up(&mut connection, None).unwrap_err();
    assert_eq!(pragmas(&connection), (true, false));
    connection
        .execute_batch("PRAGMA foreign_keys = OFF")
        .unwrap();
    migrator.up(&mut connection, None).unwrap_err();
    assert_eq!(pragmas(&connection), (false, false));
}

#[test]
fn a_down_script_may_rebuild_too() {
    let back = REBUILD
        .replace("age INTEGER NOT NULL", "age TEXT")
        .replace("CAST(age AS INTEGER)", "CAST(age AS TEXT)");
    let files = [
        FAMILY,
        &[("V2__age.sql", REBUILD), ("V2__age.down.sql", &back)],
    ]
    .concat();
    let (migrator, mut connection) = (migrator(&files), memory());
    migrator.up(&mut connection, None).unwrap();
    migrator.down_steps(&mut connection, 1).unwrap();
    assert_eq!(
        one::<String>(&connection, "SELECT age FROM parents WHERE id = 7"),
        "70"
    );
    assert_eq!(one::<i64>(&connection, "SELECT count(*) FROM children"), 3);
}
