import { createHash } from 'node:crypto';
import { CLOCK_AHEAD_MS } from '../replication/mutation.js';

/**
 * What has to be one step in Redis. Redis runs one script at a time and nothing beside it
 * (redis.io/docs/latest/develop/programmability/eval-intro). Versions are text of fixed width in lowercase hex: Lua
 * compares strings by the server's locale, which agrees about those, and its numbers are doubles. No script stamps or
 * renews anything, so one that runs late, or twice, does no harm.
 */
export interface Script {
  readonly lua: string;
  /** As EVALSHA knows it. */
  readonly sha: string;
  /** How many of its arguments are keys. */
  readonly keys: number;
}

const script = (keys: number, lua: string): Script => ({
  lua,
  sha: createHash('sha1').update(lua).digest('hex'),
  keys,
});

/**
 * `script`, for what others have to know of: `tell` publishes the name of what was changed, in the same step, on the
 * channel that the key after all others names; without that key nobody is told. Where the server refuses that, the change
 * stands, and the key gets another value, so that nobody relies on notices (`notices.ts`).
 */
const telling = (keys: number, lua: string): Script =>
  script(
    keys,
    `
local function tell(place)
  local channel = KEYS[${keys + 1}]
  if not channel then return end
  local told = redis.pcall('PUBLISH', channel, place)
  if type(told) ~= 'table' then return end
  local at = redis.call('TIME')
  redis.pcall('SET', channel, at[1] .. string.format('%06d', at[2]))
end
${lua}`,
  );

/**
 * Shared by the scripts below: the time, what is known of a key, and what is too far ahead to be believed. A list or
 * hash under one of our names is no reason to fail: it is overwritten.
 */
const PRELUDE = `
local time = redis.call('TIME')
local nowMs = time[1] * 1000 + math.floor(time[2] / 1000)
local limit = string.format('%012x', nowMs + ${CLOCK_AHEAD_MS})
local function believable(version)
  return type(version) == 'string' and #version >= 32 and string.sub(version, 1, 12) <= limit
end
local function newest(value, guard)
  local known = redis.pcall('GET', guard)
  if believable(known) then return string.sub(known, 1, 32), string.sub(known, 33) == 't' end
  local head = redis.pcall('GETRANGE', value, 0, 39)
  if type(head) ~= 'string' then return '', false end
  local version = string.sub(head, 9, 40)
  if string.sub(head, 1, 4) == 'ATHN' and believable(version) then return version, false end
  return '', false
end
local function newestFence(fence, known)
  local version = redis.pcall('GET', fence)
  if believable(version) and version > known then return version end
  return known
end
`;

/**
 * Compare-and-set of one key: afterwards Redis has this mutation or a newer one. KEYS: value, guard, fence. ARGV:
 * version, expiry in ms (0: a delete), guard's expiry, envelope, '1' for a live write. Expiries are absolute, so late
 * execution lengthens no life (redis.io/docs/latest/commands/set, "Options"). A set that has expired meanwhile leaves a
 * tombstone: it still replaces what is older. A delete begins with DEL, because memory is checked at a script's first
 * write only (redis.io/docs/latest/develop/reference/errors/common/oom): so it works on a full Redis.
 */
export const APPLY = telling(
  3,
  `${PRELUDE}
local version, expiresAt, live = ARGV[1], tonumber(ARGV[2]), ARGV[5] == '1'
if not believable(version) then return {'ahead', tostring(nowMs)} end
local isSet = expiresAt > nowMs
local known, deleted = newest(KEYS[1], KEYS[2])
local bound = live and newestFence(KEYS[3], known) or known
local beaten = bound > version or (bound == version and (bound ~= known or (isSet and deleted)))
if beaten then return {'superseded', bound} end
local existed = redis.call('EXISTS', KEYS[1])
if isSet then
  redis.call('SET', KEYS[1], ARGV[4], 'PXAT', ARGV[2])
  redis.call('SET', KEYS[2], version, 'PXAT', ARGV[3])
else
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('SET', KEYS[2], version .. 't', 'PXAT', ARGV[3])
end
tell(KEYS[1])
return {'applied', tostring(existed)}
`,
);

/**
 * Announces the version of a factory's result, only if nothing as new is known; a live write is above it from then on.
 * KEYS: value, guard, fence. ARGV: version, life in ms (redis.io/docs/latest/commands/set, "PX").
 */
export const FENCE = script(
  3,
  `${PRELUDE}
local version = ARGV[1]
if not believable(version) then return {'ahead', tostring(nowMs)} end
local known = newestFence(KEYS[3], (newest(KEYS[1], KEYS[2])))
if known >= version then return {'behind', known} end
redis.call('SET', KEYS[3], version, 'PX', ARGV[2])
return {'fenced', version}
`,
);

/**
 * `FENCE`, for one holder at a time: the lease is whose token it has, until it expires or is released. After the
 * deadline nothing is done, for nobody waits for the answer any more and nobody would release it. Own token: it was
 * acquired, and the reply was lost. KEYS: value, guard, fence, lease. ARGV: version, life of the fence in ms, token, life
 * of the lease in ms, deadline in epoch ms (redis.io/docs/latest/develop/clients/patterns/distributed-locks).
 */
export const LEASE = script(
  4,
  `${PRELUDE}
local version, token = ARGV[1], ARGV[3]
if nowMs > tonumber(ARGV[5]) then return {'late', ''} end
if not believable(version) then return {'ahead', tostring(nowMs)} end
local holder = redis.pcall('GET', KEYS[4])
if type(holder) == 'string' and holder ~= token then
  return {'held', tostring(redis.call('PTTL', KEYS[4]))}
end
local known = newestFence(KEYS[3], (newest(KEYS[1], KEYS[2])))
if known >= version then return {'behind', known} end
redis.call('SET', KEYS[3], version, 'PX', ARGV[2])
redis.call('SET', KEYS[4], token, 'PX', ARGV[4])
return {'fenced', known}
`,
);

/** Lengthens a lease that is still held. KEYS: lease. ARGV: token, life in ms. */
export const RENEW = script(
  1,
  `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
`,
);

/** Ends a lease that is still held; who waits for it is told. KEYS: lease. ARGV: token. */
export const RELEASE = telling(
  1,
  `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
tell(KEYS[1])
return 1
`,
);

/**
 * Merges marks by maximum, and returns those that have changed since the caller looked, or all if the record is another
 * one; makes it if it is missing. KEYS: the record. ARGV: incarnation for a new record, '1' if this server has all the
 * data (then the time at the beginning of the incarnation gives way to 0 where there was nothing at all, which any marks
 * could have concerned), the incarnation and the revision that the caller knows, then names and versions in turn.
 *
 * A field is the version, and the revision of the record with which it came. Tags at or below the floor go. The revision
 * grows by one, if anything changed. Marks from too far ahead are not taken: their writer sees it by the time in the
 * answer. Where nothing changes nothing is written, so that it works on a read-only Redis. The first write is an HDEL of
 * nothing, because memory is checked at a script's first write only
 * (redis.io/docs/latest/develop/reference/errors/common/oom): so it works on a full Redis.
 */
export const EXCHANGE_MARKS = telling(
  1,
  `${PRELUDE}
local record, incarnation, created, writing = KEYS[1], ARGV[1], 0, false
local marks, revisions, revision, changed = {}, {}, 0, false
local known = nil
local all = redis.call('HGETALL', record)
for at = 1, #all, 2 do
  local name, value = all[at], all[at + 1]
  if name == 'i' then known = value
  elseif name == 'r' then revision = tonumber(value)
  else
    marks[name] = string.sub(value, 1, 32)
    revisions[name] = tonumber(string.sub(value, 34)) or 0
  end
end
local function put(name, value)
  if not writing then redis.call('HDEL', record, '') end
  writing = true
  redis.call('HSET', record, name, value)
end
local function isTag(name) return string.sub(name, 1, 4) == 'tag:' end
local function raiseFloor(version)
  for name, mark in pairs(marks) do
    if isTag(name) and mark <= version then
      redis.call('HDEL', record, name)
      marks[name] = nil
    end
  end
end
if known then incarnation = known
else
  if ARGV[2] == '1' and redis.call('DBSIZE') == 0 then incarnation = string.gsub(incarnation, '^%x+', '0') end
  put('i', incarnation)
  created = 1
end
for at = 5, #ARGV, 2 do
  local name, version = ARGV[at], ARGV[at + 1]
  local former = marks[name]
  local floor = isTag(name) and marks['floor']
  local isNews = not (former and former >= version) and not (floor and floor >= version)
  if isNews and believable(version) then
    put(name, version .. ':' .. string.format('%d', revision + 1))
    marks[name] = version
    revisions[name] = revision + 1
    changed = true
    if name == 'floor' then raiseFloor(version) end
  end
end
if changed then
  revision = revision + 1
  put('r', string.format('%d', revision))
end
if writing then tell(record) end
local since = ARGV[3] == incarnation and tonumber(ARGV[4]) or -1
local news = {}
for name, version in pairs(marks) do
  if revisions[name] > since then
    news[#news + 1] = name
    news[#news + 1] = version
  end
end
return {created, incarnation, tostring(revision), news, tostring(nowMs)}
`,
);

/**
 * The name in a beacon, which is lit with a new one if it is out. KEYS: the beacon. ARGV: the new name. DEL first, for a
 * full Redis.
 */
export const BEACON = script(
  1,
  `
local name = redis.pcall('GET', KEYS[1])
if type(name) == 'string' then return name end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]
`,
);

/**
 * Removes a value if it is of exactly that version: nothing that was written since is lost, as with a plain UNLINK
 * (redis.io/docs/latest/commands/unlink). What is remembered of the key stays. KEYS: value. ARGV: version.
 */
export const REMOVE_VERSION = script(
  1,
  `
if redis.call('GETRANGE', KEYS[1], 8, 39) == ARGV[1] then return redis.call('UNLINK', KEYS[1]) end
return 0
`,
);

/** Removes a value if it is exactly these bytes, which nobody can read; likewise. KEYS: value. ARGV: bytes. */
export const REMOVE_BYTES = script(
  1,
  `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('UNLINK', KEYS[1]) end
return 0
`,
);

/** Changes a key, also on a full Redis, and leaves nothing behind. KEYS: the key. */
export const TOUCH = script(
  1,
  `
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], '')
redis.call('DEL', KEYS[1])
return 1
`,
);

/**
 * Publishes a name as the scripts above do. Returns what the server says against that, the value that the key of the
 * channel's name has, and the time in ms. KEYS: the channel. ARGV: the name.
 */
export const NOTICE = script(
  1,
  `
local told = redis.pcall('PUBLISH', KEYS[1], ARGV[1])
local time = redis.call('TIME')
local nowMs = time[1] * 1000 + math.floor(time[2] / 1000)
return {type(told) == 'table' and told.err or '', redis.call('GET', KEYS[1]) or '', tostring(nowMs)}
`,
);

/**
 * `script`, for what others may as well find out by looking: `mention` publishes the name where there is a channel, and
 * what the server says to that does not matter.
 */
const mentioning = (keys: number, lua: string): Script =>
  script(
    keys,
    `
local function mention(place)
  if KEYS[${keys + 1}] then redis.pcall('PUBLISH', KEYS[${keys + 1}], place) end
end
${lua}`,
  );

/** So many batches, and bytes unless it is one batch, a reader gets at once. */
const BATCHES_PER_READ = 128;
const BYTES_PER_READ = 256 * 1024;

/**
 * Says that somebody follows a computation, and whether for its parts; returns whose parts there are, the batches from
 * an index on, and whether there are more. Parts of who has not the lease (any more) are nobody's. The log is a list of
 * the holder's token and then his batches. A full Redis takes no new interest, but does not let the one that it has lapse;
 * where Redis takes no writes the parts are still read. KEYS: lease, interest,
 * log. ARGV: life of the interest in ms, '1' for the parts, the token that the reader knows, the index for that one.
 */
export const FOLLOW = mentioning(
  3,
  `
local wants = ARGV[2] == '1'
local level = redis.pcall('GET', KEYS[2])
if type(level) ~= 'string' or (wants and level ~= 'parts') then
  local set = redis.pcall('SET', KEYS[2], wants and 'parts' or 'value', 'PX', ARGV[1])
  if set.err then redis.pcall('PEXPIRE', KEYS[2], ARGV[1]) end
  mention(KEYS[2])
elseif redis.call('PTTL', KEYS[2]) < tonumber(ARGV[1]) / 2 then
  redis.pcall('PEXPIRE', KEYS[2], ARGV[1])
end
local token = wants and redis.pcall('LINDEX', KEYS[3], 0)
if type(token) ~= 'string' or redis.pcall('GET', KEYS[1]) ~= token then return {'', {}, 0} end
local from = token == ARGV[3] and tonumber(ARGV[4]) or 0
local batches, bytes = {}, 0
for at, batch in ipairs(redis.call('LRANGE', KEYS[3], from + 1, from + ${BATCHES_PER_READ})) do
  bytes = bytes + #batch
  if at > 1 and bytes > ${BYTES_PER_READ} then break end
  batches[at] = batch
end
local more = redis.call('LLEN', KEYS[3]) > from + 1 + #batches
return {token, batches, more and 1 or 0}
`,
);

/**
 * Adds batches to the log of a computation, by who has its lease, if somebody wants them. Returns how many there are,
 * who follows (0: nobody, 1: somebody who waits for the value, 2: for the parts), and whether Redis took no more; -1 if
 * the lease is another's. What is there already is passed over, so that it may run twice. KEYS: lease, interest, log.
 * ARGV: token, life of the log in ms, index of the first batch, batches.
 */
export const RELAY = mentioning(
  3,
  `
local token, life, from = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if redis.pcall('GET', KEYS[1]) ~= token then return {-1, 0, 0} end
local level = redis.pcall('GET', KEYS[2])
local following = level == 'parts' and 2 or (type(level) == 'string' and 1 or 0)
local isOurs = redis.pcall('LINDEX', KEYS[3], 0) == token
local length = isOurs and redis.call('LLEN', KEYS[3]) - 1 or 0
if following < 2 then return {length, following, 0} end
local written, refused = false, 0
for at = 4, #ARGV do
  if from + at - 4 == length then
    local pushed
    if isOurs then pushed = redis.pcall('RPUSH', KEYS[3], ARGV[at])
    else
      if redis.call('EXISTS', KEYS[3]) == 1 then redis.call('DEL', KEYS[3]) end
      pushed = redis.pcall('RPUSH', KEYS[3], token, ARGV[at])
    end
    if type(pushed) ~= 'number' then
      refused = 1
      break
    end
    isOurs, written, length = true, true, length + 1
  end
end
if isOurs and (written or redis.call('PTTL', KEYS[3]) < life / 2) then redis.call('PEXPIRE', KEYS[3], life) end
if written then mention(KEYS[3]) end
return {length, following, refused}
`,
);

/** Removes the log of a computation that has ended. KEYS: log. ARGV: token. */
export const FORGET_PARTS = script(
  1,
  `
if redis.pcall('LINDEX', KEYS[1], 0) == ARGV[1] then return redis.call('UNLINK', KEYS[1]) end
return 0
`,
);
