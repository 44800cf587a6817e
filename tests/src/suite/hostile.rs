//! Hostile strings are data: they come back as they went in, on every way in and out.

use std::path::Path;

use larder_core::models::{NewTag, Tag};
use larder_core::{Db, ErrorKind, Id, Result};

use crate::fixtures::refused;
use crate::harness::{TestDb, tests};
use crate::schema::{Awkward, Measure, NewAwkward, NewMeasure};

/// Strings that break software: quotes and comments of SQL, wildcards, patterns, formats,
/// controls, Unicode's corners, numbers and words that are values elsewhere.
const HOSTILE: [&str; 62] = [
    "",
    " ",
    "'",
    "''",
    "\"",
    "\"\"",
    "`",
    "\\",
    "\\'",
    "\\\"",
    "';",
    "'; DROP TABLE tags; --",
    "\"; DROP TABLE \"tags\"; --",
    "' OR '1'='1",
    "1; DELETE FROM tags",
    "'); INSERT INTO tags (name) VALUES ('x'); --",
    "/* comment */",
    "-- comment",
    "# comment",
    "?",
    "?1",
    "$1",
    ":name",
    "@name",
    "%",
    "%%",
    "_",
    "%s%n%x",
    "{}",
    "{0}",
    "${HOME}",
    "$(reboot)",
    "*",
    "[a-z]",
    "^$.|()+",
    "(?:",
    "NULL",
    "null",
    "true",
    "0",
    "-0",
    "00",
    "1e309",
    "NaN",
    "9223372036854775808",
    "0x10",
    "1970-01-01",
    "\n",
    "\r\n",
    "\t",
    "\u{1}\u{2}\u{1f}\u{7f}",
    "\u{80}\u{9f}",
    "\u{feff}bom",
    "\u{200b}\u{202e}abc\u{202c}",
    "e\u{301}",
    "\u{e9}",
    "Ω≈ç√∫˜µ≤≥÷",
    "田中さんにあげて下さい",
    "👩‍👩‍👧‍👦",
    "\u{fffd}\u{fffe}\u{ffff}\u{10ffff}",
    "{tag}:*\r\n$3\r\nDEL\r\n",
    "<script>alert('x')</script>",
];

/// The strings of the list that many projects share, where it is at hand.
fn shared_list() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/naughty-strings.json");
    let Ok(text) = std::fs::read_to_string(path) else {
        return Vec::new();
    };
    serde_json::from_str(&text).expect("a list of strings")
}

/// All strings, each once, none with NUL; sorted by code point.
pub(super) fn hostile() -> Vec<String> {
    let mut all: Vec<_> = HOSTILE
        .iter()
        .map(ToString::to_string)
        .chain(shared_list())
        .collect();
    all.retain(|text| !text.contains('\0'));
    all.sort_unstable();
    all.dedup();
    all
}

async fn store(db: &Db, texts: &[String]) -> Result<Vec<Measure>> {
    let rows = texts.iter().map(|text| NewMeasure {
        series: Some(text.clone()),
        ..NewMeasure::default()
    });
    db.insert_all_returning(rows.collect::<Vec<_>>()).await
}

async fn they_come_back_as_they_went_in(db: TestDb) -> Result<()> {
    let texts = hostile();
    let rows = store(&db, &texts).await?;
    assert!(
        rows.iter()
            .map(|row| row.series.as_ref())
            .eq(texts.iter().map(Some))
    );
    for (text, row) in texts.iter().zip(&rows) {
        assert_eq!(
            db.find::<Measure>(row.id).await?.series.as_ref(),
            Some(text)
        );
    }
    let one_by_one = NewMeasure {
        series: Some(texts[texts.len() / 2].clone()),
        ..NewMeasure::default()
    };
    assert_eq!(
        db.insert(one_by_one.clone()).await?.series,
        one_by_one.series
    );
    for row in &rows {
        let longer = row.series.clone().map(|text| text.clone() + &text);
        let changed = db
            .update::<Measure>(row.id, Measure::SERIES.set(longer.clone()))
            .await?;
        assert_eq!(changed.series, longer);
    }
    Ok(())
}

async fn they_can_be_asked_for(db: TestDb) -> Result<()> {
    let texts = hostile();
    store(&db, &texts).await?;
    for text in &texts {
        let text = text.as_str();
        let count = async |predicate| db.query::<Measure>().filter(predicate).count().await;
        assert_eq!(count(Measure::SERIES.eq(text)).await?, 1, "{text:?}");
        let expect = |test: fn(&str, &str) -> bool| {
            texts.iter().filter(|stored| test(stored, text)).count() as u64
        };
        assert_eq!(
            count(Measure::SERIES.contains(text)).await?,
            expect(|s, t| s.contains(t)),
            "{text:?}"
        );
        let starts = expect(|stored, text| stored.starts_with(text));
        assert_eq!(
            count(Measure::SERIES.starts_with(text)).await?,
            starts,
            "{text:?}"
        );
        let ends = expect(|stored, text| stored.ends_with(text));
        assert_eq!(
            count(Measure::SERIES.ends_with(text)).await?,
            ends,
            "{text:?}"
        );
        let same = expect(str::eq_ignore_ascii_case);
        assert_eq!(
            count(Measure::SERIES.eq_ignore_case(text)).await?,
            same,
            "{text:?}"
        );
        let inside = expect(|stored, text| {
            stored
                .to_ascii_lowercase()
                .contains(&text.to_ascii_lowercase())
        });
        assert_eq!(
            count(Measure::SERIES.contains_ignore_case(text)).await?,
            inside,
            "{text:?}"
        );
        assert_eq!(
            count(Measure::SERIES.lt(text)).await?,
            expect(|s, t| s < t),
            "{text:?}"
        );
    }
    let all = db
        .query::<Measure>()
        .filter(Measure::SERIES.in_(texts.clone()))
        .count()
        .await?;
    assert_eq!(all, texts.len() as u64);
    Ok(())
}

async fn they_order_by_code_point(db: TestDb) -> Result<()> {
    let texts = hostile();
    let mut shuffled = texts.clone();
    fastrand::Rng::with_seed(7).shuffle(&mut shuffled);
    store(&db, &shuffled).await?;
    let query = db
        .query::<Measure>()
        .order(Measure::SERIES.asc())
        .select(Measure::SERIES);
    assert!(
        query
            .all()
            .await?
            .into_iter()
            .flatten()
            .eq(texts.iter().cloned())
    );
    let groups = db
        .query::<Measure>()
        .distinct()
        .select(Measure::SERIES)
        .all()
        .await?;
    assert_eq!(groups.len(), texts.len());
    Ok(())
}

async fn they_travel_in_cursors(db: TestDb) -> Result<()> {
    let texts = hostile();
    store(&db, &texts).await?;
    let mut page = db
        .query::<Measure>()
        .order(Measure::SERIES.asc())
        .page(7)
        .await?;
    let mut found = Vec::new();
    loop {
        found.extend(page.items.iter().filter_map(|row| row.series.clone()));
        let Some(next) = page.next.clone() else { break };
        let text = next.to_string();
        let query = db.query::<Measure>().order(Measure::SERIES.asc());
        page = query.after(text.parse()?).page(7).await?;
    }
    assert_eq!(found, texts);
    Ok(())
}

async fn they_are_unique_keys(db: TestDb) -> Result<()> {
    let texts = hostile();
    let fits = |text: &&String| text.chars().count() <= 64;
    let names: Vec<String> = texts.iter().filter(fits).cloned().collect();
    let new = || names.iter().map(|name| NewTag { name: name.clone() });
    let count = names.len() as u64;
    assert_eq!(db.upsert(new()).on(Tag::NAME).ignore().run().await?, count);
    assert_eq!(db.upsert(new()).on(Tag::NAME).ignore().run().await?, 0);
    assert_eq!(
        db.upsert(new())
            .on(Tag::NAME)
            .update(Tag::NAME)
            .run()
            .await?,
        count
    );
    for new in new() {
        let error = refused(db.insert(new.clone()).await, ErrorKind::Unique);
        assert!(error.violates(Tag::NAME));
        let row = db
            .query::<Tag>()
            .filter(Tag::NAME.eq(new.name.as_str()))
            .one()
            .await?;
        assert!(db.delete::<Tag>(row.id).await?);
        assert_eq!(db.insert(new.clone()).await?.name, new.name);
    }
    assert_eq!(
        db.query::<Tag>().count().await?,
        count,
        "the table is still there"
    );
    Ok(())
}

async fn names_that_need_quoting_are_quoted(db: TestDb) -> Result<()> {
    let row = |from: &str, r#where, group: Option<&str>| NewAwkward {
        from: from.into(),
        r#where,
        group: group.map(str::to_owned),
    };
    let stored = db.insert(row("a", 1, Some("g"))).await?;
    assert_eq!(db.find::<Awkward>(stored.id).await?, stored);
    db.insert_all([row("b", 2, Some("g")), row("c", 3, None)])
        .await?;
    let query = db
        .query::<Awkward>()
        .filter(Awkward::WHERE.gt(1))
        .order(Awkward::GROUP.asc());
    let found = query.select((Awkward::FROM, Awkward::GROUP)).all().await?;
    assert_eq!(found, [("b".into(), Some("g".into())), ("c".into(), None)]);
    let groups = db
        .query::<Awkward>()
        .group_by(Awkward::GROUP)
        .order(Awkward::GROUP.asc());
    let sums = groups
        .select((Awkward::GROUP, Awkward::WHERE.sum()))
        .all()
        .await?;
    assert_eq!(sums, [(Some("g".into()), Some(3)), (None, Some(3))]);
    let error = refused(db.insert(row("a", 9, None)).await, ErrorKind::Unique);
    assert!(error.violates(Awkward::FROM), "{error:?}");
    assert_eq!(
        (error.table(), error.column()),
        (Some("order"), Some("from"))
    );
    let upsert = db.upsert([row("a", 10, None)]).on(Awkward::FROM);
    let rows = upsert
        .update((Awkward::WHERE, Awkward::GROUP))
        .returning()
        .await?;
    assert_eq!(
        rows,
        [Awkward {
            id: stored.id,
            from: "a".into(),
            r#where: 10,
            group: None
        }]
    );
    db.update::<Awkward>(stored.id, Awkward::WHERE.add(1))
        .await?;
    assert_eq!(db.update_all(db.query::<Awkward>().all().await?).await?, 3);
    let page = db
        .query::<Awkward>()
        .order(Awkward::GROUP.desc())
        .page(2)
        .await?;
    assert_eq!(page.next(&db).await?.items.len(), 1);
    assert_eq!(
        db.query::<Awkward>()
            .filter(Awkward::FROM.eq("a"))
            .delete()
            .await?,
        1
    );
    assert_eq!(db.get::<Awkward>(Id::new(stored.id.get())).await?, None);
    Ok(())
}

tests![
    they_come_back_as_they_went_in,
    they_can_be_asked_for,
    they_order_by_code_point,
    they_travel_in_cursors,
    they_are_unique_keys,
    names_that_need_quoting_are_quoted,
];
