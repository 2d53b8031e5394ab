-- An operator's moves. Each is checked against the state the operator saw.
--
-- KEYS 1 tasks, 2 pending, 3 ranked, 4 scheduled, 5 meta, 6 bell, 7 active,
--      8 retry, 9 completed, 10 archived, 11 results, 12 dead
-- ARGV 7 for each task (at most 256): id, state seen, state to go to (0, 2 or
--      9), priority, retention_ms (-1 = for ever), 1 when an envelope follows,
--      envelope
-- Returns one number for each task: 0 = moved, 1 = no such task, 2 = in another
--      state.
-- Moves: pending, scheduled, retry, completed, archived → nothing, pending,
--      archived.
--@include lib/now.lua
--@include lib/bell.lua
--@include lib/place.lua
--@include lib/state.lua
--@include lib/expiry.lua
--@include lib/finish.lua
if #ARGV == 0 or #ARGV > 1792 or #ARGV % 7 ~= 0 then
    return redis.error_reply('ERR act: bad number of arguments')
end
local from_key = { ['1'] = KEYS[4], ['2'] = false, ['4'] = KEYS[8],
    ['8'] = KEYS[9], ['9'] = KEYS[10] }
local legal = { ['0'] = true, ['2'] = true, ['9'] = true }
for i = 1, #ARGV, 7 do
    if from_key[ARGV[i + 1]] == nil and ARGV[i + 1] ~= '3' or
        not legal[ARGV[i + 2]] or not tonumber(ARGV[i + 3]) or
        not tonumber(ARGV[i + 4]) then
        return redis.error_reply('ERR act: bad move')
    end
end
local k = { tasks = KEYS[1], pending = KEYS[2], ranked = KEYS[3],
    scheduled = KEYS[4], meta = KEYS[5], bell = KEYS[6], active = KEYS[7],
    retry = KEYS[8], completed = KEYS[9], archived = KEYS[10],
    results = KEYS[11], dead = KEYS[12] }
redis.call('LLEN', k.pending)
redis.call('HLEN', k.meta)
redis.call('LLEN', k.bell)
redis.call('HLEN', k.results)
redis.call('HLEN', k.dead)
local now = now_ms()
local out, wake = {}, false

local function move(i, id, state)
    if state == 2 then
        take_out(k, id)
    else
        redis.call('ZREM', from_key[tostring(state)], id)
    end
    local to, priority = ARGV[i + 2], tonumber(ARGV[i + 3])
    if to == '0' then
        forget(k, { id })
        return
    end
    redis.call('HDEL', k.results, id)
    if ARGV[i + 5] == '1' then
        redis.call('HSET', k.tasks, id, ARGV[i + 6])
    end
    if to == '2' then
        put_back(k, id, priority)
        wake = true
    else
        redis.call('ZADD', k.archived,
            expiry_score(now, tonumber(ARGV[i + 4]), priority), id)
    end
end

for i = 1, #ARGV, 7 do
    local id = ARGV[i]
    local state = state_of(k, id)
    if state == 0 then
        out[#out + 1] = 1
    elseif state == 3 or state ~= tonumber(ARGV[i + 1]) then
        out[#out + 1] = 2
    else
        move(i, id, state)
        out[#out + 1] = 0
    end
end
if wake then ring(k.bell) end
return out
