//! Every column type comes back as it went in, at its extremes too; what cannot be kept is
//! refused by name.

use larder_core::{Date, Decimal, ErrorKind, Id, Json, Result, Timestamp};
use serde_json::json;

use crate::fixtures::{all_types_full as full, all_types_plain as plain, refused};
use crate::harness::{TestDb, tests};
use crate::schema::{AllTypes, Label, Mood};

/// Inserts the row and reads it back by key, by a scan and through an update of all columns.
async fn round_trip(db: &TestDb, row: AllTypes) -> Result<()> {
    assert_eq!(db.insert(row.clone()).await?, row, "returned by the insert");
    assert_eq!(db.find::<AllTypes>(row.id).await?, row, "read by key");
    let scanned = db
        .query::<AllTypes>()
        .filter(AllTypes::ID.ge(row.id))
        .all()
        .await?;
    assert!(scanned.iter().eq([&row]), "read by a scan: {scanned:?}");
    let other = db.insert(plain(row.id.get() + 1)).await?;
    let saved = db
        .save(AllTypes {
            id: other.id,
            ..row.clone()
        })
        .await?;
    assert_eq!(
        AllTypes {
            id: row.id,
            ..saved
        },
        row,
        "returned by an update"
    );
    let id = Id::new(row.id.get() + 2);
    db.insert_all([AllTypes { id, ..row.clone() }, plain(id.get() + 1)])
        .await?;
    assert_eq!(
        db.find::<AllTypes>(id).await?,
        AllTypes { id, ..row },
        "inserted with others"
    );
    Ok(())
}

async fn ordinary_values_come_back(db: TestDb) -> Result<()> {
    round_trip(&db, full(1)).await
}

async fn empty_values_and_nulls_come_back(db: TestDb) -> Result<()> {
    round_trip(&db, plain(1)).await?;
    let empty = AllTypes {
        maybe_text: Some(String::new()),
        maybe_bytes: Some(Vec::new()),
        maybe_label: Some(Label(String::new())),
        maybe_flag: Some(false),
        maybe_large: Some(0),
        ..plain(100)
    };
    round_trip(&db, empty).await
}

async fn integers_come_back_at_their_extremes(db: TestDb) -> Result<()> {
    let low = AllTypes {
        small: i16::MIN,
        medium: i32::MIN,
        large: i64::MIN,
        ..plain(1)
    };
    let high = AllTypes {
        small: i16::MAX,
        medium: i32::MAX,
        large: i64::MAX,
        maybe_small: Some(i16::MAX),
        maybe_medium: Some(i32::MAX),
        maybe_large: Some(i64::MAX),
        ..plain(100)
    };
    round_trip(&db, low.clone()).await?;
    round_trip(&db, high).await?;
    let found = db
        .query::<AllTypes>()
        .filter(AllTypes::LARGE.eq(i64::MIN))
        .count()
        .await?;
    assert_eq!(found, 3);
    // A float in between would lose the last digit.
    let row = AllTypes {
        large: (1 << 53) + 1,
        ..plain(1_000)
    };
    round_trip(&db, row).await?;
    assert_eq!(
        db.query::<AllTypes>()
            .filter(AllTypes::LARGE.eq(1 << 53))
            .count()
            .await?,
        0
    );
    Ok(())
}

async fn keys_come_back_at_their_extremes(db: TestDb) -> Result<()> {
    for id in [i64::MIN, -1, 0, i64::MAX] {
        let row = plain(id);
        assert_eq!(db.insert(row.clone()).await?, row);
        assert_eq!(db.get::<AllTypes>(Id::new(id)).await?, Some(row));
    }
    assert_eq!(db.query::<AllTypes>().count().await?, 4);
    Ok(())
}

async fn floats_come_back_bit_by_bit(db: TestDb) -> Result<()> {
    let doubles = [
        f64::MIN,
        f64::MAX,
        f64::MIN_POSITIVE,
        5e-324,
        -5e-324,
        f64::EPSILON,
        0.1 + 0.2,
        1e300,
    ];
    let singles = [
        f32::MIN,
        f32::MAX,
        f32::MIN_POSITIVE,
        1e-45,
        -1e-45,
        f32::EPSILON,
        0.1,
        1e30,
    ];
    for (at, (double, single)) in doubles.into_iter().zip(singles).enumerate() {
        let row = AllTypes {
            double,
            single,
            maybe_double: Some(double),
            maybe_single: Some(single),
            ..plain(at as i64)
        };
        db.insert(row.clone()).await?;
        let found = db.find::<AllTypes>(row.id).await?;
        assert_eq!(found.double.to_bits(), double.to_bits(), "{double:e}");
        assert_eq!(found.single.to_bits(), single.to_bits(), "{single:e}");
        assert_eq!(found, row);
        let same = db
            .query::<AllTypes>()
            .filter(AllTypes::DOUBLE.eq(double))
            .count()
            .await?;
        assert_eq!(same, 1, "{double:e} equals itself");
    }
    Ok(())
}

async fn negative_zero_becomes_zero(db: TestDb) -> Result<()> {
    let row = AllTypes {
        double: -0.0,
        single: -0.0,
        ..plain(1)
    };
    let stored = db.insert(row).await?;
    assert!(stored.double.is_sign_positive() && stored.single.is_sign_positive());
    assert_eq!(
        db.query::<AllTypes>()
            .filter(AllTypes::DOUBLE.eq(-0.0))
            .count()
            .await?,
        1
    );
    Ok(())
}

async fn whole_floats_stay_floats(db: TestDb) -> Result<()> {
    let row = AllTypes {
        double: 3.0,
        single: -4.0,
        maybe_double: Some(1e15),
        ..plain(1)
    };
    round_trip(&db, row).await
}

async fn what_floats_cannot_be_kept_is_refused_by_name(db: TestDb) -> Result<()> {
    for (bad, name) in [
        (f64::NAN, "NaN"),
        (f64::INFINITY, "infinity"),
        (f64::NEG_INFINITY, "infinity"),
    ] {
        let error = refused(
            db.insert(AllTypes {
                double: bad,
                ..plain(1)
            })
            .await,
            ErrorKind::Invalid,
        );
        assert_eq!(
            (error.table(), error.column()),
            (Some("all_types"), Some("double"))
        );
        assert!(error.message().contains(name), "{error}");
        assert!(error.value().is_some());
        let row = AllTypes {
            maybe_single: Some(bad as f32),
            ..plain(1)
        };
        let error = refused(db.insert_all([plain(2), row]).await, ErrorKind::Invalid);
        assert_eq!(error.column(), Some("maybe_single"));
        let query = db.query::<AllTypes>().filter(AllTypes::DOUBLE.lt(bad));
        let error = refused(query.all().await, ErrorKind::Invalid);
        assert_eq!(error.column(), Some("double"));
        let update = db
            .query::<AllTypes>()
            .update(AllTypes::MAYBE_DOUBLE.set(bad))
            .await;
        assert_eq!(
            refused(update, ErrorKind::Invalid).column(),
            Some("maybe_double")
        );
    }
    assert_eq!(db.query::<AllTypes>().count().await?, 0, "nothing was sent");
    Ok(())
}

async fn text_of_all_planes_comes_back(db: TestDb) -> Result<()> {
    let texts = [
        "\u{1}\u{7f}\u{80}\u{85}\u{a0}\u{ad}",
        "\u{7ff}\u{800}\u{feff}\u{fffd}\u{ffff}\u{10000}\u{10ffff}",
        "👩‍👩‍👧‍👦 🏳️‍🌈 e\u{301} é",
        "\r\n\t\u{b}\u{c} leading and trailing ",
        "مرحبا שלום",
    ];
    for (at, text) in texts.into_iter().enumerate() {
        let row = AllTypes {
            text: text.into(),
            maybe_text: Some(text.into()),
            label: Label(text.into()),
            ..plain(at as i64 * 10)
        };
        db.insert(row.clone()).await?;
        assert_eq!(db.find::<AllTypes>(row.id).await?, row);
        assert_eq!(
            db.query::<AllTypes>()
                .filter(AllTypes::TEXT.eq(text))
                .count()
                .await?,
            1
        );
    }
    let long = AllTypes {
        text: "🦀".repeat(300_000),
        bytes: vec![0xff; 1 << 20],
        ..plain(1_000)
    };
    round_trip(&db, long).await
}

async fn nul_in_text_is_refused_by_name(db: TestDb) -> Result<()> {
    let error = refused(
        db.insert(AllTypes {
            text: "a\0b".into(),
            ..plain(1)
        })
        .await,
        ErrorKind::Invalid,
    );
    assert_eq!(
        (error.table(), error.column()),
        (Some("all_types"), Some("text"))
    );
    assert!(
        error.message().contains("NUL") && error.message().contains("byte 1"),
        "{error}"
    );
    let label = AllTypes {
        maybe_label: Some(Label("\0".into())),
        ..plain(1)
    };
    assert_eq!(
        refused(db.insert(label).await, ErrorKind::Invalid).column(),
        Some("maybe_label")
    );
    let json = AllTypes {
        json: Json(json!({"k": "\0"})),
        ..plain(1)
    };
    assert_eq!(
        refused(db.insert(json).await, ErrorKind::Invalid).column(),
        Some("json")
    );
    let query = db.query::<AllTypes>().filter(AllTypes::TEXT.contains("\0"));
    assert_eq!(
        refused(query.all().await, ErrorKind::Invalid).column(),
        Some("text")
    );
    let bytes = AllTypes {
        bytes: vec![0, 0, 1],
        ..plain(1)
    };
    round_trip(&db, bytes).await // but bytes may hold it
}

async fn timestamps_come_back_at_their_extremes(db: TestDb) -> Result<()> {
    let texts = [
        "-009999-01-02T01:59:59Z",
        "-000001-12-31T23:59:59.999999Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00.000001Z",
        "1969-12-31T23:59:59.999999Z",
        "2016-12-31T23:59:59.999999Z",
        "9999-12-30T22:00:00.999999Z",
    ];
    let first_day = db.capabilities().first_day;
    let mut expected = Vec::new();
    for (at, text) in texts.into_iter().enumerate() {
        let instant: Timestamp = text.parse()?;
        let row = AllTypes {
            at: instant,
            maybe_at: Some(instant),
            ..plain(at as i64)
        };
        let utc = jiff::tz::TimeZone::UTC;
        if utc.to_datetime(instant.to_jiff()).date() < first_day {
            let error = refused(db.insert(row).await, ErrorKind::Invalid);
            assert_eq!(error.column(), Some("at"), "{error:?}");
            continue;
        }
        db.insert(row.clone()).await?;
        assert_eq!(db.find::<AllTypes>(row.id).await?, row, "{text}");
        expected.push(instant);
    }
    let sorted = db
        .query::<AllTypes>()
        .order(AllTypes::AT.asc())
        .select(AllTypes::AT)
        .all()
        .await?;
    assert_eq!(sorted, expected);
    Ok(())
}

async fn dates_come_back_at_their_extremes(db: TestDb) -> Result<()> {
    let days = [
        Date::MIN,
        Date::constant(-1, 12, 31),
        Date::constant(0, 2, 29),
        Date::constant(1, 1, 1),
        Date::constant(1582, 10, 10),
        Date::constant(1900, 2, 28),
        Date::constant(2000, 2, 29),
        Date::MAX,
    ];
    let first_day = db.capabilities().first_day;
    let mut kept = Vec::new();
    for (at, day) in days.into_iter().chain([first_day]).enumerate() {
        let row = AllTypes {
            day,
            maybe_day: Some(day),
            ..plain(at as i64)
        };
        if day < first_day {
            let error = refused(db.insert(row).await, ErrorKind::Invalid);
            assert_eq!(error.column(), Some("day"), "{error:?}");
            continue;
        }
        db.insert(row.clone()).await?;
        assert_eq!(db.find::<AllTypes>(row.id).await?, row, "{day}");
        kept.push(day);
    }
    kept.sort();
    let sorted = db
        .query::<AllTypes>()
        .order(AllTypes::DAY.asc())
        .select(AllTypes::DAY)
        .all()
        .await?;
    assert_eq!(sorted, kept, "calendar order, years before 0 included");
    let ancient = AllTypes::DAY.lt(Date::constant(0, 1, 1));
    let ancient = db.query::<AllTypes>().filter(ancient).count().await?;
    let year_zero = Date::constant(0, 1, 1);
    assert_eq!(
        ancient,
        kept.iter().filter(|day| **day < year_zero).count() as u64
    );
    Ok(())
}

async fn decimals_keep_their_digits_and_scale(db: TestDb) -> Result<()> {
    let texts = [
        "0",
        "0.00",
        "1.50",
        "-1.50",
        "0.0000000000000000000000000001",
        "79228162514264337593543950335",
        "-79228162514264337593543950335",
        "7.9228162514264337593543950335",
        "1234567890123456789012345.678",
        "100000000000000000000",
    ];
    for (at, text) in texts.into_iter().enumerate() {
        let decimal: Decimal = text.parse().expect("a decimal");
        let row = AllTypes {
            decimal,
            maybe_decimal: Some(decimal),
            ..plain(at as i64)
        };
        let stored = db.insert(row.clone()).await?;
        assert_eq!(stored.decimal.to_string(), text);
        assert_eq!(db.find::<AllTypes>(row.id).await?.decimal.to_string(), text);
    }
    let sorted = db
        .query::<AllTypes>()
        .order(AllTypes::DECIMAL.asc())
        .select(AllTypes::DECIMAL);
    let sorted = sorted.all().await?;
    assert!(sorted.is_sorted(), "ordered by value: {sorted:?}");
    Ok(())
}

async fn decimals_compare_by_value(db: TestDb) -> Result<()> {
    let parse = |text: &str| text.parse::<Decimal>().expect("a decimal");
    db.insert(AllTypes {
        decimal: parse("1.50"),
        ..plain(1)
    })
    .await?;
    db.insert(AllTypes {
        decimal: parse("10"),
        ..plain(2)
    })
    .await?;
    db.insert(AllTypes {
        decimal: parse("-0.5"),
        ..plain(3)
    })
    .await?;
    let ids = async |predicate| -> Result<Vec<i64>> {
        let query = db
            .query::<AllTypes>()
            .filter(predicate)
            .order(AllTypes::ID.asc());
        Ok(query
            .select(AllTypes::ID)
            .all()
            .await?
            .into_iter()
            .map(Id::get)
            .collect())
    };
    assert_eq!(ids(AllTypes::DECIMAL.eq(parse("1.5"))).await?, [1]);
    assert_eq!(ids(AllTypes::DECIMAL.eq(parse("1.5000"))).await?, [1]);
    assert_eq!(
        ids(AllTypes::DECIMAL.gt(parse("9"))).await?,
        [2],
        "not as text"
    );
    assert_eq!(ids(AllTypes::DECIMAL.lt(parse("-0.4"))).await?, [3]);
    assert_eq!(
        ids(AllTypes::DECIMAL.in_([parse("10.0"), parse("-0.50")])).await?,
        [2, 3]
    );
    Ok(())
}

async fn json_comes_back_as_the_same_document(db: TestDb) -> Result<()> {
    let mut deep = json!("bottom");
    for _ in 0..60 {
        deep = json!([{ "inner": deep }]);
    }
    let documents = [
        json!(null),
        json!(""),
        json!([]),
        json!({}),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(0.1),
        json!(31.245_270_191_439_438), // a parser that is quick and inexact gets this one wrong
        json!({"": "", "'; drop table x": "\u{1}\u{2028}\"\\/", "é": ["🦀"]}),
        deep,
    ];
    for (at, document) in documents.into_iter().enumerate() {
        let json = Json(document);
        let row = AllTypes {
            json: json.clone(),
            maybe_json: Some(json),
            ..plain(at as i64)
        };
        db.insert(row.clone()).await?;
        assert_eq!(db.find::<AllTypes>(row.id).await?, row);
    }
    Ok(())
}

async fn a_json_null_is_not_an_absent_document(db: TestDb) -> Result<()> {
    let row = AllTypes {
        maybe_json: Some(Json(json!(null))),
        ..plain(1)
    };
    db.insert(row.clone()).await?;
    assert_eq!(
        db.query::<AllTypes>()
            .filter(AllTypes::MAYBE_JSON.is_null())
            .count()
            .await?,
        0
    );
    assert_eq!(db.find::<AllTypes>(row.id).await?, row);
    Ok(())
}

async fn uuids_and_enums_can_be_asked_for(db: TestDb) -> Result<()> {
    let row = full(1);
    db.insert_all([row.clone(), plain(2)]).await?;
    for predicate in [
        AllTypes::UUID.eq(row.uuid),
        AllTypes::MOOD.eq(Mood::Middling),
        AllTypes::MAYBE_MOOD.eq(Mood::Middling),
        AllTypes::LABEL.eq(row.label.clone()),
        AllTypes::BYTES.eq(row.bytes.clone()),
        AllTypes::FLAG.eq(true),
        AllTypes::AT.between(row.at, row.at),
        AllTypes::DAY.eq(row.day),
        AllTypes::SINGLE.eq(1.5),
        AllTypes::MAYBE_UUID.is_not_null(),
    ] {
        let found = db.query::<AllTypes>().filter(predicate).all().await?;
        assert!(found.iter().eq([&row]), "{found:?}");
    }
    Ok(())
}

tests![
    ordinary_values_come_back,
    empty_values_and_nulls_come_back,
    integers_come_back_at_their_extremes,
    keys_come_back_at_their_extremes,
    floats_come_back_bit_by_bit,
    negative_zero_becomes_zero,
    whole_floats_stay_floats,
    what_floats_cannot_be_kept_is_refused_by_name,
    text_of_all_planes_comes_back,
    nul_in_text_is_refused_by_name,
    timestamps_come_back_at_their_extremes,
    dates_come_back_at_their_extremes,
    decimals_keep_their_digits_and_scale,
    decimals_compare_by_value,
    json_comes_back_as_the_same_document,
    a_json_null_is_not_an_absent_document,
    uuids_and_enums_can_be_asked_for,
];
