//! `-- no-transaction`: statements on their own, and what the next run makes of a failure.

use std::time::Duration;

use larder_core::ErrorKind;
use larder_core::migration::MigrationState::*;

use super::*;

const INDEX: (&str, &str) = (
    "V3__index_notes.sql",
    "-- no-transaction
SET maintenance_work_mem = '8MB';
INSERT INTO marks VALUES (3);
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS Notes_Text_key ON public . notes (text);
INSERT INTO marks VALUES (4);
",
);
const INDEX_DOWN: (&str, &str) = (
    "V3__index_notes.down.sql",
    "-- no-transaction\nDROP INDEX CONCURRENTLY notes_text_key;\nDELETE FROM marks;\n",
);

/// The index's name and whether it is valid; nothing if there is none.
async fn index(client: &Client) -> Option<bool> {
    let sql = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('notes_text_key')";
    let row = client.query_opt(sql, &[]).await.unwrap();
    row.map(|row| row.get(0))
}

async fn marks(client: &Client) -> i64 {
    one(client, "SELECT count(*) FROM marks").await
}

async fn steps(client: &Client) -> i64 {
    one(client, "SELECT count(*) FROM larder_migration_steps").await
}

/// The statement that the message tells a person to run.
fn advice<'a>(message: &'a str, word: &str) -> &'a str {
    let mut quoted = message.split('`').skip(1).step_by(2);
    quoted.find(|text| text.starts_with(word)).unwrap()
}

#[tokio::test]
async fn statements_run_alone_and_leave_no_records() {
    let migrator = notes_and(&[INDEX, INDEX_DOWN]);
    let (_database, client) = fresh().await;
    assert_eq!(migrator.up(&client, None).await.unwrap().len(), 3);
    assert_eq!(
        (index(&client).await, marks(&client).await),
        (Some(true), 2)
    );
    assert_eq!(steps(&client).await, 0);
    migrator.down_steps(&client, 1).await.unwrap();
    assert_eq!((index(&client).await, marks(&client).await), (None, 0));
    assert_eq!(
        (steps(&client).await, log(&client).await.as_str()),
        (0, "up1 up2 up3 down3")
    );
}

#[tokio::test]
async fn a_failed_index_is_cleared_up_and_made_by_the_next_run() {
    let migrator = notes_and(&[INDEX, INDEX_DOWN]);
    let (_database, client) = fresh().await;
    migrator.up(&client, Some(2)).await.unwrap();
    let twice = "INSERT INTO notes VALUES (1, 'a'), (2, 'a')";
    client.batch_execute(twice).await.unwrap();
    let error = migrator.up(&client, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unique);
    let said = error.to_string();
    assert!(
        said.contains("failed at line 4; the 2 statements before"),
        "{said}"
    );
    assert_eq!(index(&client).await, None);
    assert_eq!(states(&migrator, &client).await[2], (3, Dirty));

    // Half applied, it is in the way of everything else.
    let error = migrator.down_steps(&client, 1).await.unwrap_err();
    assert!(error.is_schema() && error.to_string().contains("V3 was being applied"));
    let error = super::migrator(NOTES).up(&client, None).await.unwrap_err();
    assert!(error.is_schema() && error.to_string().contains("V3 was being applied"));

    // A statement that is done may not be another one now.
    let other = INDEX.1.replace("(3)", "(5)");
    let error = notes_and(&[(INDEX.0, &other)]).up(&client, None).await;
    let error = error.unwrap_err();
    assert!(
        error.is_schema() && error.to_string().contains("statement 2 of"),
        "{error}"
    );

    client
        .batch_execute("DELETE FROM notes WHERE id = 2")
        .await
        .unwrap();
    assert_eq!(migrator.up(&client, None).await.unwrap().len(), 1);
    assert_eq!(
        (index(&client).await, marks(&client).await),
        (Some(true), 2)
    );
}

#[tokio::test]
async fn an_index_whose_session_died_is_dropped_and_made_again() {
    let migrator = notes_and(&[INDEX, INDEX_DOWN]);
    let (database, client) = fresh().await;
    migrator.up(&client, Some(2)).await.unwrap();
    // The index waits for this transaction, until its session is ended.
    let holder = open(&database.url()).await;
    let hold = "BEGIN; INSERT INTO notes VALUES (1, 'a')";
    holder.batch_execute(hold).await.unwrap();
    let migrating = open(&database.url()).await;
    let run = {
        let migrator = migrator.clone();
        async move { migrator.up(&migrating, None).await }
    };
    let run = tokio::spawn(run);
    end_session_that_runs(&client, "CREATE UNIQUE INDEX").await;
    let error = run.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    holder.batch_execute("COMMIT").await.unwrap();
    assert_eq!(index(&client).await, Some(false));
    assert_eq!(states(&migrator, &client).await[2], (3, Dirty));

    assert_eq!(migrator.up(&client, None).await.unwrap().len(), 1);
    assert_eq!(
        (index(&client).await, marks(&client).await),
        (Some(true), 2)
    );
    assert_eq!(states(&migrator, &client).await[2], (3, Applied));
}

#[tokio::test]
async fn what_nobody_can_tell_waits_for_a_person() {
    let slow = (
        "V3__slow.sql",
        "-- no-transaction\nSELECT pg_sleep(60);\nINSERT INTO marks VALUES (1);",
    );
    let migrator = notes_and(&[slow]);
    let (database, client) = fresh().await;
    for (word, marked) in [("DELETE", 0), ("UPDATE", 1)] {
        let migrating = open(&database.url()).await;
        let run = {
            let migrator = migrator.clone();
            async move { migrator.up(&migrating, None).await }
        };
        let run = tokio::spawn(run);
        end_session_that_runs(&client, "SELECT pg_sleep").await;
        run.await.unwrap().unwrap_err();
        for _ in 0..2 {
            let error = migrator.up(&client, None).await.unwrap_err();
            assert!(error.is_schema(), "{error:?}");
            assert!(
                error
                    .to_string()
                    .contains("`V3__slow.sql` was cut short in statement 1, line 2")
            );
        }
        assert_eq!(states(&migrator, &client).await[2], (3, Dirty));
        let error = migrator.up(&client, None).await.unwrap_err().to_string();
        client.batch_execute(advice(&error, word)).await.unwrap();
        if marked > 0 {
            assert_eq!(migrator.up(&client, None).await.unwrap().len(), 1);
        }
        assert_eq!(marks(&client).await, marked);
    }
}

#[tokio::test]
async fn a_procedure_that_fails_half_way_waits_for_a_person() {
    let half = "-- no-transaction\nDO $$ BEGIN
          INSERT INTO marks VALUES (1); COMMIT;
          INSERT INTO marks VALUES (1);
        END $$;";
    let migrator = notes_and(&[("V3__half.sql", half)]);
    let (_database, client) = fresh().await;
    let error = migrator.up(&client, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unique);
    assert!(error.to_string().contains("half way"), "{error}");
    assert!(migrator.up(&client, None).await.unwrap_err().is_schema());
    assert_eq!(marks(&client).await, 1);
}

#[tokio::test]
async fn a_half_undone_file_is_undone_before_anything_else() {
    let down = (
        "V3__index_notes.down.sql",
        "-- no-transaction\nDELETE FROM marks;\nDROP INDEX CONCURRENTLY no_such;",
    );
    let migrator = notes_and(&[INDEX, down]);
    let (_database, client) = fresh().await;
    migrator.up(&client, None).await.unwrap();
    migrator.down_steps(&client, 1).await.unwrap_err();
    assert_eq!(states(&migrator, &client).await[2], (3, Dirty));
    let error = migrator.up(&client, None).await.unwrap_err();
    assert!(error.is_schema() && error.to_string().contains("V3 was being undone"));
    let down = (
        "V3__index_notes.down.sql",
        "-- no-transaction\nDELETE FROM marks;\nDROP INDEX CONCURRENTLY notes_text_key;",
    );
    let corrected = notes_and(&[INDEX, down]);
    assert_eq!(corrected.down_steps(&client, 1).await.unwrap().len(), 1);
    assert_eq!((index(&client).await, steps(&client).await), (None, 0));
    assert_eq!(corrected.up(&client, None).await.unwrap().len(), 1);
}

/// Waits until a session of this database runs such a statement, and ends it.
async fn end_session_that_runs(client: &Client, beginning: &str) {
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND state = 'active' AND starts_with(query, $1)
          AND (wait_event_type IN ('Lock', 'Timeout'))";
    for _ in 0..600 {
        if !client.query(sql, &[&beginning]).await.unwrap().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no session runs {beginning}");
}
