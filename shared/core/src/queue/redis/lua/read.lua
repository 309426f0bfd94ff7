-- Reads: counts, jobs, and whether the counts are right. Nothing is written, nothing is swept.

local PEEK_BYTES = 4096

local function load_of(queue)
  return unpack(call('HMGET', queue .. 'c', 's', 'p', 'l'))
end

-- When the first job of a priority was pushed, of all priorities the earliest.
local function oldest(queue)
  local ids, found = {}, -1
  for priority = 0, 9 do ids[#ids + 1] = call('LINDEX', queue .. 'r' .. priority, 0) or nil end
  for _, id in ipairs(ids) do
    local _, pushed = unpackb(HEAD, call('HGET', queue .. 'b', id))
    if found < 0 or pushed < found then found = pushed end
  end
  return found < 0 and -1 or max(now - found, 0)
end

-- Ready, delayed, leased, dead, age of the oldest, counters, pause, limits; false: no such queue.
local function stats_of(queue)
  local packed, paused, limits = load_of(queue)
  if not packed then return false end
  local delayed, leased = call('ZCARD', queue .. 'z'), call('ZCARD', queue .. 'l')
  local ready = call('HLEN', queue .. 'b') - delayed - leased
  return { ready, delayed, leased, call('HLEN', queue .. 'd'), oldest(queue), packed, paused, limits }
end

-- Queues of this partition from ARGV[3] to ARGV[4], at most ARGV[5]: name and counts of each.
local function queues()
  local found = call('ZRANGEBYLEX', KEYS[1], ARGV[3], ARGV[4], 'LIMIT', 0, ARGV[5])
  local all = {}
  for _, name in ipairs(found) do
    local stats = stats_of(ARGV[6] .. name .. ':')
    if stats then all[#all + 1] = { name, stats } end
  end
  return all
end

-- A record with no more than the beginning of its payload.
local function shortened(record)
  local at = HEAD_BYTES + 2 + byte(record, HEAD_BYTES + 1)
  return sub(record, 1, at + 1 + unpackb('>I2', record, at) + PEEK_BYTES)
end

-- id, state, record, marks, time ms, who holds it, cause.
local function view(id, state, time)
  if state == 'x' then
    local since, cause, marks, record = open_dead(call('HGET', D, id))
    return { id, state, shortened(record), marks ~= '' and marks, max(now - since, 0), false, cause }
  end
  local holder = state == 'l' and sub(call('HGET', W, id), 9 + HEAD_BYTES)
  local record, marks = call('HGET', B, id), call('HGET', M, id)
  return { id, state, shortened(record), marks, max(time - now, 0), holder, false }
end

-- Ids that are ready, of which `skip` are passed over and `limit` wanted.
local function ready_ids(skip, limit)
  local ids, stale = {}, call('EXISTS', G) == 1
  for priority = 9, 0, -1 do
    local list, left = base .. 'r' .. priority, {}
    local length = call('LLEN', list)
    local at = 0
    if not stale then
      at = min(skip, length)
      skip = skip - at
    end
    while at < length and #ids < limit do
      local part = call('LRANGE', list, at, at + (stale and 999 or limit - 1))
      for _, id in ipairs(part) do
        local count = 0
        if stale then count = left[id] or tonumber(call('HGET', G, char(priority) .. id) or 0) end
        left[id] = max(count - 1, 0)
        if count == 0 then
          if skip > 0 then
            skip = skip - 1
          elseif #ids < limit then
            ids[#ids + 1] = id
          end
        end
      end
      at = at + #part
    end
  end
  return ids
end

-- Jobs of state ARGV[3], after ARGV[4] of them, at most ARGV[5]: whether there are more, and views.
local function peek()
  local state, skip, limit = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
  local views, all = {}, 0
  if state == 'r' then
    all = count_ready()
    for n, id in ipairs(ready_ids(skip, limit)) do views[n] = view(id, state, 0) end
  elseif state ~= 'o' then
    local key = ({ z = Z, l = L, x = X })[state]
    all = call('ZCARD', key)
    local found = call('ZRANGE', key, skip, skip + limit - 1, 'WITHSCORES')
    for n = 1, #found, 2 do
      local id = state == 'l' and sub(found[n], 9) or id_of(found[n])
      views[#views + 1] = view(id, state, tonumber(found[n + 1]))
    end
  end
  return { all > skip + #views and 1 or 0, views }
end

-- The job of id ARGV[3], or false.
local function job()
  local id = ARGV[3]
  local record = call('HGET', B, id)
  if not record then return call('HEXISTS', D, id) == 1 and view(id, 'x', 0) end
  local held = call('HGET', W, id)
  if held then return view(id, 'l', tonumber(call('ZSCORE', L, sub(held, 1, 8) .. id))) end
  local due = call('ZSCORE', Z, member_of(record, id))
  return view(id, due and 'z' or 'r', tonumber(due or 0))
end

-- What of the counts does not agree, in words.
local function audit()
  local found = {}
  local packed = load_of(base)
  if not packed then return found end
  load_state(packed)
  local function same(what, one, other)
    if one ~= other then
      found[#found + 1] = what .. ': ' .. integer(one) .. ' against ' .. integer(other)
    end
  end
  local entries = 0
  for priority = 0, 9 do entries = entries + call('LLEN', base .. 'r' .. priority) end
  same('ready jobs and entries of their lists', count_ready(), entries - s.stale)
  same('leases and holders', call('ZCARD', L), call('HLEN', W) - s.padded)
  same('dead letters and their order', call('HLEN', D), call('ZCARD', X))
  same('jobs pushed, and acknowledged, purged or here', s.pushed,
    s.acked + s.purged + call('HLEN', B) + call('HLEN', D))
  return found
end

local READ = {
  S = function() return stats_of(base) end,
  Q = queues, V = peek, J = job, C = audit
}
return { now, READ[ARGV[2]]() }
