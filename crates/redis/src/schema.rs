//! [`Schema`]: the tables that a handle knows, and what the namespace says about them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use fred::interfaces::HashesInterface;
use fred::types::FromValue;
use larder_core::work::check_same;
use larder_core::{Error, ErrorKind, OnDelete, Result, Table};

use crate::client::Client;
use crate::error::{Effect, classify};
use crate::layout::{IndexKind, Layout, VERSION};
use crate::script::script;

/// Tables by name. Shared by all clones of a handle.
#[derive(Debug)]
pub(crate) struct Schema {
    known: RwLock<Known>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    layouts: BTreeMap<&'static str, Arc<Layout>>,
    /// The tables in the namespace and what they refer to, as of this version.
    recorded: BTreeMap<String, Recorded>,
    version: Bytes,
    stale: Arc<AtomicBool>,
}

/// What the namespace says about a table.
#[derive(Clone, Debug)]
struct Recorded {
    description: String,
    parents: Vec<String>,
}

script! {
    // KEYS: schema, migrated. ARGV: a name and a description for each table. Answers a table that is
    // there and different, or nothing.
    static RECORD: Writes = "
        for i = 1, #ARGV, 2 do
            local now = redis.call('HGET', KEYS[1], ARGV[i])
            if now and now ~= ARGV[i + 1] then return ARGV[i] end
        end
        local added, time = 0, redis.call('TIME')
        local now = string.format('%.0f', time[1] * 1000000 + time[2])
        for i = 1, #ARGV, 2 do
            added = added + redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1])
            redis.call('HSETNX', KEYS[2], ARGV[i], now)
        end
        if added > 0 then redis.call('HINCRBY', KEYS[1], '', 1) end
        return ''
    "
}

impl Schema {
    pub(crate) fn new() -> Self {
        Self {
            known: RwLock::default(),
        }
    }

    /// The layouts of these tables, if all are known.
    ///
    /// # Errors
    /// `Schema` for a model that disagrees with another one about a table's columns.
    fn find(&self, tables: &[&'static Table]) -> Result<Option<Tables>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if known.stale.load(Ordering::Relaxed) {
            return Ok(None);
        }
        for table in tables {
            match known.layouts.get(table.name) {
                Some(layout) => check_same(layout.table, table)?,
                None => return Ok(None),
            }
        }
        Ok(Some(Tables {
            layouts: known.layouts.clone(),
            version: known.version.clone(),
            stale: Arc::clone(&known.stale),
        }))
    }

    /// The tables of the handle, these among them. Asks the server if one is not known yet.
    ///
    /// # Errors
    /// `Schema` if the namespace does not have one, or has it in another form.
    pub(crate) async fn tables(
        &self,
        client: &Client,
        wanted: &[&'static Table],
    ) -> Result<Tables> {
        if let Some(tables) = self.find(wanted)? {
            return Ok(tables);
        }
        self.load(client, wanted).await?;
        match self.find(wanted)? {
            Some(tables) => Ok(tables),
            None => Err(self.refusal(client, wanted)),
        }
    }

    /// Reads what the namespace says, and knows those of `wanted` and of the options' tables that
    /// it has in this form.
    pub(crate) async fn load(&self, client: &Client, wanted: &[&'static Table]) -> Result<()> {
        let all: BTreeMap<String, Bytes> = hash(client, b"schema").await?;
        let mut fresh = Known {
            version: Bytes::from_static(b"0"),
            ..Known::default()
        };
        for (name, text) in all {
            if name.is_empty() {
                fresh.version = text;
            } else {
                let text = String::from_utf8_lossy(&text).into_owned();
                fresh.recorded.insert(name, Recorded::parse(text));
            }
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut known.layouts);
        let before = before.into_values().map(|layout| layout.table);
        let options = client.options().tables.iter().copied();
        for table in before.chain(options).chain(wanted.iter().copied()) {
            let layout = Layout::new(client.namespace(), table);
            let recorded = fresh.recorded.get(table.name);
            if recorded.is_some_and(|recorded| recorded.description == describe(&layout)) {
                fresh.layouts.entry(table.name).or_insert(Arc::new(layout));
            }
        }
        *known = fresh;
        Ok(())
    }

    /// What the namespace says about each of its tables.
    pub(crate) async fn recorded(&self, client: &Client) -> Result<BTreeMap<String, String>> {
        let mut all: BTreeMap<String, String> = hash(client, b"schema").await?;
        all.remove("");
        Ok(all)
    }

    /// When each of its tables was last made or changed, in microseconds since 1970.
    pub(crate) async fn migrated(&self, client: &Client) -> Result<BTreeMap<String, i64>> {
        hash(client, b"migrated").await
    }

    /// Records tables that the namespace does not have yet; they are known then.
    pub(crate) async fn create(&self, client: &Client, tables: &[&'static Table]) -> Result<()> {
        let namespace = client.namespace();
        let keys = vec![namespace.key(&[b"schema"]), namespace.key(&[b"migrated"])];
        let mut arguments = Vec::with_capacity(tables.len() * 2);
        for table in tables {
            let layout = Layout::new(client.namespace(), table);
            arguments.push(Bytes::from_static(table.name.as_bytes()));
            arguments.push(describe(&layout).into());
        }
        let answer = RECORD.run(client, keys, arguments).await?;
        let different = answer.into_string().unwrap_or_default();
        if let Some(table) = tables.iter().find(|table| table.name == different) {
            return Err(changed(table));
        }
        self.load(client, tables).await
    }

    /// Checks that every table which refers to this one, or to one that goes with it, is known.
    ///
    /// # Errors
    /// `Schema`, naming the table that is not.
    pub(crate) fn check_referrers(&self, table: &Table) -> Result<()> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut reached = vec![table.name.to_owned()];
        let mut at = 0;
        while let Some(parent) = reached.get(at).cloned() {
            at += 1;
            for (name, recorded) in &known.recorded {
                if !recorded.parents.contains(&parent) || reached.contains(name) {
                    continue;
                }
                if !known.layouts.contains_key(name.as_str()) {
                    return Err(unknown_referrer(name, &parent));
                }
                reached.push(name.clone());
            }
        }
        Ok(())
    }

    fn refusal(&self, client: &Client, wanted: &[&'static Table]) -> Error {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let unknown = |table: &&&'static Table| !known.layouts.contains_key(table.name);
        match wanted.iter().find(unknown) {
            Some(table) if known.recorded.contains_key(table.name) => changed(table),
            Some(table) => missing(table, client),
            None => Error::new(ErrorKind::Schema, "the namespace changed meanwhile"),
        }
    }
}

/// The tables that a handle knows, at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    pub(crate) layouts: BTreeMap<&'static str, Arc<Layout>>,
    /// The version of the namespace's schema; empty for whoever changes it.
    pub(crate) version: Bytes,
    /// Set by who sees that the namespace has another one.
    pub(crate) stale: Arc<AtomicBool>,
}

impl Tables {
    /// The layout of a table that was asked for.
    ///
    /// # Errors
    /// `Schema` if it was not.
    pub(crate) fn layout(&self, table: &Table) -> Result<&Arc<Layout>> {
        self.layouts.get(table.name).ok_or_else(|| {
            Error::new(ErrorKind::Schema, "the table is not known to this handle")
                .with_table(table.name.to_owned())
        })
    }
}

impl Recorded {
    fn parse(description: String) -> Self {
        let parents = description
            .lines()
            .filter_map(|line| line.strip_prefix("reference\t")?.split('\t').nth(1))
            .map(str::to_owned)
            .collect();
        Self {
            description,
            parents,
        }
    }
}

async fn hash<V: FromValue>(client: &Client, name: &[u8]) -> Result<BTreeMap<String, V>> {
    let driver = client.ready().await?;
    let key = client.namespace().key(&[name]);
    Box::pin(driver.hgetall(key))
        .await
        .map_err(|error| classify(error, Effect::Reads))
}

/// What decides how a table's rows and indexes are kept, one thing a line.
pub(crate) fn describe(layout: &Layout) -> String {
    let table = layout.table;
    let names = |columns: &[usize]| {
        let names = columns.iter().map(|&at| table.columns[at].name);
        names.collect::<Vec<_>>().join("\t")
    };
    let mut text = String::new();
    // Writing to a String cannot fail.
    for column in table.columns {
        let _ = writeln!(text, "column\t{}\t{}", column.name, column.kind.name());
    }
    for index in &layout.indexes {
        let what = match index.kind {
            IndexKind::Key => "key",
            IndexKind::Unique => "unique",
            IndexKind::Plain => "index",
        };
        let _ = writeln!(text, "{what}\t{}\t{}", index.name, names(&index.columns));
    }
    for column in table.columns {
        if let Some(reference) = &column.references {
            let rule = match reference.on_delete {
                OnDelete::Restrict => "restrict",
                OnDelete::Cascade => "cascade",
                OnDelete::SetNull => "set null",
            };
            let parent = (reference.table)().name;
            let _ = writeln!(text, "reference\t{}\t{parent}\t{rule}", column.name);
        }
    }
    text
}

/// The version's field in the schema's hash.
pub(crate) const SCHEMA_VERSION: Bytes = VERSION;

#[cold]
fn changed(table: &Table) -> Error {
    Error::new(
        ErrorKind::Schema,
        "the namespace has this table in another form: migrate it to the model's",
    )
    .with_table(table.name.to_owned())
}

#[cold]
fn missing(table: &Table, client: &Client) -> Error {
    Error::new(
        ErrorKind::Schema,
        format!(
            "the namespace {:?} does not have this table: make it with `create_tables` or by a \
             migration",
            client.namespace()
        ),
    )
    .with_table(table.name.to_owned())
}

#[cold]
fn unknown_referrer(table: &str, parent: &str) -> Error {
    Error::new(
        ErrorKind::Schema,
        format!(
            "rows of this table refer to `{parent}`, but this handle does not know it, and could \
             not keep its rows whole: give all models to `RedisOptions::tables`"
        ),
    )
    .with_table(table.to_owned())
}
