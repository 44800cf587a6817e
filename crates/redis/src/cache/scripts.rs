//! The scripts of the cache. All begin with the same arguments: the time or nothing, and how the
//! keys of tags begin.

use crate::script::script;

/// What several scripts need; `stamp` is the arguments' place from which on tags are told.
macro_rules! lua {
    ($body:literal) => {
        concat!(
            r"
local key, prefix = KEYS[1], ARGV[2]

local function clock()
  if ARGV[1] ~= '' then return tonumber(ARGV[1]) end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end
local now = clock()

-- Whether each tag has the version it had.
local function current(tags)
  if not tags then return true end
  for _, tag in ipairs(cjson.decode(tags)) do
    if redis.call('GET', prefix .. tag[1]) ~= tag[2] then return false end
  end
  return true
end

-- The versions of the tags told from here on, and where the arguments go on.
local function versions(at)
  local tags, count = {}, tonumber(ARGV[at])
  for i = 1, count do
    local name, seed = ARGV[at + 2 * i - 1], ARGV[at + 2 * i]
    redis.call('SET', prefix .. name, seed, 'NX', 'EX', 2592000)
    tags[i] = { name, redis.call('GET', prefix .. name) }
  end
  return count > 0 and cjson.encode(tags) or nil, at + 2 * count + 1
end

-- What can be served of an entry: its bytes, and for how long they are fresh.
local function found(entry, shape)
  local kept = redis.call('HMGET', entry, 'v', 'h', 'f', 'k', 'g')
  if not kept[1] or kept[2] ~= shape or tonumber(kept[4]) <= now or not current(kept[5]) then
    return nil
  end
  return kept[1], math.max(0, tonumber(kept[3]) - now)
end

-- Keeps an entry whose bytes, shape and times are told from here on.
local function keep(entry, at, tags)
  local fresh, stale = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  redis.call('DEL', entry)
  redis.call('HSET', entry, 'v', ARGV[at], 'h', ARGV[at + 1],
    'f', string.format('%.0f', now + fresh), 'k', string.format('%.0f', now + fresh + stale))
  if tags then redis.call('HSET', entry, 'g', tags) end
  redis.call('PEXPIRE', entry, string.format('%.0f', math.ceil((fresh + stale) / 1000) + 1))
end
",
            $body
        )
    };
}

script!(pub(super) static GET: Reads = lua!(r"
local all = {}
for i, entry in ipairs(KEYS) do
  local value, fresh = found(entry, ARGV[3])
  all[i] = value and { value, fresh } or {}
end
return all
"));

script!(pub(super) static LEASE: Writes = lua!(r"
local token, lease = ARGV[4], tonumber(ARGV[5])
local value, fresh = found(key, ARGV[3])
if value and fresh > 0 and ARGV[6] == '0' then return { 0, 0, value, fresh } end
local holder = redis.call('HMGET', key, 't', 'x', 'l')
local held = holder[1] and holder[1] ~= token and tonumber(holder[2]) > now
if held and current(holder[3]) then
  local wait = tonumber(holder[2]) - now
  return value and { 2, wait, value, fresh } or { 2, wait }
end
local tags = versions(7)
redis.call('HSET', key, 't', token, 'x', string.format('%.0f', now + lease))
if tags then redis.call('HSET', key, 'l', tags) else redis.call('HDEL', key, 'l') end
local left = math.ceil(lease / 1000) + 1
if redis.call('PTTL', key) < left then redis.call('PEXPIRE', key, string.format('%.0f', left)) end
return value and { 1, 0, value, fresh } or { 1, 0 }
"));

script!(pub(super) static FILL: Writes = lua!(r"
local lease = redis.call('HMGET', key, 't', 'l')
if lease[1] ~= ARGV[3] or not current(lease[2]) then return 0 end
keep(key, 4, lease[2])
return 1
"));

script!(pub(super) static RELEASE: Writes = r"
if redis.call('HGET', KEYS[1], 't') == ARGV[1] then
  redis.call('HDEL', KEYS[1], 't', 'x', 'l')
end
return 1
");

script!(pub(super) static SET: Writes = lua!(r"
local tags, at = versions(3)
for i, entry in ipairs(KEYS) do keep(entry, at + 4 * (i - 1), tags) end
return #KEYS
"));

script!(pub(super) static DISCARD: Writes = r"
if redis.call('HGET', KEYS[1], 'v') == ARGV[1] then redis.call('UNLINK', KEYS[1]) end
return 1
");

script!(pub(super) static ADD: Writes = lua!(r"
local kept = redis.call('HMGET', key, 'c', 'k')
local begins = not kept[1] or tonumber(kept[2]) <= now
if begins then
  redis.call('DEL', key)
  local keep = tonumber(ARGV[4])
  redis.call('HSET', key, 'c', '0', 'k', string.format('%.0f', now + keep))
  redis.call('PEXPIRE', key, string.format('%.0f', math.ceil(keep / 1000) + 1))
end
local added = redis.pcall('HINCRBY', key, 'c', ARGV[3])
if type(added) == 'table' and added.err then return '' end
return redis.call('HGET', key, 'c')
"));
