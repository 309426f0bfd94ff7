-- Pop: deliveries on a lease, as limits allow, and the same again for the same request.

-- Ready jobs taken off their lists for this run and not yet given: ids, records, marks. What is
-- left at its end goes back.
local pool

-- Ids of a list from which those are taken out that stand for no job.
local function without_stale(priority, ids)
  if s.stale == 0 then return ids end
  local live = {}
  for _, id in ipairs(ids) do
    local name = char(priority) .. id
    local count = tonumber(call('HGET', G, name) or 0)
    if count == 0 then
      live[#live + 1] = id
    else
      s.stale = s.stale - 1
      if count == 1 then call('HDEL', G, name) else call('HSET', G, name, count - 1) end
    end
  end
  trim(priority)
  return live
end

-- So many records that they are not much more than one answer holds.
local function records_at_once()
  local count = call('HLEN', B) + call('HLEN', D)
  local each = (s.bytes + s.dead_bytes) / max(count, 1)
  return max(1, min(500, floor(BATCH_BYTES_MAX / max(each, 1))))
end

local function fill_pool(want)
  want = min(want, records_at_once())
  local ids = {}
  for priority = 9, 0, -1 do
    local mask = bit.lshift(1, priority)
    -- A priority is tried again as long as entries without a job are among what it gave.
    while want > #ids and bit.band(s.lists, mask) ~= 0 do
      local asked = want - #ids
      local found = call('LPOP', base .. 'r' .. priority, asked) or {}
      if #found < asked then s.lists = s.lists - mask end
      for _, id in ipairs(without_stale(priority, found)) do ids[#ids + 1] = id end
    end
  end
  pool = { ids = ids, records = fetch('HMGET', B, ids), marks = marks_of(ids), next = 1 }
end

local function put_back()
  for at = #pool.ids, pool.next, -1 do
    enqueue(later.head, byte(pool.records[at], 19), pool.ids[at])
  end
  pool = { ids = {}, next = 1 }
end

-- Deliveries that limits allow now.
local function allowed(most, leased)
  if limits.in_flight > 0 then most = min(most, max(limits.in_flight - leased, 0)) end
  if limits.rate > 0 then
    local room = max(limits.burst, 1) * 1000
    s.level = min(s.level + max(now - s.filled, 0) * limits.rate, room)
    s.filled = now
    most = min(most, floor(s.level / 1000))
  end
  return most
end

-- When asking again may give something that does not come by a push; -1: never.
local function next_try()
  put_back()
  flush()
  local wait = -1
  if limits.rate > 0 and count_ready() > 0 then
    wait = max(math.ceil(max(1000 - s.level, 0) / limits.rate), 1)
  end
  local due = next_due()
  if due > 0 and (wait < 0 or due - now < wait) then wait = max(due - now, 0) end
  return wait
end

-- What is left of an earlier answer: 'again', then token8, id, lease, record, marks of each. From
-- then on it is not given back.
local function again(name, value)
  put_back()
  flush()
  if byte(value, 9) == 0 then
    call('SET', name, sub(value, 1, 8) .. '\1' .. sub(value, 10), 'KEEPTTL')
  end
  local jobs = { 'again' }
  for at = 10, #value, 24 do
    local receipt = sub(value, at, at + 23)
    local ends = call('ZSCORE', L, receipt)
    if ends then
      local id = sub(receipt, 9)
      add(jobs, sub(receipt, 1, 8), id, integer(max(ends - now, 0)), call('HGET', B, id),
        call('HGET', M, id))
    end
  end
  return jobs
end

-- The jobs of one pop leave the pool: on a lease, or done at once. Gives 'jobs', the first token,
-- ids, records and marks, and what to remember of it.
local function deliver(most, lease, at_once, consumer, wanted)
  local ids, records, marks, memory, bytes, given = {}, {}, {}, {}, 0, 0
  local ends = integer(now + lease)
  local token = max(s.token, now_us)
  local first = token + 1
  while given < most do
    if pool.next > #pool.ids then
      fill_pool(max(wanted, most) - given)
      if #pool.ids == 0 then break end
    end
    local at = pool.next
    local id, record = pool.ids[at], pool.records[at]
    local _, _, life, _, size, headers = unpackb(HEAD, record)
    if given > 0 and bytes + size + headers > BATCH_BYTES_MAX then break end
    pool.next, bytes, given, token = at + 1, bytes + size + headers, given + 1, token + 1
    local token8 = pack('>I8', token)
    if life > 0 then add(later.unlive, member_of(record, id)) end
    if at_once then
      s.bytes, s.acked = s.bytes - size, s.acked + 1
      add(later.gone, id)
      if pool.marks[at] then add(later.unmark, id) end
      remember_done(id, token8)
    else
      local receipt, leases, held = token8 .. id, later.lease, later.hold
      local place = given * 2
      memory[given] = receipt
      leases[#leases + 1], held[#held + 1] = ends, id
      leases[#leases + 1], held[#held + 1] = receipt, token8 .. sub(record, 1, HEAD_BYTES) .. consumer
    end
    ids[given], records[given], marks[given] = id, record, pool.marks[at] or false
  end
  if given > 0 then
    s.token, s.delivered = token, s.delivered + given
    if limits.rate > 0 then s.level = max(s.level - given * 1000, 0) end
  end
  return { 'jobs', integer(first), concat(ids), records, marks }, memory, given
end

-- `count`, then for each pop its request in hexadecimal, max4 lease8 ack1, and consumer.
local function pop(at)
  local count = tonumber(ARGV[at])
  local names, remembered, answers, wanted = {}, {}, {}, 0
  for n = 1, count do
    names[n] = base .. 'p' .. ARGV[at + n * 3 - 2]
    wanted = wanted + unpackb('>I4', ARGV[at + n * 3 - 1])
  end
  for n, value in ipairs(call('MGET', unpack(names))) do remembered[names[n]] = value end
  local leased = limits.in_flight > 0 and call('ZCARD', L) or 0
  pool = { ids = {}, next = 1 }
  for n = 1, count do
    local most, lease, at_once = unpackb('>I4I8I1', ARGV[at + n * 3 - 1])
    local before = remembered[names[n]]
    if before and unpackb('>I8', before) > now then
      answers[n] = again(names[n], before)
    elseif paused then
      answers[n] = { 'paused', paused }
    else
      local limit = allowed(most, leased)
      local limited = limits.in_flight > 0 or limits.rate > 0
      local answer, memory, given =
        deliver(limit, lease, at_once == 1, ARGV[at + n * 3], limited and 0 or wanted)
      if given == 0 then answer = { 'none', next_try() } end
      if #memory > 0 then
        leased = leased + given
        local value = pack('>I8', now + lease) .. '\0' .. concat(memory)
        call('SET', names[n], value, 'PX', integer(lease + SPARE_MS))
        remembered[names[n]] = value
      end
      answers[n] = answer
    end
    wanted = wanted - most
  end
  put_back()
  flush()
  return answers, at + 1 + count * 3
end

-- `request`: what nobody received goes back to the head, in its old order.
local function give_back(at)
  local name = base .. 'p' .. ARGV[at]
  local value = call('GET', name)
  if not value or unpackb('>I8', value) <= now or byte(value, 9) ~= 0 then return 0, at + 1 end
  call('UNLINK', name)
  local receipts, ids = {}, {}
  for from = #value - 23, 10, -24 do
    receipts[#receipts + 1] = sub(value, from, from + 23)
    ids[#ids + 1] = sub(value, from + 8, from + 23)
  end
  local held, marks, count = fetch('HMGET', W, ids), marks_of(ids), 0
  for n, id in ipairs(ids) do
    if held[n] and sub(held[n], 1, 8) == sub(receipts[n], 1, 8) then
      add(later.unlease, receipts[n])
      add(later.unhold, id)
      release(id, held[n], marks[n])
      count = count + 1
    end
  end
  flush()
  return count, at + 1
end
