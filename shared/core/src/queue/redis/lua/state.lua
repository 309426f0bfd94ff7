-- Commands: the queue's state, read once and written once, and the writes of a run of commands,
-- collected so that each is one call of Redis for many jobs.

local DEFAULT_DEDUP = 120000
local NAMES_MAX = 256
local SWEEP_MAX = 1000
local BATCH_BYTES_MAX = 786432
local ERRORS_KEPT = 5
-- How long what Redis shall forget by itself outlives its time, which is compared in any case.
local SPARE_MS = 10000
-- A hash with a value of over 64 bytes is a table, not a list that is searched from its beginning.
local PAD = string.rep('-', 65)

local NACKED, REJECTED, RELEASED = 1, 2, 3
local EXPIRED = 'expired: its time to live was over'

local packed, paused, packed_limits, packed_slices = unpack(call('HMGET', C, 's', 'p', 'l', 'd'))
local existed = packed and true or false
load_state(packed or string.rep('\0', 160))
local limits = {}
local woken = false
-- Slices of time of the acknowledged ids, one set for each width in use: its first slice that was
-- not unlinked, the last one that was written, and when the last of its ids is forgotten.
local slices = {}
local slices_changed = false

local function set_limits(text)
  packed_limits = text
  if text and text ~= '' then
    limits.jobs, limits.drop, limits.in_flight, limits.rate, limits.burst, limits.dedup =
      unpackb('>I8I1I4I4I4I8', text)
  else
    limits.jobs, limits.drop, limits.in_flight, limits.rate, limits.burst, limits.dedup =
      0, 0, 0, 0, 0, DEFAULT_DEDUP
  end
end
set_limits(packed_limits)

-- What is written at the end of a run.
local later
local function begin_run()
  later = {
    records = {}, gone = {}, lease = {}, unlease = {}, hold = {}, unhold = {}, delay = {}, live = {},
    unlive = {}, marks = {}, unmark = {}, done = {}, dead = {}, head = {}, tail = {}
  }
end
begin_run()

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

local function add(list, ...)
  for at = 1, select('#', ...) do list[#list + 1] = (select(at, ...)) end
end

-- The job is ready, at the end of its priority that `lists` is of: later.head or later.tail.
local function enqueue(lists, priority, id)
  local list = lists[priority]
  if not list then
    list = {}
    lists[priority] = list
  end
  list[#list + 1] = id
end

local function flush_lists(name, lists)
  for priority, ids in pairs(lists) do
    many(name, base .. 'r' .. priority, ids)
    s.lists = bit.bor(s.lists, bit.lshift(1, priority))
  end
end

-- Takes entries off the head that stand for no job, so that the first one always does.
local function trim(priority)
  local list = base .. 'r' .. priority
  while s.stale > 0 do
    local ids = call('LRANGE', list, 0, 99)
    if #ids == 0 then return end
    local names = {}
    for at, id in ipairs(ids) do names[at] = char(priority) .. id end
    local counts, left, stale = call('HMGET', G, unpack(names)), {}, 0
    for at, name in ipairs(names) do
      local count = left[name] or tonumber(counts[at] or 0)
      if count == 0 then break end
      left[name] = count - 1
      stale = at
    end
    if stale == 0 then return end
    call('LPOP', list, stale)
    s.stale = s.stale - stale
    for name, count in pairs(left) do
      if count == 0 then call('HDEL', G, name) else call('HSET', G, name, count) end
    end
    if stale < #ids then return end
  end
end

-- To the dead letters: id, marks and cause of each, which is ready, delayed or leased no more.
local function bury(list)
  for from = 1, #list, RECORDS do
    local ids, letters, places, marked = {}, {}, {}, {}
    for at = from, min(from + RECORDS - 1, #list) do ids[#ids + 1] = list[at].id end
    local records = call('HMGET', B, unpack(ids))
    for at, id in ipairs(ids) do
      local one, record = list[from + at - 1], records[at]
      local size = unpackb('>I4', record, 20)
      s.bytes, s.dead_bytes, s.died = s.bytes - size, s.dead_bytes + size, s.died + 1
      add(letters, id, pack('>I6I2', now, #one.cause) .. one.cause .. pack('>I4', #one.marks)
        .. one.marks .. record)
      add(places, integer(now), member_of(record, id))
      if one.marks ~= '' then marked[#marked + 1] = id end
    end
    call('HSET', D, unpack(letters))
    call('ZADD', X, unpack(places))
    call('HDEL', B, unpack(ids))
    many('HDEL', M, marked)
  end
end

-- The slices of the window that is in force: of a power of two, so that few widths are ever in use.
local function slices_in_force()
  local width = 1024
  while width * 2 < limits.dedup do width = width * 2 end
  for _, set in ipairs(slices) do
    if set.width == width then return set end
  end
  local set = { width = width, first = floor(now / width), last = -1, ends = 0 }
  slices[#slices + 1] = set
  return set
end

local function write_done(pairs_of_ids)
  local until_ms = now + limits.dedup
  local set = slices_in_force()
  local slice = floor(until_ms / set.width)
  local key = base .. 't' .. set.width .. '.' .. integer(slice)
  if set.last ~= slice then call('HSET', key, '', PAD) end
  many('HSET', key, pairs_of_ids)
  if set.last ~= slice then
    call('PEXPIRE', key, integer((slice + 2) * set.width - now + SPARE_MS))
  end
  set.last, set.ends = slice, max(set.ends, until_ms)
  slices_changed = true
end

-- Remembers an acknowledged id, unless the window is 0.
local function remember_done(id, token8)
  if limits.dedup == 0 then return end
  add(later.done, id, token8 .. pack('>I8', now + limits.dedup))
end

-- Writes what a run of commands collected.
local function flush()
  local run = later
  begin_run()
  many('HSET', B, run.records)
  many('HDEL', B, run.gone)
  many('ZADD', L, run.lease)
  many('ZREM', L, run.unlease)
  if #run.hold > 0 and s.padded == 0 then
    add(run.hold, '', PAD)
    s.padded = 1
  end
  many('HSET', W, run.hold)
  many('HDEL', W, run.unhold)
  many('ZADD', Z, run.delay)
  many('ZADD', E, run.live)
  many('ZREM', E, run.unlive)
  many('HSET', M, run.marks)
  many('HDEL', M, run.unmark)
  if #run.done > 0 then write_done(run.done) end
  if #run.dead > 0 then bury(run.dead) end
  flush_lists('LPUSH', run.head)
  flush_lists('RPUSH', run.tail)
end

-- Tokens of the ids that were acknowledged and are remembered, by their place in `ids`.
local function done_of(ids)
  local found = {}
  for _, set in ipairs(slices) do
    for slice = floor(now / set.width), floor(set.ends / set.width) do
      local key = base .. 't' .. set.width .. '.' .. integer(slice)
      for at, value in ipairs(fetch('HMGET', key, ids)) do
        if value and unpackb('>I8', value, 9) > now then found[at] = sub(value, 1, 8) end
      end
    end
  end
  return found
end

-- Unlinks the slices that are over: a large one that Redis expired by itself would hold it up.
local function forget()
  local kept = {}
  for _, set in ipairs(slices) do
    local present, last = floor(now / set.width), floor(set.ends / set.width)
    local over = set.ends <= now and last or min(present - 1, last)
    for slice = set.first, min(over, set.first + 99) do
      call('UNLINK', base .. 't' .. set.width .. '.' .. integer(slice))
      set.first = slice + 1
      slices_changed = true
    end
    if set.ends > now then
      kept[#kept + 1] = set
    else
      slices_changed = true
    end
  end
  slices = kept
end

if packed_slices then
  for at = 1, #packed_slices, 32 do
    local set = {}
    set.width, set.first, set.last, set.ends = unpackb('>I8I8I8I8', packed_slices, at)
    slices[#slices + 1] = set
  end
  forget()
end

-- When the next thing happens by itself; 0: nothing will.
local function next_due()
  local due = 0
  for _, key in ipairs({ L, Z, E }) do
    local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')
    local at = tonumber(first[2] or 0)
    if at > 0 and (due == 0 or at < due) then due = at end
  end
  return due
end
