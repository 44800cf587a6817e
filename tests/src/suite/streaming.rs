//! Streams: rows one by one, read no faster than they are taken, safe to drop.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt};
use larder_core::models::{NewTag, Tag};
use larder_core::rows::Rows;
use larder_core::types::ColumnType;
use larder_core::value::{Kind, Value, ValueRef};
use larder_core::write::{InsertRows, Write, WriteOp};
use larder_core::{Db, Entity, ErrorKind, Id, Operand, Result, TxOptions, Uuid};

use crate::fixtures::{numbered_tag, refused, tag, tags};
use crate::harness::{TestDb, tests};
use crate::schema::{Defaulted, NewDefaulted};

async fn all_rows_come_in_order(db: TestDb) -> Result<()> {
    tags(&db, 10_000).await?;
    let mut stream = db.query::<Tag>().order(Tag::NAME.asc()).stream();
    let mut number = 0;
    while let Some(row) = stream.next().await {
        assert_eq!(row?.name, numbered_tag(number).name);
        number += 1;
    }
    assert_eq!(number, 10_000);
    assert!(stream.next().await.is_none(), "and nothing after the end");
    Ok(())
}

async fn a_stream_is_a_futures_stream(db: TestDb) -> Result<()> {
    tags(&db, 300).await?;
    let query = db
        .query::<Tag>()
        .filter(Tag::NAME.ge("tag 00100"))
        .order(Tag::NAME.desc());
    let names: Vec<_> = query.stream().map_ok(|tag| tag.name).try_collect().await?;
    let expected: Vec<_> = (100..300)
        .rev()
        .map(|number| numbered_tag(number).name)
        .collect();
    assert_eq!(names, expected);
    let some: Vec<_> = StreamExt::take(db.query::<Tag>().stream(), 7)
        .try_collect()
        .await?;
    assert_eq!(some.len(), 7);
    Ok(())
}

async fn every_length_around_a_batch_is_whole(db: TestDb) -> Result<()> {
    let mut stored = 0;
    for length in [0, 1, 127, 128, 129, 255, 256, 257, 384, 385, 512, 513] {
        db.insert_all((stored..length).map(numbered_tag)).await?;
        stored = length;
        let rows: Vec<Tag> = db.query::<Tag>().stream().try_collect().await?;
        assert_eq!(rows.len(), length);
        let cut: Vec<Tag> = db.query::<Tag>().limit(128).stream().try_collect().await?;
        assert_eq!(cut.len(), length.min(128));
    }
    Ok(())
}

/// How many names of each test have been decoded: tests of several engines run at once.
static DECODED: Mutex<Option<HashMap<String, usize>>> = Mutex::new(None);

/// A text that counts how often it is decoded, by its first word.
#[derive(Clone, Debug, PartialEq)]
struct Counted(String);

impl ColumnType for Counted {
    type Base = Self;
    const KIND: Kind = Kind::Text;

    fn into_value(self) -> Result<Value> {
        self.0.into_value()
    }

    fn from_value(value: ValueRef<'_>) -> Result<Self> {
        let text = String::from_value(value)?;
        let word = text.split(' ').next().unwrap_or_default().to_owned();
        let mut decoded = DECODED.lock().expect("counting does not panic");
        *decoded.get_or_insert_default().entry(word).or_default() += 1;
        Ok(Self(text))
    }
}

impl Operand<String> for Counted {
    fn operand(self) -> Result<Value> {
        self.into_value()
    }
}

/// The tags, decoded by counting.
#[derive(Entity, Clone, Debug, PartialEq)]
#[entity(table = "tags")]
struct CountedTag {
    #[key(auto)]
    id: Id<CountedTag>,
    name: Counted,
}

async fn rows_are_not_read_far_ahead(db: TestDb) -> Result<()> {
    let word = Uuid::new_v4().to_string();
    let rows = (0..10_000).map(|number| NewTag {
        name: format!("{word} {number:05}"),
    });
    db.insert_all(rows).await?;
    let decoded = || {
        let decoded = DECODED.lock().expect("counting does not panic");
        decoded
            .as_ref()
            .and_then(|words| words.get(&word).copied())
            .unwrap_or(0)
    };
    let mut stream = db
        .query::<CountedTag>()
        .order(CountedTag::NAME.asc())
        .stream();
    for _ in 0..10 {
        stream.next().await.expect("many more rows")?;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(decoded() <= 1_000, "{} rows read for 10 taken", decoded());
    for _ in 0..2_000 {
        stream.next().await.expect("many more rows")?;
    }
    assert!(
        decoded() <= 3_000,
        "{} rows read for 2,010 taken",
        decoded()
    );
    drop(stream);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(
        decoded() <= 3_500,
        "{} rows read after the stream was dropped",
        decoded()
    );
    Ok(())
}

async fn dropping_mid_stream_leaves_the_store_usable(db: TestDb) -> Result<()> {
    tags(&db, 10_000).await?;
    let quick = db.with_timeout(Duration::from_secs(10));
    let started = Instant::now();
    for round in 0..30 {
        let mut stream = quick.query::<Tag>().order(Tag::NAME.asc()).stream();
        for _ in 0..round * 7 {
            stream.next().await.expect("many more rows")?;
        }
        drop(stream);
        tag(&quick, &format!("round {round}")).await?;
    }
    drop(quick.query::<Tag>().stream()); // never polled
    assert_eq!(quick.query::<Tag>().count().await?, 10_030);
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
    Ok(())
}

async fn many_streams_at_once(db: TestDb) -> Result<()> {
    tags(&db, 2_000).await?;
    let mut tasks = Vec::new();
    for _ in 0..6 {
        let db = Db::clone(&db);
        tasks.push(tokio::spawn(async move {
            let rows: Vec<Tag> = db.query::<Tag>().stream().try_collect().await?;
            Ok::<_, larder_core::Error>(rows.len())
        }));
    }
    for task in tasks {
        assert_eq!(task.await.expect("the task does not panic")?, 2_000);
    }
    Ok(())
}

async fn reads_go_on_while_a_stream_is_open(db: TestDb) -> Result<()> {
    tags(&db, 1_000).await?;
    let quick = db.with_timeout(Duration::from_secs(10));
    let mut stream = quick.query::<Tag>().order(Tag::NAME.asc()).stream();
    let mut taken = 0;
    while let Some(row) = stream.next().await {
        let row = row?;
        if taken % 200 == 0 {
            assert_eq!(quick.get::<Tag>(row.id).await?, Some(row), "a point read");
            assert_eq!(quick.query::<Tag>().count().await?, 1_000, "a scan");
            let inner: Vec<Tag> = quick.query::<Tag>().stream().try_collect().await?;
            assert_eq!(inner.len(), 1_000, "another stream");
        }
        taken += 1;
    }
    assert_eq!(taken, 1_000);
    Ok(())
}

async fn the_deadline_does_not_run_while_the_taker_is_busy(db: TestDb) -> Result<()> {
    tags(&db, 3_000).await?;
    let query = db.query::<Tag>().timeout(Duration::from_millis(300));
    let mut stream = query.order(Tag::NAME.asc()).stream();
    let mut taken = 0;
    while let Some(row) = stream.next().await {
        row?;
        taken += 1;
        if taken % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
    assert_eq!(taken, 3_000);
    Ok(())
}

async fn a_stream_sees_one_state(db: TestDb) -> Result<()> {
    tags(&db, 5_000).await?;
    let mut stream = db.query::<Tag>().order(Tag::NAME.asc()).stream();
    stream.next().await.expect("many more rows")?;
    let quick = db.with_timeout(Duration::from_secs(10));
    quick
        .query::<Tag>()
        .filter(Tag::NAME.gt("tag 02000"))
        .delete()
        .await?;
    tag(&quick, "zzz").await?;
    let mut rest = Vec::new();
    while let Some(row) = stream.next().await {
        rest.push(row?.name);
    }
    let expected: Vec<_> = (1..5_000).map(|number| numbered_tag(number).name).collect();
    assert_eq!(rest, expected);
    Ok(())
}

async fn an_error_in_the_middle_ends_the_stream(db: TestDb) -> Result<()> {
    let row = |name: String| NewDefaulted { name };
    db.insert_all((0..1_000).map(|n| row(format!("{n:05}"))))
        .await?;
    let columns = [
        Defaulted::NAME.index(),
        Defaulted::MOOD.index(),
        Defaulted::FLAG.index(),
    ];
    let more = [
        Defaulted::NUMBER.index(),
        Defaulted::RATIO.index(),
        Defaulted::TEXT.index(),
    ];
    let text = |text: &'static str| Value::Text(Cow::Borrowed(text));
    let values = [text("00600 bad"), text("furious"), Value::Bool(true)];
    let rest = [Value::Int(1), Value::Float(0.5), text("t")];
    let insert = InsertRows {
        table: Defaulted::TABLE,
        columns: [columns, more].concat(),
        values: values.into_iter().chain(rest).collect(),
        on_conflict: None,
    };
    db.storage()
        .write(Write::new(WriteOp::Insert(insert)), Rows::discard())
        .await?;
    let mut stream = db
        .query::<Defaulted>()
        .order(Defaulted::NAME.asc())
        .stream();
    let mut taken = 0;
    let error = loop {
        match stream.next().await.expect("an error comes before the end") {
            Ok(row) => {
                assert!(row.name.as_str() < "00600 bad");
                taken += 1;
            }
            Err(error) => break error,
        }
    };
    assert!(taken <= 601, "{taken}");
    let error = refused::<()>(Err(error), ErrorKind::Decode);
    assert_eq!(
        (error.column(), error.value()),
        (Some("mood"), Some("furious"))
    );
    assert!(stream.next().await.is_none(), "nothing after an error");
    drop(stream);
    assert_eq!(db.query::<Defaulted>().count().await?, 1_001);
    Ok(())
}

async fn a_mistake_in_the_query_is_the_first_row(db: TestDb) -> Result<()> {
    let mut stream = db.query::<Tag>().filter(Tag::NAME.eq("a\0")).stream();
    let first = stream.next().await.expect("the mistake");
    refused(first, ErrorKind::Invalid);
    assert!(stream.next().await.is_none());
    Ok(())
}

async fn a_stream_inside_a_transaction(db: TestDb) -> Result<()> {
    let tx = db.begin(TxOptions::new()).await?;
    tags(&tx, 1_000).await?;
    let rows: Vec<Tag> = tx
        .query::<Tag>()
        .order(Tag::NAME.asc())
        .stream()
        .try_collect()
        .await?;
    assert_eq!(rows.len(), 1_000);
    let mut stream = tx.query::<Tag>().stream();
    stream.next().await.expect("many more rows")?;
    drop(stream);
    tag(&tx, "after").await?;
    tx.commit().await?;
    assert_eq!(db.query::<Tag>().count().await?, 1_001);
    Ok(())
}

/// An engine may refuse it, but neither wait for ever nor leave open what became of it.
async fn a_write_beside_a_stream_of_its_transaction(db: TestDb) -> Result<()> {
    tags(&db, 5_000).await?;
    let tx = db.begin(TxOptions::new()).await?;
    let quick = tx.with_timeout(Duration::from_secs(2));
    let mut stream = tx.query::<Tag>().stream();
    stream.next().await.expect("many more rows")?;
    let written = tag(&quick, "beside").await;
    if let Err(error) = &written {
        let kinds = [ErrorKind::Misuse, ErrorKind::Timeout];
        assert!(kinds.contains(&error.kind()), "{error:?}");
    }
    drop(stream);
    tag(&quick, "after").await?;
    tx.commit().await?;
    let expected = 5_001 + u64::from(written.is_ok());
    assert_eq!(db.query::<Tag>().count().await?, expected);
    Ok(())
}

async fn a_rollback_beside_a_stream_of_its_transaction(db: TestDb) -> Result<()> {
    tags(&db, 5_000).await?;
    let tx = db.begin(TxOptions::new()).await?;
    tag(&tx, "undone").await?;
    let reading = tx.clone();
    let mut stream = reading.query::<Tag>().stream();
    stream.next().await.expect("many more rows")?;
    let undone = tokio::time::timeout(Duration::from_secs(10), tx.rollback()).await;
    undone.expect("a rollback does not wait for the stream")?;
    let quick = db.with_timeout(Duration::from_secs(10));
    tag(&quick, "after").await?;
    let mut rest = 1;
    while let Some(row) = stream.next().await {
        match row {
            Ok(_) => rest += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}"),
        }
    }
    assert!(rest <= 5_001);
    assert_eq!(quick.query::<Tag>().count().await?, 5_001);
    Ok(())
}

tests![
    all_rows_come_in_order,
    a_stream_is_a_futures_stream,
    every_length_around_a_batch_is_whole,
    rows_are_not_read_far_ahead,
    dropping_mid_stream_leaves_the_store_usable,
    many_streams_at_once,
    reads_go_on_while_a_stream_is_open,
    the_deadline_does_not_run_while_the_taker_is_busy,
    a_stream_sees_one_state,
    an_error_in_the_middle_ends_the_stream,
    a_mistake_in_the_query_is_the_first_row,
    a_stream_inside_a_transaction,
    a_write_beside_a_stream_of_its_transaction,
    a_rollback_beside_a_stream_of_its_transaction,
];
