//! [`commit`]: checks what a draft relied on and applies its changes, in one script.
//!
//! Everything is checked before anything is written: a script that fails half way would not be
//! undone. What is checked is not what was computed but what must be true: rows are as they were
//! read, unique values are free, parents are there, nobody refers to what goes.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use larder_core::eval::Stored;
use larder_core::work::Key;
use larder_core::{Result, Table, Value};

use crate::bind;
use crate::client::Client;
use crate::draft::{Draft, is_exclusive};
use crate::encode;
use crate::error::unreadable;
use crate::fetch::number;
use crate::layout::Layout;
use crate::plan::{Part, Range};
use crate::schema::SCHEMA_VERSION;
use crate::script::script;

/// A range of more rows than this is checked by its table's stamp instead of row by row.
const ROWS_CHECKED_MAX: usize = 256;

script! {
    // KEYS: clock, changed, last, schema, then rows and sets. ARGV: the checks, `!`, the names of
    // the tables that change, `!`, the changes. Answers the number of the commit, or of the check
    // that failed as a negative one. Without changes it only checks.
    static COMMIT: Writes = "
        local at = 0
        local function take() at = at + 1; return ARGV[at] end
        local function number() return tonumber(take()) end
        local function key() return KEYS[number()] end
        local function list()
            local many = number()
            at = at + many
            return at - many + 1, at
        end
        local checked = 0
        while true do
            local what = take()
            if what == '!' then break end
            checked = checked + 1
            local holds
            if what == 'v' then
                local version = redis.call('HGET', key(), '') or ''
                holds = version == take()
            elseif what == 'e' then
                holds = redis.call('EXISTS', key()) == 1
            elseif what == 's' then
                local stamp = redis.call('HGET', key(), take()) or '0'
                holds = stamp == take()
            elseif what == 'c' then
                local many = redis.call('ZLEXCOUNT', key(), take(), take())
                holds = many == number()
            else
                local set, low, high = key(), take(), take()
                local first, last = list()
                local mine = {}
                for i = first, last do mine[ARGV[i]] = true end
                local found = redis.call('ZRANGE', set, low, high, 'BYLEX', 'LIMIT', 0, last - first + 2)
                holds = true
                for _, member in ipairs(found) do holds = holds and mine[member] == true end
            end
            if not holds then return -checked end
        end
        if at == #ARGV then return 0 end
        local time = redis.call('TIME')
        local now = time[1] * 1000000 + time[2]
        local before = tonumber(redis.call('GET', KEYS[1]) or '0')
        if now <= before then now = before + 1 end
        local stamp = string.format('%.0f', now)
        redis.call('SET', KEYS[1], stamp)
        while true do
            local name = take()
            if name == '!' then break end
            redis.call('HSET', KEYS[2], name, stamp)
        end
        while at < #ARGV do
            local what, place = take(), key()
            if what == 'h' then
                local first, last = list()
                redis.call('HSET', place, '', stamp, unpack(ARGV, first, last))
            elseif what == 'u' then
                local first, last = list()
                redis.call('HDEL', place, unpack(ARGV, first, last))
            elseif what == 'd' then
                redis.call('DEL', place)
            elseif what == 'a' then
                redis.call('ZADD', place, 0, take())
            elseif what == 'x' then
                redis.call('ZREM', place, take())
            else
                local name, least = take(), take()
                local now = redis.call('HGET', place, name) or '0'
                if #least > #now or (#least == #now and least > now) then
                    redis.call('HSET', place, name, least)
                end
            end
        end
        return now
    "
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything held and was applied.
    Applied,
    /// Something is not as the draft has it; nothing was applied.
    Lost,
    /// The namespace's schema is not the one that the draft knows; nothing was applied.
    SchemaChanged,
}

/// What else must be as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads<'a> {
    /// Only what the changes themselves rely on: one write, which lies at the moment it read.
    Forget,
    /// All that was read, with the tables' stamps then: a transaction.
    Check(&'a BTreeMap<&'static str, u64>),
}

/// Applies a draft, if everything is still as it has it.
///
/// # Errors
/// `Unknown` if the answer is lost; the server's refusals.
pub(crate) fn commit<'c>(
    client: &'c Client,
    draft: &Draft,
    reads: Reads<'_>,
) -> impl Future<Output = Result<Outcome>> + Send + use<'c> {
    let mut script = Commit::new(client, draft);
    if let Reads::Check(stamps) = reads {
        script.check_reads(stamps);
    }
    script.check_changes();
    script.end_checks();
    if draft.is_changed() {
        script.write();
    }
    run(client, script.keys, script.arguments)
}

/// Checks that everything read is still so, and applies nothing.
pub(crate) fn validate<'c>(
    client: &'c Client,
    draft: &Draft,
    stamps: &BTreeMap<&'static str, u64>,
) -> impl Future<Output = Result<Outcome>> + Send + use<'c> {
    let mut script = Commit::new(client, draft);
    script.check_reads(stamps);
    script.end_checks();
    run(client, script.keys, script.arguments)
}

async fn run(client: &Client, keys: Vec<Bytes>, arguments: Vec<Bytes>) -> Result<Outcome> {
    let answer = COMMIT.run(client, keys, arguments).await?;
    match answer.as_i64().ok_or_else(unreadable)? {
        -1 => Ok(Outcome::SchemaChanged),
        ..-1 => Ok(Outcome::Lost),
        _ => Ok(Outcome::Applied),
    }
}

/// The keys and arguments of the script.
struct Commit<'a> {
    draft: &'a Draft,
    keys: Vec<Bytes>,
    positions: HashMap<Bytes, usize>,
    arguments: Vec<Bytes>,
}

impl<'a> Commit<'a> {
    fn new(client: &Client, draft: &'a Draft) -> Self {
        let mut script = Self {
            draft,
            keys: Vec::new(),
            positions: HashMap::new(),
            arguments: Vec::new(),
        };
        let namespace = client.namespace();
        for name in [&b"clock"[..], b"changed", b"last", b"schema"] {
            script.position(namespace.key(&[name]));
        }
        let schema = number(4);
        let version = draft.tables().version.clone();
        script.push([Bytes::from_static(b"s"), schema, SCHEMA_VERSION, version]);
        script
    }

    fn check_reads(&mut self, stamps: &BTreeMap<&'static str, u64>) {
        let draft = self.draft;
        let mut stamped = Vec::new();
        for (layout, part, many) in draft.reads() {
            match part {
                Part::Row(key) if many == 0 => self.version(layout.row_key(key), Bytes::new()),
                Part::Row(_) => {} // among the rows seen, or only its being there
                Part::Range(range) if many <= ROWS_CHECKED_MAX => self.count(layout, range, many),
                Part::Range(_) => {
                    if !stamped.contains(&layout.table.name) {
                        stamped.push(layout.table.name);
                    }
                }
            }
        }
        for table in &stamped {
            let stamp = stamps.get(table).copied().unwrap_or(0);
            let name = Bytes::from_static(table.as_bytes());
            self.push([
                Bytes::from_static(b"s"),
                number(2),
                name,
                stamp.to_string().into(),
            ]);
        }
        for (layout, key) in draft.seen() {
            let is_stamped = stamped.contains(&layout.table.name);
            if let (false, Some(base)) = (is_stamped, draft.before(layout.table, &key)) {
                self.version(row_key(&layout, &key), base.version.clone());
            }
        }
    }

    fn check_changes(&mut self) {
        let draft = self.draft;
        for (layout, keys) in draft.touched() {
            for key in keys {
                let before = draft.before(layout.table, key);
                let version = before.map_or_else(Bytes::new, |base| base.version.clone());
                self.version(row_key(layout, key), version);
            }
            self.check_uniques(layout);
            self.check_parents(layout);
            self.check_children(layout);
        }
    }

    /// Values that rows take are free, or belong to rows that let go of them.
    fn check_uniques(&mut self, layout: &Layout) {
        for index in 0..layout.indexes.len() {
            let mut freed: HashMap<Vec<u8>, Vec<Bytes>> = HashMap::new();
            for row in self.rows_before(layout) {
                if is_exclusive(layout, index, &row) {
                    let index = &layout.indexes[index];
                    let members = freed.entry(index.values(&row)).or_default();
                    members.push(index.member(layout.table, &row));
                }
            }
            for (row, before) in self.rows_after(layout) {
                let is_same = |before: &Stored| {
                    let columns = &layout.indexes[index].columns;
                    columns.iter().all(|&at| before[at] == row[at])
                };
                if !is_exclusive(layout, index, &row) || before.is_some_and(|row| is_same(&row)) {
                    continue;
                }
                let values = layout.indexes[index].values(&row);
                let mine = freed.get(&values).cloned().unwrap_or_default();
                let (low, high) = Range::prefix(index, values).bounds();
                let set = self.position(layout.indexes[index].key.clone());
                self.push([
                    Bytes::from_static(b"f"),
                    number(set),
                    low,
                    high,
                    number(mine.len()),
                ]);
                self.arguments.extend(mine);
            }
        }
    }

    /// What rows refer to anew is there.
    fn check_parents(&mut self, layout: &Layout) {
        let draft = self.draft;
        for (at, column) in layout.table.columns.iter().enumerate() {
            let Some(reference) = &column.references else {
                continue;
            };
            let parent = (reference.table)();
            let Some(parent) = draft.layout(parent) else {
                continue;
            };
            let mut wanted: Vec<Value> = Vec::new();
            for (row, before) in self.rows_after(layout) {
                let is_same = before.is_some_and(|before| before[at] == row[at]);
                if !row[at].is_null() && !is_same {
                    wanted.push(row[at].clone());
                }
            }
            wanted.sort_unstable();
            wanted.dedup();
            for value in wanted {
                let key = Key::from([value]);
                // One that the draft makes itself is not there yet.
                if draft.after(parent.table, &key).is_some()
                    && draft.before(parent.table, &key).is_none()
                {
                    continue;
                }
                let row = self.position(row_key(parent, &key));
                self.push([Bytes::from_static(b"e"), number(row)]);
            }
        }
    }

    /// Nobody refers to rows that go, but rows that the draft changes.
    fn check_children(&mut self, parent: &Layout) {
        let draft = self.draft;
        let gone: Vec<Key> = self
            .touched_keys(parent)
            .filter(|key| draft.after(parent.table, key).is_none() && key.len() == 1)
            .collect();
        if gone.is_empty() {
            return;
        }
        for layout in draft.tables().layouts.values() {
            for (at, column) in layout.table.columns.iter().enumerate() {
                let refers = column.references.as_ref();
                if !refers.is_some_and(|reference| (reference.table)().is(parent.table)) {
                    continue;
                }
                let mut mine: HashMap<Value, usize> = HashMap::new();
                for row in self.rows_before(layout) {
                    *mine.entry(row[at].clone()).or_default() += 1;
                }
                let Some(index) = layout.leading(at) else {
                    continue;
                };
                for key in &gone {
                    let many = mine.get(&key[0]).copied().unwrap_or(0);
                    self.count(
                        layout,
                        &Range::prefix(index, encode::values(&key[..])),
                        many,
                    );
                }
            }
        }
    }

    fn write(&mut self) {
        let draft = self.draft;
        for (layout, _) in draft.touched() {
            self.push([Bytes::from_static(layout.table.name.as_bytes())]);
        }
        self.push([Bytes::from_static(b"!")]);
        for (layout, keys) in draft.touched() {
            for key in keys {
                let before = draft.before(layout.table, key).map(|base| &base.row);
                let after = draft.after(layout.table, key);
                self.write_row(layout, key, before, after);
                self.write_indexes(layout, before, after);
            }
            let last = draft.last_key_of(layout.table);
            if layout.table.auto_key && last > 0 {
                let name = Bytes::from_static(layout.table.name.as_bytes());
                self.push([
                    Bytes::from_static(b"q"),
                    number(3),
                    name,
                    last.to_string().into(),
                ]);
            }
        }
    }

    fn write_row(
        &mut self,
        layout: &Layout,
        key: &Key,
        before: Option<&Stored>,
        after: Option<&Stored>,
    ) {
        let Some(after) = after else {
            if before.is_some() {
                let row = self.position(row_key(layout, key));
                self.push([Bytes::from_static(b"d"), number(row)]);
            }
            return;
        };
        let row = number(self.position(row_key(layout, key)));
        let mut set = Vec::new();
        let mut unset = Vec::new();
        for (at, value) in after.iter().enumerate() {
            let name = layout.fields[at].clone();
            match bind::field(value) {
                Some(field) => set.extend([name, field]),
                None if before.is_some_and(|before| !before[at].is_null()) => unset.push(name),
                None => {}
            }
        }
        self.push([Bytes::from_static(b"h"), row.clone(), number(set.len())]);
        self.arguments.extend(set);
        if !unset.is_empty() {
            self.push([Bytes::from_static(b"u"), row, number(unset.len())]);
            self.arguments.extend(unset);
        }
    }

    fn write_indexes(&mut self, layout: &Layout, before: Option<&Stored>, after: Option<&Stored>) {
        for index in &layout.indexes {
            let old = before.map(|row| index.member(layout.table, row));
            let new = after.map(|row| index.member(layout.table, row));
            if old == new {
                continue;
            }
            let set = number(self.position(index.key.clone()));
            if let Some(old) = old {
                self.push([Bytes::from_static(b"x"), set.clone(), old]);
            }
            if let Some(new) = new {
                self.push([Bytes::from_static(b"a"), set, new]);
            }
        }
    }

    /// The rows that the draft changes, as they were.
    fn rows_before(&self, layout: &Layout) -> Vec<Stored> {
        let draft = self.draft;
        let rows = self.touched_keys(layout);
        rows.filter_map(|key| Some(Stored::clone(&draft.before(layout.table, &key)?.row)))
            .collect()
    }

    /// The rows that the draft changes, as they would be, and as they were.
    fn rows_after(&self, layout: &Layout) -> Vec<(Stored, Option<Stored>)> {
        let draft = self.draft;
        let rows = self.touched_keys(layout);
        rows.filter_map(|key| {
            let before = draft.before(layout.table, &key);
            let after = draft.after(layout.table, &key)?;
            Some((
                Stored::clone(after),
                before.map(|base| Stored::clone(&base.row)),
            ))
        })
        .collect()
    }

    fn touched_keys(&self, layout: &Layout) -> impl Iterator<Item = Key> + use<> {
        let table: &Table = layout.table;
        let keys = self
            .draft
            .touched()
            .filter(|(layout, _)| layout.table.is(table));
        let keys: Vec<Key> = keys.flat_map(|(_, keys)| keys.iter().cloned()).collect();
        keys.into_iter()
    }

    fn version(&mut self, row: Bytes, version: Bytes) {
        let row = self.position(row);
        self.push([Bytes::from_static(b"v"), number(row), version]);
    }

    fn count(&mut self, layout: &Layout, range: &Range, many: usize) {
        let set = self.position(layout.indexes[range.index].key.clone());
        let (low, high) = range.bounds();
        self.push([
            Bytes::from_static(b"c"),
            number(set),
            low,
            high,
            number(many),
        ]);
    }

    fn end_checks(&mut self) {
        self.push([Bytes::from_static(b"!")]);
    }

    fn push<const N: usize>(&mut self, arguments: [Bytes; N]) {
        self.arguments.extend(arguments);
    }

    fn position(&mut self, key: Bytes) -> usize {
        if let Some(at) = self.positions.get(&key) {
            return *at;
        }
        self.keys.push(key.clone());
        self.positions.insert(key, self.keys.len());
        self.keys.len()
    }
}

fn row_key(layout: &Layout, key: &Key) -> Bytes {
    layout.row_key(&encode::values(&key[..]))
}
