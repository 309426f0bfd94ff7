-- Looks. They write nothing.

local CHUNK = 256

local function length(tags)
  local plain = string.gsub(tags, '\n', '')
  return #plain
end

-- G, key
local function get()
  local record = base .. 'k:' .. ARGV[2]
  local held = call('HMGET', record, 'n', 'v', 't')
  if not held[1] then return { call('HGET', S, 'version') or '0' } end
  return { held[1], held[2], held[3], call('PTTL', record) }
end

-- K, tag (after a letter) or nothing for all keys, from, to, keys at most, bytes at most
local function keys()
  local set = ARGV[2] == '' and N or base .. 't:' .. sub(ARGV[2], 2)
  local from, limit, most = ARGV[3], tonumber(ARGV[5]), tonumber(ARGV[6])
  local found, count, bytes = {}, 0, 0
  while true do
    local names = call('ZRANGEBYLEX', set, from, ARGV[4], 'LIMIT', 0, CHUNK)
    if #names == 0 then return { 0, found } end
    for _, name in ipairs(names) do
      local record = base .. 'k:' .. name
      local held = call('HMGET', record, 'n', 't')
      if held[1] then
        bytes = bytes + #name + length(held[2])
        if count == limit or (bytes > most and count > 0) then return { 1, found } end
        count = count + 1
        found[count] = {
          name, held[1], call('HSTRLEN', record, 'v'), call('PTTL', record), held[2]
        }
      end
    end
    from = '(' .. names[#names]
  end
end

-- Z
local function size()
  local over = call('ZCOUNT', X, '-inf', '(' .. integer(now))
  local bytes, limit = used()
  return { call('ZCARD', N) - over, bytes, limit }
end

if ARGV[1] == 'G' then return get() end
if ARGV[1] == 'K' then return keys() end
return size()
