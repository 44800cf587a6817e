//! Tables of a namespace brought to the form of their models: made, changed, dropped; and their
//! indexes checked and made anew.
//!
//! Redis has no schema, so that there are no migration files: what the namespace says about a table
//! (`schema`) is compared with the model. Rows are changed and indexes built some hundreds at a
//! time. Meanwhile the table is marked, and every handle refuses to read or write it (`Schema`).
//! Who dies in between leaves the mark; migrating again does the rest.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use larder_core::migration::{MigrationRun, MigrationState, MigrationStatus};
use larder_core::{DefaultValue, Error, ErrorKind, Result, Table, Timestamp, Value};

use crate::bind;
use crate::columns::Columns;
use crate::draft::is_exclusive;
use crate::encode;
use crate::error::unreadable;
use crate::fetch::{Ahead, Request, number};
use crate::handle::Handle;
use crate::layout::Layout;
use crate::plan::Range;
use crate::row::Found;
use crate::schema::{Tables, describe};
use crate::script::script;

/// How many rows are changed at a time.
const ROWS_AT_ONCE: usize = 500;
/// How long a migration that says nothing more keeps others from migrating.
const LOCK: Duration = Duration::from_secs(30);
/// Begins the description of a table that is being changed: no model has such a one.
const MARK: &str = "changing\n";

script! {
    // KEYS: the lock. ARGV: who asks, for how many milliseconds. Takes the lock or keeps it.
    static HOLD: Writes = "
        local holder = redis.call('GET', KEYS[1])
        if holder and holder ~= ARGV[1] then return 0 end
        redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
        return 1
    "
}

script! {
    // KEYS: the lock. ARGV: who lets go.
    static LET_GO: Writes = "
        if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
        return true
    "
}

script! {
    // KEYS: schema, migrated. ARGV: a table, its description (none: it is gone).
    static DESCRIBE: Writes = "
        if ARGV[2] == '' then
            redis.call('HDEL', KEYS[1], ARGV[1])
            redis.call('HDEL', KEYS[2], ARGV[1])
        else
            local time = redis.call('TIME')
            redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
            redis.call('HSET', KEYS[2], ARGV[1], string.format('%.0f', time[1] * 1000000 + time[2]))
        end
        redis.call('HINCRBY', KEYS[1], '', 1)
        return true
    "
}

script! {
    // KEYS: sets. ARGV: for each the members to add, with how many go before; then for rows their
    // key, how many words, and fields with their values, which are set where there are none.
    // Answers how many members there were not.
    static ADD: Writes = "
        local at, added = 0, 0
        local function take() at = at + 1; return ARGV[at] end
        for _, set in ipairs(KEYS) do
            for i = 1, tonumber(take()) do added = added + redis.call('ZADD', set, 0, take()) end
        end
        while at < #ARGV do
            local row = take()
            for i = 1, tonumber(take()) do redis.call('HSETNX', row, take(), take()) end
        end
        return added
    "
}

script! {
    // KEYS: sets. ARGV: for each the members to look for, with how many go before. Answers how
    // many are not there.
    static LOOK: Reads = "
        local at, missing = 0, 0
        local function take() at = at + 1; return ARGV[at] end
        for _, set in ipairs(KEYS) do
            for i = 1, tonumber(take()) do
                if not redis.call('ZSCORE', set, take()) then missing = missing + 1 end
            end
        end
        return missing
    "
}

script! {
    // KEYS: a set. Answers how many members it has.
    static SIZE: Reads = "return redis.call('ZCARD', KEYS[1])"
}

script! {
    // KEYS: keys to remove.
    static REMOVE: Writes = "return redis.call('UNLINK', unpack(KEYS))"
}

script! {
    // KEYS: the set of a table's keys. ARGV: what rows' keys begin with, how many to remove.
    // Answers how many are left.
    static REMOVE_ROWS: Writes = "
        for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, tonumber(ARGV[2]) - 1)) do
            redis.call('UNLINK', ARGV[1] .. id)
            redis.call('ZREM', KEYS[1], id)
        end
        return redis.call('ZCARD', KEYS[1])
    "
}

/// How a table's indexes differ from its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IndexDrift {
    /// The table.
    pub table: &'static str,
    /// How many entries of rows its indexes do not have: reads miss these rows.
    pub missing: u64,
    /// How many entries its indexes have of rows that are not there, or hold something else.
    pub dangling: u64,
}

impl IndexDrift {
    /// Whether rows and indexes agree.
    pub fn is_none(&self) -> bool {
        self.missing == 0 && self.dangling == 0
    }
}

/// Brings the tables, one after the other, to the form of their models; answers what was done.
pub(crate) async fn up(handle: &Handle, tables: &[&'static Table]) -> Result<Vec<MigrationRun>> {
    let lock = Lock::take(handle).await?;
    let done = bring_up(handle, &lock, tables).await;
    lock.release(handle).await?;
    handle.schema.load(&handle.client, tables).await?;
    done
}

async fn bring_up(
    handle: &Handle,
    lock: &Lock,
    tables: &[&'static Table],
) -> Result<Vec<MigrationRun>> {
    let mut done = Vec::new();
    for (at, table) in tables.iter().enumerate() {
        let started = Instant::now();
        let layout = Layout::new(handle.client.namespace(), table);
        let recorded = handle.schema.recorded(&handle.client).await?;
        match recorded.get(table.name) {
            Some(now) if *now == describe(&layout) => continue,
            Some(now) => change(handle, lock, layout, now).await?,
            None => handle.schema.create(&handle.client, &[table]).await?,
        }
        done.push(run_of(at, table, started));
    }
    Ok(done)
}

/// Drops the tables behind the first `keep`, the last one first.
pub(crate) async fn down(
    handle: &Handle,
    tables: &[&'static Table],
    keep: usize,
) -> Result<Vec<MigrationRun>> {
    let lock = Lock::take(handle).await?;
    let recorded = handle.schema.recorded(&handle.client).await?;
    let mut done = Vec::new();
    for (at, table) in tables.iter().enumerate().skip(keep).rev() {
        let Some(now) = recorded.get(table.name) else {
            continue;
        };
        let started = Instant::now();
        let layout = Layout::new(handle.client.namespace(), table);
        mark(handle, table, now).await?;
        loop {
            lock.hold(handle).await?;
            let arguments = vec![layout.row.clone(), number(ROWS_AT_ONCE)];
            let keys = vec![layout.indexes[0].key.clone()];
            let left = REMOVE_ROWS.run(&handle.client, keys, arguments).await?;
            if left.as_i64() == Some(0) {
                break;
            }
        }
        let mut indexes: Vec<Bytes> = index_lines(now)
            .map(|(name, _)| layout.index_key(handle.client.namespace(), name))
            .collect();
        indexes.push(layout.indexes[0].key.clone());
        REMOVE.run(&handle.client, indexes, Vec::new()).await?;
        record(handle, table, "").await?;
        done.push(run_of(at, table, started));
    }
    lock.release(handle).await?;
    handle.schema.load(&handle.client, &[]).await?;
    Ok(done)
}

/// How the tables stand.
pub(crate) async fn status(
    handle: &Handle,
    tables: &[&'static Table],
) -> Result<Vec<MigrationStatus>> {
    let recorded = handle.schema.recorded(&handle.client).await?;
    let times = handle.schema.migrated(&handle.client).await?;
    let one = |(at, table): (usize, &&'static Table)| {
        let layout = Layout::new(handle.client.namespace(), table);
        let state = match recorded.get(table.name) {
            None => MigrationState::Pending,
            Some(now) if now.starts_with(MARK) => MigrationState::Dirty,
            Some(now) if *now == describe(&layout) => MigrationState::Applied,
            Some(_) => MigrationState::Changed,
        };
        let at_micros = times.get(table.name).copied();
        MigrationStatus {
            version: version(at),
            name: table.name.to_owned(),
            state,
            applied_at: at_micros.and_then(|at| Timestamp::from_micros(at).ok()),
        }
    };
    Ok(tables.iter().enumerate().map(one).collect())
}

/// Compares a table's indexes with its rows.
pub(crate) async fn check(handle: &Handle, table: &'static Table) -> Result<IndexDrift> {
    let tables = handle.schema.tables(&handle.client, &[table]).await?;
    let layout = Arc::clone(tables.layout(table)?);
    let mut rows = Walk::new(handle, &layout);
    let (mut missing, mut found, mut gone) = (0, 0, 0);
    while let Some((batch, members)) = rows.next().await? {
        gone += (members - batch.len()) as u64;
        found += batch.len() as u64;
        let (keys, arguments) = members_of(&layout, &batch, |_| true);
        let lost = LOOK.run(&handle.client, keys, arguments).await?;
        missing += lost.as_i64().ok_or_else(unreadable)?.unsigned_abs();
    }
    let mut entries = 0;
    for index in &layout.indexes[1..] {
        let size = SIZE.run(&handle.client, vec![index.key.clone()], Vec::new());
        entries += size.await?.as_i64().ok_or_else(unreadable)?.unsigned_abs();
    }
    let expected = found * (layout.indexes.len() as u64 - 1) - missing;
    Ok(IndexDrift {
        table: layout.table.name,
        missing,
        dangling: gone + entries.saturating_sub(expected),
    })
}

/// Makes a table's indexes anew from its rows.
pub(crate) async fn repair(handle: &Handle, table: &'static Table) -> Result<()> {
    let lock = Lock::take(handle).await?;
    let layout = Layout::new(handle.client.namespace(), table);
    let description = describe(&layout);
    let recorded = handle.schema.recorded(&handle.client).await?;
    if recorded
        .get(table.name)
        .is_none_or(|now| now.trim_start_matches(MARK) != description)
    {
        return Err(Error::new(
            ErrorKind::Schema,
            "the namespace does not have this table in the model's form: migrate it first",
        )
        .with_table(table.name));
    }
    mark(handle, table, &description).await?;
    remove_indexes(
        handle,
        &layout,
        layout.indexes[1..].iter().map(|index| index.key.clone()),
    )
    .await?;
    build(handle, &lock, &layout, |_| true, &[]).await?;
    record(handle, table, &description).await?;
    lock.release(handle).await?;
    handle.schema.load(&handle.client, &[table]).await
}

/// Changes a table from the form that is recorded.
async fn change(handle: &Handle, lock: &Lock, layout: Layout, now: &str) -> Result<()> {
    let table = layout.table;
    let is_marked = now.starts_with(MARK);
    let before = now.trim_start_matches(MARK);
    let after = describe(&layout);
    refuse_lossy(table, before, &after)?;
    let known: HashSet<&str> = before.lines().filter(|_| !is_marked).collect();
    let added: HashSet<&str> = after.lines().filter(|line| !known.contains(line)).collect();
    let filled = defaults(&layout, before)?;
    mark(handle, table, before).await?;
    let wanted: HashSet<&str> = after.lines().collect();
    let gone: HashSet<Bytes> = index_lines(before)
        .filter(|(_, line)| is_marked || !wanted.contains(line))
        .map(|(name, _)| layout.index_key(handle.client.namespace(), name))
        .collect();
    let lines: Vec<&str> = after.lines().filter(|line| is_index(line)).collect();
    let is_new = |index: usize| lines.get(index).is_some_and(|line| added.contains(line));
    let indexes = layout.indexes.iter().enumerate().skip(1);
    let new: HashSet<Bytes> = indexes
        .filter(|(at, _)| is_new(*at))
        .map(|(_, index)| index.key.clone())
        .collect();
    // Those that lie where new ones will go first, the others when these are there.
    let replaced: Vec<Bytes> = gone.intersection(&new).cloned().collect();
    let can_go_back = replaced.is_empty() && !is_marked;
    remove_indexes(handle, &layout, replaced.into_iter()).await?;
    if let Err(error) = build(handle, lock, &layout, is_new, &filled).await {
        if error.kind() == ErrorKind::Unique && can_go_back {
            remove_indexes(handle, &layout, new.into_iter()).await?;
            record(handle, table, before).await?;
        }
        return Err(error);
    }
    remove_indexes(handle, &layout, gone.difference(&new).cloned()).await?;
    record(handle, table, &after).await
}

/// Adds what indexes lack, and values to rows that lack them.
async fn build(
    handle: &Handle,
    lock: &Lock,
    layout: &Layout,
    is_new: impl Fn(usize) -> bool,
    filled: &[(usize, Value)],
) -> Result<()> {
    let layout = Arc::new(Layout::new(handle.client.namespace(), layout.table));
    let mut rows = Walk::new(handle, &layout);
    let mut taken: HashSet<(usize, Vec<u8>)> = HashSet::new();
    while let Some((mut batch, _)) = rows.next().await? {
        lock.hold(handle).await?;
        for found in &mut batch {
            let mut row = found.row.to_vec();
            for (at, value) in filled {
                if row[*at].is_null() {
                    row[*at] = value.clone();
                }
            }
            found.row = row.into();
            for (at, index) in layout.indexes.iter().enumerate().skip(1) {
                let values = index.values(&found.row);
                if is_new(at)
                    && is_exclusive(&layout, at, &found.row)
                    && !taken.insert((at, values))
                {
                    return Err(Error::new(
                        ErrorKind::Unique,
                        "rows have the same values, and the model says that no two may: change \
                         them and migrate again",
                    )
                    .with_table(layout.table.name)
                    .with_constraint(index.name.clone()));
                }
            }
        }
        let (keys, mut arguments) = members_of(&layout, &batch, &is_new);
        if !filled.is_empty() {
            for found in &batch {
                arguments.push(layout.row_key(&encode::values(&layout.key_of(&found.row)[..])));
                arguments.push(number(filled.len()));
                for (at, value) in filled {
                    arguments.push(layout.fields[*at].clone());
                    arguments.push(bind::field(value).unwrap_or_default());
                }
            }
        }
        ADD.run(&handle.client, keys, arguments).await?;
    }
    Ok(())
}

/// The entries that these rows have in indexes, each set's behind their number.
fn members_of(
    layout: &Layout,
    rows: &[Found],
    wanted: impl Fn(usize) -> bool,
) -> (Vec<Bytes>, Vec<Bytes>) {
    let (mut keys, mut arguments) = (Vec::new(), Vec::new());
    for (at, index) in layout.indexes.iter().enumerate().skip(1) {
        if !wanted(at) {
            continue;
        }
        keys.push(index.key.clone());
        arguments.push(number(rows.len()));
        arguments.extend(
            rows.iter()
                .map(|found| index.member(layout.table, &found.row)),
        );
    }
    (keys, arguments)
}

async fn remove_indexes(
    handle: &Handle,
    layout: &Layout,
    keys: impl Iterator<Item = Bytes>,
) -> Result<()> {
    let keys: Vec<Bytes> = keys.filter(|key| *key != layout.indexes[0].key).collect();
    if !keys.is_empty() {
        REMOVE.run(&handle.client, keys, Vec::new()).await?;
    }
    Ok(())
}

/// Refuses what would lose data, or what rows cannot be told apart by any more.
fn refuse_lossy(table: &Table, before: &str, after: &str) -> Result<()> {
    let refuse = |what: &'static str| {
        Err(Error::unsupported("a migration on Redis", what).with_table(table.name.to_owned()))
    };
    let of = |text: &str| -> BTreeMap<String, String> {
        let lines = text
            .lines()
            .filter_map(|line| line.strip_prefix("column\t"));
        let pairs = lines.filter_map(|line| line.split_once('\t'));
        pairs
            .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
            .collect()
    };
    let (before_columns, after_columns) = (of(before), of(after));
    for (name, kind) in &before_columns {
        if after_columns.get(name).is_some_and(|after| after != kind) {
            return refuse("another kind of a column: copy the data into a new namespace");
        }
    }
    let key = |text: &str| {
        text.lines()
            .find(|line| line.starts_with("key\t"))
            .map(str::to_owned)
    };
    if key(before) != key(after) {
        return refuse("another key of a table: copy the data into a new namespace");
    }
    Ok(())
}

/// The columns that rows lack so far and must have, with their defaults.
fn defaults(layout: &Layout, before: &str) -> Result<Vec<(usize, Value)>> {
    let table = layout.table;
    let is_new = |name: &str| {
        let start = format!("column\t{name}\t");
        !before.lines().any(|line| line.starts_with(&start))
    };
    let mut filled = Vec::new();
    for (at, column) in table.columns.iter().enumerate() {
        if !is_new(column.name) {
            continue;
        }
        match column.default {
            Some(DefaultValue::Bool(v)) => filled.push((at, Value::Bool(v))),
            Some(DefaultValue::Int(v)) => filled.push((at, Value::Int(v))),
            Some(DefaultValue::Float(v)) => filled.push((at, Value::Float(v))),
            Some(DefaultValue::Text(v)) => filled.push((at, Value::Text(v.into()))),
            None if column.nullable => {}
            None if table.version == Some(at) => filled.push((at, Value::Int(1))),
            None => {
                return Err(Error::unsupported(
                    "a migration on Redis",
                    "a new column that rows must have, without a default",
                )
                .with_table(table.name)
                .with_column(column.name));
            }
        }
    }
    Ok(filled)
}

/// Keeps everybody from the table.
async fn mark(handle: &Handle, table: &Table, before: &str) -> Result<()> {
    record(
        handle,
        table,
        &format!("{MARK}{}", before.trim_start_matches(MARK)),
    )
    .await
}

async fn record(handle: &Handle, table: &Table, description: &str) -> Result<()> {
    let namespace = handle.client.namespace();
    let keys = vec![namespace.key(&[b"schema"]), namespace.key(&[b"migrated"])];
    let arguments = vec![
        Bytes::copy_from_slice(table.name.as_bytes()),
        Bytes::copy_from_slice(description.as_bytes()),
    ];
    DESCRIBE
        .run(&handle.client, keys, arguments)
        .await
        .map(drop)
}

fn is_index(line: &str) -> bool {
    ["key\t", "unique\t", "index\t"]
        .iter()
        .any(|start| line.starts_with(start))
}

/// The names of the indexes in a description, but for the key's, and the lines.
fn index_lines(description: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = description
        .lines()
        .filter(|line| is_index(line) && !line.starts_with("key\t"));
    lines.filter_map(|line| Some((line.split('\t').nth(1)?, line)))
}

fn version(at: usize) -> i32 {
    i32::try_from(at + 1).unwrap_or(i32::MAX)
}

fn run_of(at: usize, table: &Table, started: Instant) -> MigrationRun {
    MigrationRun {
        version: version(at),
        name: table.name.to_owned(),
        took: started.elapsed(),
    }
}

/// All rows of a table, some hundreds at a time.
struct Walk<'a> {
    handle: &'a Handle,
    tables: Tables,
    layout: &'a Layout,
    after: Option<Bytes>,
    is_done: bool,
}

impl<'a> Walk<'a> {
    fn new(handle: &'a Handle, layout: &'a Arc<Layout>) -> Self {
        let tables = Tables {
            layouts: BTreeMap::from([(layout.table.name, Arc::clone(layout))]),
            version: Bytes::new(),
            stale: Arc::default(),
        };
        Self {
            handle,
            tables,
            layout,
            after: None,
            is_done: false,
        }
    }

    /// The next rows, and how many keys there were.
    async fn next(&mut self) -> Result<Option<(Vec<Found>, usize)>> {
        if self.is_done {
            return Ok(None);
        }
        let table = self.layout.table.name;
        let columns = Columns::all();
        let only = std::iter::once(table);
        let client = &self.handle.client;
        let mut request = Request::new(client, &self.tables, &columns, only, ROWS_AT_ONCE);
        let ahead = Ahead {
            range: &Range::all(),
            reverse: false,
            after: self.after.take(),
            most: ROWS_AT_ONCE,
        };
        request.range(table, ahead);
        let mut batch = request.send(client).await?;
        let rows = batch.parts.pop().ok_or_else(unreadable)?;
        self.is_done = rows.members < ROWS_AT_ONCE;
        self.after = rows.last;
        Ok(Some((rows.found, rows.members)))
    }
}

/// Keeps other programs from migrating the namespace.
struct Lock {
    key: Bytes,
    holder: Bytes,
}

impl Lock {
    /// # Errors
    /// `Busy` if another program has it.
    async fn take(handle: &Handle) -> Result<Self> {
        let lock = Self {
            key: handle.client.namespace().key(&[b"migrating"]),
            holder: format!("{:032x}", fastrand::u128(..)).into(),
        };
        lock.hold(handle).await?;
        Ok(lock)
    }

    /// Keeps it for a while longer.
    async fn hold(&self, handle: &Handle) -> Result<()> {
        let millis = LOCK.as_millis().to_string().into();
        let arguments = vec![self.holder.clone(), millis];
        let held = HOLD
            .run(&handle.client, vec![self.key.clone()], arguments)
            .await?;
        if held.as_i64() == Some(1) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Busy,
            "another program migrates this namespace: try again when it is done",
        ))
    }

    async fn release(self, handle: &Handle) -> Result<()> {
        let done = LET_GO
            .run(&handle.client, vec![self.key], vec![self.holder])
            .await;
        done.map(drop)
    }
}
