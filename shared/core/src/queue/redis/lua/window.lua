-- Acknowledged ids, remembered for the window in slices of time.

parts.window = function()
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

  return { write_done = write_done, done_of = done_of, forget = forget }
end

if packed_slices then
  local over = false
  for at = 1, #packed_slices, 32 do
    local width, first, last, ends = unpackb('>I8I8I8I8', packed_slices, at)
    slices[#slices + 1] = { width = width, first = first, last = last, ends = ends }
    over = over or ends <= now or floor(now / width) > first
  end
  if over then need('window').forget() end
end
