-- Receipts: what ends a lease or prolongs it; and the sweep, which does what ends by itself.

-- Marks of the ids, false for those without.
local function marks_of(ids)
  if #ids == 0 or call('EXISTS', M) == 0 then return {} end
  return fetch('HMGET', M, ids)
end

-- ack: `count, receipts`. Letters as above.
local function ack(at)
  local count = tonumber(ARGV[at])
  local ids, answers = {}, {}
  for place = 1, count do ids[place] = sub(ARGV[at + place], 9) end
  local held, marked = fetch('HMGET', W, ids), count > 0 and call('EXISTS', M) == 1
  local gone, stale, stale_at = {}, {}, {}
  for place = 1, count do
    local receipt, id, value = ARGV[at + place], ids[place], held[place]
    local token8 = sub(receipt, 1, 8)
    if value and not gone[id] and sub(value, 1, 8) == token8 then
      gone[id] = token8
      s.bytes, s.acked = s.bytes - unpackb('>I4', value, 28), s.acked + 1
      add('unlease', receipt)
      add('gone', id)
      remember_done(id, token8)
      answers[place] = 'd'
    elseif gone[id] then
      answers[place] = (gone[id] == token8 and limits.dedup > 0) and 'd' or 's'
    else
      stale[#stale + 1], stale_at[#stale_at + 1] = id, place
    end
  end
  -- A place in flight is free.
  woken = woken or (later.gone and limits.in_flight > 0)
  later.unhold = later.gone
  if marked then later.unmark = later.gone end
  flush()
  local done = #stale > 0 and need('window').done_of(stale) or {}
  for n, place in ipairs(stale_at) do
    answers[place] = done[n] == sub(ARGV[at + place], 1, 8) and 'd' or 's'
  end
  return concat(answers), at + 1 + count
end

parts.settle = function()
  local SWEEP_MAX = 1000
  local ERRORS_KEPT = 5
  local NACKED, REJECTED, RELEASED = 1, 2, 3

  local function read_marks(marks)
    if not marks then return 0, 0, NO_TOKEN, '\0' end
    local attempts, how = unpackb('>I4I1', marks)
    return attempts, how, sub(marks, 6, 13), sub(marks, 15 + byte(marks, 14))
  end

  local function write_marks(attempts, how, token8, consumer, errors)
    return pack('>I4I1', attempts, how) .. token8 .. char(#consumer) .. consumer .. errors
  end

  -- One more error, of which the last ones are kept.
  local function note(errors, text)
    local count = byte(errors, 1)
    local from = 2
    if count >= ERRORS_KEPT then
      from = 4 + unpackb('>I2', errors, 2)
      count = count - 1
    end
    return char(count + 1) .. sub(errors, from) .. pack('>I2', #text) .. text
  end

  -- The pause after the n-th failed delivery: as of `backoff_ms` in Rust, step by step.
  local function backoff(id, first, longest, attempt)
    local pause = min(first * 2 ^ min(max(attempt - 1, 0), 32), longest)
    local part = (unpackb('>I2', id, 15) + attempt * 7919) % 1000
    return pause - floor(pause / 4) + floor(floor(pause / 2) * part / 1000)
  end

  -- A failed delivery of the job that was leased as `held` says: another try, or the dead letters.
  -- `pause` nil: its backoff. `how` nil: the lease ran out. Gives the answer and the marks.
  local function fail(id, held, marks, text, pause, how)
    local _, _, ends, priority, _, _, most, first, longest = unpackb(HEAD, held, 9)
    local attempts, before, token8, errors = read_marks(marks)
    attempts = attempts + 1
    if how then before, token8 = how, sub(held, 1, 8) end
    marks = write_marks(attempts, before, token8, sub(held, 50), note(errors, text))
    s.failed = s.failed + 1
    woken = woken or limits.in_flight > 0
    local cause
    if how == REJECTED then
      cause = 'rejected'
    elseif ends > 0 and ends <= now then
      cause = EXPIRED
    elseif most > 0 and attempts >= most then
      cause = 'failed ' .. integer(attempts) .. (attempts == 1 and ' time' or ' times')
    end
    if cause then
      add('dead', { id = id, cause = cause, marks = marks })
      return 'x', marks
    end
    add('marks', id, marks)
    local member = member_of(sub(held, 9, 49), id)
    if ends > 0 then add('live', integer(ends), member) end
    pause = pause or backoff(id, first, longest, attempts)
    if pause == 0 then
      enqueue('head', priority, id)
      woken = true
    else
      add('delay', integer(now + pause), member)
    end
    return 'd', marks
  end

  -- Not counted, and at the head again, unless its life is over. Gives the answer and the marks.
  local function release(id, held, marks)
    local _, _, ends, priority = unpackb(HEAD, held, 9)
    local attempts, _, _, errors = read_marks(marks)
    marks = write_marks(attempts, RELEASED, sub(held, 1, 8), sub(held, 50), errors)
    if ends > 0 and ends <= now then
      add('dead', { id = id, cause = EXPIRED, marks = marks })
      woken = woken or limits.in_flight > 0
      return 'x', marks
    end
    add('marks', id, marks)
    if ends > 0 then add('live', integer(ends), member_of(sub(held, 9, 49), id)) end
    enqueue('head', priority, id)
    woken = true
    return 'd', marks
  end

  -- The answer for a receipt that holds no lease: as before if the same was done with it.
  local function repeated(id, token8, how, marks, dead)
    if not marks then
      local letter = call('HGET', D, id)
      if not letter then return 's' end
      local _
      _, _, marks = open_dead(letter)
      if marks == '' then return 's' end
      dead = true
    end
    local _, before, of = read_marks(marks)
    if before ~= how or of ~= token8 then return 's' end
    return dead and 'x' or 'd'
  end

  local HOW = { n = NACKED, j = REJECTED, r = RELEASED }

  -- nack, reject, release, extend: commands of `kind, delay or lease, error, count, receipts` each.
  -- Gives a letter per receipt: done, x dead, stale.
  local function settle(at)
    local commands = tonumber(ARGV[at])
    local ids, step = {}, at + 1
    for _ = 1, commands do
      local count = tonumber(ARGV[step + 3])
      for place = step + 4, step + 3 + count do ids[#ids + 1] = sub(ARGV[place], 9) end
      step = step + 4 + count
    end
    local held, marks, dead = {}, {}, {}
    local all_held, all_marks = fetch('HMGET', W, ids), marks_of(ids)
    for place, id in ipairs(ids) do held[id], marks[id] = all_held[place], all_marks[place] end
    local answers = {}
    step = at + 1
    for _ = 1, commands do
      local kind, ms, text = ARGV[step], tonumber(ARGV[step + 1]), ARGV[step + 2]
      local count = tonumber(ARGV[step + 3])
      local from = heads()
      for place = step + 4, step + 3 + count do
        local receipt = ARGV[place]
        local id, token8 = sub(receipt, 9), sub(receipt, 1, 8)
        local value, answer = held[id], 's'
        local mine = value and sub(value, 1, 8) == token8
        if mine and kind == 'e' then
          add('lease', integer(now + ms), receipt)
          answer = 'd'
        elseif mine then
          held[id] = false
          add('unlease', receipt)
          add('unhold', id)
          if kind == 'r' then
            answer, marks[id] = release(id, value, marks[id])
          else
            answer, marks[id] = fail(id, value, marks[id], text, kind == 'n' and ms or nil, HOW[kind])
          end
          dead[id] = answer == 'x'
        elseif kind ~= 'e' then
          answer = repeated(id, token8, HOW[kind], marks[id], dead[id])
        end
        answers[#answers + 1] = answer
      end
      in_order(from)
      step = step + 4 + count
    end
    flush()
    return concat(answers), step
  end

  local function end_leases(most)
    local ended = call('ZRANGE', L, '-inf', integer(now), 'BYSCORE', 'LIMIT', 0, most)
    local ids = {}
    for at, member in ipairs(ended) do ids[at] = sub(member, 9) end
    local held, marks = fetch('HMGET', W, ids), marks_of(ids)
    for at, id in ipairs(ids) do
      s.expired = s.expired + 1
      fail(id, held[at], marks[at], 'the lease of ' .. sub(held[at], 50) .. ' ran out', 0, nil)
    end
    later.unlease, later.unhold = ended, ids
    in_order({})
    flush()
    return #ended
  end

  local function end_lives(most)
    local ended = call('ZRANGE', E, '-inf', integer(now), 'BYSCORE', 'LIMIT', 0, most)
    if #ended == 0 then return 0 end
    local ids, delayed, touched = {}, {}, {}
    for at, member in ipairs(ended) do ids[at] = id_of(member) end
    local due, marks = fetch('ZMSCORE', Z, ended), marks_of(ids)
    for at, member in ipairs(ended) do
      if due[at] then
        delayed[#delayed + 1] = member
      else
        local priority = priority_of(member)
        call('HINCRBY', G, char(priority) .. ids[at], 1)
        s.stale = s.stale + 1
        touched[priority] = true
      end
      add('dead', { id = ids[at], cause = EXPIRED, marks = marks[at] or '' })
    end
    later.unlive = ended
    many('ZREM', Z, delayed)
    flush()
    for priority in pairs(touched) do need('dead').trim(priority) end
    return #ended
  end

  local function end_delays(most)
    local ended = call('ZRANGE', Z, '-inf', integer(now), 'BYSCORE', 'LIMIT', 0, most)
    if #ended == 0 then return end
    local ids = {}
    for at, member in ipairs(ended) do ids[at] = id_of(member) end
    local marks = marks_of(ids)
    for at, member in ipairs(ended) do
      enqueue(marks[at] and 'head' or 'tail', priority_of(member), ids[at])
    end
    many('ZREM', Z, ended)
    in_order({})
    flush()
    woken = true
  end

  -- What ends by itself by now: leases, lives, delays, oldest first.
  local function sweep()
    local left = SWEEP_MAX
    left = left - end_leases(left)
    if left > 0 then left = left - end_lives(left) end
    if left > 0 then end_delays(left) end
  end

  -- `request` of a pop: what it took and nobody received goes back to the head, in its old order.
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
        add('unlease', receipts[n])
        add('unhold', id)
        release(id, held[n], marks[n])
        count = count + 1
      end
    end
    flush()
    return count, at + 1
  end

  return { settle = settle, sweep = sweep, write_marks = write_marks, give_back = give_back }
end
