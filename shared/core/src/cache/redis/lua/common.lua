-- The memory of dsync's cache in Redis. What is common to the script of commands and that of reads.
--
-- KEYS[1] is `s`; all keys are named alike but for what follows the hash tag, so that all of them are
-- on one node of a cluster. Versions, epochs and generations are decimal texts; Lua's numbers are
-- exact up to 2^53. Tags are one text, with a line feed between two of them: no name has one.
--
--   s      HASH    version: that of the last change; serving: the epoch that writes are taken of;
--                  epoch, view: who takes part; members: their names, each between line feeds
--   f      HASH    "<partition> <node>" -> first generation that may write
--   b      HASH    node -> "<ms> <count> <member>": signs of life
--   k:KEY  HASH    v: value, n: version, t: tags, i: id of the last write, o: its outcome
--   g:KEY  STRING  id16 outcome: the last write of a key that is not there; it is kept a while
--   n      ZSET    KEY -> 0: those that are there, and those whose time is over in `x`
--   t:TAG  ZSET    KEY -> 0: likewise, of a tag
--   x      ZSET    KEY -> ms when its time is over: Redis drops `k:KEY` by itself, a sweep the rest
--   y      HASH    KEY -> tags of those in `x`
--
-- OUTCOME: S set, D0 D1 deleted, N<sum>, U<version> unmet, X no number, O overflow, P put.

local call, pcall, unpack = redis.call, redis.pcall, unpack
local sub, find, match, gmatch = string.sub, string.find, string.match, string.gmatch

local S, base = KEYS[1], sub(KEYS[1], 1, -2)
local N, X, Y = base .. 'n', base .. 'x', base .. 'y'

local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function integer(number)
  return string.format('%.0f', number)
end

-- Bytes in use, and how many there may be.
local function used()
  local memory = call('INFO', 'memory')
  return match(memory, 'used_memory:(%d+)') or '0', match(memory, '\nmaxmemory:(%d+)') or '0'
end
