//! Observation: what a piece of code asked, from which line, how often. And `explain`.

use larder_core::models::{Post, PostStatus, Tag, User};
use larder_core::{Id, Load, Report, Result, count};

use crate::fixtures::{new_post, post, tag, tags, user};
use crate::harness::{TestDb, tests};

fn shapes(report: &Report) -> Vec<&str> {
    report
        .statements()
        .iter()
        .map(|seen| seen.shape.as_str())
        .collect()
}

async fn statements_are_seen_in_order_without_values(db: TestDb) -> Result<()> {
    let (outcome, report) = db
        .observe(async {
            let ada = user(&db, 77_777).await?;
            db.find::<User>(ada.id).await?;
            db.query::<User>()
                .filter(User::NAME.eq("secret"))
                .count()
                .await?;
            db.query::<User>()
                .filter(User::NAME.eq("secret"))
                .update(User::NAME.set("hidden"))
                .await?;
            db.delete::<User>(ada.id).await
        })
        .await;
    assert!(outcome?);
    assert_eq!((report.count(), report.round_trips()), (5, 5), "{report}");
    let shapes = shapes(&report);
    for (shape, word) in shapes
        .iter()
        .zip(["insert", "select", "count", "update", "delete"])
    {
        assert!(
            shape.to_lowercase().contains(word) && shape.contains("users"),
            "{shape}"
        );
        for value in ["77777", "secret", "hidden"] {
            assert!(!shape.contains(value), "{shape}");
        }
    }
    Ok(())
}

async fn call_sites_are_the_callers_lines(db: TestDb) -> Result<()> {
    let tag = tag(&db, "a").await?;
    let mut lines = Vec::new();
    let calls = async {
        lines.push(line!() + 1);
        db.get::<Tag>(tag.id).await?;
        lines.push(line!() + 1);
        db.find::<Tag>(tag.id).await?;
        lines.push(line!() + 1);
        db.query::<Tag>().all().await?;
        lines.push(line!() + 1);
        db.query::<Tag>().first().await?;
        lines.push(line!() + 1);
        db.query::<Tag>().one().await?;
        lines.push(line!() + 1);
        db.query::<Tag>().count().await?;
        lines.push(line!() + 1);
        db.query::<Tag>().exists().await?;
        lines.push(line!() + 1);
        db.query::<Tag>().select(Tag::NAME).all().await?;
        lines.push(line!() + 1);
        db.query::<Tag>().select(count()).first().await?;
        lines.push(line!() + 1);
        let page = db.query::<Tag>().page(1).await?;
        lines.push(line!() + 1);
        db.query::<Tag>().load::<Tag>().await?;
        lines.push(line!() + 1);
        db.query::<Tag>().by_key(tag.id).load::<Tag>().await?;
        lines.push(line!() + 1);
        db.query::<Tag>().stream().next().await;
        lines.push(line!() + 1);
        db.update::<Tag>(tag.id, Tag::NAME.set("b")).await?;
        lines.push(line!() + 1);
        db.save(Tag {
            name: "c".into(),
            ..tag.clone()
        })
        .await?;
        lines.push(line!() + 1);
        db.update_all([tag.clone()]).await?;
        lines.push(line!() + 1);
        db.query::<Tag>().update(Tag::NAME.set("d")).await?;
        lines.push(line!() + 1);
        db.upsert([tag.clone()]).on(Tag::ID).ignore().run().await?;
        let upsert = db.upsert([tag.clone()]).on(Tag::ID).ignore();
        lines.push(line!() + 1);
        upsert.returning().await?;
        lines.push(line!() + 1);
        db.query::<Tag>().delete().await?;
        lines.push(line!() + 1);
        db.insert_all([tag.clone()]).await?;
        lines.push(line!() + 1);
        db.delete::<Tag>(tag.id).await?;
        lines.push(line!() + 1);
        db.insert_all_returning([tag.clone()]).await?;
        let last = page.next(&db).await?;
        assert!(last.items.is_empty(), "no next page, no statement");
        Ok::<_, larder_core::Error>(())
    };
    let (outcome, report) = db.observe(Box::pin(calls)).await;
    outcome?;
    let seen: Vec<u32> = report
        .statements()
        .iter()
        .map(|seen| seen.site.line())
        .collect();
    assert_eq!(seen, lines, "{report}");
    assert!(
        report
            .statements()
            .iter()
            .all(|seen| seen.site.file().ends_with("observing.rs"))
    );
    Ok(())
}

#[derive(Load, Debug)]
#[load(Post)]
#[allow(dead_code)] // what is loaded is not looked at
struct PostWithAuthor {
    id: Id<Post>,
    #[load(via = Post::AUTHOR_ID)]
    author: User,
}

async fn an_n_plus_one_is_seen_and_a_plan_has_none(db: TestDb) -> Result<()> {
    let author = user(&db, 1).await?;
    for number in 0..6 {
        post(&db, &author, &format!("p{number}")).await?;
    }
    let (outcome, report) = db
        .observe(async {
            for post in db.query::<Post>().all().await? {
                db.find::<User>(post.author_id).await?;
            }
            Ok::<_, larder_core::Error>(())
        })
        .await;
    outcome?;
    let repeats = report.repeated();
    assert_eq!(
        (repeats.len(), repeats[0].times, repeats[0].sites.len()),
        (1, 6, 1),
        "{report}"
    );
    assert!(report.to_string().contains("repeated 6 times"), "{report}");
    let (posts, report) = db
        .observe(db.query::<Post>().load::<PostWithAuthor>())
        .await;
    assert_eq!(posts?.len(), 6);
    report.assert_no_repeats();
    report.assert_round_trips(2);
    Ok(())
}

async fn transactions_and_other_handles_are_seen_too(db: TestDb) -> Result<()> {
    let other = db.with_timeout(std::time::Duration::from_secs(5));
    let (outcome, report) = db
        .observe(async {
            tag(&other, "a").await?;
            db.transaction(|tx| async move { tag(&tx, "b").await })
                .await?;
            tags(&db, 3).await
        })
        .await;
    outcome?;
    // The beginning and the commit are round trips, but no statements.
    assert_eq!((report.count(), report.round_trips()), (3, 5), "{report}");
    Ok(())
}

async fn an_outer_observer_sees_what_inner_ones_see(db: TestDb) -> Result<()> {
    let (outcome, outer) = db
        .observe(async {
            tag(&db, "a").await?;
            let (inner, report) = db.observe(tags(&db, 3)).await;
            inner?;
            db.query::<Tag>().count().await?;
            Ok::<_, larder_core::Error>(report)
        })
        .await;
    let inner = outcome?;
    assert_eq!((inner.count(), inner.round_trips()), (1, 1), "{inner}");
    assert_eq!((outer.count(), outer.round_trips()), (3, 3), "{outer}");
    assert_eq!(shapes(&outer)[1], shapes(&inner)[0]);
    Ok(())
}

async fn an_observer_sees_its_own_task_only(db: TestDb) -> Result<()> {
    let quiet = larder_core::Db::clone(&db);
    let busy = tokio::spawn(async move { tags(&quiet, 10).await });
    let ((), report) = db
        .observe(async { busy.await.map(drop).unwrap_or_default() })
        .await;
    assert_eq!((report.count(), report.round_trips()), (0, 0));
    let (_, report) = db.observe(db.query::<Tag>().count()).await;
    assert_eq!(report.count(), 1);
    Ok(())
}

async fn explain_says_something_and_runs_nothing(db: TestDb) -> Result<()> {
    let author = user(&db, 1).await?;
    db.insert(new_post(author.id, "a", PostStatus::Draft))
        .await?;
    let plans = [
        db.query::<Post>().explain().await?,
        db.query::<Post>()
            .filter(Post::SLUG.eq("a"))
            .explain()
            .await?,
        db.query::<Post>()
            .filter(Post::AUTHOR_ID.whose(User::NAME.eq("x")))
            .explain()
            .await?,
        db.query::<Post>()
            .filter(Post::ID.in_((0..5_000).map(Id::new)))
            .explain()
            .await?,
        db.query::<Post>()
            .group_by(Post::STATUS)
            .select((Post::STATUS, count()))
            .explain()
            .await?,
    ];
    for plan in plans {
        assert!(!plan.trim().is_empty());
    }
    let tx = db.begin(larder_core::TxOptions::new()).await?;
    assert!(
        !tx.query::<Post>()
            .order(Post::TITLE.asc())
            .explain()
            .await?
            .is_empty()
    );
    tx.commit().await?;
    let bad = db
        .query::<Post>()
        .filter(Post::SLUG.eq("\0"))
        .explain()
        .await;
    crate::fixtures::refused(bad, larder_core::ErrorKind::Invalid);
    Ok(())
}

tests![
    statements_are_seen_in_order_without_values,
    call_sites_are_the_callers_lines,
    an_n_plus_one_is_seen_and_a_plan_has_none,
    transactions_and_other_handles_are_seen_too,
    an_outer_observer_sees_what_inner_ones_see,
    an_observer_sees_its_own_task_only,
    explain_says_something_and_runs_nothing,
];
