//! Fetching rows by key and by range, some thousand at a time: [`parts`].
//!
//! One call of a script is one moment. What takes several calls is one moment too if no table was
//! written to in between, which the tables' stamps tell.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;

use bytes::Bytes;
use larder_core::{Error, ErrorKind, Result};

use crate::client::Client;
use crate::columns::Columns;
use crate::draft::Keys;
use crate::error::unreadable;
use crate::layout::{IndexKind, Layout, VERSION};
use crate::pack::Unpack;
use crate::plan::{Part, Range};
use crate::row::Found;
use crate::schema::Tables;
use crate::script::script;

/// The most rows that one call of the script brings, about.
const ROWS_MAX: usize = 1_000;
/// The most parts that one call is asked for.
const PARTS_MAX: usize = 1_000;

script! {
    // KEYS: clock, changed, schema, then rows and sets. ARGV: the tables by name; for each the beginning of
    // its rows' keys and its fields; how many rows to bring at most (0: all); the parts.
    // Answers the schema's version, the clock, the tables' stamps, then for each part that it came to: the rows, how many
    // members it looked at, and the last of them.
    static FETCH: Reads = "
        local at = 0
        local function take() at = at + 1; return ARGV[at] end
        local function number() return tonumber(take()) end
        local names, layouts = {}, {}
        for i = 1, number() do
            names[i] = take()
            local layout = { row = take(), fields = {} }
            for f = 1, number() do layout.fields[f] = take() end
            layouts[i] = layout
        end
        local answer = {
            redis.call('HGET', KEYS[3], ''),
            redis.call('GET', KEYS[1]),
            redis.call('HMGET', KEYS[2], unpack(names)),
        }
        local most, brought = number(), 0
        local function row(layout, key, into)
            local found = redis.call('HMGET', key, unpack(layout.fields))
            if found[1] then
                into[#into + 1] = found
                brought = brought + 1
            end
        end
        while at < #ARGV and (most == 0 or brought < most) do
            local what, layout, key = take(), layouts[number()], KEYS[number()]
            local rows = {}
            if what == 'r' then
                row(layout, key, rows)
                answer[#answer + 1] = { rows, 0, false }
            else
                local first, last, is_key = take(), take(), take() == '1'
                local members
                local limit = number()
                if limit == 0 then limit = -1 end
                if what == 'b' then
                    members = redis.call('ZRANGE', key, last, first, 'BYLEX', 'REV', 'LIMIT', 0, limit)
                else
                    members = redis.call('ZRANGE', key, first, last, 'BYLEX', 'LIMIT', 0, limit)
                end
                for _, member in ipairs(members) do
                    local id = member
                    if not is_key then
                        local length = struct.unpack('>I4', string.sub(member, -4))
                        id = string.sub(member, -4 - length, -5)
                    end
                    row(layout, layout.row .. id, rows)
                end
                answer[#answer + 1] = { rows, #members, members[#members] or false }
            end
        end
        return cmsgpack.pack(answer)
    "
}

script! {
    // KEYS: last. ARGV: the table, a key they must exceed, how many, and the largest that the last
    // of them may be less how many. Answers the last one, or nothing if there are not as many.
    // Numbers are compared as texts: they may be too large for Lua's.
    static MAKE_KEYS: Writes = "
        local function exceeds(a, b) return #a > #b or (#a == #b and a > b) end
        local last = redis.call('HGET', KEYS[1], ARGV[1]) or '0'
        if exceeds(ARGV[2], last) then last = ARGV[2] end
        if exceeds(last, ARGV[4]) then return false end
        redis.call('HSET', KEYS[1], ARGV[1], last)
        redis.call('HINCRBY', KEYS[1], ARGV[1], ARGV[3])
        return redis.call('HGET', KEYS[1], ARGV[1])
    "
}

script! {
    // KEYS: last. ARGV: the table, the last key made, and the one before the first. Gives them back
    // if nobody has made others since.
    static GIVE_BACK: Writes = "
        if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then
            redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
        end
        return true
    "
}

/// How far a fetch may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// A call for each thousand rows, so that nobody waits long.
    Batches,
    /// One call, however long it takes, and so one moment.
    OneCall,
}

/// What was fetched.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    /// The last commit before it, of all tables.
    pub(crate) clock: u64,
    /// The last commit that changed each of the tables.
    pub(crate) stamps: BTreeMap<&'static str, u64>,
    /// The rows of each part.
    pub(crate) parts: Vec<Vec<Found>>,
    /// Whether a table was written to in between, so that this is no one moment.
    pub(crate) torn: bool,
}

/// Fetches parts of tables.
pub(crate) async fn parts(
    client: &Client,
    tables: &Tables,
    columns: &Columns,
    wanted: &[(&'static str, Part)],
    extent: Extent,
) -> Result<Fetched> {
    let mut fetched = Fetched {
        parts: wanted.iter().map(|_| Vec::new()).collect(),
        ..Fetched::default()
    };
    let mut open: Vec<Open<'_>> = wanted
        .iter()
        .enumerate()
        .map(|(at, (table, part))| Open {
            at,
            table,
            part,
            after: None,
        })
        .collect();
    open.reverse(); // taken from the end
    let mut is_first = true;
    while !open.is_empty() {
        let many = match extent {
            Extent::Batches => open.len().min(PARTS_MAX),
            Extent::OneCall => open.len(),
        };
        let next = open.split_off(open.len() - many);
        let rest = call(
            client,
            tables,
            columns,
            next,
            extent,
            &mut fetched,
            is_first,
        )
        .await?;
        open.extend(rest);
        is_first = false;
    }
    Ok(fetched)
}

/// A part that is not fetched to its end.
#[derive(Debug)]
struct Open<'a> {
    /// Its position among those wanted.
    at: usize,
    table: &'static str,
    part: &'a Part,
    /// The last member that was fetched.
    after: Option<Bytes>,
}

/// Runs the script for these parts, the last one first. Answers what is left of them.
async fn call<'a>(
    client: &Client,
    tables: &Tables,
    columns: &Columns,
    open: Vec<Open<'a>>,
    extent: Extent,
    fetched: &mut Fetched,
    is_first: bool,
) -> Result<Vec<Open<'a>>> {
    let most = match extent {
        Extent::Batches => ROWS_MAX,
        Extent::OneCall => 0,
    };
    let wanted = open.iter().map(|open| open.table);
    let mut request = Request::new(client, tables, columns, wanted, most);
    for open in open.iter().rev() {
        let layout = request.layout(open.table).ok_or_else(unreadable)?;
        match open.part {
            Part::Row(key) => request.row(open.table, layout.row_key(key)),
            Part::Range(range) => {
                let ahead = Ahead {
                    range,
                    reverse: false,
                    after: open.after.clone(),
                    most,
                };
                request.range(open.table, ahead);
            }
        }
    }
    let reply = request.send(client).await?;
    fetched.note(&reply, is_first);
    if reply.parts.is_empty() {
        return Err(unreadable());
    }
    let mut left = open;
    for rows in reply.parts {
        let mut open = left.pop().ok_or_else(unreadable)?;
        let more = matches!(open.part, Part::Range(_)) && most > 0 && rows.members == most;
        fetched.parts[open.at].extend(rows.found);
        if more {
            open.after = rows.last;
            left.push(open);
            // It is first in line again: what follows it was not read, or is read anew.
            break;
        }
    }
    Ok(left)
}

impl Fetched {
    fn note(&mut self, reply: &Batch, is_first: bool) {
        if is_first {
            self.clock = reply.clock;
        }
        for (table, stamp) in &reply.stamps {
            let before = self.stamps.entry(table).or_insert(*stamp);
            self.torn |= *before != *stamp || *stamp > self.clock;
        }
    }
}

/// A range from a place on.
#[derive(Debug)]
pub(crate) struct Ahead<'a> {
    pub(crate) range: &'a Range,
    pub(crate) reverse: bool,
    /// The member after which it goes on.
    pub(crate) after: Option<Bytes>,
    /// At most this many members; all if 0.
    pub(crate) most: usize,
}

/// One call of the script.
pub(crate) struct Request<'a> {
    names: Vec<&'static str>,
    tables: &'a Tables,
    keys: Vec<Bytes>,
    positions: HashMap<Bytes, usize>,
    arguments: Vec<Bytes>,
    /// The columns that are fetched of each table.
    columns: Vec<Vec<usize>>,
    /// The table of each part, by its position.
    asked: Vec<usize>,
}

/// What one call answers.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) clock: u64,
    pub(crate) stamps: Vec<(&'static str, u64)>,
    pub(crate) parts: Vec<PartRows>,
}

/// The rows of one part of a call.
#[derive(Debug)]
pub(crate) struct PartRows {
    pub(crate) found: Vec<Found>,
    /// How many members were looked at.
    pub(crate) members: usize,
    /// The last of them.
    pub(crate) last: Option<Bytes>,
}

impl<'a> Request<'a> {
    /// A call that looks at these tables.
    pub(crate) fn new(
        client: &Client,
        tables: &'a Tables,
        columns: &Columns,
        wanted: impl Iterator<Item = &'static str>,
        most: usize,
    ) -> Self {
        let mut names: Vec<&'static str> = wanted.collect();
        names.sort_unstable();
        names.dedup();
        let namespace = client.namespace();
        let mut request = Self {
            tables,
            keys: Vec::new(),
            positions: HashMap::new(),
            arguments: vec![number(names.len())],
            asked: Vec::new(),
            columns: Vec::new(),
            names,
        };
        request.position(namespace.key(&[b"clock"]));
        request.position(namespace.key(&[b"changed"]));
        request.position(namespace.key(&[b"schema"]));
        for name in &request.names {
            let Some(layout) = tables.layouts.get(name) else {
                continue;
            };
            let list = columns.list(layout.table);
            let arguments = &mut request.arguments;
            arguments.push(Bytes::from_static(name.as_bytes()));
            arguments.push(layout.row.clone());
            arguments.push(number(list.len() + 1));
            arguments.push(VERSION);
            arguments.extend(list.iter().map(|at| layout.fields[*at].clone()));
            request.columns.push(list);
        }
        request.arguments.push(number(most));
        request
    }

    fn layout(&self, table: &str) -> Option<&'a Layout> {
        self.tables.layouts.get(table).map(AsRef::as_ref)
    }

    fn row(&mut self, table: &str, key: Bytes) {
        self.head(b"r", table, key);
    }

    pub(crate) fn range(&mut self, table: &str, ahead: Ahead<'_>) {
        let Some(layout) = self.layout(table) else {
            return;
        };
        let index = &layout.indexes[ahead.range.index];
        let what: &'static [u8] = if ahead.reverse { b"b" } else { b"f" };
        self.head(what, table, index.key.clone());
        let (mut low, mut high) = ahead.range.bounds();
        if let Some(after) = ahead.after {
            let beyond = Bytes::from([b"(", &after[..]].concat());
            if ahead.reverse {
                high = beyond;
            } else {
                low = beyond;
            }
        }
        let is_key = index.kind == IndexKind::Key;
        self.arguments
            .extend([low, high, number(usize::from(is_key)), number(ahead.most)]);
    }

    fn head(&mut self, what: &'static [u8], table: &str, key: Bytes) {
        let Some(at) = self.names.iter().position(|name| *name == table) else {
            return;
        };
        let key = self.position(key);
        let what = Bytes::from_static(what);
        self.arguments.extend([what, number(at + 1), number(key)]);
        self.asked.push(at);
    }

    fn position(&mut self, key: Bytes) -> usize {
        if let Some(at) = self.positions.get(&key) {
            return *at;
        }
        self.keys.push(key.clone());
        self.positions.insert(key, self.keys.len());
        self.keys.len()
    }

    pub(crate) async fn send(self, client: &Client) -> Result<Batch> {
        let reply = FETCH.run(client, self.keys, self.arguments).await?;
        let mut reply = Unpack::new(reply.into_bytes().ok_or_else(unreadable)?);
        let parts = reply.list()?.checked_sub(3).ok_or_else(unreadable)?;
        let version = reply.text()?.unwrap_or_else(|| Bytes::from_static(b"0"));
        if !self.tables.version.is_empty() && version != self.tables.version {
            self.tables.stale.store(true, Ordering::Relaxed);
            return Err(migrated());
        }
        let clock = stamp(reply.text()?);
        let many = reply.list()?;
        let stamps = self.names.iter().take(many);
        let stamps = stamps.map(|name| Ok((*name, stamp(reply.text()?))));
        let stamps = stamps.collect::<Result<_>>()?;
        let asked = self.asked.iter().take(parts);
        let parts = asked.map(|at| {
            let layout = self.tables.layouts.get(self.names[*at]);
            PartRows::read(
                layout.ok_or_else(unreadable)?,
                &self.columns[*at],
                &mut reply,
            )
        });
        Ok(Batch {
            clock,
            stamps,
            parts: parts.collect::<Result<_>>()?,
        })
    }
}

impl PartRows {
    fn read(layout: &Layout, columns: &[usize], reply: &mut Unpack) -> Result<Self> {
        if reply.list()? != 3 {
            return Err(unreadable());
        }
        let many = reply.list()?;
        let found = (0..many).map(|_| Found::unpack(layout.table, columns, reply));
        Ok(Self {
            found: found.collect::<Result<_>>()?,
            members: reply.count()?,
            last: reply.text()?,
        })
    }
}

/// Makes keys that are greater than the floor: the first and the last. `None` if the kind has not
/// as many left.
pub(crate) async fn make_keys(
    client: &Client,
    keys: &Keys,
    many: i64,
) -> Result<Option<(i64, i64)>> {
    let many = many.max(1);
    let arguments = vec![
        Bytes::from_static(keys.table.as_bytes()),
        keys.floor.max(0).to_string().into(),
        many.to_string().into(),
        keys.largest.saturating_sub(many).max(0).to_string().into(),
    ];
    let reply = MAKE_KEYS.run(client, vec![last(client)], arguments).await?;
    if reply.is_null() {
        return Ok(None);
    }
    let last: i64 = reply
        .into_string()
        .and_then(|text| text.parse().ok())
        .ok_or_else(unreadable)?;
    Ok(Some((last - many + 1, last)))
}

/// Gives keys back that were made and not used, unless somebody has made others since.
pub(crate) async fn give_back(
    client: &Client,
    table: &'static str,
    keys: (i64, i64),
) -> Result<()> {
    let (first, last_made) = keys;
    let arguments = vec![
        Bytes::from_static(table.as_bytes()),
        last_made.to_string().into(),
        (first - 1).to_string().into(),
    ];
    GIVE_BACK.run(client, vec![last(client)], arguments).await?;
    Ok(())
}

fn last(client: &Client) -> Bytes {
    client.namespace().key(&[b"last"])
}

pub(crate) fn number(number: usize) -> Bytes {
    number.to_string().into()
}

#[cold]
fn migrated() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "the namespace was migrated since this handle has looked: run it again",
    )
}

/// A commit's number; 0 before the first.
fn stamp(text: Option<Bytes>) -> u64 {
    let text = text.as_deref().map(str::from_utf8);
    text.and_then(|text| text.ok()?.parse().ok()).unwrap_or(0)
}
