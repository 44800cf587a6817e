//! Text operators: patterns are literal, and only `A` to `Z` lose their case.

use larder_core::models::Tag;
use larder_core::{Db, Predicate, Result};

use crate::fixtures::tag;
use crate::harness::{TestDb, tests};
use crate::schema::{Measure, NewMeasure};

/// The names a predicate takes, in code point order.
async fn names(db: &Db, predicate: Predicate<Tag>) -> Result<Vec<String>> {
    db.query::<Tag>()
        .filter(predicate)
        .order(Tag::NAME.asc())
        .select(Tag::NAME)
        .all()
        .await
}

async fn with_names(db: &Db, list: &[&str]) -> Result<()> {
    for name in list {
        tag(db, name).await?;
    }
    Ok(())
}

async fn operators_find_their_place(db: TestDb) -> Result<()> {
    with_names(&db, &["rust", "trust", "rusty", "crust", "ru"]).await?;
    assert_eq!(
        names(&db, Tag::NAME.contains("rust")).await?,
        ["crust", "rust", "rusty", "trust"]
    );
    assert_eq!(
        names(&db, Tag::NAME.starts_with("rust")).await?,
        ["rust", "rusty"]
    );
    assert_eq!(
        names(&db, Tag::NAME.ends_with("rust")).await?,
        ["crust", "rust", "trust"]
    );
    assert_eq!(names(&db, !Tag::NAME.contains("rust")).await?, ["ru"]);
    Ok(())
}

async fn the_empty_pattern_is_in_every_text(db: TestDb) -> Result<()> {
    with_names(&db, &["", "a"]).await?;
    for predicate in [
        Tag::NAME.contains(""),
        Tag::NAME.starts_with(""),
        Tag::NAME.ends_with(""),
        Tag::NAME.contains_ignore_case(""),
        Tag::NAME.starts_with_ignore_case(""),
        Tag::NAME.ends_with_ignore_case(""),
    ] {
        assert_eq!(names(&db, predicate).await?, ["", "a"]);
    }
    assert_eq!(names(&db, Tag::NAME.eq_ignore_case("")).await?, [""]);
    db.insert(NewMeasure::default()).await?;
    let of_null = Measure::SERIES.contains("");
    assert_eq!(
        db.query::<Measure>().filter(of_null).count().await?,
        0,
        "NULL is no text"
    );
    Ok(())
}

async fn wildcards_have_no_power(db: TestDb) -> Result<()> {
    let list = [
        "100%", "100", "a_b", "axb", "a\\b", "a*b", "a?b", "[ab]", "a", "%", "_", "\\%",
    ];
    with_names(&db, &list).await?;
    assert_eq!(
        names(&db, Tag::NAME.contains("%")).await?,
        ["%", "100%", "\\%"]
    );
    assert_eq!(names(&db, Tag::NAME.starts_with("%")).await?, ["%"]);
    assert_eq!(names(&db, Tag::NAME.ends_with("0%")).await?, ["100%"]);
    assert_eq!(names(&db, Tag::NAME.contains("_")).await?, ["_", "a_b"]);
    assert_eq!(names(&db, Tag::NAME.starts_with("a_")).await?, ["a_b"]);
    assert_eq!(names(&db, Tag::NAME.contains("\\")).await?, ["\\%", "a\\b"]);
    assert_eq!(names(&db, Tag::NAME.contains("\\%")).await?, ["\\%"]);
    assert_eq!(names(&db, Tag::NAME.contains("*")).await?, ["a*b"]);
    assert_eq!(names(&db, Tag::NAME.contains("?")).await?, ["a?b"]);
    assert_eq!(names(&db, Tag::NAME.starts_with("[ab]")).await?, ["[ab]"]);
    assert_eq!(
        names(&db, Tag::NAME.contains_ignore_case("A_B")).await?,
        ["a_b"]
    );
    assert_eq!(
        names(&db, Tag::NAME.starts_with_ignore_case("A%")).await?,
        [""; 0]
    );
    Ok(())
}

async fn case_matters_unless_ignored(db: TestDb) -> Result<()> {
    with_names(&db, &["Rust", "rust", "RUST", "tRUSTy"]).await?;
    assert_eq!(names(&db, Tag::NAME.eq("rust")).await?, ["rust"]);
    assert_eq!(names(&db, Tag::NAME.contains("rust")).await?, ["rust"]);
    assert_eq!(
        names(&db, Tag::NAME.starts_with("R")).await?,
        ["RUST", "Rust"]
    );
    assert_eq!(names(&db, Tag::NAME.ends_with("T")).await?, ["RUST"]);
    assert_eq!(
        names(&db, Tag::NAME.eq_ignore_case("rUsT")).await?,
        ["RUST", "Rust", "rust"]
    );
    assert_eq!(
        names(&db, Tag::NAME.contains_ignore_case("RuSt"))
            .await?
            .len(),
        4
    );
    assert_eq!(
        names(&db, Tag::NAME.starts_with_ignore_case("RU")).await?,
        ["RUST", "Rust", "rust"]
    );
    assert_eq!(
        names(&db, Tag::NAME.ends_with_ignore_case("sty")).await?,
        ["tRUSTy"]
    );
    Ok(())
}

async fn only_ascii_letters_lose_their_case(db: TestDb) -> Result<()> {
    with_names(
        &db,
        &[
            "Ärger",
            "ärger",
            "straße",
            "STRASSE",
            "ΣΊΣΥΦΟΣ",
            "İx",
            "ﬀ",
            "\u{212a}",
        ],
    )
    .await?;
    assert_eq!(
        names(&db, Tag::NAME.eq_ignore_case("äRGER")).await?,
        ["ärger"]
    );
    assert_eq!(
        names(&db, Tag::NAME.eq_ignore_case("ÄRGER")).await?,
        ["Ärger"]
    );
    assert_eq!(
        names(&db, Tag::NAME.contains_ignore_case("SSE")).await?,
        ["STRASSE"]
    );
    assert_eq!(
        names(&db, Tag::NAME.contains_ignore_case("SSe")).await?,
        ["STRASSE"]
    );
    assert_eq!(
        names(&db, Tag::NAME.eq_ignore_case("σίσυφοσ")).await?,
        [""; 0]
    );
    assert_eq!(names(&db, Tag::NAME.eq_ignore_case("ix")).await?, [""; 0]);
    assert_eq!(names(&db, Tag::NAME.eq_ignore_case("FF")).await?, [""; 0]);
    assert_eq!(
        names(&db, Tag::NAME.eq_ignore_case("k")).await?,
        [""; 0],
        "KELVIN SIGN is no K"
    );
    Ok(())
}

async fn letters_are_compared_by_code_point(db: TestDb) -> Result<()> {
    // Composed and decomposed, and neighbours of the last byte.
    with_names(
        &db,
        &[
            "\u{e9}",
            "e\u{301}",
            "a\u{7f}",
            "a\u{80}",
            "a\u{10ffff}",
            "b",
        ],
    )
    .await?;
    assert_eq!(names(&db, Tag::NAME.eq("\u{e9}")).await?, ["\u{e9}"]);
    let sorted = names(&db, Tag::NAME.starts_with("a")).await?;
    assert_eq!(
        sorted,
        ["a\u{7f}", "a\u{80}", "a\u{10ffff}"],
        "the last code point included"
    );
    assert_eq!(
        names(&db, Tag::NAME.starts_with("a\u{10ffff}")).await?,
        ["a\u{10ffff}"]
    );
    assert_eq!(names(&db, Tag::NAME.starts_with("e")).await?, ["e\u{301}"]);
    assert_eq!(
        names(&db, Tag::NAME.ends_with("\u{301}")).await?,
        ["e\u{301}"]
    );
    Ok(())
}

async fn text_is_ordered_by_code_point(db: TestDb) -> Result<()> {
    let sorted = [
        "", " ", "!", "0", "10", "2", "A", "B", "_", "a", "b", "~", "é", "世", "\u{ffff}", "🦀",
    ];
    let mut shuffled = sorted;
    shuffled.reverse();
    shuffled.swap(3, 7);
    with_names(&db, &shuffled).await?;
    assert_eq!(names(&db, Predicate::all()).await?, sorted);
    assert_eq!(names(&db, Tag::NAME.gt("世")).await?, ["\u{ffff}", "🦀"]);
    assert_eq!(
        names(&db, Tag::NAME.between("A", "_")).await?,
        ["A", "B", "_"]
    );
    Ok(())
}

async fn optional_text_has_the_operators_too(db: TestDb) -> Result<()> {
    for series in [Some("Alpha"), Some("beta"), None] {
        let series = series.map(str::to_owned);
        db.insert(NewMeasure {
            series,
            ..NewMeasure::default()
        })
        .await?;
    }
    let count = async |predicate| db.query::<Measure>().filter(predicate).count().await;
    assert_eq!(count(Measure::SERIES.contains("a")).await?, 2);
    assert_eq!(
        count(!Measure::SERIES.contains("lph")).await?,
        1,
        "NULL is neither"
    );
    assert_eq!(count(Measure::SERIES.eq_ignore_case("ALPHA")).await?, 1);
    Ok(())
}

tests![
    operators_find_their_place,
    the_empty_pattern_is_in_every_text,
    wildcards_have_no_power,
    case_matters_unless_ignored,
    only_ascii_letters_lose_their_case,
    letters_are_compared_by_code_point,
    text_is_ordered_by_code_point,
    optional_text_has_the_operators_too,
];
