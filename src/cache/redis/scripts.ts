import { CLOCK_AHEAD_MS } from '../replication/mutation.js';

/**
 * The scripts, which Redis runs one at a time (redis.io/docs/latest/develop/programmability/eval-intro). Versions are
 * text of fixed width in lowercase hex: Lua compares strings by the server's locale, which agrees about those, and its
 * numbers are doubles.
 */

/** Shared by the scripts below: the time, what is known of a key, and what is too far ahead to be believed. */
const PRELUDE = `
local time = redis.call('TIME')
local nowMs = time[1] * 1000 + math.floor(time[2] / 1000)
local limit = string.format('%012x', nowMs + ${CLOCK_AHEAD_MS})
local function believable(version)
  return version and #version >= 32 and string.sub(version, 1, 12) <= limit
end
local function newest(value, guard)
  local known = redis.call('GET', guard)
  if believable(known) then return string.sub(known, 1, 32), string.sub(known, 33) == 't' end
  local head = redis.call('GETRANGE', value, 0, 39)
  local version = string.sub(head, 9, 40)
  if string.sub(head, 1, 4) == 'ATHN' and believable(version) then return version, false end
  return '', false
end
`;

/**
 * Compare-and-set of one key. KEYS: value, guard, fence. ARGV: version, expiry in ms (0: a delete), guard's expiry,
 * envelope, '1' for a live write. A set that has expired meanwhile leaves a tombstone: it still replaces what is older.
 * Deletes come first, because Redis at \`maxmemory\` lets a script write on that has begun with one
 * (redis.io/docs/latest/develop/programmability/eval-intro, "Script flags").
 */
export const APPLY = `${PRELUDE}
local version, expiresAt = ARGV[1], tonumber(ARGV[2])
if not believable(version) then return {'ahead', tostring(nowMs)} end
local isSet = expiresAt > nowMs
local known, deleted = newest(KEYS[1], KEYS[2])
if ARGV[5] == '1' then
  local fence = redis.call('GET', KEYS[3])
  if believable(fence) and fence >= version then return {'superseded', fence} end
end
if known > version or (known == version and isSet and deleted) then return {'superseded', known} end
local existed = redis.call('EXISTS', KEYS[1])
if isSet then
  redis.call('SET', KEYS[1], ARGV[4], 'PXAT', expiresAt)
  redis.call('SET', KEYS[2], version, 'PXAT', ARGV[3])
else
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('SET', KEYS[2], version .. 't', 'PXAT', ARGV[3])
end
return {'applied', tostring(existed)}
`;

/** Announces the version of a factory's result. KEYS: value, guard, fence. ARGV: version, life in ms. */
export const FENCE = `${PRELUDE}
local version = ARGV[1]
if not believable(version) then return {'ahead', tostring(nowMs)} end
local known = newest(KEYS[1], KEYS[2])
local fence = redis.call('GET', KEYS[3])
if believable(fence) and fence > known then known = fence end
if known >= version then return {'behind', known} end
redis.call('SET', KEYS[3], version, 'PX', ARGV[2])
return {'fenced', version}
`;

/**
 * Merges marks by maximum and returns all of them. KEYS: the record. ARGV: incarnation for a new record, then names and
 * versions in turn. Tags at or below the floor go. Where nothing changes nothing is written, so that it works on a
 * Redis that is full or read-only.
 */
export const EXCHANGE_MARKS = `
local created, changed = 0, 0
if redis.call('HEXISTS', KEYS[1], 'i') == 0 then
  redis.call('HSET', KEYS[1], 'i', ARGV[1])
  created = 1
end
for at = 2, #ARGV, 2 do
  local former = redis.call('HGET', KEYS[1], ARGV[at])
  local floor = string.sub(ARGV[at], 1, 4) == 'tag:' and redis.call('HGET', KEYS[1], 'floor')
  if not (former and former >= ARGV[at + 1]) and not (floor and floor >= ARGV[at + 1]) then
    redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
    changed = 1
    if ARGV[at] == 'floor' then
      local all = redis.call('HGETALL', KEYS[1])
      for i = 1, #all, 2 do
        if string.sub(all[i], 1, 4) == 'tag:' and all[i + 1] <= ARGV[at + 1] then
          redis.call('HDEL', KEYS[1], all[i])
        end
      end
    end
  end
end
if changed == 1 then redis.call('HINCRBY', KEYS[1], 'r', 1) end
return {created, redis.call('HGETALL', KEYS[1])}
`;

/** Removes a value only if it is of exactly that version. KEYS: value. ARGV: version. */
export const REMOVE_VERSION = `
if redis.call('GETRANGE', KEYS[1], 8, 39) == ARGV[1] then return redis.call('UNLINK', KEYS[1]) end
return 0
`;

/** Removes a value only if it is exactly these bytes, which nobody can read. KEYS: value. ARGV: bytes. */
export const REMOVE_BYTES = `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('UNLINK', KEYS[1]) end
return 0
`;
