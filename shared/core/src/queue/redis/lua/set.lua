-- Commands that set or move.

parts.set = function()
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
      add('records', id, sub(record, 1, 12) .. pack('>I6', ends) .. sub(record, 19))
      -- Who had it last is all that is kept of its former life.
      if marks ~= '' then
        local consumer = sub(marks, 15, 14 + byte(marks, 14))
        add('marks', id, need('settle').write_marks(0, 0, NO_TOKEN, consumer, '\0'))
      end
      if ends > 0 then add('live', integer(ends), member_of(record, id)) end
      enqueue('tail', priority, id)
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

  -- Remembered pops go by themselves: their leases are lost, so they give nothing.
  local function delete(at)
    local count = call('HLEN', B) + call('HLEN', D)
    purge(at)
    for _, set in ipairs(slices) do
      for slice = set.first, set.last do
        call('UNLINK', base .. 't' .. set.width .. '.' .. integer(slice))
      end
    end
    call('UNLINK', D, X, C)
    for name in pairs(s) do s[name] = 0 end
    slices, slices_changed, packed, paused = {}, false, false, false
    set_limits(false)
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

  return {
    Z = pause, R = resume, L = limit, U = purge, W = delete, D = redrive, X = purge_dead
  }
end
