-- Stores tasks of any kind: delayed, of any priority, with idempotency keys,
-- sent again after a lost reply.
--
-- KEYS 1 tasks, 2 pending, 3 ranked, 4 scheduled, 5 meta, 6 bell, 7 active,
--      8 retry, 9 completed, 10 archived, 11 … idempotency keys
-- ARGV 8 for each task (at most 256): id, envelope, priority, delay_ms,
--      due_at_ms (0 = by delay), resent (0 or 1), index of its idempotency key
--      in KEYS (0 = none), ttl_ms of that key
-- Returns server time, then 4 for each task: 0 = stored, 1 = its id is taken,
--      2 = an earlier task has its idempotency key; state; due_at_ms; id of
--      the earlier task.
-- Moves: nothing → pending, nothing → scheduled.
--@include lib/now.lua
--@include lib/bell.lua
--@include lib/place.lua
--@include lib/state.lua
--@include lib/due.lua
if #ARGV == 0 or #ARGV > 2048 or #ARGV % 8 ~= 0 then
    return redis.error_reply('ERR enqueue_any: bad number of arguments')
end
for i = 1, #ARGV, 8 do
    for n = 2, 7 do
        if not tonumber(ARGV[i + n]) then
            return redis.error_reply('ERR enqueue_any: not a number: ' ..
                ARGV[i + n])
        end
    end
end
local k = { tasks = KEYS[1], pending = KEYS[2], ranked = KEYS[3],
    scheduled = KEYS[4], meta = KEYS[5], bell = KEYS[6], active = KEYS[7],
    retry = KEYS[8], completed = KEYS[9], archived = KEYS[10] }
redis.call('HLEN', k.tasks)
redis.call('LLEN', k.pending)
redis.call('ZCARD', k.ranked)
redis.call('HLEN', k.meta)
redis.call('LLEN', k.bell)
for i = 11, #KEYS do
    redis.call('STRLEN', KEYS[i])
end
local now = now_ms()
local before = next_due(k.scheduled, k.scheduled)
local earliest, wake = before, false
local out = { now }

local function report(code, id, other)
    local state, score = state_of(k, id)
    local due = 0
    if (state == 1 or state == 4) and score then
        due = math.floor(score / 10)
    end
    local n = #out
    out[n + 1], out[n + 2], out[n + 3], out[n + 4] = code, state, due, other
end

local function store(i, once, ttl)
    local id, priority = ARGV[i], tonumber(ARGV[i + 2])
    local due = tonumber(ARGV[i + 4])
    if due == 0 then
        due = now + tonumber(ARGV[i + 3])
    end
    redis.call('HSET', k.tasks, id, ARGV[i + 1])
    if once then
        redis.call('SET', once, id, 'PX', ttl)
    end
    local n = #out
    if due > now then
        redis.call('ZADD', k.scheduled, due * 10 + priority, id)
        if earliest == 0 or due < earliest then earliest = due end
        out[n + 1], out[n + 2], out[n + 3], out[n + 4] = 0, 1, due, ''
    else
        put_back(k, id, priority)
        wake = true
        out[n + 1], out[n + 2], out[n + 3], out[n + 4] = 0, 2, 0, ''
    end
end

for i = 1, #ARGV, 8 do
    local id, resent = ARGV[i], ARGV[i + 5] == '1'
    local index = tonumber(ARGV[i + 6])
    local once = index > 0 and KEYS[index]
    local held = once and redis.call('GET', once)
    if held and not (resent and held == id) then
        report(2, held, held)
    elseif redis.call('HEXISTS', k.tasks, id) == 1 then
        report(resent and 0 or 1, id, '')
    elseif held then
        -- Ours from a lost reply, and it has run since.
        report(0, id, '')
    else
        store(i, once, ARGV[i + 7])
    end
end
if wake or earliest ~= before then
    ring(k.bell)
end
return out
