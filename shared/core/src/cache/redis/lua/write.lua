-- Writes of one key.

local GONE_MS = 60000
local SWEEP = 8

local key, record, gone, present, id

-- Redis refuses what takes memory if it is the first write of a script and the memory is full. This
-- is one that takes none: what follows is small, and must be possible then too.
local function small()
  call('DEL', base .. '-')
end

local function unlist(name, tags)
  call('ZREM', N, name)
  for tag in gmatch(tags, '[^\n]+') do call('ZREM', base .. 't:' .. tag, name) end
end

-- What is left of a key whose time is over.
local function forget(name)
  unlist(name, call('HGET', Y, name) or '')
  call('ZREM', X, name)
  call('HDEL', Y, name)
end

local function sweep(most)
  local over = call('ZRANGEBYSCORE', X, '-inf', '(' .. integer(now), 'LIMIT', 0, most)
  for _, name in ipairs(over) do
    if call('EXISTS', base .. 'k:' .. name) == 1 then
      -- The clock went back, perhaps: another time.
      call('ZADD', X, integer(now + 1000), name)
    else
      forget(name)
    end
  end
end

-- What the key holds; `sent`: that is what the caller sent.
local function answer(outcome, sent)
  local now_held = call('HMGET', record, 'n', 't')
  if not now_held[1] then return { 'a', call('HGET', S, 'version') or '0', outcome } end
  local ttl = call('PTTL', record)
  if sent then return { 's', now_held[1], outcome, ttl } end
  return { 'h', now_held[1], outcome, ttl, call('HGET', record, 'v'), now_held[2] }
end

-- It was done, and changed nothing.
local function remember(outcome)
  small()
  if present then
    call('HSET', record, 'i', id, 'o', outcome)
  else
    call('SET', gone, id .. outcome, 'PX', GONE_MS)
  end
  return answer(outcome)
end

-- The first write of what needs memory failed: nothing was done.
local function refused(failed)
  if not find(failed.err, 'OOM', 1, true) then return failed end
  local bytes, limit = used()
  return { 'f', bytes, limit }
end

local function is_error(done)
  return type(done) == 'table' and done.err
end

local function next_version()
  return integer((tonumber(call('HGET', S, 'version')) or 0) + 1)
end

-- Lists the key by its tags, and until when it is there; `ms` is empty if it stays.
local function list(tags, before, ms)
  if not present then
    if call('ZSCORE', X, key) then forget(key) end
    call('ZADD', N, 0, key)
    call('DEL', gone)
  end
  if tags ~= before then
    for tag in gmatch(before, '[^\n]+') do call('ZREM', base .. 't:' .. tag, key) end
    for tag in gmatch(tags, '[^\n]+') do call('ZADD', base .. 't:' .. tag, 0, key) end
  end
  if ms ~= '' then
    local over = integer(now + tonumber(ms))
    call('PEXPIREAT', record, over)
    call('ZADD', X, over, key)
    call('HSET', Y, key, tags)
  elseif call('PERSIST', record) == 1 then
    call('ZREM', X, key)
    call('HDEL', Y, key)
  end
end

local function put(value, tags, before, ms, version, outcome)
  local done = pcall('HSET', record, 'v', value, 'n', version, 't', tags, 'i', id, 'o', outcome)
  if is_error(done) then return refused(done) end
  if tonumber(version) > (tonumber(call('HGET', S, 'version')) or 0) then
    call('HSET', S, 'version', version)
  end
  list(tags, before, ms)
  sweep(SWEEP)
  return answer(outcome, true)
end

local function delete(tags)
  call('UNLINK', record)
  call('HSET', S, 'version', next_version())
  forget(key)
  unlist(key, tags)
  call('SET', gone, id .. 'D1', 'PX', GONE_MS)
  sweep(SWEEP)
  return answer('D1')
end

-- Redis counts with 64 bits, and takes for a number what is written as it would write it.
local function increment(by)
  local done = pcall('HINCRBY', record, 'v', by)
  if is_error(done) then
    if find(done.err, 'hash value is not an integer', 1, true) then return remember('X') end
    if find(done.err, 'would overflow', 1, true) then return remember('O') end
    return refused(done)
  end
  local version, outcome = next_version(), 'N' .. call('HGET', record, 'v')
  call('HSET', record, 'n', version, 'i', id, 'o', outcome)
  call('HSET', S, 'version', version)
  sweep(SWEEP)
  return answer(outcome)
end

local function holds(condition)
  if condition == '' then return true end
  if condition == 'a' then return not present end
  if condition == 'p' then return present end
  return present == sub(condition, 2)
end

local function takes(epoch, fence, generation)
  if call('HGET', S, 'serving') ~= epoch then return false end
  if fence == '' then return true end
  return tonumber(generation) >= (tonumber(call('HGET', base .. 'f', fence)) or 0)
end

-- W, key, epoch, "<partition> <node>" or nothing for a home, generation, id, kind, and of the kind:
-- S condition value tags ms | D condition | I by | P value tags version
local function write()
  key, id = ARGV[2], ARGV[6]
  record, gone = base .. 'k:' .. key, base .. 'g:' .. key
  local held = call('HMGET', record, 'n', 'i', 'o', 't')
  present = held[1]
  local last, outcome, tags = held[2], held[3], held[4] or ''
  if not present then
    local kept = call('GET', gone)
    if kept then last, outcome = sub(kept, 1, 16), sub(kept, 17) end
  end
  if last == id then return answer(outcome) end
  if not takes(ARGV[3], ARGV[4], ARGV[5]) then return { 'x' } end
  local kind, a, b, c, d = ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11]
  if kind == 'P' then return put(a, b, tags, '', c, 'P') end
  if kind == 'I' then
    if present then return increment(a) end
    return put(a, '', '', '', next_version(), 'N' .. a)
  end
  if not holds(a) then return remember('U' .. (present or '')) end
  if kind == 'S' then return put(b, c, tags, d, next_version(), 'S') end
  if not present then return remember('D0') end
  return delete(tags)
end
