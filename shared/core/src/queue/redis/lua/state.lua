-- Commands: the queue's state, read once and written once, and the writes of a run of commands,
-- collected so that each is one call of Redis for many jobs.

local DEFAULT_DEDUP = 120000
-- How long what Redis shall forget by itself outlives its time, which is compared in any case.
local SPARE_MS = 10000
-- A hash with a value of over 64 bytes is a table, not a list that is searched from its beginning.
local PAD = '-----------------------------------------------------------------'

local NO_TOKEN = '\0\0\0\0\0\0\0\0'
local LIVES = 1024
local EXPIRED = 'expired: its time to live was over'

local packed, paused, packed_limits, packed_slices = unpack(call('HMGET', C, 's', 'p', 'l', 'd'))
local existed = packed and true or false
load_state(packed or string.rep('\0', 160))
local before = { acked = s.acked, expired = s.expired, died = s.died }
local limits
local woken = false
-- Slices of time of the acknowledged ids, one set for each width in use: its first slice that was
-- not unlinked, the last one that was written, and when the last of its ids is forgotten.
local slices = {}
local slices_changed = false

local function set_limits(text)
  packed_limits = text
  if text and text ~= '' then
    local jobs, drop, in_flight, rate, burst, dedup = unpackb('>I8I1I4I4I4I8', text)
    limits = {
      jobs = jobs, drop = drop, in_flight = in_flight, rate = rate, burst = burst, dedup = dedup
    }
  else
    limits = { jobs = 0, drop = 0, in_flight = 0, rate = 0, burst = 0, dedup = DEFAULT_DEDUP }
  end
end
set_limits(packed_limits)

-- Parts of this script that not every call needs: functions are made anew in each call, and making
-- them takes longer than what a small call does with them.
local parts, made = {}, {}
local function need(name)
  local part = made[name]
  if not part then
    part = parts[name]()
    made[name] = part
  end
  return part
end

-- What is written at the end of a run: lists of arguments by name.
local later = { head = {}, tail = {} }

local function many(name, key, arguments)
  local count = #arguments
  if count == 0 then return end
  if count <= CHUNK then
    call(name, key, unpack(arguments))
    return
  end
  for from = 1, count, CHUNK do
    call(name, key, unpack(arguments, from, min(from + CHUNK - 1, count)))
  end
end

-- One or two more arguments of that list.
local function add(name, one, other)
  local list = later[name]
  if not list then
    list = {}
    later[name] = list
  end
  list[#list + 1] = one
  if other then list[#list + 1] = other end
end

-- The job is ready, at that end of its priority: head or tail.
local function enqueue(at, priority, id)
  local list = later[at][priority]
  if not list then
    list = {}
    later[at][priority] = list
  end
  list[#list + 1] = id
end

-- Ids that wait for the head, by priority: where the next ones begin.
local function heads()
  local from = {}
  for priority, ids in pairs(later.head) do from[priority] = #ids end
  return from
end

-- What was put at the head since then stands there as it came, not the other way round.
local function in_order(from)
  for priority, ids in pairs(later.head) do
    local first, last = (from[priority] or 0) + 1, #ids
    while first < last do
      ids[first], ids[last] = ids[last], ids[first]
      first, last = first + 1, last - 1
    end
  end
end

local function flush_lists(name, at)
  local lists = later[at]
  if not next(lists) then return end
  later[at] = {}
  for priority, ids in pairs(lists) do
    many(name, base .. 'r' .. priority, ids)
    s.lists = bit.bor(s.lists, bit.lshift(1, priority))
  end
end

-- Remembers an acknowledged id, unless the window is 0.
local function remember_done(id, token8)
  if limits.dedup == 0 then return end
  add('done', id, token8 .. pack('>I8', now + limits.dedup))
end

local function write(name, key, list)
  local arguments = later[list]
  if arguments then
    later[list] = nil
    many(name, key, arguments)
  end
end

-- Writes what a run of commands collected.
local function flush()
  write('HSET', B, 'records')
  write('HDEL', B, 'gone')
  write('ZADD', L, 'lease')
  write('ZREM', L, 'unlease')
  if later.hold and s.padded == 0 then
    add('hold', '', PAD)
    s.padded = 1
  end
  write('HSET', W, 'hold')
  write('HDEL', W, 'unhold')
  write('ZADD', Z, 'delay')
  if later.live then s.lists = bit.bor(s.lists, LIVES) end
  write('ZADD', E, 'live')
  write('ZREM', E, 'unlive')
  write('HSET', M, 'marks')
  write('HDEL', M, 'unmark')
  local done, dead = later.done, later.dead
  later.done, later.dead = nil, nil
  if done then need('window').write_done(done) end
  if dead then need('dead').bury(dead) end
  flush_lists('LPUSH', 'head')
  flush_lists('RPUSH', 'tail')
end

local function first_of(key, due)
  local at = tonumber(call('ZRANGE', key, 0, 0, 'WITHSCORES')[2])
  return (at and (due == 0 or at < due)) and at or due
end

-- When the next thing happens by itself, 0 if nothing will; and how many jobs are ready.
local function next_due()
  local leased, delayed, due = call('ZCARD', L), call('ZCARD', Z), 0
  if leased > 0 then due = first_of(L, due) end
  if delayed > 0 then due = first_of(Z, due) end
  if s.lists >= LIVES then due = first_of(E, due) end
  return due, call('HLEN', B) - delayed - leased
end
