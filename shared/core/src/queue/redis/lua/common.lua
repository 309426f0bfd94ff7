-- One queue of dsync in Redis. What is common to the script of commands and that of reads.
--
-- KEYS[1] is the queue's `c`; all its keys are named alike but for what follows the last colon, and
-- have one hash tag, so that they are on one node of a cluster. KEYS[2] names the queues of the
-- partition. Numbers are big-endian, so that the order of bytes is that of numbers; Lua's are exact
-- up to 2^53, which milliseconds and microseconds of this epoch do not reach. Ids are 16 bytes.
--
--   c    HASH    s: the counters of STATE; p: why it is paused; l: its limits, packed, unless they are
--                the default; d: the slices of time of `t`
--   b    HASH    id -> RECORD of every job that is ready, delayed or leased
--   r0-9 LIST    ids that are ready, by priority; entries that `g` counts are passed over
--   z    ZSET    MEMBER -> due ms: delayed
--   l    ZSET    token8 id -> end of the lease ms
--   w    HASH    id -> token8, the head of its record, consumer: leased. The fence.
--   e    ZSET    MEMBER -> end of life ms, of jobs with a ttl that are ready or delayed
--   m    HASH    id -> MARKS of a job that was leased before and is ready, delayed or leased
--   g    HASH    priority1 id -> entries of that list which stand for no job any more. They are all
--                nearer to the head than the live entry of the id: a job enters at the tail, and at
--                the head only after it was taken from there
--   d    HASH    id -> since6, cause (2+), marks (4+), RECORD of a dead letter
--   x    ZSET    MEMBER -> died ms
--   tW.N HASH    id -> token8, until8: acknowledged, with `until` in the N-th slice of W ms
--   pHEX STRING  until8, then token8 id of each job that the pop request HEX was given
--
-- RECORD: HEAD, id (1+, empty if it is the hexadecimal digits), headers (2+), payload.
-- MARKS:  attempts4, how1 and token8 of what ended the last lease, consumer (1+), number of errors1,
--         errors (2+ each), oldest first.
-- MEMBER: no6 id priority1, so that equal times keep the order of pushes.

local call, unpack = redis.call, unpack
local pack, unpackb = struct.pack, struct.unpack
local sub, byte, char, concat = string.sub, string.byte, string.char, table.concat
local floor, min, max = math.floor, math.min, math.max

-- no, pushed ms, end of life ms (0: none), priority, payload bytes, header bytes, most attempts,
-- first pause, longest pause, ttl: 41 bytes. The first three are the script's, the rest the caller's.
local HEAD = '>I6I6I6I1I4I2I4I4I4I4'
local HEAD_BYTES = 41
local STATE = '>' .. string.rep('I8', 20)
-- Arguments of one call of Redis, below what Lua's stack holds; even, for pairs.
local CHUNK = 1000
-- Records of one HMGET, which may be half a megabyte each.
local RECORDS = 64

local base = sub(KEYS[1], 1, -2)
local C, B, L, W, Z = KEYS[1], base .. 'b', base .. 'l', base .. 'w', base .. 'z'
local M, E, D, X, G = base .. 'm', base .. 'e', base .. 'd', base .. 'x', base .. 'g'

-- The caller's clock is for tests only.
local now, now_us
if ARGV[1] == '' then
  local time = call('TIME')
  now_us = time[1] * 1000000 + time[2]
  now = floor(now_us / 1000)
else
  now = tonumber(ARGV[1])
  now_us = now * 1000
end

local function integer(number)
  return string.format('%.0f', number)
end

-- HMGET or ZMSCORE of many, in one table; what is not there is false.
local function fetch(name, key, fields, chunk)
  local count = #fields
  chunk = chunk or CHUNK
  if count == 0 then return {} end
  if count <= chunk then return call(name, key, unpack(fields)) end
  local all = {}
  for from = 1, count, chunk do
    local part = call(name, key, unpack(fields, from, min(from + chunk - 1, count)))
    for at = 1, #part do all[from + at - 1] = part[at] end
  end
  return all
end

local function member_of(head, id)
  return sub(head, 1, 6) .. id .. sub(head, 19, 19)
end

local function id_of(member)
  return sub(member, 7, 22)
end

local function priority_of(member)
  return byte(member, 23)
end

-- Since, cause, marks (empty: never delivered) and record of a dead letter.
local function open_dead(value)
  local since, length = unpackb('>I6I2', value)
  local cause = sub(value, 9, 8 + length)
  local marks = unpackb('>I4', value, 9 + length)
  local at = 13 + length
  return since, cause, sub(value, at, at + marks - 1), sub(value, at + marks)
end

local s = {}
local function load_state(packed)
  s.token, s.no, s.due, s.bytes, s.dead_bytes, s.stale, s.level, s.filled, s.lists, s.padded,
    s.pushed, s.duplicates, s.refused, s.delivered, s.acked, s.failed, s.expired, s.died, s.redriven,
    s.purged = unpackb(STATE, packed)
end

local function save_state()
  return pack(STATE, s.token, s.no, s.due, s.bytes, s.dead_bytes, s.stale, s.level, s.filled, s.lists,
    s.padded, s.pushed, s.duplicates, s.refused, s.delivered, s.acked, s.failed, s.expired, s.died,
    s.redriven, s.purged)
end

-- Ready jobs: those that are nowhere else.
local function count_ready()
  return call('HLEN', B) - call('ZCARD', Z) - call('ZCARD', L)
end
