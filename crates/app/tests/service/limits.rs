//! How often somebody may do things.

use std::sync::Arc;
use std::time::Duration;

use http::header;
use larder::models::Post;
use larder::rate_limit::LocalRateLimiter;
use larder::{ManualClock, Result, Timestamp};
use larder_tests::hot::HotEngine;

use crate::app::{Setup, TestApp};
use crate::client::{Answer, PASSWORD, email_of, new_article, new_user};

/// A service whose limits go by a clock of the test's.
async fn limited(engine: &Arc<dyn HotEngine>) -> Result<(TestApp, Arc<ManualClock>)> {
    let clock = Arc::new(ManualClock::at(Timestamp::now()));
    let limiter = LocalRateLimiter::with_clock(1_000, clock.clone());
    let app = Setup::default().clock(clock.clone()).limiter(limiter);
    Ok((app.on(engine).await?, clock))
}

#[track_caller]
fn too_many(answer: Answer, retry: &str) {
    assert_eq!(
        answer.headers[header::RETRY_AFTER],
        retry,
        "{}",
        answer.text
    );
    answer.refuses(429, "requests", "too many; try again later");
}

async fn guessing_a_password_ends_after_ten_times(engine: Arc<dyn HotEngine>) -> Result<()> {
    let (app, clock) = limited(&engine).await?;
    let visitor = app.visitor();
    visitor.register("ada").await;
    let guess = async |email: &str| visitor.login(email, "wrong horse").await;
    for number in 0..10 {
        let email = if number % 2 == 0 {
            "ada@example.com"
        } else {
            "Ada@Example.com"
        };
        guess(email).await.ends(401);
    }
    too_many(guess("ada@example.com").await, "6");
    too_many(visitor.login("ada@example.com", PASSWORD).await, "6");
    guess("bob@example.com").await.ends(401);
    clock.advance(Duration::from_secs(6));
    visitor.login("ada@example.com", PASSWORD).await.ends(200);
    for _ in 0..10 {
        guess("ada@example.com").await.ends(401); // all of them are there again
    }
    Ok(())
}

async fn registering_a_crowd_is_refused(engine: Arc<dyn HotEngine>) -> Result<()> {
    let (app, clock) = limited(&engine).await?;
    let visitor = app.visitor();
    for number in 0..30 {
        visitor.register(&format!("u{number}")).await;
    }
    let one_more = || new_user("more", &email_of("more"));
    too_many(visitor.post("/users", one_more()).await, "2");
    clock.advance(Duration::from_secs(2));
    visitor.post("/users", one_more()).await.ends(201);
    Ok(())
}

async fn writes_are_limited_for_each_and_reads_are_not(engine: Arc<dyn HotEngine>) -> Result<()> {
    let (app, clock) = limited(&engine).await?;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    for number in 0..60 {
        ada.publish(&format!("n{number}"), &[]).await;
    }
    too_many(ada.post("/articles", new_article("more", &[])).await, "1");
    too_many(ada.delete("/articles/n1").await, "1");
    assert_eq!(app.db.query::<Post>().count().await?, 60);
    for _ in 0..70 {
        ada.get("/user").await.ends(200);
    }
    bob.publish("mine", &[]).await;
    clock.advance(Duration::from_millis(500));
    ada.publish("more", &[]).await;
    Ok(())
}

crate::tests![
    guessing_a_password_ends_after_ten_times,
    registering_a_crowd_is_refused,
    writes_are_limited_for_each_and_reads_are_not,
];
