//! Backward: the whole range or nothing, step by step, and by programs that are older.

use larder_core::ErrorKind;
use larder_core::migration::MigrationState::*;

use super::*;

#[tokio::test]
async fn down_and_up_again_is_a_round_trip() {
    let (migrator, (_database, client)) = (migrator(NOTES), fresh().await);
    migrator.up(&client, None).await.unwrap();
    let undone = migrator.down_steps(&client, 1).await.unwrap();
    assert_eq!(undone[0].label(), "V2__create_marks");
    assert_eq!(
        states(&migrator, &client).await,
        [(1, Applied), (2, Pending)]
    );
    assert_eq!(tables(&client).await, ["notes"]);
    migrator.up(&client, None).await.unwrap();
    let undone = migrator.down_to(&client, 0).await.unwrap();
    assert_eq!(
        undone.iter().map(|run| run.version).collect::<Vec<_>>(),
        [2, 1]
    );
    assert!(tables(&client).await.is_empty());
    assert!(migrator.down_steps(&client, 9).await.unwrap().is_empty());
    assert_eq!(log(&client).await, "up1 up2 down2 up2 down2 down1");
}

#[tokio::test]
async fn what_cannot_be_undone_stops_before_anything_is() {
    let newer = notes_and(&[
        (
            "V3__no_way.sql",
            "-- irreversible: the old prices are gone\nDELETE FROM notes;",
        ),
        ("V4__more.sql", "CREATE TABLE more (id int);"),
        ("V4__more.down.sql", "DROP TABLE more;"),
    ]);
    let (_database, client) = fresh().await;
    newer.up(&client, None).await.unwrap();
    // An older program knows the reason too.
    for migrator in [&newer, &migrator(NOTES)] {
        let error = migrator.down_to(&client, 1).await.unwrap_err();
        assert!(error.is_misuse());
        assert!(
            error
                .to_string()
                .contains("`V3__no_way` cannot be undone: the old prices are gone"),
            "{error}"
        );
        assert_eq!(tables(&client).await, ["marks", "more", "notes"]);
    }
    assert_eq!(newer.down_steps(&client, 1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_older_program_undoes_what_it_does_not_know() {
    let (_database, client) = fresh().await;
    migrator(NOTES).up(&client, None).await.unwrap();
    let older = migrator(&NOTES[..2]);
    assert!(older.up(&client, None).await.unwrap_err().is_schema());
    assert_eq!(
        older.down_steps(&client, 1).await.unwrap()[0].label(),
        "V2__create_marks"
    );
    assert_eq!(states(&older, &client).await, [(1, Applied)]);
    assert_eq!(tables(&client).await, ["notes"]);
}

#[tokio::test]
async fn an_altered_stored_script_is_not_run() {
    let (_database, client) = fresh().await;
    migrator(NOTES).up(&client, None).await.unwrap();
    let alter = "UPDATE larder_migration_downs SET text = 'DROP TABLE notes' WHERE version = 2";
    client.batch_execute(alter).await.unwrap();
    let older = migrator(&NOTES[..2]);
    let error = older.down_steps(&client, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(tables(&client).await, ["marks", "notes"]);
}

#[tokio::test]
async fn a_failing_down_script_leaves_everything_and_can_be_corrected() {
    let up = ("V3__more.sql", "CREATE TABLE more (id int);");
    let faulty = notes_and(&[
        up,
        ("V3__more.down.sql", "DROP TABLE more;\nDROP TABLE mroe;"),
    ]);
    let (_database, client) = fresh().await;
    faulty.up(&client, None).await.unwrap();
    let error = faulty.down_steps(&client, 1).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`V3__more.down.sql` failed at line 2"),
        "{error}"
    );
    assert_eq!(tables(&client).await, ["marks", "more", "notes"]);
    assert_eq!(states(&faulty, &client).await[2], (3, Applied));
    let corrected = notes_and(&[up, ("V3__more.down.sql", "DROP TABLE more;")]);
    assert_eq!(corrected.down_steps(&client, 1).await.unwrap().len(), 1);
    assert_eq!(tables(&client).await, ["marks", "notes"]);
}
