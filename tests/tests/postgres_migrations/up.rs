//! Forward: what is applied, what refuses, what remains after a failure.

use larder_core::ErrorKind;
use larder_core::migration::MigrationState::*;

use super::*;

#[tokio::test]
async fn up_applies_what_is_missing_and_status_tells() {
    let (migrator, (_database, client)) = (migrator(NOTES), fresh().await);
    assert_eq!(
        states(&migrator, &client).await,
        [(1, Pending), (2, Pending)]
    );
    assert!(tables(&client).await.is_empty());
    let first = migrator.up(&client, Some(1)).await.unwrap();
    assert_eq!(first[0].label(), "V1__create_notes");
    assert_eq!(
        states(&migrator, &client).await,
        [(1, Applied), (2, Pending)]
    );
    assert_eq!(migrator.up(&client, None).await.unwrap().len(), 1);
    assert_eq!(migrator.up(&client, None).await.unwrap().len(), 0);
    assert_eq!(tables(&client).await, ["marks", "notes"]);
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(one::<i64>(&client, locks).await, 0);
}

#[tokio::test]
async fn a_failure_leaves_nothing_of_its_file_and_names_the_line() {
    let migrator = notes_and(&[(
        "V3__bad.sql",
        "CREATE TABLE bad (id int);\n\nINSERT INTO notes VALUES (1);\nSELECT 1,\n  nothing FROM bad;",
    )]);
    let (_database, client) = fresh().await;
    let error = migrator.up(&client, None).await.unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("`V3__bad.sql` failed at line 5, and nothing of it was applied"),
        "{said}"
    );
    assert!(
        said.contains("\"nothing\" does not exist (SQLSTATE 42703)"),
        "{said}"
    );
    assert_eq!(tables(&client).await, ["marks", "notes"]);
    assert_eq!(one::<i64>(&client, "SELECT count(*) FROM notes").await, 0);
    assert_eq!(states(&migrator, &client).await[2], (3, Pending));
}

#[tokio::test]
async fn what_is_refused_at_the_commit_is_not_applied() {
    let migrator = notes_and(&[(
        "V3__late.sql",
        "CREATE TABLE late (id bigint REFERENCES notes DEFERRABLE INITIALLY DEFERRED);
        INSERT INTO late VALUES (7);",
    )]);
    let (_database, client) = fresh().await;
    let error = migrator.up(&client, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Reference);
    assert!(
        error
            .to_string()
            .contains("`V3__late.sql` cannot be committed"),
        "{error}"
    );
    assert!(!error.to_string().contains('7'), "{error}");
    assert_eq!(tables(&client).await, ["marks", "notes"]);
    assert_eq!(states(&migrator, &client).await[2], (3, Pending));
}

#[tokio::test]
async fn what_would_break_the_bookkeeping_is_refused() {
    let (_database, client) = fresh().await;
    for (sql, said) in [
        ("CREATE TABLE a (id int);\nCOMMIT;", "line 2, has a BEGIN"),
        ("/* ; */ begin ; SELECT 1", "line 1, has a BEGIN"),
        (
            "-- no-transaction\nVACUUM; START TRANSACTION",
            "line 2, has a BEGIN",
        ),
        ("COPY notes FROM STDIN;", "copies from or to a client"),
        (
            "-- no-transaction\nCREATE INDEX CONCURRENTLY ON notes (text)",
            "without a name",
        ),
        ("-- no-transaction\nSET search_path = a", "are set anew"),
    ] {
        let migrator = notes_and(&[("V3__no.sql", sql)]);
        let error = migrator.up(&client, None).await.unwrap_err();
        assert!(error.is_misuse(), "{error:?}");
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(states(&migrator, &client).await[2], (3, Pending));
    }
    let migrator = notes_and(&[("V3__no.sql", "CREATE INDEX CONCURRENTLY a ON notes (text);")]);
    let error = migrator.up(&client, None).await.unwrap_err();
    assert!(error.to_string().contains("`-- no-transaction`"), "{error}");
    assert_eq!(tables(&client).await, ["marks", "notes"]);
}

#[tokio::test]
async fn an_open_transaction_is_refused() {
    let (_database, client) = fresh().await;
    client.batch_execute("BEGIN; SELECT 1").await.unwrap();
    let error = migrator(NOTES).up(&client, None).await.unwrap_err();
    assert!(error.is_misuse(), "{error:?}");
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(migrator(NOTES).up(&client, None).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_files_settings_do_not_reach_the_next() {
    let (_database, client) = fresh().await;
    client
        .batch_execute("SET statement_timeout = '30s'; SET lock_timeout = '7s'")
        .await
        .unwrap();
    let migrator = migrator(&[
        (
            "V1__dump.sql",
            "SELECT pg_catalog.set_config('search_path', '', false);
            SET lock_timeout = 0;
            CREATE TABLE public.one (id int);",
        ),
        ("V2__two.sql", "CREATE TABLE two (id int);"),
        (
            "V3__show.sql",
            "CREATE TABLE show AS SELECT current_setting('lock_timeout') AS lock,
              current_setting('statement_timeout') AS statement;",
        ),
    ]);
    assert_eq!(migrator.up(&client, None).await.unwrap().len(), 3);
    assert_eq!(tables(&client).await, ["one", "show", "two"]);
    let seen = "SELECT lock || ' ' || statement FROM show";
    assert_eq!(one::<String>(&client, seen).await, "2s 0");
    let now = "SELECT current_setting('lock_timeout') || ' ' || \
        current_setting('statement_timeout') || ' ' || current_setting('search_path')";
    assert_eq!(
        one::<String>(&client, now).await,
        "7s 30s \"$user\", public"
    );
}

#[tokio::test]
async fn a_changed_file_is_named() {
    let (_database, client) = fresh().await;
    migrator(NOTES).up(&client, None).await.unwrap();
    let changed = migrator(&[
        ("V1__create_notes.sql", "CREATE TABLE notes (id int);"),
        NOTES[2],
    ]);
    assert_eq!(
        states(&changed, &client).await,
        [(1, Changed), (2, Applied)]
    );
    let error = changed.up(&client, None).await.unwrap_err();
    assert!(error.is_schema() && error.to_string().contains("`V1__create_notes.sql`"));
}

#[tokio::test]
async fn damaged_history_is_reported() {
    let (_database, client) = fresh().await;
    migrator(NOTES).up(&client, None).await.unwrap();
    let damage = "UPDATE refinery_schema_history SET checksum = NULL WHERE version = 2";
    client.batch_execute(damage).await.unwrap();
    let error = migrator(NOTES).status(&client).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}
