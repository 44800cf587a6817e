//! Keyset pages: forward, backward, with ties and NULLs, while rows come and go.

use larder_core::models::{Post, PostStatus, Tag, User};
use larder_core::{Cursor, Db, ErrorKind, Id, Load, Page, Query, Result};

use crate::fixtures::{measures, new_post, numbered_tag, refused, tags, user};
use crate::harness::{TestDb, tests};
use crate::schema::{Measure, NewMeasure};

fn names(page: &Page<Tag>) -> Vec<&str> {
    page.items.iter().map(|tag| tag.name.as_str()).collect()
}

fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| numbered_tag(number).name).collect()
}

/// The ids of all pages' rows, read forward; checks that reading backward gives the same pages.
async fn walk<'a>(
    db: &'a Db,
    query: impl Fn() -> Query<'a, Measure>,
    size: u64,
) -> Result<Vec<Id<Measure>>> {
    let ids = |page: &Page<Measure>| page.items.iter().map(|row| row.id).collect::<Vec<_>>();
    let mut page = query().page(size).await?;
    assert!(
        page.previous.is_none(),
        "nothing comes before the first page"
    );
    let mut pages = vec![ids(&page)];
    while page.next.is_some() {
        page = page.next(db).await?;
        assert!(
            !page.items.is_empty(),
            "a next page that was announced has rows"
        );
        pages.push(ids(&page));
    }
    let mut backward = vec![ids(&page)];
    while page.previous.is_some() {
        page = page.previous(db).await?;
        backward.push(ids(&page));
    }
    backward.reverse();
    assert_eq!(backward, pages, "backward as forward");
    Ok(pages.concat())
}

async fn pages_follow_each_other(db: TestDb) -> Result<()> {
    tags(&db, 7).await?;
    let first = db.query::<Tag>().order(Tag::NAME.asc()).page(3).await?;
    assert_eq!(names(&first), numbered(0..3));
    assert!(first.next.is_some() && first.previous.is_none() && first.total.is_none());
    let second = first.next(&db).await?;
    assert_eq!(names(&second), numbered(3..6));
    let third = second.next(&db).await?;
    assert_eq!(names(&third), numbered(6..7));
    assert!(third.next.is_none() && third.previous.is_some());
    let behind = third.next(&db).await?;
    assert!(
        behind.items.is_empty() && behind.next.is_none(),
        "empty behind the last one"
    );
    let back = third.previous(&db).await?;
    assert_eq!(names(&back), numbered(3..6));
    let back = back.previous(&db).await?;
    assert_eq!(names(&back), numbered(0..3));
    assert!(back.previous.is_none());
    assert!(back.previous(&db).await?.items.is_empty());
    Ok(())
}

async fn a_list_that_fits_exactly_has_no_next_page(db: TestDb) -> Result<()> {
    let empty = db.query::<Tag>().page(3).await?;
    assert!(empty.items.is_empty() && empty.next.is_none() && empty.previous.is_none());
    tags(&db, 6).await?;
    let first = db.query::<Tag>().order(Tag::NAME.asc()).page(3).await?;
    let second = first.next(&db).await?;
    assert_eq!((names(&second).len(), second.next.is_none()), (3, true));
    let whole = db.query::<Tag>().page(6).await?;
    assert!(whole.next.is_none());
    Ok(())
}

async fn ties_are_broken_by_the_key(db: TestDb) -> Result<()> {
    let rows = measures(&db, (0..20).map(|n| Some(n / 7))).await?;
    let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    let up = walk(
        &db,
        || db.query::<Measure>().order(Measure::NUMBER.asc()),
        3,
    )
    .await?;
    assert_eq!(up, ids);
    let down = walk(
        &db,
        || db.query::<Measure>().order(Measure::NUMBER.desc()),
        3,
    )
    .await?;
    assert!(down.iter().rev().eq(&ids));
    let keyed = walk(&db, || db.query::<Measure>(), 6).await?;
    assert_eq!(keyed, ids, "without an order by key");
    Ok(())
}

async fn nulls_are_paged_through_in_their_place(db: TestDb) -> Result<()> {
    measures(&db, [Some(2), None, Some(1), None, Some(2), None, Some(0)]).await?;
    let orders = || {
        let number = Measure::NUMBER;
        [
            number.asc(),
            number.desc(),
            number.asc().nulls_first(),
            number.desc().nulls_last(),
        ]
    };
    for (at, order) in orders().into_iter().enumerate() {
        let by_key = if at % 2 == 0 {
            Measure::ID.asc()
        } else {
            Measure::ID.desc()
        };
        let whole = db
            .query::<Measure>()
            .order(order)
            .order(by_key)
            .select(Measure::ID);
        let whole = whole.all().await?;
        assert_eq!(whole.len(), 7);
        for size in 1..=4 {
            let query = || {
                let order = orders().into_iter().nth(at).expect("the same order again");
                db.query::<Measure>().order(order)
            };
            assert_eq!(
                walk(&db, query, size).await?,
                whole,
                "order {at}, pages of {size}"
            );
        }
    }
    Ok(())
}

async fn two_columns_in_opposite_directions(db: TestDb) -> Result<()> {
    let row = |n: i64| NewMeasure {
        series: ["a", "b", "c"]
            .get(n as usize % 4)
            .map(|name| (*name).to_owned()),
        number: (n % 5 > 0).then_some(n % 3),
        ..NewMeasure::default()
    };
    db.insert_all((0..40).map(row)).await?;
    let query = || {
        db.query::<Measure>()
            .order(Measure::SERIES.asc())
            .order(Measure::NUMBER.desc())
    };
    let expected = query()
        .order(Measure::ID.desc())
        .select(Measure::ID)
        .all()
        .await?;
    assert_eq!(walk(&db, query, 4).await?, expected);
    Ok(())
}

async fn rows_that_come_and_go_shift_nothing(db: TestDb) -> Result<()> {
    tags(&db, 9).await?;
    let first = db.query::<Tag>().order(Tag::NAME.asc()).page(3).await?;
    db.insert(larder_core::models::NewTag { name: "a".into() })
        .await?;
    let last_seen = first.items[2].id;
    assert!(
        db.delete::<Tag>(last_seen).await?,
        "the very row that the cursor stands on"
    );
    let second = first.next(&db).await?;
    assert_eq!(
        names(&second),
        numbered(3..6),
        "nothing twice and nothing left out"
    );
    let back = second.previous(&db).await?;
    assert_eq!(names(&back), ["a", "tag 00000", "tag 00001"]);
    Ok(())
}

async fn a_cursor_travels_as_text(db: TestDb) -> Result<()> {
    tags(&db, 5).await?;
    let query = || db.query::<Tag>().order(Tag::NAME.asc());
    let first = query().page(2).await?;
    let text = first.next.expect("more rows follow").to_string();
    assert!(
        text.chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'),
        "{text}"
    );
    let second = query().after(text.parse()?).page(2).await?;
    assert_eq!(names(&second), numbered(2..4));
    let previous = second.previous.clone().expect("rows come before");
    let back = query().before(previous).page(2).await?;
    assert_eq!(names(&back), numbered(0..2));
    let bigger = query().after(text.parse()?).page(10).await?;
    assert_eq!(names(&bigger), numbered(2..5), "the size may change");
    Ok(())
}

async fn a_cursor_of_another_query_is_refused(db: TestDb) -> Result<()> {
    tags(&db, 5).await?;
    let next = db.query::<Tag>().order(Tag::NAME.asc()).page(2).await?.next;
    let next = next.expect("more rows follow");
    let others = [
        db.query::<Tag>().order(Tag::NAME.desc()),
        db.query::<Tag>().order(Tag::ID.asc()),
        db.query::<Tag>()
            .order(Tag::NAME.asc())
            .filter(Tag::NAME.starts_with("tag")),
        db.query::<Tag>(),
    ];
    for other in others {
        let error = refused(other.after(next.clone()).page(2).await, ErrorKind::Misuse);
        assert!(error.message().contains("another query"), "{error}");
    }
    let filtered = |text| {
        db.query::<Tag>()
            .filter(Tag::NAME.contains(text))
            .order(Tag::NAME.asc())
    };
    let next = filtered("0").page(2).await?.next.expect("more rows follow");
    refused(filtered("1").after(next).page(2).await, ErrorKind::Misuse);
    Ok(())
}

async fn a_changed_cursor_is_refused(db: TestDb) -> Result<()> {
    tags(&db, 5).await?;
    let query = || db.query::<Tag>().order(Tag::NAME.asc());
    let text = query()
        .page(2)
        .await?
        .next
        .expect("more rows follow")
        .to_string();
    let mut bad = vec![
        String::new(),
        "x".into(),
        "not a cursor!".into(),
        "🦀".into(),
        text.clone() + "A",
    ];
    for cut in [1, 8, 16, text.len() / 2] {
        bad.push(text[..text.len() - cut.min(text.len())].to_owned());
    }
    for at in (0..text.len()).step_by(3) {
        let other = if &text[at..=at] == "A" { "B" } else { "A" };
        bad.push(format!("{}{other}{}", &text[..at], &text[at + 1..]));
    }
    for text in bad {
        let cursor: Cursor = text.parse()?;
        let error = refused(query().after(cursor).page(2).await, ErrorKind::Misuse);
        assert!(error.message().contains("cursor"), "{error}");
    }
    Ok(())
}

async fn totals_come_on_request(db: TestDb) -> Result<()> {
    tags(&db, 12).await?;
    let query = || {
        db.query::<Tag>()
            .filter(Tag::NAME.ge("tag 00002"))
            .order(Tag::NAME.asc())
    };
    let (page, report) = db.observe(query().page(4)).await;
    assert_eq!((page?.total, report.count()), (None, 1));
    let (page, report) = db.observe(query().with_total().page(4)).await;
    let page = page?;
    assert_eq!((page.total, report.count()), (Some(10), 2));
    let next = page.next(&db).await?;
    assert_eq!(
        (next.total, next.items.len()),
        (Some(10), 4),
        "of the whole list on every page"
    );
    Ok(())
}

async fn pages_have_a_size_of_their_own(db: TestDb) -> Result<()> {
    let sized = [
        db.query::<Tag>().page(0).await,
        db.query::<Tag>().page(10_001).await,
        db.query::<Tag>().limit(5).page(5).await,
        db.query::<Tag>().offset(5).page(5).await,
    ];
    for page in sized {
        assert_eq!(refused(page, ErrorKind::Misuse).table(), Some("tags"));
    }
    assert!(db.query::<Tag>().page(10_000).await?.items.is_empty());
    Ok(())
}

async fn a_page_has_one_place(db: TestDb) -> Result<()> {
    tags(&db, 8).await?;
    let query = || db.query::<Tag>().order(Tag::NAME.asc());
    let first = query().page(3).await?;
    let next = first.next.clone().expect("more follow");
    let both = query().after(next.clone()).before(next.clone());
    refused(both.page(3).await, ErrorKind::Misuse);
    refused(
        db.query::<Tag>().after(next.clone()).all().await,
        ErrorKind::Misuse,
    );
    refused(
        db.query::<Tag>().with_total().count().await,
        ErrorKind::Misuse,
    );
    refused(
        db.query::<Tag>().before(next.clone()).delete().await,
        ErrorKind::Misuse,
    );
    let change = db
        .query::<Tag>()
        .after(next)
        .update(Tag::NAME.set("x"))
        .await;
    refused(change, ErrorKind::Misuse);
    assert_eq!(db.query::<Tag>().count().await?, 8, "nothing was deleted");
    Ok(())
}

async fn a_page_whose_neighbours_are_gone_finds_the_rest(db: TestDb) -> Result<()> {
    tags(&db, 9).await?;
    let query = || db.query::<Tag>().order(Tag::NAME.asc());
    let first = query().page(3).await?;
    let second = first.next(&db).await?;
    let third = second.next(&db).await?;
    query_of(&db, 0..3).delete().await?;
    let back = second.previous(&db).await?;
    assert_eq!(names(&back), numbered(3..6), "the list begins there now");
    assert!(back.previous.is_none() && back.next.is_some());
    query_of(&db, 6..9).delete().await?;
    let behind = second.next(&db).await?;
    assert!(behind.items.is_empty() && behind.next.is_none());
    assert_eq!(
        names(&behind.previous(&db).await?),
        numbered(3..6),
        "the list ends there now"
    );
    assert!(third.next.is_none());
    Ok(())
}

fn query_of(db: &Db, range: std::ops::Range<usize>) -> Query<'_, Tag> {
    let (order, names) = (db.query::<Tag>(), numbered(range));
    order.filter(Tag::NAME.in_(names))
}

/// A plan that is paged.
#[derive(Load, Debug)]
#[load(Post)]
struct PostWithAuthor {
    slug: String,
    #[load(via = Post::AUTHOR_ID)]
    author: User,
}

async fn a_plan_can_be_paged(db: TestDb) -> Result<()> {
    let users = [user(&db, 1).await?, user(&db, 2).await?];
    let posts = (0..9).map(|n| new_post(users[n % 2].id, &format!("p{n}"), PostStatus::Published));
    db.insert_all(posts).await?;
    let query = || db.query::<Post>().order(Post::CREATED_AT.desc());
    let (page, report) = db.observe(query().page_of::<PostWithAuthor>(4)).await;
    let page = page?;
    assert_eq!(
        report.count(),
        2,
        "one for the page, one for its authors:\n{report}"
    );
    let slugs = |page: &Page<PostWithAuthor>| -> Vec<String> {
        page.items
            .iter()
            .map(|post| format!("{} by {}", post.slug, post.author.name))
            .collect()
    };
    let expected = [
        "p8 by User 1",
        "p7 by User 2",
        "p6 by User 1",
        "p5 by User 2",
    ];
    assert_eq!(slugs(&page), expected);
    let next = page.next(&db).await?;
    assert_eq!(slugs(&next)[0], "p4 by User 1");
    Ok(())
}

async fn a_page_works_inside_a_transaction(db: TestDb) -> Result<()> {
    tags(&db, 4).await?;
    let tx = db.begin(larder_core::TxOptions::new()).await?;
    let first = tx.query::<Tag>().order(Tag::NAME.asc()).page(3).await?;
    tx.insert(numbered_tag(4)).await?;
    assert_eq!(names(&first.next(&tx).await?), numbered(3..5));
    tx.rollback().await?;
    assert_eq!(names(&first.next(&db).await?), numbered(3..4));
    Ok(())
}

tests![
    pages_follow_each_other,
    a_list_that_fits_exactly_has_no_next_page,
    ties_are_broken_by_the_key,
    nulls_are_paged_through_in_their_place,
    two_columns_in_opposite_directions,
    rows_that_come_and_go_shift_nothing,
    a_cursor_travels_as_text,
    a_cursor_of_another_query_is_refused,
    a_changed_cursor_is_refused,
    totals_come_on_request,
    pages_have_a_size_of_their_own,
    a_page_has_one_place,
    a_page_whose_neighbours_are_gone_finds_the_rest,
    a_plan_can_be_paged,
    a_page_works_inside_a_transaction,
];
