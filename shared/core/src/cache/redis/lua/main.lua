-- Fences, views and signs of life; and the way through a call.

local FORGET_MS = 60000
local SWEEP_LIVE = 256

-- F, "<partition> <node>", epoch, generation
local function fence()
  if call('HGET', S, 'serving') ~= ARGV[3] then return 0 end
  local first = (tonumber(call('HGET', base .. 'f', ARGV[2])) or 0)
  small()
  call('HSET', base .. 'f', ARGV[2], integer(math.max(first, tonumber(ARGV[4]) + 1)))
  return 1
end

-- R, epoch, the next one, view, names of its members
local function replace()
  local epoch = call('HGET', S, 'epoch') or '0'
  if epoch ~= ARGV[2] or tonumber(ARGV[3]) <= tonumber(epoch) then return 0 end
  small()
  call('HSET', S, 'epoch', ARGV[3], 'view', ARGV[4], 'members', ARGV[5])
  return 1
end

-- T, epoch
local function take_over()
  if (call('HGET', S, 'epoch') or '0') ~= ARGV[2] then return 0 end
  local serving = tonumber(call('HGET', S, 'serving')) or 0
  if tonumber(ARGV[2]) > serving then
    small()
    call('HSET', S, 'serving', ARGV[2])
    call('DEL', base .. 'f')
  end
  return 1
end

-- L, node, count, member, whether it leaves
local function live()
  local B, node, member = base .. 'b', ARGV[2], ARGV[4]
  -- Who asks knows its own sign: what stood there tells of another process of its name.
  local before = call('HGET', B, node)
  small()
  if ARGV[5] == '' then
    call('HSET', B, node, integer(now) .. ' ' .. ARGV[3] .. ' ' .. member)
  elseif match(call('HGET', B, node) or '', '^%d+ %d+ (.*)$') == member then
    call('HDEL', B, node)
  end
  local members = call('HGET', S, 'members') or ''
  local beats, all = {}, call('HGETALL', B)
  for at = 1, #all, 2 do
    local since, count, of = match(all[at] == node and before or all[at + 1], '^(%d+) (%d+) (.*)$')
    if now - tonumber(since) > FORGET_MS and not find(members, '\n' .. all[at] .. '\n', 1, true) then
      call('HDEL', B, all[at])
    else
      beats[#beats + 1] = count
      beats[#beats + 1] = of
    end
  end
  sweep(SWEEP_LIVE)
  return { call('HGET', S, 'view') or '', call('HGET', S, 'serving') or '0', beats }
end

local what = ARGV[1]
if what == 'W' then return write() end
if what == 'F' then return fence() end
if what == 'R' then return replace() end
if what == 'T' then return take_over() end
return live()
