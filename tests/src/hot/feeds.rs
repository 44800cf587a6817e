//! The feed of changes: what is recorded, in which order it is read, and what a reader may miss.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use larder_core::feed::{
    Change, ChangeFeed, ChangeFeedOptions, ChangeRow, Gap, GapReason, Operation, Position,
    Recorded, Recording, Tail,
};
use larder_core::models::{Comment, NewTag, PostTag, Tag, User};
use larder_core::{Db, Error, ErrorKind, Id, ManualClock, Result, TxOptions};

use super::{Place, tests};
use crate::fixtures::{all_types_full, all_types_plain, comment, post, refused, tag, tagged, user};
use crate::schema::{AllTypes, DoorKey, House, NewDoorKey, NewHouse, NewNode, Node};

/// A handle that records these tables, and their feed.
async fn recording(
    place: &Arc<dyn Place>,
    tables: impl IntoIterator<Item = Recording>,
) -> Result<(Db, ChangeFeed)> {
    let store = Recorded::from_shared(place.store().await?, tables);
    let changes = store.changes_with(quick())?;
    Ok((Db::new(store), changes))
}

/// Looks for changes so often that tests need not wait.
fn quick() -> ChangeFeedOptions {
    ChangeFeedOptions::new().poll_interval(Duration::from_millis(20))
}

/// The end of the feed, once everything that was committed can be read: on a server with many
/// databases, transactions of others hold it back for a moment.
pub(super) async fn settled(db: &Db, changes: &ChangeFeed) -> Result<Position> {
    loop {
        let certain = changes.after(changes.oldest().await?, 10_000).await?;
        if certain.len() as u64 == db.query::<ChangeRow>().count().await? {
            return changes.end().await;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Everything in the feed behind a position.
async fn since(db: &Db, changes: &ChangeFeed, position: Position) -> Result<Vec<Change>> {
    settled(db, changes).await?;
    changes.after(position, 10_000).await
}

/// Everything in the feed.
async fn all(db: &Db, changes: &ChangeFeed) -> Result<Vec<Change>> {
    since(db, changes, Position::START).await
}

/// Operation and key of each change.
fn told(changes: &[Change]) -> Vec<(Operation, &str)> {
    let told = changes.iter().map(|one| (one.operation, one.key.as_str()));
    told.collect()
}

/// Whether several writing transactions can be open at a time.
fn many_writers(db: &Db) -> bool {
    db.capabilities().concurrent_writers
}

async fn every_kind_of_write_is_recorded(place: Arc<dyn Place>) -> Result<()> {
    use Operation::{Delete, Insert, Update, Upsert};
    let (db, changes) = recording(&place, [Recording::of::<Tag>()]).await?;
    let a = tag(&db, "a").await?;
    db.insert_all(["b", "c"].map(NewTag::new)).await?;
    db.update(a.id, Tag::NAME.set("a2")).await?;
    let tags = ["c", "d"].map(NewTag::new); // one is there, one is not
    let ignoring = db.upsert(tags.clone()).on(Tag::NAME).ignore();
    assert_eq!(ignoring.run().await?, 1);
    let updating = db.upsert(tags).on(Tag::NAME).update(Tag::NAME);
    assert_eq!(updating.run().await?, 2);
    let mut rows = db.query::<Tag>().order(Tag::ID.asc()).all().await?;
    (rows[1].name, rows[2].name) = ("b2".to_owned(), "c2".to_owned());
    assert_eq!(db.update_all(rows[1..3].to_vec()).await?, 2);
    let none = db.query::<Tag>().filter(Tag::NAME.eq("nobody"));
    assert_eq!(none.update(Tag::NAME.set("somebody")).await?, 0);
    let one = db.query::<Tag>().filter(Tag::NAME.eq("d"));
    assert_eq!(one.update(Tag::NAME.set("d2")).await?, 1);
    assert!(db.delete::<Tag>(a.id).await?);
    let two = db.query::<Tag>().filter(Tag::NAME.in_(["b2", "c2"]));
    assert_eq!(two.delete().await?, 2);

    let ids: Vec<_> = rows.iter().map(|row| format!("[{}]", row.id)).collect();
    let expected = [
        (Insert, 0),
        (Insert, 1),
        (Insert, 2),
        (Update, 0),
        (Insert, 3),
        (Upsert, 2),
        (Upsert, 3),
        (Update, 1),
        (Update, 2),
        (Update, 3),
        (Delete, 0),
        (Delete, 1),
        (Delete, 2),
    ];
    let expected = expected.map(|(what, at)| (what, ids[at].as_str()));
    let found = all(&db, &changes).await?;
    assert_eq!(told(&found), expected);
    assert!(
        found
            .iter()
            .all(|one| one.row.is_none() && one.is_of::<Tag>())
    );
    Ok(())
}

async fn a_changed_key_is_a_row_that_went_and_one_that_came(place: Arc<dyn Place>) -> Result<()> {
    let (db, changes) = recording(&place, [Recording::of::<Tag>().with_rows()]).await?;
    let tag = tag(&db, "a").await?;
    let moved = db.query::<Tag>().filter(Tag::ID.eq(tag.id));
    assert_eq!(moved.update(Tag::ID.set(Id::new(77))).await?, 1);
    let nobody = db.query::<Tag>().filter(Tag::ID.eq(tag.id));
    assert_eq!(nobody.update(Tag::ID.set(Id::new(78))).await?, 0);
    let found = all(&db, &changes).await?;
    let rows: Vec<_> = found.iter().map(Change::row_of::<Tag>).collect::<Result<_>>()?;
    let new = db.find::<Tag>(Id::new(77)).await?;
    assert_eq!(rows, [Some(tag.clone()), Some(tag), Some(new)]);
    let operations = found.iter().map(|change| change.operation);
    let expected = [Operation::Insert, Operation::Delete, Operation::Insert];
    assert!(operations.eq(expected), "{found:?}");
    Ok(())
}

async fn writes_answer_as_without_recording(place: Arc<dyn Place>) -> Result<()> {
    let (db, changes) = recording(&place, [Recording::of::<Tag>()]).await?;
    let tag = tag(&db, "a").await?;
    let twice = refused(db.insert(NewTag::new("a")).await, ErrorKind::Unique);
    assert!(twice.violates(Tag::NAME));
    refused(
        db.update(Id::new(99), Tag::NAME.set("x")).await,
        ErrorKind::NotFound,
    );
    assert!(!db.delete::<Tag>(Id::new(99)).await?);
    assert_eq!(db.find::<Tag>(tag.id).await?, tag);
    // What is not recorded goes past the feed.
    user(&db, 1).await?;
    assert_eq!(all(&db, &changes).await?.len(), 1);
    Ok(())
}

async fn recorded_rows_come_back_whole(place: Arc<dyn Place>) -> Result<()> {
    let recorded = [
        Recording::of::<AllTypes>().with_rows(),
        Recording::of::<PostTag>(),
        Recording::of::<User>()
            .with_rows()
            .without(User::PASSWORD_HASH),
    ];
    let (db, changes) = recording(&place, recorded).await?;
    let rows = [all_types_plain(1), all_types_full(2)];
    db.insert_all(rows.clone()).await?;
    db.query::<AllTypes>().delete().await?;
    let found = all(&db, &changes).await?;
    let read = found.iter().map(Change::row_of::<AllTypes>);
    let read: Vec<_> = read.collect::<Result<_>>()?;
    let [plain, full] = rows.map(Some);
    assert_eq!(read, [plain.clone(), full.clone(), plain, full]);

    let author = user(&db, 1).await?;
    let post = post(&db, &author, "on-keys").await?;
    let tag = tag(&db, "keys").await?;
    tagged(&db, &post, &tag).await?;
    let found = since(&db, &changes, found[3].position).await?;
    assert_eq!(found[1].key, format!("[{},{}]", post.id, tag.id));
    assert_eq!(
        found[0].row_of::<User>()?.map(|user| user.name),
        Some(author.name)
    );
    assert!(
        found[0]
            .row
            .as_ref()
            .is_some_and(|row| !row.contains("password_hash"))
    );
    refused(found[0].row_of::<Tag>(), ErrorKind::Misuse);
    Ok(())
}

async fn what_is_undone_is_not_recorded(place: Arc<dyn Place>) -> Result<()> {
    let (db, changes) = recording(&place, [Recording::of::<Tag>()]).await?;
    let tx = db.begin(TxOptions::new()).await?;
    tag(&tx, "undone").await?;
    tx.rollback().await?;
    let tx = db.begin(TxOptions::new()).await?;
    tag(&tx, "dropped").await?;
    drop(tx);

    let tx = db.begin(TxOptions::new()).await?;
    let kept = tag(&tx, "kept").await?;
    let nested = tx.begin(TxOptions::new()).await?;
    tag(&nested, "undone inside").await?;
    nested.rollback().await?;
    let nested = tx.begin(TxOptions::new()).await?;
    let inner = tag(&nested, "kept inside").await?;
    nested.commit().await?;
    refused(tag(&tx, "kept").await, ErrorKind::Unique);
    assert!(
        all(&db, &changes).await?.is_empty(),
        "nothing before the commit"
    );
    tx.commit().await?;

    let found = all(&db, &changes).await?;
    let keys = found.iter().map(Change::key_of::<Tag>);
    assert_eq!(keys.collect::<Result<Vec<_>>>()?, [kept.id, inner.id]);
    Ok(())
}

async fn a_large_transaction_is_recorded_whole(place: Arc<dyn Place>) -> Result<()> {
    let (db, changes) = recording(&place, [Recording::of::<Tag>()]).await?;
    let tx = db.begin(TxOptions::new()).await?;
    for start in [0, 1_200, 2_400] {
        let names = (start..start + 1_200).map(|number| NewTag::new(format!("{number}")));
        tx.insert_all(names).await?;
    }
    tx.query::<Tag>().delete().await?;
    tx.commit().await?;
    settled(&db, &changes).await?;
    let mut tail = changes.tail(Position::START);
    let mut found = Vec::new();
    while let Some(change) = tail.try_next().await? {
        found.push(change);
    }
    assert_eq!(found.len(), 7_200);
    assert!(found.is_sorted_by_key(|change| change.position));
    assert!(found[3_599].operation == Operation::Insert);
    assert!(
        found[3_600..]
            .iter()
            .all(|one| one.operation == Operation::Delete)
    );
    Ok(())
}

async fn what_goes_with_its_parent_is_recorded(place: Arc<dyn Place>) -> Result<()> {
    use Operation::{Delete, Update};
    // Posts are not recorded, but lead from users to comments.
    let recorded = [
        Recording::of::<Comment>().with_rows(),
        Recording::of::<User>(),
        Recording::of::<Node>(),
        Recording::of::<DoorKey>().with_rows(),
    ];
    let (db, changes) = recording(&place, recorded).await?;
    let (ada, bob) = (user(&db, 1).await?, user(&db, 2).await?);
    let on_ada = comment(&db, &post(&db, &ada, "a").await?, &bob, "from bob").await?;
    let on_bob = comment(&db, &post(&db, &bob, "b").await?, &ada, "from ada").await?;
    let stays = comment(&db, &post(&db, &bob, "c").await?, &bob, "stays").await?;
    let before = settled(&db, &changes).await?;
    assert!(db.delete::<User>(ada.id).await?);
    let found = since(&db, &changes, before).await?;
    let mut gone: Vec<_> = found[..2]
        .iter()
        .map(Change::row_of::<Comment>)
        .collect::<Result<_>>()?;
    gone.sort_by_key(|comment| comment.as_ref().map(|comment| comment.id));
    assert_eq!(gone, [Some(on_ada), Some(on_bob)]);
    assert_eq!(
        told(&found[2..]),
        [(Delete, format!("[{}]", ada.id).as_str())]
    );
    assert_eq!(db.query::<Comment>().all().await?, [stays]);

    let root = node(&db, None).await?;
    let child = node(&db, Some(root)).await?;
    let grandchild = node(&db, Some(child)).await?;
    let before = settled(&db, &changes).await?;
    db.delete::<Node>(root).await?;
    let expected = [grandchild, child, root].map(|id| format!("[{id}]"));
    let found = since(&db, &changes, before).await?;
    assert_eq!(
        told(&found),
        [0, 1, 2].map(|at| (Delete, expected[at].as_str()))
    );

    let house = db
        .insert(NewHouse {
            name: "h".to_owned(),
        })
        .await?;
    let label = "front".to_owned();
    let key = db
        .insert(NewDoorKey {
            house_id: Some(house.id),
            label,
        })
        .await?;
    let before = settled(&db, &changes).await?;
    db.query::<House>().delete().await?;
    let found = since(&db, &changes, before).await?;
    assert_eq!(told(&found), [(Update, format!("[{}]", key.id).as_str())]);
    let forgotten = DoorKey {
        house_id: None,
        ..key
    };
    assert_eq!(found[0].row_of::<DoorKey>()?, Some(forgotten.clone()));
    assert_eq!(db.find::<DoorKey>(forgotten.id).await?, forgotten);
    Ok(())
}

async fn node(db: &Db, parent_id: Option<Id<Node>>) -> Result<Id<Node>> {
    let name = "n".to_owned();
    Ok(db.insert(NewNode { parent_id, name }).await?.id)
}

async fn what_cannot_be_recorded_is_refused(place: Arc<dyn Place>) -> Result<()> {
    let (db, changes) = recording(&place, [Recording::of::<Tag>()]).await?;
    let tag = tag(&db, "a").await?;
    let other = Tag { id: Id::new(77), ..tag.clone() };
    let upsert = db.upsert([other]).on(Tag::NAME).update(Tag::ID);
    refused(upsert.run().await, ErrorKind::Unsupported);
    if db.capabilities().raw_sql.is_some() {
        let sql = db.sql("DELETE FROM tags").execute().await;
        refused(sql, ErrorKind::Unsupported);
        let tx = db.begin(TxOptions::new()).await?;
        refused(
            tx.sql("DELETE FROM tags").execute().await,
            ErrorKind::Unsupported,
        );
        assert_eq!(
            tx.sql("SELECT count(*) FROM tags").one::<(i64,)>().await?,
            (1,)
        );
        tx.rollback().await?;
        let allowing = Recorded::from_shared(place.store().await?, [Recording::of::<Tag>()]);
        let allowing = Db::new(allowing.allow_sql_writes());
        assert_eq!(allowing.sql("DELETE FROM tags").execute().await?, 1);
    }
    let other = Recording::of::<Tag>().with_rows().without(User::NAME);
    let (wrong, _) = recording(&place, [Recording::of::<User>(), other]).await?;
    refused(wrong.insert(NewTag::new("b")).await, ErrorKind::Misuse);
    assert_eq!(all(&db, &changes).await?.len(), 1);
    Ok(())
}

async fn a_transaction_with_a_write_given_up_does_not_commit(place: Arc<dyn Place>) -> Result<()> {
    let (db, changes) = recording(&place, [Recording::of::<Tag>()]).await?;
    let mut dropped = 0;
    for polls in 1..200 {
        let tx = db.begin(TxOptions::new()).await?;
        let name = format!("{polls}");
        let finished = polled(polls, tx.insert(NewTag::new(name))).await;
        let committed = tx.commit().await;
        if let Some(written) = finished {
            written?;
            committed?;
            break;
        }
        dropped += 1;
        if let Err(error) = committed {
            assert!(error.is_conflict(), "{error:?}");
        }
    }
    // Whatever was committed is in the feed, and nothing else.
    let tags = db.query::<Tag>().order(Tag::ID.asc()).all().await?;
    let found = all(&db, &changes).await?;
    let keys = found.iter().map(Change::key_of::<Tag>);
    let expected: Vec<_> = tags.iter().map(|tag| tag.id).collect();
    assert_eq!(keys.collect::<Result<Vec<_>>>()?, expected);
    assert!(dropped > 0 || !many_writers(&db), "no write was given up");
    Ok(())
}

/// Polls the future so often, a moment apart, and drops it if it has not ended then.
async fn polled<F: Future>(times: usize, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    for _ in 0..times {
        let once = std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx)));
        if let std::task::Poll::Ready(output) = once.await {
            return Some(output);
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    None
}

async fn changes_that_commit_out_of_order_are_all_seen(place: Arc<dyn Place>) -> Result<()> {
    let (db, changes) = recording(&place, [Recording::of::<Tag>()]).await?;
    let a = db.begin(TxOptions::new()).await?;
    tag(&a, "a").await?;
    if !many_writers(&db) {
        // Nobody else can write before A has ended.
        let impatient = db.with_timeout(Duration::from_millis(50));
        let b = impatient.begin(TxOptions::new()).await;
        assert!(b.is_err(), "two writers at a time");
        a.commit().await?;
        tag(&db, "b").await?;
        return assert_names(&db, &all(&db, &changes).await?, &["a", "b"]).await;
    }
    let b = db.begin(TxOptions::new()).await?;
    tag(&b, "b").await?;
    b.commit().await?;
    // B is committed, but A is older: to show B now would be to skip A.
    let first = changes.after(Position::START, 10).await?;
    let position = first
        .last()
        .map_or(Position::START, |change| change.position);
    assert!(first.is_empty(), "{first:?}");
    a.commit().await?;
    let later = since(&db, &changes, position).await?;
    assert_names(&db, &later, &["a", "b"]).await
}

async fn assert_names(db: &Db, changes: &[Change], expected: &[&str]) -> Result<()> {
    let mut names = Vec::new();
    for change in changes {
        names.push(db.find::<Tag>(change.key_of::<Tag>()?).await?.name);
    }
    assert_eq!(names, expected);
    Ok(())
}

async fn numbers_tell_the_later_change_of_a_row(place: Arc<dyn Place>) -> Result<()> {
    let (db, changes) = recording(&place, [Recording::of::<Tag>().with_rows()]).await?;
    if !many_writers(&db) {
        return Ok(()); // positions tell it already: the test above
    }
    let shared = tag(&db, "shared").await?;
    let before = settled(&db, &changes).await?;
    let older = db.begin(TxOptions::new()).await?;
    tag(&older, "first write").await?;
    db.update(shared.id, Tag::NAME.set("by the younger"))
        .await?;
    older
        .update(shared.id, Tag::NAME.set("by the older"))
        .await?;
    older.commit().await?;
    let found = since(&db, &changes, before).await?;
    let shared = found
        .iter()
        .filter(|change| change.operation == Operation::Update);
    let last = shared.max_by_key(|change| change.number());
    let last = last.map(Change::row_of::<Tag>).transpose()?.flatten();
    assert_eq!(last.map(|tag| tag.name).as_deref(), Some("by the older"));
    Ok(())
}

/// How many writers, and transactions of each.
const WRITERS: usize = 8;
const TRANSACTIONS: usize = 25;

async fn replaying_the_feed_gives_the_tables(place: Arc<dyn Place>) -> Result<()> {
    let (db, changes) = recording(&place, [Recording::of::<Tag>().with_rows()]).await?;
    let reader = tokio::spawn(replay(changes.tail(Position::START)));
    let writers = (0..WRITERS).map(|writer| tokio::spawn(write_at_random(db.clone(), writer)));
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("does not panic")?;
    }
    let end = tag(&db, "end").await?;
    let replayed = reader.await.expect("does not panic")?;
    let tables = db.query::<Tag>().order(Tag::ID.asc()).all().await?;
    assert_eq!(replayed, tables);
    assert_eq!(replayed.last(), Some(&end));
    Ok(())
}

/// Inserts, renames and deletes tags in transactions, some of which it undoes.
async fn write_at_random(db: Db, writer: usize) -> Result<()> {
    for number in 0..TRANSACTIONS {
        let seed = (writer * TRANSACTIONS + number) as u64;
        let unit = |tx: larder_core::Tx| async move {
            let mut random = fastrand::Rng::with_seed(seed);
            for step in 0..random.u32(1..5) {
                let name = format!("{writer} {number} {step}");
                let some = tx
                    .query::<Tag>()
                    .filter(Tag::ID.eq(Id::new(random.i64(1..60))));
                match random.u32(0..4) {
                    0 | 1 => drop(tx.insert(NewTag::new(name)).await?),
                    2 => drop(some.update(Tag::NAME.set(name)).await?),
                    _ => drop(some.delete().await?),
                }
                tokio::task::yield_now().await;
            }
            if random.u32(0..5) == 0 {
                return Err(Error::new(ErrorKind::Check, "undone on purpose"));
            }
            Ok(())
        };
        match db.transaction(unit).await {
            Err(error) if error.kind() == ErrorKind::Check || error.is_conflict() => {}
            outcome => outcome?,
        }
    }
    Ok(())
}

/// Follows the feed to the tag named `end`, keeping the newest state of each row.
async fn replay(mut tail: Tail) -> Result<Vec<Tag>> {
    let mut rows = BTreeMap::new();
    let mut last = Position::START;
    loop {
        let change = tail.next().await?;
        assert!(change.position > last, "{} after {last}", change.position);
        last = change.position;
        let row = change.row_of::<Tag>()?.expect("recorded with rows");
        let ends = row.name == "end";
        let known = rows.entry(row.id).or_insert((0, None));
        if change.number() > known.0 {
            let gone = change.operation == Operation::Delete;
            *known = (change.number(), (!gone).then_some(row));
        }
        if ends {
            return Ok(rows.into_values().filter_map(|(_, row)| row).collect());
        }
    }
}

async fn a_tail_resumes_where_another_one_ended(place: Arc<dyn Place>) -> Result<()> {
    let (db, changes) = recording(&place, [Recording::of::<Tag>()]).await?;
    for name in ["a", "b", "c"] {
        tag(&db, name).await?;
    }
    settled(&db, &changes).await?;
    let mut tail = changes.tail(Position::START);
    tail.next().await?;
    let kept = tail.next().await?.position.to_string();
    assert_eq!(tail.position().to_string(), kept);
    let mut other = changes.tail(kept.parse()?);
    let change = other.next().await?;
    assert_names(&db, &[change], &["c"]).await?;
    assert!(other.try_next().await?.is_none());
    assert_eq!(other.position(), changes.end().await?);
    Ok(())
}

async fn a_waiting_reader_in_another_process_sees_a_change_soon(
    place: Arc<dyn Place>,
) -> Result<()> {
    let (db, _) = recording(&place, [Recording::of::<Tag>()]).await?;
    let elsewhere = ChangeFeed::new(place.store().await?, quick())?;
    let mut tails: Vec<_> = (0..3).map(|_| elsewhere.tail(Position::START)).collect();
    for tail in &mut tails {
        let early = tokio::time::timeout(Duration::from_millis(30), tail.next()).await;
        assert!(early.is_err(), "nothing was written");
    }
    let waiting = tails
        .into_iter()
        .map(|mut tail| tokio::spawn(async move { tail.next().await }));
    let waiting: Vec<_> = waiting.collect();
    let tag = tag(&db, "a").await?;
    let started = Instant::now();
    for tail in waiting {
        let change = tail.await.expect("does not panic")?;
        assert_eq!(change.key_of::<Tag>()?, tag.id);
    }
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    Ok(())
}

async fn a_reader_behind_the_retention_gets_a_gap(place: Arc<dyn Place>) -> Result<()> {
    let clock = Arc::new(ManualClock::at("2024-05-06T07:08:09Z".parse()?));
    let store = Recorded::from_shared(place.store().await?, [Recording::of::<Tag>()]);
    let store = store.clock(clock.clone());
    let options = quick()
        .retention(Duration::from_mins(1))
        .clock(clock.clone());
    let changes = store.changes_with(options)?;
    let db = Db::new(store);
    db.insert_all((0..2_500).map(|number| NewTag::new(format!("old {number}"))))
        .await?;
    settled(&db, &changes).await?;
    let seen = changes.after(Position::START, 1).await?[0].position;
    let mut tail = changes.tail(seen);
    clock.advance(Duration::from_secs(40));
    tag(&db, "young").await?;
    settled(&db, &changes).await?;
    assert_eq!(changes.purge().await?, 0);
    clock.advance(Duration::from_secs(40));
    let mut removed = Vec::new();
    while let count @ 1.. = changes.purge().await? {
        removed.push(count);
    }
    assert_eq!(removed, [1_000, 1_000, 500], "a piece at a time");

    let late = refused(changes.after(seen, 10).await, ErrorKind::Gap);
    let gap = *Gap::of(&late).expect("a gap says what it is");
    assert_eq!(
        (gap.reason(), late.is_retryable()),
        (GapReason::Purged, true)
    );
    let resume = gap.resume().expect("somewhere to go on");
    assert_eq!(resume, changes.oldest().await?);
    assert_names(&db, &changes.after(resume, 10).await?, &["young"]).await?;

    refused(tail.next().await, ErrorKind::Gap);
    let next = tail.next().await?; // told once
    assert_names(&db, &[next], &["young"]).await?;

    clock.advance(Duration::from_mins(2));
    assert_eq!(changes.purge().await?, 1);
    let end = changes.end().await?;
    assert_eq!(end, changes.oldest().await?, "an empty feed has an end too");
    assert!(changes.after(end, 10).await?.is_empty());
    Ok(())
}

async fn a_position_the_feed_has_not_come_to_is_a_gap(place: Arc<dyn Place>) -> Result<()> {
    let (db, changes) = recording(&place, [Recording::of::<Tag>()]).await?;
    let far: Position = "999999999-999999999".parse()?;
    for _ in 0..2 {
        settled(&db, &changes).await?;
        let late = refused(changes.after(far, 10).await, ErrorKind::Gap);
        let gap = *Gap::of(&late).expect("a gap says what it is");
        assert_eq!(gap.reason(), GapReason::Ahead);
        assert_eq!(gap.resume(), Some(changes.end().await?));
        tag(&db, &format!("{}", changes.end().await?)).await?;
    }
    Ok(())
}

async fn purges_at_a_time_do_not_move_the_mark_back(place: Arc<dyn Place>) -> Result<()> {
    let (db, changes) = recording(&place, [Recording::of::<Tag>()]).await?;
    db.insert_all((0..3_000).map(|number| NewTag::new(format!("{number}"))))
        .await?;
    settled(&db, &changes).await?;
    let options = quick().retention(Duration::ZERO);
    let feed = ChangeFeed::new(place.store().await?, options.clone())?;
    let other = ChangeFeed::new(place.store().await?, options)?;
    let purging = [feed.clone(), other.clone(), feed.clone(), other]
        .map(|feed| tokio::spawn(async move { feed.purge().await }));
    let mut removed = 0;
    for purge in purging {
        removed += purge.await.expect("does not panic")?;
    }
    assert_eq!(removed, 3_000);
    assert_eq!(feed.oldest().await?, feed.end().await?);
    refused(feed.after(Position::START, 1).await, ErrorKind::Gap);
    Ok(())
}

tests![
    every_kind_of_write_is_recorded,
    a_changed_key_is_a_row_that_went_and_one_that_came,
    writes_answer_as_without_recording,
    recorded_rows_come_back_whole,
    what_is_undone_is_not_recorded,
    a_large_transaction_is_recorded_whole,
    what_goes_with_its_parent_is_recorded,
    what_cannot_be_recorded_is_refused,
    a_transaction_with_a_write_given_up_does_not_commit,
    changes_that_commit_out_of_order_are_all_seen,
    numbers_tell_the_later_change_of_a_row,
    replaying_the_feed_gives_the_tables,
    a_tail_resumes_where_another_one_ended,
    a_waiting_reader_in_another_process_sees_a_change_soon,
    a_reader_behind_the_retention_gets_a_gap,
    a_position_the_feed_has_not_come_to_is_a_gap,
    purges_at_a_time_do_not_move_the_mark_back,
];
