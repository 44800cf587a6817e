//! Lists of articles: filters, pages, and what they cost.

use std::sync::Arc;

use larder::Result;
use larder_tests::hot::HotEngine;
use serde_json::json;

use crate::app::TestApp;
use crate::client::Client;

/// Ada has written `a1` and `a2`, Bob `b1`; Bob likes `a1` and Ada follows Bob.
async fn written(app: &TestApp) -> (Client, Client) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    ada.publish("a1", &["rust", "sql"]).await;
    bob.publish("b1", &["sql"]).await;
    ada.publish("a2", &[]).await;
    bob.post_nothing("/articles/a1/favorite").await.ends(200);
    ada.post_nothing("/profiles/bob/follow").await.ends(200);
    (ada, bob)
}

async fn the_newest_come_first_without_their_bodies(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let visitor = app.visitor();
    let nothing = visitor.get("/articles").await.ends(200);
    assert_eq!(nothing.body, json!({"articles": [], "articlesCount": 0}));
    let (ada, _) = written(&app).await;
    let all = visitor.list("/articles").await;
    assert_eq!(all.titles(), ["a2", "b1", "a1"]);
    assert_eq!(all.articles_count, 3);
    assert!(all.articles.iter().all(|article| article.body.is_none()));
    let raw = visitor.get("/articles").await.body;
    assert!(
        raw["articles"][0].get("body").is_none(),
        "it is not there at all"
    );
    visitor.get("/articles?limit=1").await.has_in_order(&[
        "articles",
        "slug",
        "title",
        "description",
        "tagList",
        "createdAt",
        "updatedAt",
        "favorited",
        "favoritesCount",
        "author",
        "username",
        "articlesCount",
    ]);
    assert_eq!(all.articles[2].tag_list, ["rust", "sql"]);
    assert_eq!(all.articles[2].favorites_count, 1);
    assert!(!all.articles[2].favorited && !all.articles[1].author.following);
    let seen = ada.list("/articles").await;
    assert!(seen.articles[1].author.following && !seen.articles[0].author.following);
    Ok(())
}

async fn filters_narrow_a_list(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let (_, bob) = written(&app).await;
    for (query, titles) in [
        ("tag=sql", &["b1", "a1"][..]),
        ("tag=rust", &["a1"]),
        ("tag=none", &[]),
        ("author=ada", &["a2", "a1"]),
        ("author=nobody", &[]),
        ("favorited=bob", &["a1"]),
        ("favorited=ada", &[]),
        ("tag=sql&author=bob", &["b1"]),
        ("tag=sql&author=bob&favorited=bob", &[]),
        ("author=ada&limit=1", &["a2"]),
        ("unknown=1", &["a2", "b1", "a1"]),
    ] {
        let found = bob.list(&format!("/articles?{query}")).await;
        assert_eq!(found.titles(), titles, "{query}");
        if !query.contains("limit") {
            assert_eq!(found.articles_count, titles.len() as u64, "{query}");
        }
    }
    let liked = bob.list("/articles?favorited=bob").await;
    assert!(liked.articles[0].favorited);
    Ok(())
}

async fn pages_count_the_whole(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let ada = app.user("ada").await;
    for number in 0..25 {
        ada.publish(&format!("n{number:02}"), &[]).await;
    }
    for (query, first, length) in [
        ("", Some("n24"), 20),
        ("?limit=10", Some("n24"), 10),
        ("?limit=1&offset=3", Some("n21"), 1),
        ("?limit=20&offset=20", Some("n04"), 5),
        ("?limit=1000", Some("n24"), 25),
        ("?offset=25", None, 0),
        ("?offset=9223372036854775807", None, 0),
    ] {
        let page = ada.list(&format!("/articles{query}")).await;
        assert_eq!(
            (page.titles().first().copied(), page.articles.len()),
            (first, length),
            "{query}"
        );
        assert_eq!(page.articles_count, 25, "{query}");
    }
    Ok(())
}

async fn numbers_that_make_no_sense_are_refused(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let ada = app.user("ada").await;
    for list in ["/articles", "/articles/feed"] {
        for bad in [
            "0",
            "-1",
            "1001",
            "x",
            "",
            "1.5",
            "1e3",
            "99999999999999999999",
            "%31%00",
        ] {
            let answer = ada.get(&format!("{list}?limit={bad}")).await.ends(422);
            assert!(answer.body["errors"]["limit"].is_array(), "{bad}");
        }
        for bad in [
            "-1",
            "x",
            "",
            "9223372036854775808",
            "99999999999999999999999",
        ] {
            let answer = ada.get(&format!("{list}?offset={bad}")).await.ends(422);
            assert!(answer.body["errors"]["offset"].is_array(), "{bad}");
        }
        ada.get(&format!("{list}?limit=1&limit=2")).await.ends(422);
    }
    for filter in ["tag", "author", "favorited"] {
        ada.get(&format!("/articles?{filter}=a%00b"))
            .await
            .ends(422);
        ada.get(&format!("/articles?{filter}=%FF%FE"))
            .await
            .ends(200);
    }
    Ok(())
}

async fn the_feed_is_by_those_one_follows(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let (ada, bob) = written(&app).await;
    let feed = ada.list("/articles/feed").await;
    assert_eq!((feed.titles(), feed.articles_count), (vec!["b1"], 1));
    assert!(feed.articles[0].author.following && feed.articles[0].body.is_none());
    assert_eq!(bob.list("/articles/feed").await.articles_count, 0);
    bob.publish("b2", &[]).await;
    let page = ada.list("/articles/feed?limit=1&offset=1").await;
    assert_eq!((page.titles(), page.articles_count), (vec!["b1"], 2));
    ada.delete("/profiles/bob/follow").await.ends(200);
    assert_eq!(ada.list("/articles/feed").await.articles_count, 0);
    Ok(())
}

/// However many articles, tags, authors, comments and likes there are, a list costs the same.
async fn a_list_costs_the_same_however_long(engine: Arc<dyn HotEngine>) -> Result<()> {
    let app = TestApp::on(&engine).await?;
    let users = [
        app.user("ada").await,
        app.user("bob").await,
        app.user("cy").await,
    ];
    let [ada, bob, _] = &users;
    let write = async |number: usize| {
        let author = &users[number % users.len()];
        let tags = [format!("t{number}"), "all".to_owned()];
        let title = format!("n{number}");
        author.publish(&title, &[&tags[0], &tags[1]]).await;
        ada.post_nothing(&format!("/articles/{title}/favorite"))
            .await
            .ends(200);
        for author in &users {
            author.comment("n1", number).await;
        }
    };
    write(1).await;
    ada.post_nothing("/profiles/bob/follow").await.ends(200);
    ada.post_nothing("/profiles/cy/follow").await.ends(200);
    let lists = [
        ("/articles", 9),
        ("/articles?tag=all&author=bob&favorited=ada", 9),
        ("/articles/feed", 9),
        ("/articles/n1/comments", 5),
        ("/tags", 2),
    ];
    let mut costs = Vec::new();
    for (path, most) in lists {
        let (answer, report) = app.db.observe(ada.get(path)).await;
        answer.ends(200);
        assert!((1..=most).contains(&report.count()), "{path}: {report}");
        report.assert_no_repeats();
        costs.push(report.count());
    }
    for number in 2..20 {
        write(number).await;
    }
    for ((path, _), cost) in lists.iter().zip(costs) {
        let (answer, report) = app.db.observe(ada.get(path)).await;
        answer.ends(200);
        assert_eq!(report.count(), cost, "{path}: {report}");
    }
    let (page, report) = app.db.observe(app.visitor().get("/articles")).await;
    page.ends(200);
    assert_eq!(report.count(), 6, "{report}");
    let _ = bob;
    Ok(())
}

crate::tests![
    the_newest_come_first_without_their_bodies,
    filters_narrow_a_list,
    pages_count_the_whole,
    numbers_that_make_no_sense_are_refused,
    the_feed_is_by_those_one_follows,
    a_list_costs_the_same_however_long,
];
