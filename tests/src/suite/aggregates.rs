//! Projections, distinct, aggregates, groups.

use larder_core::models::{Post, PostStatus, User};
use larder_core::{Db, Decimal, ErrorKind, Id, Load, Result, count};

use crate::fixtures::{measures, new_post, post, refused, user};
use crate::harness::{TestDb, tests};
use crate::schema::{Measure, NewMeasure};

async fn series(db: &Db, rows: &[(Option<&str>, Option<i64>)]) -> Result<u64> {
    let rows: Vec<_> = rows
        .iter()
        .map(|(series, number)| NewMeasure {
            series: series.map(str::to_owned),
            number: *number,
            ..NewMeasure::default()
        })
        .collect();
    db.insert_all(rows).await
}

/// A projection to a struct.
#[derive(Load, Debug, PartialEq)]
#[load(User)]
struct NameOnly {
    id: Id<User>,
    #[load(column = User::NAME)]
    called: String,
}

async fn columns_come_as_a_tuple_in_the_order_asked(db: TestDb) -> Result<()> {
    let ada = user(&db, 1).await?;
    let found = db
        .query::<User>()
        .select((User::NAME, User::ID, User::BIO))
        .all()
        .await?;
    assert_eq!(found, [("User 1".to_owned(), ada.id, None)]);
    assert_eq!(
        db.query::<User>().select(User::ID).first().await?,
        Some(ada.id)
    );
    assert_eq!(
        db.query::<User>().select((User::ID,)).all().await?,
        [(ada.id,)]
    );
    let twice = db
        .query::<User>()
        .select((User::ID, User::ID))
        .all()
        .await?;
    assert_eq!(twice, [(ada.id, ada.id)], "the same column twice");
    Ok(())
}

async fn columns_come_as_a_struct(db: TestDb) -> Result<()> {
    let ada = user(&db, 1).await?;
    let found = db.query::<User>().load::<NameOnly>().await?;
    assert_eq!(
        found,
        [NameOnly {
            id: ada.id,
            called: "User 1".into()
        }]
    );
    Ok(())
}

async fn a_projection_orders_by_columns_it_does_not_bring(db: TestDb) -> Result<()> {
    measures(&db, [Some(2), Some(3), Some(1)]).await?;
    let query = db
        .query::<Measure>()
        .order(Measure::NUMBER.desc())
        .select(Measure::ID);
    let ids: Vec<i64> = query.all().await?.into_iter().map(Id::get).collect();
    let first = ids[2] - 2;
    assert_eq!(ids, [first + 1, first, first + 2]);
    Ok(())
}

async fn distinct_leaves_out_duplicates_of_the_output(db: TestDb) -> Result<()> {
    let rows = [
        (Some("a"), Some(1)),
        (Some("a"), Some(2)),
        (Some("b"), Some(1)),
        (None, None),
        (None, None),
    ];
    series(&db, &rows).await?;
    let query = db
        .query::<Measure>()
        .distinct()
        .order(Measure::SERIES.asc());
    let found = query.select(Measure::SERIES).all().await?;
    assert_eq!(
        found,
        [Some("a".to_owned()), Some("b".to_owned()), None],
        "NULL once too"
    );
    let query = db
        .query::<Measure>()
        .distinct()
        .order(Measure::SERIES.asc())
        .limit(2)
        .offset(1);
    let found = query.select(Measure::SERIES).all().await?;
    assert_eq!(
        found,
        [Some("b".to_owned()), None],
        "cut after the duplicates are gone"
    );
    let pairs = db
        .query::<Measure>()
        .distinct()
        .select((Measure::SERIES, Measure::NUMBER));
    assert_eq!(pairs.all().await?.len(), 4);
    Ok(())
}

async fn aggregates_over_all_rows(db: TestDb) -> Result<()> {
    measures(&db, [Some(4), Some(-1), None, Some(4)]).await?;
    let number = Measure::NUMBER;
    let query = db.query::<Measure>().select((
        count(),
        number.count(),
        number.count_distinct(),
        number.sum(),
        number.min(),
        number.max(),
    ));
    assert_eq!(query.all().await?, [(4, 3, 2, Some(7), Some(-1), Some(4))]);
    let average = db
        .query::<Measure>()
        .select(number.avg())
        .first()
        .await?
        .flatten();
    assert!(
        average.is_some_and(|avg| (avg - 7.0 / 3.0).abs() < 1e-12),
        "{average:?}"
    );
    let some = db
        .query::<Measure>()
        .filter(number.gt(0))
        .select((count(), number.sum()));
    assert_eq!(some.first().await?, Some((2, Some(8))));
    Ok(())
}

async fn aggregates_over_nothing(db: TestDb) -> Result<()> {
    let check = async || -> Result<()> {
        let number = Measure::NUMBER;
        let all = db.query::<Measure>().select((
            count(),
            number.count(),
            number.sum(),
            number.min(),
            number.max(),
            number.avg(),
        ));
        let row = all.all().await?;
        assert!(row.len() == 1, "one row even without any: {row:?}");
        let (_, values, sum, min, max, avg) = row[0];
        assert_eq!((values, sum, min, max, avg), (0, None, None, None, None));
        Ok(())
    };
    check().await?;
    let groups = db
        .query::<Measure>()
        .group_by(Measure::SERIES)
        .select((Measure::SERIES, count()));
    assert_eq!(groups.all().await?, [], "no groups without rows");
    measures(&db, [None, None]).await?;
    check().await
}

async fn floats_and_decimals_add_up(db: TestDb) -> Result<()> {
    let row = |float: f64, exact: &str| NewMeasure {
        float: Some(float),
        exact: exact.parse().ok(),
        ..NewMeasure::default()
    };
    db.insert_all([
        row(0.5, "0.10"),
        row(0.25, "0.20"),
        row(-4.0, "79228162514264.1"),
    ])
    .await?;
    let query = db.query::<Measure>().select((
        Measure::FLOAT.sum(),
        Measure::EXACT.sum(),
        Measure::FLOAT.min(),
        Measure::EXACT.max(),
    ));
    let (floats, exact, min, max) = query.first().await?.expect("an aggregate has one row");
    assert_eq!((floats, min), (Some(-3.25), Some(-4.0)));
    let parse = |text: &str| text.parse::<Decimal>().ok();
    assert_eq!(
        (exact, max),
        (parse("79228162514264.4"), parse("79228162514264.1"))
    );
    db.query::<Measure>()
        .filter(Measure::EXACT.gt(Decimal::ONE))
        .delete()
        .await?;
    let average = db
        .query::<Measure>()
        .select(Measure::EXACT.avg())
        .first()
        .await?
        .flatten();
    assert_eq!(average, parse("0.15"));
    Ok(())
}

async fn a_decimal_average_is_exact_to_28_digits(db: TestDb) -> Result<()> {
    let exact = |n: i64| NewMeasure {
        exact: Some(Decimal::new(n, 0)),
        ..NewMeasure::default()
    };
    db.insert_all([exact(1), exact(0), exact(0)]).await?;
    let average = db
        .query::<Measure>()
        .select(Measure::EXACT.avg())
        .first()
        .await?
        .flatten();
    assert_eq!(average, "0.3333333333333333333333333333".parse().ok());
    Ok(())
}

async fn an_integer_sum_that_overflows_is_an_error(db: TestDb) -> Result<()> {
    measures(&db, [Some(i64::MAX), Some(1)]).await?;
    let sum = db
        .query::<Measure>()
        .select(Measure::NUMBER.sum())
        .all()
        .await;
    let error = sum.expect_err("the sum leaves the range of i64");
    assert!(!error.is_retryable(), "{error:?}");
    let max = db
        .query::<Measure>()
        .select(Measure::NUMBER.max())
        .first()
        .await?;
    assert_eq!(
        max,
        Some(Some(i64::MAX)),
        "the store is as usable as before"
    );
    db.query::<Measure>()
        .filter(Measure::NUMBER.eq(1))
        .update(Measure::NUMBER.set(0))
        .await?;
    let sum = db
        .query::<Measure>()
        .select(Measure::NUMBER.sum())
        .first()
        .await?;
    assert_eq!(sum, Some(Some(i64::MAX)));
    Ok(())
}

async fn groups_have_their_own_aggregates(db: TestDb) -> Result<()> {
    let rows = [
        (Some("a"), Some(1)),
        (Some("b"), Some(10)),
        (Some("a"), Some(2)),
        (Some("a"), None),
        (None, Some(5)),
        (None, Some(6)),
    ];
    series(&db, &rows).await?;
    let query = db
        .query::<Measure>()
        .group_by(Measure::SERIES)
        .order(Measure::SERIES.asc());
    let found = query.select((
        Measure::SERIES,
        count(),
        Measure::NUMBER.count(),
        Measure::NUMBER.sum(),
    ));
    let found = found.all().await?;
    let expected = [
        (Some("a".to_owned()), 3, 2, Some(3)),
        (Some("b".to_owned()), 1, 1, Some(10)),
        (None, 2, 2, Some(11)),
    ];
    assert_eq!(found, expected, "NULLs are one group");
    Ok(())
}

async fn groups_can_be_ordered_and_cut_by_aggregates(db: TestDb) -> Result<()> {
    let rows: Vec<_> = [("a", 3), ("b", 1), ("c", 2), ("d", 4)]
        .into_iter()
        .flat_map(|(name, times)| (0..times).map(move |n| (Some(name), Some(n))))
        .collect();
    series(&db, &rows).await?;
    let query = db
        .query::<Measure>()
        .group_by(Measure::SERIES)
        .select((Measure::SERIES, count()));
    let top = query.order(count().desc()).limit(2).all().await?;
    assert_eq!(top, [(Some("d".to_owned()), 4), (Some("a".to_owned()), 3)]);
    Ok(())
}

async fn having_takes_groups(db: TestDb) -> Result<()> {
    let rows = [("a", 1), ("a", 2), ("b", 50), ("c", 3), ("c", 4), ("c", 5)];
    let rows = rows.map(|(series, number)| (Some(series), Some(number)));
    series(&db, &rows).await?;
    let names = async |having| {
        let query = db
            .query::<Measure>()
            .group_by(Measure::SERIES)
            .having(having);
        query
            .order(Measure::SERIES.asc())
            .select(Measure::SERIES)
            .all()
            .await
    };
    let some =
        |list: &[&str]| -> Vec<_> { list.iter().map(|&name| Some(name.to_owned())).collect() };
    assert_eq!(names(count().ge(2)).await?, some(&["a", "c"]));
    assert_eq!(names(count().eq(1)).await?, some(&["b"]));
    assert_eq!(
        names(Measure::NUMBER.sum().gt(10)).await?,
        some(&["b", "c"])
    );
    assert_eq!(
        names(Measure::NUMBER.max().lt(5).and(count().gt(1))).await?,
        some(&["a"])
    );
    assert_eq!(names(count().ge(2).not()).await?, some(&["b"]));
    let query = db
        .query::<Measure>()
        .filter(Measure::NUMBER.lt(50))
        .group_by(Measure::SERIES);
    let found = query
        .having(count().le(2))
        .select(Measure::SERIES)
        .all()
        .await?;
    assert_eq!(found, some(&["a"]), "the filter comes before the groups");
    Ok(())
}

async fn groups_by_several_columns(db: TestDb) -> Result<()> {
    let (one, two) = (user(&db, 1).await?, user(&db, 2).await?);
    let list = [
        (one.id, PostStatus::Draft),
        (one.id, PostStatus::Draft),
        (two.id, PostStatus::Draft),
        (one.id, PostStatus::Published),
    ];
    let posts = list.into_iter().enumerate();
    db.insert_all(posts.map(|(at, (author, status))| new_post(author, &format!("p{at}"), status)))
        .await?;
    let query = db.query::<Post>().group_by((Post::AUTHOR_ID, Post::STATUS));
    let query = query.order(Post::AUTHOR_ID.asc()).order(Post::STATUS.asc());
    let found = query
        .select((Post::AUTHOR_ID, Post::STATUS, count()))
        .all()
        .await?;
    let expected = [
        (one.id, PostStatus::Draft, 2),
        (one.id, PostStatus::Published, 1),
        (two.id, PostStatus::Draft, 1),
    ];
    assert_eq!(found, expected);
    Ok(())
}

async fn min_and_max_work_on_every_ordered_type(db: TestDb) -> Result<()> {
    user(&db, 1).await?;
    let last = user(&db, 2).await?;
    let query =
        db.query::<User>()
            .select((User::NAME.min(), User::EMAIL.max(), User::CREATED_AT.max()));
    let (name, email, at) = query.first().await?.expect("an aggregate has one row");
    assert_eq!(name.as_deref(), Some("User 1"));
    assert_eq!((email, at), (Some(last.email), Some(last.created_at)));
    Ok(())
}

async fn what_the_output_does_not_have_is_refused(db: TestDb) -> Result<()> {
    series(
        &db,
        &[
            (Some("a"), Some(1)),
            (Some("a"), Some(2)),
            (Some("b"), Some(3)),
        ],
    )
    .await?;
    let query = || db.query::<Measure>();
    let hidden = query()
        .distinct()
        .order(Measure::NUMBER.asc())
        .select(Measure::SERIES);
    let error = refused(hidden.all().await, ErrorKind::Misuse);
    assert!(error.message().contains("distinct"), "{error}");
    // A group has many values of a column that it is not made by.
    let many = query()
        .group_by(Measure::SERIES)
        .select((Measure::SERIES, Measure::NUMBER));
    refused(many.all().await, ErrorKind::Misuse);
    let many = query().select((Measure::NUMBER, count()));
    refused(many.all().await, ErrorKind::Misuse);
    let many = query()
        .group_by(Measure::SERIES)
        .order(Measure::NUMBER.asc())
        .select(Measure::SERIES);
    refused(many.all().await, ErrorKind::Misuse);
    // A number of rows for each group, or of groups? Neither is said.
    refused(
        query().group_by(Measure::SERIES).count().await,
        ErrorKind::Misuse,
    );
    refused(
        query().group_by(Measure::SERIES).all().await,
        ErrorKind::Misuse,
    );
    // Rows are taken before there are groups.
    refused(query().filter(count().gt(1)).all().await, ErrorKind::Misuse);
    refused(
        query().filter(count().gt(1)).delete().await,
        ErrorKind::Misuse,
    );
    assert_eq!(query().count().await?, 3);
    Ok(())
}

async fn pages_by_aggregates_are_refused(db: TestDb) -> Result<()> {
    let query = db.query::<Measure>().order(count().desc());
    let error = refused(query.page(10).await, ErrorKind::Misuse);
    assert!(error.message().contains("aggregates"), "{error}");
    Ok(())
}

async fn groups_are_taken_only_by_what_they_have(db: TestDb) -> Result<()> {
    let author = user(&db, 1).await?;
    post(&db, &author, "a").await?;
    let by_author = || db.query::<Post>().group_by(Post::AUTHOR_ID);
    let other = by_author().having(Post::TITLE.eq("On a"));
    refused(
        other.select((Post::AUTHOR_ID, count())).all().await,
        ErrorKind::Misuse,
    );
    let own = by_author().having(Post::AUTHOR_ID.eq(author.id));
    assert_eq!(
        own.select((Post::AUTHOR_ID, count())).all().await?,
        [(author.id, 1)]
    );
    let groupless = db.query::<Post>().having(count().gt(0));
    refused(groupless.all().await, ErrorKind::Misuse);
    let filtered = by_author().having(count().gt(0)).delete().await;
    refused(filtered, ErrorKind::Misuse);
    Ok(())
}

tests![
    groups_are_taken_only_by_what_they_have,
    columns_come_as_a_tuple_in_the_order_asked,
    columns_come_as_a_struct,
    a_projection_orders_by_columns_it_does_not_bring,
    distinct_leaves_out_duplicates_of_the_output,
    aggregates_over_all_rows,
    aggregates_over_nothing,
    floats_and_decimals_add_up,
    a_decimal_average_is_exact_to_28_digits,
    an_integer_sum_that_overflows_is_an_error,
    groups_have_their_own_aggregates,
    groups_can_be_ordered_and_cut_by_aggregates,
    having_takes_groups,
    groups_by_several_columns,
    min_and_max_work_on_every_ordered_type,
    what_the_output_does_not_have_is_refused,
    pages_by_aggregates_are_refused,
];
