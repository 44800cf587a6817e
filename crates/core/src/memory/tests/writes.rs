use super::*;
use crate::error::{Error, ErrorKind};
use crate::eval::fixture::{NOTES, POST_TAGS, TAGS, decimal};
use crate::write::{ConflictAction, UpdateRows};

fn about(error: &Error) -> (ErrorKind, Option<&str>, Vec<&str>, Option<&str>) {
    (
        error.kind(),
        error.table(),
        error.columns().collect(),
        error.constraint(),
    )
}

async fn refused(store: &dyn Storage, op: WriteOp) -> Error {
    run(store, op).await.expect_err("refused")
}

#[tokio::test]
async fn the_store_makes_keys_and_never_the_same_twice() {
    let store = Memory::new();
    let two = insert(&USERS, &[1], vec![text("a"), text("b")]);
    assert_eq!(
        returning(&store, two).await.expect("ok"),
        (Written::rows(2), vec![1, 2])
    );
    run(&store, delete(&USERS, 2)).await.expect("ok");
    let next = |email| insert(&USERS, &[1], vec![text(email)]);
    assert_eq!(returning(&store, next("c")).await.expect("ok").1, [3]);
    run(&store, insert(&USERS, &[0, 1], vec![int(10), text("d")]))
        .await
        .expect("explicit");
    assert_eq!(returning(&store, next("e")).await.expect("ok").1, [11]);
    run(
        &store,
        insert(&USERS, &[0, 1], vec![Value::Null, text("f")]),
    )
    .await
    .expect("NULL asks");
    assert_eq!(ids(&store, &USERS).await, [1, 3, 10, 11, 12]);
    run(
        &store,
        update(&USERS, vec![(0, Assign::Set(int(20)))], eq(0, int(12))),
    )
    .await
    .expect("ok");
    assert_eq!(returning(&store, next("g")).await.expect("ok").1, [21]);
    run(
        &store,
        insert(&USERS, &[0, 1], vec![int(i64::MAX), text("h")]),
    )
    .await
    .expect("the last");
    assert_eq!(refused(&store, next("i")).await.kind(), ErrorKind::Full);
}

#[tokio::test]
async fn a_missing_or_unfit_value_names_its_column() {
    let store = Memory::new();
    let error = refused(&store, insert(&USERS, &[2], vec![text("nick")])).await;
    assert_eq!(
        about(&error),
        (ErrorKind::NotNull, Some("users"), vec!["email"], None)
    );
    let too_old = insert(&USERS, &[1, 3], vec![text("a"), int(40_000)]);
    let error = refused(&store, too_old).await;
    assert_eq!(
        about(&error),
        (ErrorKind::Invalid, Some("users"), vec!["age"], None)
    );
    let wrong_kind = insert(&USERS, &[1], vec![int(1)]);
    assert_eq!(refused(&store, wrong_kind).await.kind(), ErrorKind::Invalid);
    let ragged = insert(&USERS, &[1, 2], vec![text("a"), text("b"), text("c")]);
    assert_eq!(refused(&store, ragged).await.kind(), ErrorKind::Misuse);
    assert!(ids(&store, &USERS).await.is_empty());
}

#[tokio::test]
async fn unique_keys_name_themselves_and_let_nulls_pass() {
    let store = Memory::new();
    let rows = vec![text("a"), Value::Null, text("b"), Value::Null];
    run(&store, insert(&USERS, &[1, 2], rows))
        .await
        .expect("NULLs are distinct");
    let taken = insert(&USERS, &[1], vec![text("c"), text("a")]);
    let error = refused(&store, taken).await;
    let email = (
        ErrorKind::Unique,
        Some("users"),
        vec!["email"],
        Some("users_email_key"),
    );
    assert_eq!(about(&error), email);
    assert_eq!(
        ids(&store, &USERS).await,
        [1, 2],
        "the first row went back too"
    );
    let error = refused(&store, insert(&USERS, &[0, 1], vec![int(1), text("d")])).await;
    let key = (
        ErrorKind::Unique,
        Some("users"),
        vec!["id"],
        Some("users_pkey"),
    );
    assert_eq!(about(&error), key);
    let kept = insert(&USERS, &[1], vec![text("d")]);
    assert_eq!(
        returning(&store, kept).await.expect("ok").1,
        [3],
        "failures used no key"
    );

    run(&store, insert(&POSTS, &[1, 2], vec![int(1), text("x")]))
        .await
        .expect("ok");
    let error = refused(&store, insert(&POSTS, &[1, 2], vec![int(1), text("x")])).await;
    let both = vec!["author_id", "title"];
    let constraint = Some("posts_author_id_title_key");
    assert_eq!(
        about(&error),
        (ErrorKind::Unique, Some("posts"), both, constraint)
    );
}

#[tokio::test]
async fn an_update_checks_unique_keys_row_by_row() {
    let store = seeded().await;
    let to_b = vec![(1, Assign::Set(text("b")))];
    let error = refused(&store, update(&USERS, to_b, eq(0, int(1)))).await;
    assert_eq!(about(&error).3, Some("users_email_key"));
    let itself = vec![(1, Assign::Set(text("a")))];
    let done = run(&store, update(&USERS, itself, eq(0, int(1)))).await;
    assert_eq!(done.expect("its own value is free"), 1);
    let swap = WriteOp::UpdateRows(UpdateRows {
        table: &USERS,
        columns: vec![0, 1],
        by: 1,
        values: vec![int(1), text("b"), int(2), text("a")],
        set: vec![],
    });
    assert_eq!(refused(&store, swap).await.kind(), ErrorKind::Unique);
    assert_eq!(column(&store, &USERS, 1).await, [text("a"), text("b")]);
}

#[tokio::test]
async fn references_are_checked_when_the_write_is_through() {
    let store = Memory::new();
    // Each is the other's boss; the first refers to a row that comes later.
    let circle = vec![int(1), text("a"), int(2), int(2), text("b"), int(1)];
    run(&store, insert(&USERS, &[0, 1, 6], circle))
        .await
        .expect("order does not matter");
    let orphan = insert(&POSTS, &[1, 2], vec![int(9), text("x")]);
    let error = refused(&store, orphan).await;
    assert_eq!(
        about(&error),
        (ErrorKind::Reference, Some("posts"), vec!["author_id"], None)
    );
    let to_nobody = update(&USERS, vec![(6, Assign::Set(int(9)))], Filter::All);
    let error = refused(&store, to_nobody).await;
    assert_eq!(
        about(&error),
        (ErrorKind::Reference, Some("users"), vec!["boss_id"], None)
    );
    assert_eq!(column(&store, &USERS, 6).await, [int(2), int(1)]);
}

#[tokio::test]
async fn a_key_that_is_referred_to_stays() {
    let store = seeded().await;
    let renumber = |from, to| update(&USERS, vec![(0, Assign::Set(int(to)))], eq(0, int(from)));
    let error = refused(&store, renumber(2, 7)).await;
    assert_eq!(
        about(&error),
        (ErrorKind::Reference, Some("posts"), vec!["author_id"], None)
    );
    run(&store, delete(&POSTS, 3)).await.expect("ok");
    assert_eq!(
        run(&store, renumber(2, 7))
            .await
            .expect("nothing refers to it now"),
        1
    );
    assert_eq!(ids(&store, &USERS).await, [1, 7]);
}

fn on(target: usize, action: ConflictAction) -> OnConflict {
    OnConflict {
        target: vec![target],
        action,
    }
}

#[tokio::test]
async fn an_ignored_row_is_neither_counted_nor_returned() {
    let store = seeded().await;
    let values = vec![text("a"), text("c")];
    let op = insert_or(&USERS, &[1], values, Some(on(1, ConflictAction::Ignore)));
    assert_eq!(
        returning(&store, op).await.expect("ok"),
        (Written::rows(1), vec![4])
    );
    // Only the target is ignored.
    let values = vec![int(1), text("new"), int(9), text("a")];
    let op = insert_or(&USERS, &[0, 1], values, Some(on(0, ConflictAction::Ignore)));
    assert_eq!(about(&refused(&store, op).await).3, Some("users_email_key"));
    let op = insert_or(
        &USERS,
        &[1],
        vec![text("z")],
        Some(on(3, ConflictAction::Ignore)),
    );
    assert_eq!(refused(&store, op).await.kind(), ErrorKind::Misuse);
}

#[tokio::test]
async fn an_upsert_updates_the_row_that_has_the_key() {
    let store = seeded().await;
    let upsert = |values| {
        let set = vec![(3, Assign::Add(int(1)))];
        insert_or(
            &USERS,
            &[1, 2, 3],
            values,
            Some(on(
                1,
                ConflictAction::Update {
                    columns: vec![2],
                    set,
                    filter: Filter::All,
                },
            )),
        )
    };
    run(
        &store,
        update(&USERS, vec![(3, Assign::Set(int(5)))], Filter::All),
    )
    .await
    .expect("ok");
    let values = vec![
        text("c"),
        text("cc"),
        int(1),
        text("a"),
        text("aa"),
        int(99),
    ];
    let (written, ids) = returning(&store, upsert(values)).await.expect("ok");
    assert_eq!((written.rows, ids), (2, vec![3, 1]));
    assert_eq!(
        column(&store, &USERS, 2).await,
        [text("aa"), Value::Null, text("cc")]
    );
    assert_eq!(column(&store, &USERS, 3).await, [int(6), int(5), int(1)]);
    // The same row twice: one after the other.
    let twice = vec![
        text("a"),
        text("1"),
        Value::Null,
        text("a"),
        text("2"),
        Value::Null,
    ];
    run(&store, upsert(twice)).await.expect("ok");
    assert_eq!(column(&store, &USERS, 3).await[0], int(8));
    // The update may collide with another key.
    let taken = vec![text("b"), text("cc"), Value::Null];
    assert_eq!(
        about(&refused(&store, upsert(taken)).await).3,
        Some("users_nick_key")
    );
}

#[tokio::test]
async fn adding_keeps_null_and_refuses_to_overflow() {
    let store = seeded().await;
    let set = vec![
        (3, Assign::Set(int(32_000))),
        (4, Assign::Set(Value::Float(f64::MAX))),
        (5, Assign::Set(decimal("1.50"))),
    ];
    run(&store, update(&USERS, set, eq(0, int(1))))
        .await
        .expect("ok");
    let add = |at, by| update(&USERS, vec![(at, Assign::Add(by))], Filter::All);
    for (at, by, name) in [
        (3, int(768), "age"),
        (4, Value::Float(f64::MAX), "score"),
        (5, decimal("79228162514264337593543950335"), "paid"),
    ] {
        let error = refused(&store, add(at, by)).await;
        assert_eq!(
            about(&error),
            (ErrorKind::Invalid, Some("users"), vec![name], None)
        );
    }
    assert_eq!(run(&store, add(3, int(767))).await.expect("just fits"), 2);
    assert_eq!(column(&store, &USERS, 3).await, [int(32_767), Value::Null]);
    run(&store, add(5, decimal("-0.5"))).await.expect("ok");
    assert_eq!(column(&store, &USERS, 5).await[0], decimal("1.0"));
}

#[tokio::test]
async fn rows_are_updated_by_key_and_what_else_must_match() {
    let store = seeded().await;
    run(
        &store,
        update(&USERS, vec![(3, Assign::Set(int(1)))], Filter::All),
    )
    .await
    .expect("ok");
    // By id and age, as by key and version.
    let op = WriteOp::UpdateRows(UpdateRows {
        table: &USERS,
        columns: vec![0, 3, 2],
        by: 2,
        values: vec![
            int(2),
            int(1),
            text("two"),
            int(1),
            int(0),
            text("stale"),
            int(9),
            int(1),
            text("nobody"),
        ],
        set: vec![(3, Assign::Add(int(1)))],
    });
    assert_eq!(
        returning(&store, op).await.expect("ok"),
        (Written::rows(1), vec![2])
    );
    assert_eq!(column(&store, &USERS, 2).await, [Value::Null, text("two")]);
    assert_eq!(column(&store, &USERS, 3).await, [int(1), int(2)]);
    let keyless = WriteOp::UpdateRows(UpdateRows {
        table: &USERS,
        columns: vec![1, 2],
        by: 1,
        values: vec![text("a"), text("n")],
        set: vec![],
    });
    assert_eq!(refused(&store, keyless).await.kind(), ErrorKind::Misuse);
}

#[tokio::test]
async fn deleting_a_parent_takes_or_frees_its_children() {
    let store = seeded().await;
    run(&store, insert(&NOTES, &[1, 2], vec![int(2), int(1)]))
        .await
        .expect("a note on post 1");
    let (written, ids_back) = returning(&store, delete(&USERS, 1)).await.expect("ok");
    assert_eq!(
        (written.rows, ids_back),
        (1, vec![1]),
        "cascades are not counted"
    );
    assert_eq!(ids(&store, &POSTS).await, [3], "posts went along");
    assert!(
        ids(&store, &NOTES).await.is_empty(),
        "and the notes on them"
    );
    assert_eq!(
        column(&store, &USERS, 6).await,
        [Value::Null],
        "their boss is gone"
    );
}

#[tokio::test]
async fn a_restricting_child_keeps_its_parent_unless_it_goes_too() {
    let store = seeded().await;
    run(&store, insert(&NOTES, &[1, 2], vec![int(2), int(1)]))
        .await
        .expect("2 reads post 1");
    let error = refused(&store, delete(&USERS, 2)).await;
    assert_eq!(
        about(&error),
        (ErrorKind::Reference, Some("notes"), vec!["reader_id"], None)
    );
    assert_eq!(
        ids(&store, &POSTS).await,
        [1, 2, 3],
        "the cascade was undone"
    );
    let all = WriteOp::Delete(DeleteWhere {
        table: &USERS,
        filter: Filter::All,
    });
    assert_eq!(
        run(&store, all)
            .await
            .expect("the note goes with user 1's post"),
        2
    );
    assert!(ids(&store, &NOTES).await.is_empty());
}

#[tokio::test]
async fn composite_keys_and_joins_work() {
    let store = seeded().await;
    run(&store, insert(&TAGS, &[1], vec![text("t")]))
        .await
        .expect("ok");
    let pairs = || insert(&POST_TAGS, &[0, 1], vec![int(1), int(1), int(2), int(1)]);
    run(&store, pairs()).await.expect("ok");
    let error = refused(&store, pairs()).await;
    let names = vec!["post_id", "tag_id"];
    assert_eq!(
        about(&error),
        (
            ErrorKind::Unique,
            Some("post_tags"),
            names,
            Some("post_tags_pkey")
        )
    );
    run(&store, delete(&TAGS, 1)).await.expect("ok");
    assert!(ids(&store, &POST_TAGS).await.is_empty());
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_does_not_undo_the_write() {
    let store = Memory::new();
    let mut write = Write::new(insert(&USERS, &[1], vec![text("a")]));
    write.returning = Some(Output::Entity);
    let unreadable: fn(&dyn Row) -> Result<i64> = |row| crate::rows::get(row, 1);
    let (written, mut rows) = store
        .write(write, Rows::collect(unreadable))
        .await
        .expect("ok");
    assert_eq!(written, Written::rows(1));
    let error = rows.take_failure().expect("not an integer");
    assert_eq!(
        (error.kind(), error.column()),
        (ErrorKind::Decode, Some("email"))
    );
    assert_eq!(ids(&store, &USERS).await.len(), 1);
}

#[tokio::test]
async fn a_model_with_other_columns_is_refused() {
    static OTHER: Table = Table {
        name: "users",
        ..TAGS_LIKE
    };
    const TAGS_LIKE: Table = Table {
        name: "",
        columns: &[],
        key: &[],
        auto_key: false,
        uniques: &[],
        indexes: &[],
        search: None,
        created_at: None,
        updated_at: None,
        version: None,
    };
    let store = Memory::with_tables(&[&USERS]);
    let error = store
        .read(Select::new(&OTHER), Rows::discard())
        .await
        .expect_err("refused");
    assert_eq!(
        (error.kind(), error.table()),
        (ErrorKind::Schema, Some("users"))
    );
}

#[tokio::test]
async fn reads_by_keys_and_references_find_what_a_scan_finds() {
    let store = seeded().await;
    let posts = async |filter: Filter| {
        let mut select = Select::new(&POSTS);
        select.output = Output::Exprs(vec![Expr::Column(0)]);
        select.filter = filter;
        let rows = store
            .read(select, Rows::collect(first))
            .await
            .expect("reads");
        rows.into_vec::<i64>().expect("its own rows")
    };
    assert_eq!(
        posts(Filter::in_values(0, vec![int(3), int(1), int(8)])).await,
        [1, 3]
    );
    assert_eq!(posts(eq(1, int(1))).await, [1, 2]);
    assert_eq!(posts(eq(1, int(1)).and(eq(2, text("y")))).await, [2]);
    assert_eq!(
        posts(eq(1, int(1)).and(Filter::in_values(0, vec![]))).await,
        [0_i64; 0]
    );
    assert_eq!(posts(eq(0, Value::Null)).await, [0_i64; 0]);
}
