//! What surrounds the calls of a store: deadlines that hold though the store hangs, and events.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use larder_core::models::{NewTag, NewUser, Post, Tag, User};
use larder_core::rows::Rows;
use larder_core::{
    Capabilities, Db, DbOptions, Error, ErrorKind, Id, Load, Memory, Result, Select, Storage,
    Transaction, TxOptions, Write, Written,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id as SpanId, Record};
use tracing::{Event, Level, Metadata, Subscriber};

const SHORT: Duration = Duration::from_millis(50);

/// A store that answers nothing of what it is told to hang on.
#[derive(Debug)]
struct Hanging<S: ?Sized> {
    on: &'static [&'static str],
    inner: Arc<S>,
}

impl<S: ?Sized> Hanging<S> {
    async fn pass(&self, call: &str) {
        if self.on.contains(&call) {
            std::future::pending::<()>().await;
        }
    }
}

fn hanging(on: &'static [&'static str], memory: &Memory) -> Hanging<Memory> {
    let inner = Arc::new(memory.clone());
    Hanging { on, inner }
}

#[async_trait]
impl<S: Storage + ?Sized> Storage for Hanging<S> {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn read(&self, query: Select, rows: Rows) -> Result<Rows> {
        self.pass("read").await;
        self.inner.read(query, rows).await
    }

    async fn read_all(&self, queries: Vec<(Select, Rows)>) -> Result<Vec<Rows>> {
        self.pass("read_all").await;
        self.inner.read_all(queries).await
    }

    async fn write(&self, write: Write, rows: Rows) -> Result<(Written, Rows)> {
        self.pass("write").await;
        self.inner.write(write, rows).await
    }

    async fn begin(&self, options: TxOptions) -> Result<Box<dyn Transaction>> {
        self.pass("begin").await;
        let inner = Arc::from(self.inner.begin(options).await?);
        Ok(Box::new(Hanging { on: self.on, inner }))
    }

    async fn explain(&self, query: Select) -> Result<String> {
        self.pass("explain").await;
        self.inner.explain(query).await
    }

    async fn close(&self) -> Result<()> {
        self.pass("close").await;
        self.inner.close().await
    }
}

#[async_trait]
impl Transaction for Hanging<dyn Transaction> {
    async fn commit(&self) -> Result<()> {
        self.pass("commit").await;
        self.inner.commit().await
    }

    async fn rollback(&self) -> Result<()> {
        self.pass("rollback").await;
        self.inner.rollback().await
    }
}

/// The call's error, which must come soon.
async fn late<T: Debug>(call: impl Future<Output = Result<T>>) -> ErrorKind {
    let started = Instant::now();
    let patience = Duration::from_secs(10);
    let outcome = tokio::time::timeout(patience, call).await;
    let error = outcome
        .expect("the call ends")
        .expect_err("the store hangs");
    assert!(started.elapsed() < patience, "{error}");
    error.kind()
}

#[derive(Load, Debug)]
#[load(User)]
#[allow(dead_code)] // what is loaded is not looked at
struct UserWithPosts {
    id: Id<User>,
    #[load(via = Post::AUTHOR_ID)]
    posts: Vec<Post>,
}

#[tokio::test]
async fn control_calls_end_by_the_handles_deadline() -> Result<()> {
    let on = &["commit", "rollback", "close"];
    let db = Db::new(hanging(on, &Memory::new())).with_timeout(SHORT);
    let tx = db.begin(TxOptions::new()).await?;
    tx.insert(NewTag::new("lost")).await?;
    assert_eq!(late(tx.commit()).await, ErrorKind::Unknown);
    let tx = db.begin(TxOptions::new()).await?;
    assert_eq!(late(tx.rollback()).await, ErrorKind::Timeout);
    db.begin(TxOptions::new()).await?; // and the one before is gone
    assert_eq!(late(db.close()).await, ErrorKind::Timeout);
    let db = Db::new(hanging(&["begin"], &Memory::new())).with_timeout(SHORT);
    assert_eq!(late(db.begin(TxOptions::new())).await, ErrorKind::Timeout);
    Ok(())
}

#[tokio::test]
async fn a_querys_deadline_holds_for_all_it_does() -> Result<()> {
    let memory = Memory::new();
    let user = NewUser::without_password("ada@example.com", "Ada")?;
    Db::new(memory.clone()).insert(user).await?;
    let db = Db::new(hanging(&["read_all", "write", "explain"], &memory));
    let users = || db.query::<User>().timeout(SHORT);
    assert_eq!(
        late(users().load::<UserWithPosts>()).await,
        ErrorKind::Timeout
    );
    assert_eq!(
        late(users().page_of::<UserWithPosts>(9)).await,
        ErrorKind::Timeout
    );
    assert_eq!(late(users().explain()).await, ErrorKind::Timeout);
    assert_eq!(late(users().delete()).await, ErrorKind::Unknown);
    let rename = User::NAME.set("Grace");
    assert_eq!(late(users().update(rename)).await, ErrorKind::Unknown);
    let db = Db::new(hanging(&["read"], &memory));
    let mut stream = db.query::<User>().timeout(SHORT).stream();
    let first = async { stream.next().await.expect("an error comes before the end") };
    assert_eq!(late(first).await, ErrorKind::Timeout);
    assert!(stream.next().await.is_none());
    Ok(())
}

/// Keeps the layer's events.
#[derive(Clone)]
struct Heard {
    level: Level,
    events: Arc<Mutex<Vec<Fields>>>,
    spans: Arc<AtomicU64>,
}

/// The fields of an event, and its target.
#[derive(Clone, Debug, Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl Fields {
    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

impl Subscriber for Heard {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("larder::") && *metadata.level() <= self.level
    }

    fn new_span(&self, _: &Attributes<'_>) -> SpanId {
        SpanId::from_u64(self.spans.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &SpanId, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &SpanId, _: &SpanId) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        fields
            .0
            .insert("target", event.metadata().target().to_owned());
        self.events
            .lock()
            .expect("recording does not panic")
            .push(fields);
    }

    fn enter(&self, _: &SpanId) {}

    fn exit(&self, _: &SpanId) {}
}

/// Listens on this thread, which runs the test's tasks, until the guard goes.
fn listen(level: Level) -> (Heard, tracing::subscriber::DefaultGuard) {
    let heard = Heard {
        level,
        events: Arc::default(),
        spans: Arc::default(),
    };
    let guard = tracing::subscriber::set_default(heard.clone());
    (heard, guard)
}

impl Heard {
    fn take(&self) -> Vec<Fields> {
        std::mem::take(&mut self.events.lock().expect("recording does not panic"))
    }

    fn only(&self) -> Fields {
        let events = self.take();
        assert_eq!(events.len(), 1, "{events:?}");
        events[0].clone()
    }
}

async fn numbered(db: &Db, count: usize) -> Result<()> {
    let tags = (0..count).map(|number| NewTag::new(format!("tag {number:05}")));
    db.insert_all(tags).await.map(drop)
}

#[tokio::test]
async fn events_count_the_rows() -> Result<()> {
    let db = Db::new(Memory::new());
    numbered(&db, 300).await?;
    let (heard, _guard) = listen(Level::DEBUG);
    db.query::<Tag>().all().await?;
    assert_eq!(heard.only().get("rows"), "300");
    db.query::<Tag>().first().await?;
    assert_eq!(heard.only().get("rows"), "1");
    db.query::<Tag>().delete().await?;
    let event = heard.only();
    assert_eq!((event.get("rows"), event.get("verb")), ("300", "write"));
    db.transaction(|tx| async move { tx.query::<Tag>().count().await })
        .await?;
    let events = heard.take();
    let verbs: Vec<_> = events.iter().map(|event| event.get("verb")).collect();
    assert_eq!(verbs, ["begin", "read", "commit"]);
    assert!(
        events
            .iter()
            .all(|event| event.get("site").contains("calls.rs"))
    );
    Ok(())
}

#[tokio::test]
async fn a_slow_call_names_its_shape_at_warn() -> Result<()> {
    let db = Db::with_options(Memory::new(), DbOptions::default().slow(Duration::ZERO));
    let (heard, _guard) = listen(Level::WARN);
    let mut said = Vec::new();
    let (outcome, report) = db
        .observe(async {
            let tag = db.insert(NewTag::new("a")).await?;
            said.push(heard.only());
            db.insert_all([NewTag::new("b"), NewTag::new("c")]).await?;
            said.push(heard.only());
            db.get::<Tag>(tag.id).await?;
            said.push(heard.only());
            let query = db.query::<Tag>().filter(Tag::NAME.ge("b")).limit(1);
            query.all().await?;
            said.push(heard.only());
            db.delete::<Tag>(tag.id).await?;
            said.push(heard.only());
            Ok::<_, Error>(())
        })
        .await;
    outcome?;
    assert_eq!(said.len(), report.count());
    for (said, seen) in said.iter().zip(report.statements()) {
        assert_eq!(said.get("shape"), seen.shape);
        assert_eq!(said.get("target"), "larder::slow");
    }
    assert_eq!(said[2].get("shape"), "select tags where id = ?");
    Ok(())
}

#[tokio::test]
async fn a_stream_is_not_slow_because_its_taker_is() -> Result<()> {
    let slow = Duration::from_millis(200);
    let db = Db::with_options(Memory::new(), DbOptions::default().slow(slow));
    numbered(&db, 1_000).await?;
    let (heard, _guard) = listen(Level::WARN);
    let mut stream = db.query::<Tag>().stream();
    stream.next().await.expect("many more rows")?;
    tokio::time::sleep(slow * 2).await;
    while let Some(row) = stream.next().await {
        row?;
    }
    assert!(heard.take().is_empty());
    Ok(())
}

#[tokio::test]
async fn a_call_that_is_dropped_is_told() -> Result<()> {
    let memory = Memory::new();
    let db = Db::new(hanging(&["read"], &memory));
    let (heard, _guard) = listen(Level::DEBUG);
    let read = db.query::<Tag>().all();
    assert!(tokio::time::timeout(SHORT, read).await.is_err());
    let event = heard.only();
    assert_eq!(event.get("error"), "cancelled");
    assert_eq!(event.get("shape"), "select tags");
    drop(db.query::<Tag>().all()); // never asked
    assert!(heard.take().is_empty());
    Ok(())
}

#[tokio::test]
async fn values_are_shown_when_asked_for_but_not_without_bound() -> Result<()> {
    let hidden = Db::new(Memory::new());
    let db = Db::with_options(Memory::new(), DbOptions::default().log_values(true));
    let (heard, _guard) = listen(Level::DEBUG);
    numbered(&hidden, 1).await?;
    assert!(!heard.only().get("shape").contains("tag 0"));
    let tag = db.insert(NewTag::new("aaa")).await?;
    let shape = heard.only().get("shape").to_owned();
    assert!(
        shape.starts_with("insert row into tags (") && shape.contains("aaa"),
        "{shape}"
    );
    let long = Tag::NAME.eq("x".repeat(1_000));
    db.query::<Tag>().filter(long).count().await?;
    let shape = heard.only().get("shape").to_owned();
    assert!(shape.contains("xxx") && shape.len() < 300, "{shape}");
    numbered(&db, 1_000).await?;
    let shape = heard.only().get("shape").to_owned();
    assert!(
        shape.contains("\"tag 00003\"") && shape.ends_with("more"),
        "{shape}"
    );
    assert!(shape.len() < 1_000, "{shape}");
    db.update_all([Tag {
        name: "b".into(),
        ..tag
    }])
    .await?;
    let shape = heard.only().get("shape").to_owned();
    assert!(shape.contains("\"b\""), "{shape}");
    let names = (0..1_000).map(|number| format!("name {number}"));
    db.query::<Tag>()
        .filter(Tag::NAME.in_(names))
        .count()
        .await?;
    let shape = heard.only().get("shape").to_owned();
    assert!(
        shape.contains("\"name 1\"") && shape.len() < 1_000,
        "{shape}"
    );
    Ok(())
}
