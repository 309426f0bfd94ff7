-- Commands that set or move, and the way through a call.

local function ids_of(at, count)
  local ids = {}
  for n = 1, count do ids[n] = ARGV[at + n - 1] end
  return ids
end

-- Dead letters by id, or the oldest: ids and their values, each once.
local function dead_letters(at)
  local most, count = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  local ids, seen, chosen, letters = {}, {}, {}, {}
  if count > 0 then
    ids = ids_of(at + 2, count)
  else
    for n, member in ipairs(call('ZRANGE', X, 0, most - 1)) do ids[n] = id_of(member) end
  end
  local taken = 0
  for n, letter in ipairs(fetch('HMGET', D, ids, RECORDS)) do
    if letter and taken < most then
      taken = taken + 1
      if not seen[ids[n]] then
        seen[ids[n]] = true
        chosen[#chosen + 1], letters[#letters + 1] = ids[n], letter
      end
    end
  end
  return chosen, letters, at + 2 + count
end

-- They leave the dead letters.
local function unbury(ids, records)
  local members = {}
  for n, id in ipairs(ids) do
    members[n] = member_of(records[n], id)
    s.dead_bytes = s.dead_bytes - unpackb('>I4', records[n], 20)
  end
  many('ZREM', X, members)
  many('HDEL', D, ids)
end

local function redrive(at)
  local ids, letters, after = dead_letters(at)
  local records = {}
  for n, id in ipairs(ids) do
    local _, _, marks, record = open_dead(letters[n])
    local _, _, _, priority, size, _, _, _, _, ttl = unpackb(HEAD, record)
    local ends = ttl > 0 and now + ttl or 0
    records[n] = record
    add(later.records, id, sub(record, 1, 12) .. pack('>I6', ends) .. sub(record, 19))
    -- Who had it last is all that is kept of its former life.
    if marks ~= '' then
      local consumer = sub(marks, 15, 14 + byte(marks, 14))
      add(later.marks, id, write_marks(0, 0, NO_TOKEN, consumer, '\0'))
    end
    if ends > 0 then add(later.live, integer(ends), member_of(record, id)) end
    enqueue(later.tail, priority, id)
    s.bytes = s.bytes + size
  end
  unbury(ids, records)
  flush()
  s.redriven = s.redriven + #ids
  woken = woken or #ids > 0
  return #ids, after
end

local function purge_dead(at)
  local ids, letters, after = dead_letters(at)
  local records = {}
  for n in ipairs(ids) do
    local _
    _, _, _, records[n] = open_dead(letters[n])
  end
  unbury(ids, records)
  s.purged = s.purged + #ids
  return #ids, after
end

local function purge(at)
  local count = call('HLEN', B)
  local keys = { B, L, W, Z, M, E, G }
  for priority = 0, 9 do keys[#keys + 1] = base .. 'r' .. priority end
  call('UNLINK', unpack(keys))
  s.bytes, s.stale, s.lists, s.padded = 0, 0, 0, 0
  s.purged = s.purged + count
  return count, at
end

local function pause(at)
  paused = ARGV[at]
  call('HSET', C, 'p', paused)
  return 1, at + 1
end

local function resume(at)
  if paused then
    call('HDEL', C, 'p')
    paused, woken = false, true
  end
  return 1, at
end

local function limit(at)
  set_limits(ARGV[at])
  if ARGV[at] == '' then call('HDEL', C, 'l') else call('HSET', C, 'l', ARGV[at]) end
  woken = true
  return 1, at + 1
end

-- Something has happened in the queue, or is set: else there is no such queue.
local function is_used()
  return paused or (packed_limits and packed_limits ~= '') or s.pushed > 0 or s.duplicates > 0
    or s.refused > 0
end

local function save()
  if not is_used() then
    if existed then
      call('UNLINK', C)
      call('ZREM', KEYS[2], ARGV[2])
    end
    return
  end
  if not existed then call('ZADD', KEYS[2], 0, ARGV[2]) end
  local after = save_state()
  if after ~= packed then call('HSET', C, 's', after) end
  if slices_changed then
    local all = {}
    for n, set in ipairs(slices) do
      all[n] = pack('>I8I8I8I8', set.width, set.first, set.last, set.ends)
    end
    call('HSET', C, 'd', concat(all))
  end
end

local RUN = {
  P = push, A = ack, S = settle, T = pop, Z = pause, R = resume, L = limit, U = purge, D = redrive,
  X = purge_dead, G = give_back
}

-- The queue as it is when the call is over.
local function close(answers)
  local ready = 0
  if is_used() then
    s.due = next_due()
    ready = count_ready()
  end
  save()
  local wait = s.due > 0 and max(s.due - now, 0) or -1
  return { now, woken and 1 or 0, ready, wait, answers }
end

sweep()
if not existed and #ARGV > 2 and call('ZCARD', KEYS[2]) >= NAMES_MAX then
  return { now, 0, 0, -1, 'full' }
end
local answers, at = {}, 3
while at <= #ARGV do
  answers[#answers + 1], at = RUN[ARGV[at]](at + 1)
end
return close(answers)
