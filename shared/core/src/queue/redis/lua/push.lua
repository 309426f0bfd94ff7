-- Push: in, a duplicate, or refused.

-- Where a job is whose id is in `b`.
local function state_of(id, record)
  if call('HEXISTS', W, id) == 1 then return 'l' end
  if call('ZSCORE', Z, member_of(record, id)) then return 'z' end
  return 'r'
end

-- Sends the next job of the lowest priority to the dead letters; its id, or nil if none is ready.
local function drop_oldest()
  flush()
  for priority = 0, 9 do
    local id = call('LPOP', base .. 'r' .. priority)
    if id then
      trim(priority)
      local record = call('HGET', B, id)
      local _, _, ends = unpackb(HEAD, record)
      if ends > 0 then call('ZREM', E, member_of(record, id)) end
      local marks = call('HGET', M, id) or ''
      local cause = 'dropped: the queue was full at ' .. integer(limits.jobs) .. ' jobs'
      bury({ { id = id, cause = cause, marks = marks } })
      return id
    end
  end
end

local function take_in(id, head, rest)
  local delay, priority, size, _, _, _, _, ttl = unpackb('>I4I1I4I2I4I4I4I4', head, 17)
  local ends = ttl > 0 and now + ttl or 0
  local no = s.no
  s.no, s.pushed, s.bytes = no + 1, s.pushed + 1, s.bytes + size
  local record = pack('>I6I6I6', no, now, ends) .. sub(head, 21) .. rest
  local records = later.records
  local at = #records
  records[at + 1], records[at + 2] = id, record
  if ends > 0 then add(later.live, integer(ends), member_of(record, id)) end
  if delay > 0 then
    add(later.delay, integer(now + delay), member_of(record, id))
    return 'z'
  end
  enqueue(later.tail, priority, id)
  return 'r'
end

-- `count`, then for each job `id delay4 HEAD-from-priority` and `id text, headers, payload`. Gives a
-- letter per job: created, where the duplicate is (r, z, l, x, o for done), full; and the limit.
local function push(at)
  local count = tonumber(ARGV[at])
  local ids, answers = {}, {}
  for n = 1, count do ids[n] = sub(ARGV[at + n * 2 - 1], 1, 16) end
  local live = call('HLEN', B)
  local known = live > 0 and fetch('HMGET', B, ids, RECORDS) or {}
  local dead = call('EXISTS', D) == 1 and fetch('HMGET', D, ids, RECORDS) or {}
  local done = done_of(ids)
  -- What became, in this run, of ids that it created or dropped.
  local here = {}
  for n = 1, count do
    local id = ids[n]
    local answer = here[id] or (dead[n] and 'x') or (known[n] and state_of(id, known[n]))
      or (done[n] and 'o')
    if answer then
      s.duplicates = s.duplicates + 1
    else
      local full = limits.jobs > 0 and live >= limits.jobs
      local dropped = full and limits.drop == 1 and drop_oldest()
      if dropped then
        here[dropped] = 'x'
        live = live - 1
      end
      if full and not dropped then
        s.refused = s.refused + 1
        answer = 'f'
      else
        here[id] = take_in(id, ARGV[at + n * 2 - 1], ARGV[at + n * 2])
        live = live + 1
        woken = true
        answer = 'c'
      end
    end
    answers[n] = answer
  end
  flush()
  return { concat(answers), integer(limits.jobs) }, at + 1 + count * 2
end
