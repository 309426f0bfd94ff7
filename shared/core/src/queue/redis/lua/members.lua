-- Signs of life of the queue nodes.
-- KEYS[1]: HASH node -> "<time> <incarnation> <address>", times in ms of Redis
-- ARGV: beat|leave, node, incarnation, address, life in ms, ms after which a silent node is forgotten
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local what, node, incarnation, address = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local function read(value)
  local at, of, where = string.match(value, '^(%d+) (%d+) (.*)$')
  return now - (tonumber(at) or 0), of, where
end

local known = redis.call('HGET', KEYS[1], node)
local age, of, where
if known then age, of, where = read(known) end
if what == 'leave' then
  if of == incarnation then redis.call('HDEL', KEYS[1], node) end
elseif not known or of == incarnation or where == address or age > tonumber(ARGV[5]) then
  -- Else another process lives under that name: it is shown, not silenced.
  redis.call('HSET', KEYS[1], node, string.format('%.0f %s %s', now, incarnation, address))
end

local beats = {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local age_of, inc, at = read(all[i + 1])
  if age_of > tonumber(ARGV[6]) then
    redis.call('HDEL', KEYS[1], all[i])
  else
    beats[#beats + 1] = { all[i], inc, at, math.max(0, age_of) }
  end
end
return beats
