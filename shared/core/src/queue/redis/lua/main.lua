-- The way through a call.

local NAMES_MAX = 256

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

local PART = { P = 'push', T = 'pop', S = 'settle' }

-- One run: its answer, and where the next one begins.
local function run(letter, at)
  if letter == 'A' then return ack(at) end
  if letter == 'G' then return need('settle').give_back(at) end
  local part = PART[letter]
  if not part then return need('set')[letter](at) end
  return (part == 'settle' and need(part).settle or need(part))(at)
end

-- The queue as it is when the call is over.
local function close(answers)
  local ready = 0
  if is_used() then
    s.due, ready = next_due()
  end
  save()
  local wait = s.due > 0 and max(s.due - now, 0) or -1
  -- After a delete the counters began anew.
  local happened = {
    max(s.acked - before.acked, 0), max(s.expired - before.expired, 0), max(s.died - before.died, 0)
  }
  return { now, woken and 1 or 0, ready, wait, answers, happened }
end

if s.due > 0 and s.due <= now then need('settle').sweep() end
if not existed and #ARGV > 2 and call('ZCARD', KEYS[2]) >= NAMES_MAX then
  return { now, 0, 0, -1, 'full', { 0, 0, 0 } }
end
local answers, at = {}, 3
while at <= #ARGV do
  answers[#answers + 1], at = run(ARGV[at], at + 1)
end
return close(answers)
