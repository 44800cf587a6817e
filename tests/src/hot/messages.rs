//! Publish and subscribe: who gets what, and what a slow subscriber is told.

use std::sync::Arc;
use std::time::Duration;

use larder_core::feed::{Feed, Gap, GapReason, SubscribeOptions, Subscription, Topic};
use larder_core::{ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::{Place, tests};
use crate::fixtures::refused;

async fn subscribe(feed: &Arc<dyn Feed>, topics: &[&str]) -> Result<Subscription> {
    feed.subscribe(topics, SubscribeOptions::new()).await
}

/// The next message as text.
async fn next(subscription: &mut Subscription) -> Result<(String, String)> {
    let message = subscription.next().await?;
    let payload = String::from_utf8_lossy(message.payload()).into_owned();
    Ok((message.topic().to_owned(), payload))
}

fn pair(topic: &str, payload: &str) -> (String, String) {
    (topic.to_owned(), payload.to_owned())
}

async fn subscribers_get_what_is_published_to_their_topics(place: Arc<dyn Place>) -> Result<()> {
    let (here, there) = (place.feed().await?, place.feed().await?);
    let mut news = subscribe(&here, &["news"]).await?;
    let mut both = subscribe(&there, &["news", "wetter: 世界 'x' \"y\""]).await?;
    here.publish("nobody listens", b"lost").await?;
    here.publish("news", b"1").await?;
    there.publish("news", b"2").await?;
    here.publish("wetter: 世界 'x' \"y\"", b"3").await?;
    there.publish("news", b"").await?;
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(next(&mut news).await?);
    }
    seen.sort(); // two publishers, so in either order
    assert_eq!(
        seen,
        [pair("news", ""), pair("news", "1"), pair("news", "2")]
    );
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(next(&mut both).await?);
    }
    assert!(seen.contains(&pair("wetter: 世界 'x' \"y\"", "3")));
    assert_eq!(news.try_next()?, None);
    assert_eq!(both.try_next()?, None);
    Ok(())
}

async fn messages_of_one_publisher_come_in_order(place: Arc<dyn Place>) -> Result<()> {
    let (here, there) = (place.feed().await?, place.feed().await?);
    let mut all = subscribe(&there, &["n"]).await?;
    for number in 0..500 {
        here.publish("n", format!("{number}").as_bytes()).await?;
    }
    for number in 0..500 {
        assert_eq!(next(&mut all).await?.1, format!("{number}"));
    }
    Ok(())
}

async fn any_bytes_arrive_up_to_the_longest_message(place: Arc<dyn Place>) -> Result<()> {
    let (here, there) = (place.feed().await?, place.feed().await?);
    let mut bytes = subscribe(&there, &["bytes"]).await?;
    let all: Vec<u8> = (0..=255).collect();
    let longest = vec![0; here.payload_max()];
    here.publish("bytes", &all).await?;
    here.publish("bytes", &longest).await?;
    assert_eq!(bytes.next().await?.payload(), all);
    assert_eq!(bytes.next().await?.payload(), longest);
    let longer = vec![0; here.payload_max() + 1];
    refused(here.publish("bytes", &longer).await, ErrorKind::TooLong);
    for topic in ["", "a\nb", "a\0b", &"x".repeat(201)] {
        refused(here.publish(topic, b"").await, ErrorKind::Invalid);
        refused(subscribe(&here, &[topic]).await, ErrorKind::Invalid);
    }
    refused(subscribe(&here, &[]).await, ErrorKind::Invalid);
    let longest_topic = "x".repeat(200);
    let mut topic = subscribe(&there, &[&longest_topic]).await?;
    here.publish(&longest_topic, &longest).await?;
    assert_eq!(topic.next().await?.payload(), longest);
    Ok(())
}

async fn a_slow_subscriber_is_told_what_it_missed(place: Arc<dyn Place>) -> Result<()> {
    let feed = place.feed().await?;
    let options = SubscribeOptions::new().queue_max(3);
    let mut slow = feed.subscribe(&["n"], options).await?;
    let mut quick = subscribe(&feed, &["n"]).await?;
    for number in 0..10 {
        feed.publish("n", format!("{number}").as_bytes()).await?;
    }
    for number in 0..10 {
        assert_eq!(next(&mut quick).await?.1, format!("{number}"));
    }
    let missed = refused(slow.next().await, ErrorKind::Gap);
    let gap = *Gap::of(&missed).expect("a gap says what it is");
    assert_eq!((gap.reason(), gap.missed()), (GapReason::Lagged, Some(7)));
    for number in 7..10 {
        assert_eq!(next(&mut slow).await?.1, format!("{number}"));
    }
    Ok(())
}

async fn a_dropped_subscription_and_a_dropped_feed_end(place: Arc<dyn Place>) -> Result<()> {
    let (here, there) = (place.feed().await?, place.feed().await?);
    let first = subscribe(&there, &["a", "b"]).await?;
    let mut second = subscribe(&there, &["b"]).await?;
    drop(first);
    let mut third = subscribe(&there, &["a"]).await?;
    here.publish("a", b"1").await?;
    here.publish("b", b"2").await?;
    assert_eq!(next(&mut third).await?, pair("a", "1"));
    assert_eq!(next(&mut second).await?, pair("b", "2"));
    let waiting = tokio::spawn(async move { third.next().await });
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop((here, there, place)); // of the memory's feed these are the same
    let ended = waiting.await.expect("does not panic");
    refused(ended, ErrorKind::Closed);
    refused(second.next().await, ErrorKind::Closed);
    Ok(())
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Login {
    user: u64,
    name: String,
}

async fn values_travel_by_topics(place: Arc<dyn Place>) -> Result<()> {
    let (here, there) = (place.feed().await?, place.feed().await?);
    let logins = Topic::<Login>::new(Arc::clone(&here), "logins");
    let mut seen = Topic::<Login>::new(there, "logins").subscribe().await?;
    let login = Login {
        user: 17,
        name: "Ada 🦀".to_owned(),
    };
    here.publish("logins", b"no login").await?;
    logins.publish(&login).await?;
    refused(seen.next().await, ErrorKind::Decode);
    assert_eq!(seen.next().await?, login);
    Ok(())
}

async fn many_topics_come_and_go(place: Arc<dyn Place>) -> Result<()> {
    let (here, there) = (place.feed().await?, place.feed().await?);
    let mut kept = Vec::new();
    for number in 0..40 {
        let name = format!("topic {number}");
        let subscription = subscribe(&there, &[&name]).await?;
        if number % 2 == 0 {
            kept.push((name, subscription));
        }
    }
    for number in 0..40 {
        let name = format!("topic {number}");
        here.publish(&name, name.as_bytes()).await?;
    }
    for (name, mut subscription) in kept {
        assert_eq!(next(&mut subscription).await?, pair(&name, &name));
    }
    Ok(())
}

tests![
    subscribers_get_what_is_published_to_their_topics,
    messages_of_one_publisher_come_in_order,
    any_bytes_arrive_up_to_the_longest_message,
    a_slow_subscriber_is_told_what_it_missed,
    a_dropped_subscription_and_a_dropped_feed_end,
    values_travel_by_topics,
    many_topics_come_and_go,
];
