//! Every comparison, NULL included: only rows for which a filter is *true* are taken.

use larder_core::filter::NESTING_MAX;
use larder_core::models::Tag;
use larder_core::{Db, ErrorKind, Id, Predicate, Result};

use crate::fixtures::{measures, refused, tags};
use crate::harness::{TestDb, tests};
use crate::schema::{Measure, NewMeasure, NewNode, Node};

/// The numbers of the rows a predicate takes, in order, NULLs last.
async fn numbers(db: &Db, predicate: Predicate<Measure>) -> Result<Vec<Option<i64>>> {
    let query = db
        .query::<Measure>()
        .filter(predicate)
        .order(Measure::NUMBER.asc());
    query
        .order(Measure::ID.asc())
        .select(Measure::NUMBER)
        .all()
        .await
}

const N: Option<i64> = None;

async fn comparisons_take_what_they_say(db: TestDb) -> Result<()> {
    measures(&db, [Some(-1), Some(0), Some(1), Some(2), N]).await?;
    let number = Measure::NUMBER;
    assert_eq!(numbers(&db, number.eq(1)).await?, [Some(1)]);
    assert_eq!(
        numbers(&db, number.ne(1)).await?,
        [Some(-1), Some(0), Some(2)]
    );
    assert_eq!(numbers(&db, number.lt(1)).await?, [Some(-1), Some(0)]);
    assert_eq!(
        numbers(&db, number.le(1)).await?,
        [Some(-1), Some(0), Some(1)]
    );
    assert_eq!(numbers(&db, number.gt(1)).await?, [Some(2)]);
    assert_eq!(numbers(&db, number.ge(1)).await?, [Some(1), Some(2)]);
    assert_eq!(
        numbers(&db, number.between(0, 1)).await?,
        [Some(0), Some(1)]
    );
    assert!(
        numbers(&db, number.between(1, 0)).await?.is_empty(),
        "low above high"
    );
    assert_eq!(
        numbers(&db, number.in_([2, -1, 7])).await?,
        [Some(-1), Some(2)]
    );
    assert_eq!(numbers(&db, Predicate::all()).await?.len(), 5);
    Ok(())
}

async fn the_opposite_of_a_comparison_with_null_is_no_match_either(db: TestDb) -> Result<()> {
    measures(&db, [Some(1), Some(2), N]).await?;
    let number = Measure::NUMBER;
    assert_eq!(numbers(&db, number.eq(1).not()).await?, [Some(2)]);
    assert_eq!(numbers(&db, !number.ne(1)).await?, [Some(1)]);
    assert_eq!(numbers(&db, !number.lt(2)).await?, [Some(2)]);
    assert_eq!(numbers(&db, !number.in_([1])).await?, [Some(2)]);
    assert_eq!(numbers(&db, !number.between(2, 3)).await?, [Some(1)]);
    assert_eq!(numbers(&db, !number.eq(1).not()).await?, [Some(1)]);
    Ok(())
}

async fn null_is_neither_true_nor_false_in_and_and_or(db: TestDb) -> Result<()> {
    measures(&db, [Some(1), N]).await?;
    let number = Measure::NUMBER;
    // neither or true = true
    assert_eq!(numbers(&db, number.eq(9).or(number.is_null())).await?, [N]);
    // neither and false = false, and its opposite is true
    let never = Measure::ID.lt(Id::new(i64::MIN));
    assert_eq!(
        numbers(&db, number.eq(9).and(never).not()).await?,
        [Some(1), N]
    );
    // neither and true = neither, and so is its opposite
    let always = Measure::ID.ge(Id::new(i64::MIN));
    assert_eq!(
        numbers(&db, number.eq(9).and(always).not()).await?,
        [Some(1)]
    );
    // neither or false = neither
    let never = Measure::ID.lt(Id::new(i64::MIN));
    assert_eq!(numbers(&db, number.eq(9).or(never).not()).await?, [Some(1)]);
    Ok(())
}

async fn is_null_and_eq_none_are_the_same(db: TestDb) -> Result<()> {
    measures(&db, [Some(1), N, N]).await?;
    let number = Measure::NUMBER;
    assert_eq!(numbers(&db, number.is_null()).await?, [N, N]);
    assert_eq!(numbers(&db, number.eq(None)).await?, [N, N]);
    assert_eq!(numbers(&db, number.is_not_null()).await?, [Some(1)]);
    assert_eq!(numbers(&db, number.ne(None)).await?, [Some(1)]);
    assert_eq!(numbers(&db, number.eq(Some(1))).await?, [Some(1)]);
    assert!(
        numbers(&db, number.lt(None)).await?.is_empty(),
        "nothing is less than NULL"
    );
    assert!(numbers(&db, number.ge(None).not()).await?.is_empty());
    assert_eq!(numbers(&db, number.is_null().not()).await?, [Some(1)]);
    Ok(())
}

async fn in_takes_none_one_and_many_values(db: TestDb) -> Result<()> {
    tags(&db, 50).await?;
    let all = db.query::<Tag>().order(Tag::ID.asc()).all().await?;
    let count =
        async |values: Vec<Id<Tag>>| db.query::<Tag>().filter(Tag::ID.in_(values)).count().await;
    assert_eq!(count(vec![]).await?, 0);
    assert_eq!(count(vec![all[7].id]).await?, 1);
    assert_eq!(
        count(vec![all[7].id; 3]).await?,
        1,
        "a value named twice counts once"
    );
    let first = all[0].id.get();
    let many = (0..10_000).map(|n| Id::new(first - 5_000 + n)).collect();
    assert_eq!(count(many).await?, 50);
    let names = (0..10_000).map(|n| format!("tag {:05}", n + 25));
    assert_eq!(
        db.query::<Tag>()
            .filter(Tag::NAME.in_(names))
            .count()
            .await?,
        25
    );
    assert_eq!(
        db.query::<Tag>()
            .filter(!Tag::ID.in_::<Id<Tag>>([]))
            .count()
            .await?,
        50
    );
    Ok(())
}

async fn in_passes_over_null(db: TestDb) -> Result<()> {
    measures(&db, [Some(1), Some(2), N]).await?;
    assert_eq!(
        numbers(&db, Measure::NUMBER.in_([Some(1), None])).await?,
        [Some(1)]
    );
    assert!(numbers(&db, Measure::NUMBER.in_([N])).await?.is_empty());
    let none = Measure::NUMBER.in_::<i64>([]).not();
    assert_eq!(
        numbers(&db, none).await?,
        [Some(1), Some(2), N],
        "in nothing is false, even for NULL"
    );
    Ok(())
}

async fn columns_of_a_row_compare_with_each_other(db: TestDb) -> Result<()> {
    let pair = |number, other| NewMeasure {
        number,
        other,
        ..NewMeasure::default()
    };
    let rows = [
        (Some(1), Some(1)),
        (Some(2), Some(3)),
        (Some(4), Some(3)),
        (N, Some(1)),
        (N, N),
    ];
    db.insert_all(rows.map(|(number, other)| pair(number, other)))
        .await?;
    let number = Measure::NUMBER;
    assert_eq!(
        numbers(&db, number.eq_column(Measure::OTHER)).await?,
        [Some(1)]
    );
    assert_eq!(
        numbers(&db, number.lt_column(Measure::OTHER)).await?,
        [Some(2)]
    );
    let not_equal = !number.eq_column(Measure::OTHER);
    assert_eq!(
        numbers(&db, not_equal).await?,
        [Some(2), Some(4)],
        "NULL is neither"
    );
    Ok(())
}

async fn and_or_and_not_nest(db: TestDb) -> Result<()> {
    measures(&db, (0..20).map(Some)).await?;
    let number = Measure::NUMBER;
    let either = number.lt(2) | number.gt(17);
    let found = numbers(
        &db,
        either & !number.eq(18) & (number.ge(0) | number.is_null()),
    )
    .await?;
    assert_eq!(found, [Some(0), Some(1), Some(19)]);
    let twice = db
        .query::<Measure>()
        .filter(number.lt(5))
        .filter(number.gt(2));
    assert_eq!(twice.count().await?, 2, "filters add up");
    let optional = db
        .query::<Measure>()
        .filter_opt(None)
        .filter_opt(Some(number.eq(3)));
    assert_eq!(optional.count().await?, 1);
    let long = (0..200)
        .map(|n| number.eq(n))
        .reduce(Predicate::or)
        .expect("not empty");
    assert_eq!(numbers(&db, long).await?.len(), 20);
    Ok(())
}

/// How many conditions are joined at one level. More work, but take SQLite long.
const MANY: i64 = 3_000;

async fn thousands_of_alternatives_work(db: TestDb) -> Result<()> {
    measures(&db, (0..20).map(Some)).await?;
    let number = Measure::NUMBER;
    let wanted = || (10..10 + MANY).map(|n| number.eq(n));
    let to_the_left = wanted().reduce(Predicate::or).expect("not empty");
    assert_eq!(numbers(&db, to_the_left).await?.len(), 10);
    let to_the_right = wanted().reduce(|all, one| one.or(all)).expect("not empty");
    assert_eq!(numbers(&db, !to_the_right).await?.len(), 10);
    Ok(())
}

async fn thousands_of_conditions_work(db: TestDb) -> Result<()> {
    measures(&db, (0..20).map(Some)).await?;
    let number = Measure::NUMBER;
    let others = || (10..10 + MANY).map(|n| number.ne(n));
    let to_the_left = others().reduce(Predicate::and).expect("not empty");
    assert_eq!(numbers(&db, to_the_left).await?.len(), 10);
    let to_the_right = others().reduce(|all, one| one.and(all)).expect("not empty");
    assert_eq!(numbers(&db, !to_the_right).await?.len(), 10);
    let query = others().fold(db.query::<Measure>(), larder_core::Query::filter);
    assert_eq!(query.count().await?, 10);
    Ok(())
}

/// A condition of so many levels, each `width` wide, that only zero satisfies.
fn deep(levels: usize, width: i64) -> Predicate<Measure> {
    let number = Measure::NUMBER;
    (0..levels).fold(number.eq(0), |inner, level| {
        let others = (0..width).map(|n| number.eq(100 + n));
        if level % 2 == 0 {
            others.fold(inner, Predicate::or)
        } else {
            others.map(Predicate::not).fold(inner, Predicate::and)
        }
    })
}

async fn conditions_nest_deep_and_wide_up_to_a_bound(db: TestDb) -> Result<()> {
    measures(&db, [Some(0), Some(1), Some(100), N]).await?;
    for width in [1, MANY / NESTING_MAX as i64] {
        assert_eq!(numbers(&db, deep(NESTING_MAX, width)).await?, [Some(0)]);
    }
    refused(
        numbers(&db, deep(NESTING_MAX + 1, 1)).await,
        ErrorKind::Misuse,
    );
    refused(numbers(&db, deep(20_000, 1)).await, ErrorKind::Misuse);
    Ok(())
}

async fn relations_nest_up_to_a_bound(db: TestDb) -> Result<()> {
    /// A relation counts for five levels.
    const RELATIONS_MAX: usize = NESTING_MAX / 5;
    let ancestor = |levels| {
        (0..levels).fold(Predicate::all(), |parent, _| {
            Node::PARENT_ID.whose::<Node>(parent)
        })
    };
    let count = async |predicate| db.query::<Node>().filter(predicate).count().await;
    let mut parent_id = None;
    for number in 0..=RELATIONS_MAX {
        let name = number.to_string();
        let node = db.insert(NewNode { parent_id, name }).await?;
        parent_id = Some(node.id);
    }
    assert_eq!(count(ancestor(1)).await?, RELATIONS_MAX as u64);
    assert_eq!(count(ancestor(RELATIONS_MAX)).await?, 1);
    refused(count(ancestor(RELATIONS_MAX + 1)).await, ErrorKind::Misuse);
    // Half as many relations around conditions of every sort; in the end, whoever has a parent.
    let mut mixed = Predicate::all();
    for level in 0..RELATIONS_MAX / 2 {
        let names = (0..8).map(|n| Node::NAME.starts_with(&format!("{level}{n}")));
        let other = names.fold(Node::NAME.ne(""), |any, one| any.and(one.not()));
        let parent = Node::PARENT_ID.whose(mixed.or(other).not().or(Node::NAME.ne("-")));
        mixed = parent.and(Node::NAME.ends_with("x").not());
    }
    assert_eq!(count(mixed).await?, RELATIONS_MAX as u64);
    Ok(())
}

async fn booleans_dates_and_floats_compare(db: TestDb) -> Result<()> {
    let float = |float| NewMeasure {
        float: Some(float),
        ..NewMeasure::default()
    };
    db.insert_all([-1.5, -0.0, 0.5, 1e300].map(float)).await?;
    let count = async |predicate| db.query::<Measure>().filter(predicate).count().await;
    assert_eq!(count(Measure::FLOAT.gt(0.0)).await?, 2);
    assert_eq!(count(Measure::FLOAT.le(0.0)).await?, 2);
    assert_eq!(count(Measure::FLOAT.eq(0.5)).await?, 1);
    assert_eq!(count(Measure::FLOAT.lt(-1.0)).await?, 1);
    Ok(())
}

tests![
    comparisons_take_what_they_say,
    the_opposite_of_a_comparison_with_null_is_no_match_either,
    null_is_neither_true_nor_false_in_and_and_or,
    is_null_and_eq_none_are_the_same,
    in_takes_none_one_and_many_values,
    in_passes_over_null,
    columns_of_a_row_compare_with_each_other,
    and_or_and_not_nest,
    thousands_of_alternatives_work,
    thousands_of_conditions_work,
    conditions_nest_deep_and_wide_up_to_a_bound,
    relations_nest_up_to_a_bound,
    booleans_dates_and_floats_compare,
];
