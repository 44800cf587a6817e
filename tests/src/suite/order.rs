//! Order, limit, offset, first: NULLs come last ascending and first descending unless said.

use larder_core::models::Tag;
use larder_core::{Decimal, ErrorKind, Result};

use crate::fixtures::{measures, numbered_tag, refused, tags};
use crate::harness::{TestDb, tests};
use crate::schema::{Measure, NewMeasure};

async fn nulls_have_the_same_place_everywhere(db: TestDb) -> Result<()> {
    measures(&db, [Some(2), None, Some(1)]).await?;
    let by = async |order| {
        db.query::<Measure>()
            .order(order)
            .select(Measure::NUMBER)
            .all()
            .await
    };
    let number = Measure::NUMBER;
    assert_eq!(by(number.asc()).await?, [Some(1), Some(2), None]);
    assert_eq!(by(number.desc()).await?, [None, Some(2), Some(1)]);
    assert_eq!(
        by(number.asc().nulls_first()).await?,
        [None, Some(1), Some(2)]
    );
    assert_eq!(
        by(number.desc().nulls_last()).await?,
        [Some(2), Some(1), None]
    );
    Ok(())
}

async fn several_columns_order_one_after_the_other(db: TestDb) -> Result<()> {
    let rows = [
        ("b", Some(1)),
        ("a", None),
        ("a", Some(2)),
        ("b", Some(2)),
        ("a", Some(1)),
    ];
    db.insert_all(rows.map(|(series, number)| NewMeasure {
        series: Some(series.into()),
        number,
        ..NewMeasure::default()
    }))
    .await?;
    let query = db
        .query::<Measure>()
        .order(Measure::SERIES.desc())
        .order(Measure::NUMBER.asc());
    let found = query
        .select((Measure::SERIES, Measure::NUMBER))
        .all()
        .await?;
    let found: Vec<_> = found
        .iter()
        .map(|(a, b)| (a.as_deref().unwrap_or(""), *b))
        .collect();
    let expected = [
        ("b", Some(1)),
        ("b", Some(2)),
        ("a", Some(1)),
        ("a", Some(2)),
        ("a", None),
    ];
    assert_eq!(found, expected);
    Ok(())
}

async fn desc_is_the_exact_reverse_of_asc(db: TestDb) -> Result<()> {
    measures(
        &db,
        [
            Some(3),
            None,
            Some(-3),
            Some(i64::MAX),
            Some(i64::MIN),
            Some(0),
        ],
    )
    .await?;
    let mut up = db
        .query::<Measure>()
        .order(Measure::NUMBER.asc())
        .all()
        .await?;
    let down = db
        .query::<Measure>()
        .order(Measure::NUMBER.desc())
        .all()
        .await?;
    up.reverse();
    assert_eq!(up, down);
    Ok(())
}

async fn decimals_and_floats_order_by_value(db: TestDb) -> Result<()> {
    let exact = ["10", "9", "-1.5", "-10", "0.10", "0.09"];
    let rows = exact.map(|text| NewMeasure {
        exact: text.parse().ok(),
        ..NewMeasure::default()
    });
    db.insert_all(rows).await?;
    let sorted = db
        .query::<Measure>()
        .order(Measure::EXACT.asc())
        .select(Measure::EXACT)
        .all()
        .await?;
    let sorted: Vec<_> = sorted
        .into_iter()
        .flatten()
        .map(|d: Decimal| d.to_string())
        .collect();
    assert_eq!(sorted, ["-10", "-1.5", "0.09", "0.10", "9", "10"]);
    let floats = [1e300, -1e-300, 0.0, 5.0, -7.5];
    let rows = floats.map(|float| NewMeasure {
        float: Some(float),
        ..NewMeasure::default()
    });
    db.insert_all(rows).await?;
    let query = db.query::<Measure>().filter(Measure::FLOAT.is_not_null());
    let sorted = query
        .order(Measure::FLOAT.desc())
        .select(Measure::FLOAT)
        .all()
        .await?;
    assert_eq!(sorted, [1e300, 5.0, 0.0, -1e-300, -7.5].map(Some));
    Ok(())
}

async fn limit_and_offset_cut(db: TestDb) -> Result<()> {
    tags(&db, 10).await?;
    let names = async |limit: Option<u64>, offset: u64| {
        let mut query = db.query::<Tag>().order(Tag::NAME.asc()).offset(offset);
        if let Some(limit) = limit {
            query = query.limit(limit);
        }
        query.select(Tag::NAME).all().await
    };
    let name = |n: usize| numbered_tag(n).name;
    assert_eq!(names(Some(2), 0).await?, [name(0), name(1)]);
    assert_eq!(names(Some(2), 9).await?, [name(9)]);
    assert_eq!(names(Some(2), 10).await?, [""; 0]);
    assert_eq!(names(Some(0), 0).await?, [""; 0]);
    assert_eq!(
        names(None, 8).await?,
        [name(8), name(9)],
        "an offset without a limit"
    );
    assert_eq!(
        names(Some(u64::MAX), 9).await?,
        [name(9)],
        "a limit beyond all bounds"
    );
    assert_eq!(
        names(None, u64::MAX).await?,
        [""; 0],
        "an offset beyond all bounds"
    );
    Ok(())
}

async fn first_is_the_first_by_the_order(db: TestDb) -> Result<()> {
    assert_eq!(db.query::<Tag>().first().await?, None);
    tags(&db, 5).await?;
    let last = db.query::<Tag>().order(Tag::NAME.desc()).first().await?;
    assert_eq!(last.map(|tag| tag.name), Some(numbered_tag(4).name));
    let second = db
        .query::<Tag>()
        .order(Tag::NAME.asc())
        .offset(1)
        .first()
        .await?;
    assert_eq!(second.map(|tag| tag.name), Some(numbered_tag(1).name));
    let none = db
        .query::<Tag>()
        .filter(Tag::NAME.eq("nothing"))
        .first()
        .await?;
    assert_eq!(none, None);
    Ok(())
}

async fn a_limit_of_nothing_finds_nothing(db: TestDb) -> Result<()> {
    tags(&db, 3).await?;
    let none = || db.query::<Tag>().limit(0);
    assert!(none().all().await?.is_empty());
    assert_eq!(none().count().await?, 0);
    assert!(!none().exists().await?);
    assert_eq!(none().first().await?, None);
    assert_eq!(none().select(Tag::NAME).first().await?, None);
    refused(none().one().await, ErrorKind::NotFound);
    let first = db
        .query::<Tag>()
        .order(Tag::NAME.asc())
        .limit(1)
        .one()
        .await?;
    assert_eq!(
        first.name,
        numbered_tag(0).name,
        "of one row at most there is only one"
    );
    Ok(())
}

async fn count_and_exists_heed_limit_and_offset(db: TestDb) -> Result<()> {
    let query = || db.query::<Tag>();
    assert_eq!(
        (query().count().await?, query().exists().await?),
        (0, false)
    );
    tags(&db, 10).await?;
    assert_eq!(
        (query().count().await?, query().exists().await?),
        (10, true)
    );
    assert_eq!(query().limit(3).count().await?, 3);
    assert_eq!(query().limit(30).count().await?, 10);
    assert_eq!(query().offset(4).count().await?, 6);
    assert_eq!(query().limit(3).offset(9).count().await?, 1);
    assert_eq!(query().offset(20).count().await?, 0);
    assert_eq!(query().order(Tag::NAME.asc()).count().await?, 10);
    assert!(!query().offset(10).exists().await?);
    assert!(query().offset(9).exists().await?);
    let none = || query().filter(Tag::NAME.eq("nothing"));
    assert_eq!((none().count().await?, none().exists().await?), (0, false));
    Ok(())
}

tests![
    nulls_have_the_same_place_everywhere,
    several_columns_order_one_after_the_other,
    desc_is_the_exact_reverse_of_asc,
    decimals_and_floats_order_by_value,
    limit_and_offset_cut,
    first_is_the_first_by_the_order,
    a_limit_of_nothing_finds_nothing,
    count_and_exists_heed_limit_and_offset,
];
