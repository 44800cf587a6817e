//! Conditions on what stands inside JSON columns.

use larder_core::{Db, ErrorKind, Json, JsonPath, Predicate, Result};
use serde_json::{Value, json};

use crate::fixtures::refused;
use crate::harness::{TestDb, tests};
use crate::schema::Page;

/// Pages with these documents, numbered from 1.
async fn pages(db: &Db, documents: Vec<Value>) -> Result<()> {
    let pages = documents.into_iter().zip(1..).map(|(meta, id)| Page {
        id,
        meta: Some(Json(meta)),
    });
    db.insert_all(pages).await?;
    Ok(())
}

/// The pages that satisfy the condition; nobody's where the engine cannot tell.
async fn found(db: &Db, condition: Predicate<Page>) -> Result<Vec<i64>> {
    let pages = db.query::<Page>().filter(condition).order(Page::ID.asc());
    pages.select(Page::ID).all().await
}

fn at(path: &str) -> JsonPath<Page> {
    Page::META.path(path)
}

/// Whether the engine cannot look inside, and says so.
async fn cannot(db: &Db) -> Result<bool> {
    if db.capabilities().json_paths {
        return Ok(false);
    }
    refused(found(db, at("a").exists()).await, ErrorKind::Unsupported);
    Ok(true)
}

async fn paths_lead_through_objects_and_lists(db: TestDb) -> Result<()> {
    if cannot(&db).await? {
        return Ok(());
    }
    pages(
        &db,
        vec![
            json!({"author": {"name": "Ada"}, "tags": ["x", {"deep": [1, 2]}]}),
            json!({"author": {"name": "Bob"}, "tags": "x", "author.name": "Ada"}),
            json!("Ada"),
        ],
    )
    .await?;
    assert_eq!(found(&db, at("author.name").eq("Ada")).await?, [1]);
    assert_eq!(found(&db, at("author").key("name").eq("Bob")).await?, [2]);
    assert_eq!(found(&db, at("tags").index(0).eq("x")).await?, [1]);
    let deep = at("tags").index(1).key("deep").index(1);
    assert_eq!(found(&db, deep.eq(2)).await?, [1]);
    assert_eq!(found(&db, at("tags").index(9).exists()).await?, [0_i64; 0]);
    assert_eq!(found(&db, !at("tags").index(9).exists()).await?, [1, 2, 3]);
    Ok(())
}

async fn keys_are_not_positions_and_hold_anything(db: TestDb) -> Result<()> {
    if cannot(&db).await? {
        return Ok(());
    }
    let odd = [
        "", "a\"b", "a.b", "$", "$.x", "é\\", "'; --", "-1", "[0]", "\n",
    ];
    let object = odd.iter().map(|key| ((*key).to_owned(), json!("odd")));
    pages(
        &db,
        vec![
            Value::Object(object.collect()),
            json!({"k": ["list"]}),
            json!({"k": {"0": "object", "-1": "object"}}),
        ],
    )
    .await?;
    for key in odd {
        // `path` reads points as steps.
        let path = match key {
            "a.b" | "$.x" => continue,
            key => at(key),
        };
        assert_eq!(found(&db, path.eq("odd")).await?, [1], "{key:?}");
    }
    assert_eq!(found(&db, at("k").index(0).exists()).await?, [2]);
    assert_eq!(found(&db, at("k").key("0").exists()).await?, [3]);
    assert_eq!(found(&db, at("k").key("-1").exists()).await?, [3]);
    assert_eq!(found(&db, at("k.0").eq("object")).await?, [3]);
    Ok(())
}

async fn only_like_is_compared_with_like(db: TestDb) -> Result<()> {
    if cannot(&db).await? {
        return Ok(());
    }
    let values = [json!("1"), json!(1), json!(1.5), json!(true), json!(null)];
    let others = [json!([1]), json!({"v": 1})];
    let mut documents: Vec<_> = (values.into_iter().chain(others))
        .map(|value| json!({"v": value}))
        .collect();
    documents.push(json!({}));
    pages(&db, documents).await?;
    let v = || at("v");
    for (condition, expected) in [
        (v().eq("1"), vec![1]),
        (v().ne("2"), vec![1]),
        (!v().eq("2"), vec![1]),
        (v().eq(1), vec![2]),
        (v().ne(1), vec![3]),
        (!v().eq(1), vec![3]),
        (v().ge(1.0), vec![2, 3]),
        (v().lt(1.5), vec![2]),
        (v().gt(1), vec![3]),
        (v().eq(true), vec![4]),
        (v().ne(true), vec![]),
        (v().le(false), vec![]),
        (v().gt(false), vec![4]),
        (v().is_null(), vec![5]),
        (!v().is_null(), vec![1, 2, 3, 4, 6, 7, 8]),
        (v().exists(), vec![1, 2, 3, 4, 5, 6, 7]),
        (!v().exists(), vec![8]),
    ] {
        let text = format!("{condition:?}");
        assert_eq!(found(&db, condition).await?, expected, "{text}");
    }
    Ok(())
}

async fn a_column_without_a_document_has_nothing_inside(db: TestDb) -> Result<()> {
    if cannot(&db).await? {
        return Ok(());
    }
    db.insert(Page { id: 1, meta: None }).await?;
    let nobody = [0_i64; 0];
    assert_eq!(found(&db, at("v").exists()).await?, nobody);
    assert_eq!(found(&db, at("v").is_null()).await?, nobody);
    assert_eq!(found(&db, at("v").eq(1)).await?, nobody);
    assert_eq!(found(&db, !at("v").eq(1)).await?, nobody);
    assert_eq!(
        found(&db, !at("v").exists() & !at("v").is_null()).await?,
        [1]
    );
    Ok(())
}

async fn numbers_are_compared_by_value(db: TestDb) -> Result<()> {
    if cannot(&db).await? {
        return Ok(());
    }
    let numbers = [
        json!(9_007_199_254_740_993_i64),
        json!(9_007_199_254_740_992_i64),
        json!(2.0),
        json!(0.1),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e300),
    ];
    let documents = numbers.into_iter().map(|number| json!({"v": number}));
    pages(&db, documents.collect()).await?;
    let v = || at("v");
    for (condition, expected) in [
        (v().eq(9_007_199_254_740_993_i64), vec![1]),
        (v().eq(9_007_199_254_740_992.0), vec![1, 2]),
        (v().eq(2), vec![3]),
        (v().eq(0.1), vec![4]),
        (v().gt(i64::MAX), vec![5, 7]),
        (v().le(i64::MIN), vec![6]),
        (v().eq(1e300), vec![7]),
        (v().lt(-1e18), vec![6]),
    ] {
        let text = format!("{condition:?}");
        assert_eq!(found(&db, condition).await?, expected, "{text}");
    }
    Ok(())
}

async fn texts_are_ordered_by_code_point(db: TestDb) -> Result<()> {
    if cannot(&db).await? {
        return Ok(());
    }
    let texts = ["Z", "a", "é", "\u{1F600}", "\u{FFFD}", ""];
    let documents = texts.iter().map(|text| json!({"v": text}));
    pages(&db, documents.collect()).await?;
    assert_eq!(found(&db, at("v").gt("a")).await?, [3, 4, 5]);
    assert_eq!(found(&db, at("v").lt("a")).await?, [1, 6]);
    assert_eq!(found(&db, at("v").gt("\u{FFFD}")).await?, [4]);
    assert_eq!(found(&db, at("v").ge("Z") & at("v").le("a")).await?, [1, 2]);
    Ok(())
}

async fn conditions_serve_updates_and_deletes(db: TestDb) -> Result<()> {
    if cannot(&db).await? {
        return Ok(());
    }
    pages(&db, vec![json!({"n": 1}), json!({"n": 2}), json!({"n": 3})]).await?;
    let of = |condition| db.query::<Page>().filter(condition);
    let cleared = of(at("n").ge(2)).update(Page::META.set(None));
    assert_eq!(cleared.await?, 2);
    assert_eq!(of(at("n").exists()).delete().await?, 1);
    assert_eq!(db.query::<Page>().count().await?, 2);
    Ok(())
}

async fn what_cannot_be_bound_is_refused(db: TestDb) -> Result<()> {
    refused(found(&db, at("a\0").exists()).await, ErrorKind::Invalid);
    refused(found(&db, at("a").eq("\0")).await, ErrorKind::Invalid);
    refused(found(&db, at("a").eq(f64::NAN)).await, ErrorKind::Invalid);
    let long = (0..200).fold(at("a"), |path, _| path.index(0));
    let error = refused(found(&db, long.exists()).await, ErrorKind::Misuse);
    assert_eq!(error.column(), Some("meta"));
    Ok(())
}

tests![
    paths_lead_through_objects_and_lists,
    keys_are_not_positions_and_hold_anything,
    only_like_is_compared_with_like,
    a_column_without_a_document_has_nothing_inside,
    numbers_are_compared_by_value,
    texts_are_ordered_by_code_point,
    conditions_serve_updates_and_deletes,
    what_cannot_be_bound_is_refused,
];
