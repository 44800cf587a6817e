//! Groups of consumers: each change to one of them, until it is acknowledged or given up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use larder_core::feed::{
    ChangeFeed, ChangeFeedOptions, Delivery, Gap, GapReason, Group, GroupOptions, Position,
    Recorded, Recording, Start,
};
use larder_core::models::{NewTag, Tag};
use larder_core::{Db, Error, ErrorKind, ManualClock, Result};

use super::feeds::settled;
use super::{Place, tests};
use crate::fixtures::{refused, tag, tags};

/// A store whose tags are recorded, and a clock that says what is overdue.
struct Setup {
    db: Db,
    changes: ChangeFeed,
    clock: Arc<ManualClock>,
    place: Arc<dyn Place>,
}

/// After which a change is handed out once more.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long tests wait for a change: much longer than it takes.
const SOON: Duration = Duration::from_secs(20);

impl Setup {
    async fn new(place: Arc<dyn Place>) -> Result<Self> {
        let clock = Arc::new(ManualClock::at("2024-05-06T07:08:09Z".parse()?));
        let store = Recorded::from_shared(place.store().await?, [Recording::of::<Tag>()]);
        let store = store.clock(clock.clone());
        Ok(Self {
            changes: store.changes_with(Self::options(&clock))?,
            db: Db::new(store),
            clock,
            place,
        })
    }

    fn options(clock: &Arc<ManualClock>) -> ChangeFeedOptions {
        ChangeFeedOptions::new()
            .poll_interval(Duration::from_millis(20))
            .retention(Duration::from_hours(1))
            .clock(clock.clone())
    }

    /// The feed as another process sees it.
    async fn elsewhere(&self) -> Result<ChangeFeed> {
        ChangeFeed::new(self.place.store().await?, Self::options(&self.clock))
    }

    async fn group(&self) -> Result<Group> {
        self.changes.group("g", GroupOptions::new()).await
    }
}

fn keys(deliveries: &[Delivery]) -> Vec<&str> {
    let keys = deliveries.iter().map(|one| one.change().key.as_str());
    keys.collect()
}

/// Takes changes until there are this many.
async fn take(group: &Group, name: &str, count: usize) -> Result<Vec<Delivery>> {
    let consumer = group.consumer(name)?;
    let mut taken = Vec::new();
    while taken.len() < count {
        let left = (count - taken.len()) as u64;
        let more = consumer.receive(left, SOON).await?;
        assert!(!more.is_empty(), "only {} of {count} came", taken.len());
        taken.extend(more);
    }
    Ok(taken)
}

async fn two_consumers_share_the_changes(place: Arc<dyn Place>) -> Result<()> {
    let setup = Setup::new(place).await?;
    let here = setup.group().await?;
    let there = setup
        .elsewhere()
        .await?
        .group("g", GroupOptions::new())
        .await?;
    let left = Arc::new(AtomicUsize::new(200));
    let working = [(here, "a"), (there, "b")].map(|(group, name)| {
        let left = Arc::clone(&left);
        tokio::spawn(async move {
            let consumer = group.consumer(name)?;
            let mut seen = Vec::new();
            while left.load(Ordering::Relaxed) > 0 {
                for delivery in consumer.receive(7, Duration::from_millis(100)).await? {
                    assert_eq!(delivery.attempt(), 1);
                    assert!(consumer.ack(&delivery).await?);
                    seen.push(delivery.change().key.clone());
                    left.fetch_sub(1, Ordering::Relaxed);
                }
            }
            Ok::<_, Error>(seen)
        })
    });
    tags(&setup.db, 200).await?;
    let mut all = Vec::new();
    for worker in working {
        all.extend(worker.await.expect("does not panic")?);
    }
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 200, "each once");
    Ok(())
}

async fn what_is_not_acknowledged_comes_once_more(place: Arc<dyn Place>) -> Result<()> {
    let setup = Setup::new(place).await?;
    let group = setup.group().await?;
    tags(&setup.db, 2).await?;
    let first = take(&group, "dies", 2).await?;
    assert!(group.consumer("dies")?.ack(&first[0]).await?);
    let other = group.consumer("lives")?;
    assert!(
        other.receive(10, Duration::ZERO).await?.is_empty(),
        "too early"
    );
    assert_eq!(group.in_flight().await?, 1);

    setup.clock.advance(TIMEOUT);
    let again = other.receive(10, SOON).await?;
    assert_eq!(keys(&again), [first[1].change().key.as_str()]);
    assert_eq!(again[0].attempt(), 2);
    assert!(!other.ack(&first[1]).await?, "the first attempt is over");
    assert!(other.ack(&again[0]).await?);
    assert!(!other.ack(&again[0]).await?, "acknowledged before");
    setup.clock.advance(TIMEOUT);
    assert!(other.receive(10, Duration::ZERO).await?.is_empty());
    assert_eq!(group.in_flight().await?, 0);
    Ok(())
}

async fn a_slow_consumer_can_ask_for_more_time_or_give_back(place: Arc<dyn Place>) -> Result<()> {
    let setup = Setup::new(place).await?;
    let group = setup.group().await?;
    let consumer = group.consumer("slow")?;
    tags(&setup.db, 1).await?;
    let taken = take(&group, "slow", 1).await?;
    setup.clock.advance(TIMEOUT / 2);
    assert!(consumer.extend(&taken[0]).await?);
    setup.clock.advance(TIMEOUT / 2);
    assert!(
        consumer.receive(1, Duration::ZERO).await?.is_empty(),
        "still its own"
    );
    assert!(consumer.release(&taken[0], Duration::from_secs(5)).await?);
    assert!(
        consumer.receive(1, Duration::ZERO).await?.is_empty(),
        "in a while"
    );
    setup.clock.advance(Duration::from_secs(5));
    let again = consumer.receive(1, SOON).await?;
    assert_eq!(again[0].attempt(), 2);
    assert!(!consumer.extend(&taken[0]).await?);
    assert!(!consumer.release(&taken[0], TIMEOUT).await?);
    Ok(())
}

async fn too_many_attempts_end_among_the_dead(place: Arc<dyn Place>) -> Result<()> {
    let setup = Setup::new(place).await?;
    let options = GroupOptions::new().attempts_max(2);
    let group = setup.changes.group("g", options).await?;
    let consumer = group.consumer("c")?;
    tags(&setup.db, 2).await?;
    let poison = take(&group, "c", 1).await?.remove(0);
    setup.clock.advance(TIMEOUT);
    let again = consumer.receive(1, SOON).await?.remove(0);
    assert_eq!((again.change(), again.attempt()), (poison.change(), 2));
    setup.clock.advance(TIMEOUT);
    // It is given up, and does not stand in the way of what comes behind it.
    let next = consumer.receive(1, SOON).await?.remove(0);
    assert_ne!(next.change().key, poison.change().key);
    assert!(consumer.ack(&next).await?);
    assert!(!consumer.ack(&again).await?);
    let dead = group.dead(10).await?;
    assert_eq!(
        (keys(&dead), dead[0].attempt()),
        (vec![poison.change().key.as_str()], 2)
    );
    assert_eq!(group.in_flight().await?, 0);

    assert!(group.revive(&dead[0]).await?);
    let revived = consumer.receive(1, SOON).await?.remove(0);
    assert_eq!((revived.change(), revived.attempt()), (poison.change(), 1));
    assert!(!group.discard(&dead[0]).await?, "it lives");
    setup.clock.advance(TIMEOUT);
    consumer.receive(1, SOON).await?;
    setup.clock.advance(TIMEOUT);
    assert!(consumer.receive(1, Duration::ZERO).await?.is_empty());
    let dead = group.dead(10).await?.remove(0);
    assert!(group.discard(&dead).await? && !group.revive(&dead).await?);
    assert!(group.dead(10).await?.is_empty());
    Ok(())
}

async fn the_dead_are_kept_as_long_as_the_retention(place: Arc<dyn Place>) -> Result<()> {
    let setup = Setup::new(place).await?;
    let options = GroupOptions::new().attempts_max(1);
    let group = setup.changes.group("g", options).await?;
    tags(&setup.db, 1).await?;
    take(&group, "c", 1).await?;
    // It outlives the change itself.
    setup.clock.advance(Duration::from_hours(2));
    while setup.changes.purge().await? > 0 {}
    let consumer = group.consumer("c")?;
    assert!(consumer.receive(1, Duration::ZERO).await?.is_empty());
    assert_eq!(group.dead(10).await?.len(), 1);
    setup.clock.advance(Duration::from_hours(2));
    assert_eq!(setup.changes.purge().await?, 1);
    assert!(group.dead(10).await?.is_empty());
    Ok(())
}

async fn what_is_handed_out_is_bounded(place: Arc<dyn Place>) -> Result<()> {
    let setup = Setup::new(place).await?;
    let options = GroupOptions::new().in_flight_max(3);
    let group = setup.changes.group("g", options).await?;
    let consumer = group.consumer("c")?;
    tags(&setup.db, 5).await?;
    let taken = take(&group, "c", 3).await?;
    assert!(consumer.receive(10, Duration::ZERO).await?.is_empty());
    assert!(consumer.ack(&taken[1]).await?);
    assert_eq!(take(&group, "c", 1).await?.len(), 1);
    assert!(consumer.receive(10, Duration::ZERO).await?.is_empty());
    Ok(())
}

async fn groups_do_not_know_each_other(place: Arc<dyn Place>) -> Result<()> {
    let setup = Setup::new(place).await?;
    tags(&setup.db, 2).await?;
    let one = setup.changes.group("one", GroupOptions::new()).await?;
    let all = take(&one, "c", 2).await?;
    let other = setup.changes.group("other", GroupOptions::new()).await?;
    assert_eq!(keys(&take(&other, "c", 2).await?), keys(&all));
    // A name is one group, wherever it is opened, and goes on where it is.
    let start = GroupOptions::new().start(Start::Oldest);
    let same = setup.elsewhere().await?.group("one", start).await?;
    assert_eq!(same.position().await?, one.position().await?);
    let first = Start::After(all[0].change().position);
    let late = setup
        .changes
        .group("late", GroupOptions::new().start(first))
        .await?;
    assert_eq!(keys(&take(&late, "c", 1).await?), keys(&all[1..]));
    let end = GroupOptions::new().start(Start::End);
    let new = setup.changes.group("new", end).await?;
    let tag = tag(&setup.db, "new").await?;
    assert_eq!(keys(&take(&new, "c", 1).await?), [format!("[{}]", tag.id)]);

    one.clone().remove().await?;
    refused(one.position().await, ErrorKind::NotFound);
    let gone = one.consumer("c")?.receive(1, Duration::ZERO).await;
    refused(gone, ErrorKind::NotFound);
    assert_eq!(other.in_flight().await?, 2);
    for name in ["", &"x".repeat(201)] {
        let named = setup.changes.group(name, GroupOptions::new()).await;
        refused(named, ErrorKind::Invalid);
        refused(other.consumer(name), ErrorKind::Invalid);
    }
    Ok(())
}

async fn a_group_behind_the_retention_gets_a_gap_until_it_goes_on(
    place: Arc<dyn Place>,
) -> Result<()> {
    let setup = Setup::new(place).await?;
    let group = setup.group().await?;
    let consumer = group.consumer("c")?;
    tags(&setup.db, 3).await?;
    let taken = take(&group, "c", 1).await?;
    setup.clock.advance(Duration::from_hours(2));
    let young = tag(&setup.db, "young").await?;
    while setup.changes.oldest().await? <= taken[0].change().position {
        setup.changes.purge().await?;
    }
    while setup.changes.purge().await? > 0 {}
    // What was handed out before comes all the same.
    let again = consumer.receive(1, SOON).await?;
    assert_eq!(keys(&again), keys(&taken));
    assert!(consumer.ack(&again[0]).await?);
    let mut resume = Position::START;
    for _ in 0..2 {
        let late = refused(consumer.receive(1, SOON).await, ErrorKind::Gap);
        let gap = *Gap::of(&late).expect("a gap says what it is");
        assert_eq!(gap.reason(), GapReason::Purged);
        resume = gap.resume().expect("somewhere to go on");
    }
    group.resume_at(resume).await?;
    assert_eq!(
        keys(&take(&group, "c", 1).await?),
        [format!("[{}]", young.id)]
    );
    Ok(())
}

/// How many changes mortal consumers work on.
const CHANGES: usize = 60;

async fn nothing_is_lost_when_consumers_die(place: Arc<dyn Place>) -> Result<()> {
    let setup = Setup::new(place).await?;
    let options = GroupOptions::new().attempts_max(u32::MAX);
    let group = setup.changes.group("g", options).await?;
    tags(&setup.db, CHANGES).await?;
    settled(&setup.db, &setup.changes).await?;
    let mut random = fastrand::Rng::with_seed(7);
    let mut worked: BTreeMap<String, u32> = BTreeMap::new();
    let mut acknowledged = 0;
    while acknowledged < CHANGES {
        let consumer = group.consumer("mortal")?;
        let patience = Duration::from_micros(random.u64(0..4_000));
        let life = async {
            loop {
                for delivery in consumer.receive(5, SOON).await? {
                    *worked.entry(delivery.change().key.clone()).or_default() += 1;
                    if consumer.ack(&delivery).await? {
                        acknowledged += 1;
                    }
                    if acknowledged == CHANGES {
                        return Ok::<_, Error>(());
                    }
                }
            }
        };
        let _ = tokio::time::timeout(patience, life).await;
        // An acknowledgement may have been taken though its answer was lost.
        acknowledged = CHANGES - left(&setup, &group).await?;
        setup.clock.advance(TIMEOUT);
    }
    assert_eq!(worked.len(), CHANGES);
    Ok(())
}

/// How many changes are not acknowledged: handed out, or yet to be.
async fn left(setup: &Setup, group: &Group) -> Result<usize> {
    let position = group.position().await?;
    let waiting = setup.changes.after(position, 1_000).await?.len();
    Ok(waiting + group.in_flight().await? as usize)
}

async fn a_waiting_consumer_is_woken_by_a_commit(place: Arc<dyn Place>) -> Result<()> {
    let setup = Setup::new(place).await?;
    let there = setup
        .elsewhere()
        .await?
        .group("g", GroupOptions::new())
        .await?;
    let waiting = tokio::spawn(async move { there.consumer("c")?.receive(5, SOON).await });
    let tx = setup.db.begin(larder_core::TxOptions::new()).await?;
    let tag = tx.insert(NewTag::new("a")).await?;
    tx.commit().await?;
    let taken = waiting.await.expect("does not panic")?;
    assert_eq!(keys(&taken), [format!("[{}]", tag.id)]);
    Ok(())
}

tests![
    two_consumers_share_the_changes,
    what_is_not_acknowledged_comes_once_more,
    a_slow_consumer_can_ask_for_more_time_or_give_back,
    too_many_attempts_end_among_the_dead,
    the_dead_are_kept_as_long_as_the_retention,
    what_is_handed_out_is_bounded,
    groups_do_not_know_each_other,
    a_group_behind_the_retention_gets_a_gap_until_it_goes_on,
    nothing_is_lost_when_consumers_die,
    a_waiting_consumer_is_woken_by_a_commit,
];
