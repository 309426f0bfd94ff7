-- The way to the dead letters, and what a job leaves behind in a list.

parts.dead = function()
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
        local letter = pack('>I6I2', now, #one.cause) .. one.cause .. pack('>I4', #one.marks)
          .. one.marks .. record
        letters[#letters + 1], letters[#letters + 2] = id, letter
        places[#places + 1], places[#places + 2] = integer(now), member_of(record, id)
        if one.marks ~= '' then marked[#marked + 1] = id end
      end
      call('HSET', D, unpack(letters))
      call('ZADD', X, unpack(places))
      many('HDEL', B, ids)
      many('HDEL', M, marked)
    end
  end

  return { trim = trim, bury = bury }
end
