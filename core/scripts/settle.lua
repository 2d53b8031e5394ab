-- Stores verdicts of every kind. Leases are left to the turn that follows.
--
-- KEYS 1 tasks, 2 pending, 3 ranked, 4 active, 5 meta, 6 bell, 7 scheduled,
--      8 retry, 9 completed, 10 archived, 11 results, 12 dead
-- ARGV 1 sent again (0 or 1); then 10 for each task (at most 256): id, token,
--      state to go to, priority, delay_ms, retention_ms (-1 = for ever),
--      archive_count (0 = no bound), flags (1 envelope, 2 result, 4 count as
--      done, 8 count as failed), envelope, result
-- Returns the indices (from 0) of the tasks that are not ours any more.
-- Moves: active → nothing, pending, scheduled, retry, completed, archived.
--@include lib/now.lua
--@include lib/bell.lua
--@include lib/place.lua
--@include lib/state.lua
--@include lib/due.lua
--@include lib/expiry.lua
if #ARGV < 11 or #ARGV > 2561 or #ARGV % 10 ~= 1 then
    return redis.error_reply('ERR settle: bad number of arguments')
end
local legal = { ['0'] = true, ['1'] = true, ['2'] = true, ['4'] = true,
    ['8'] = true, ['9'] = true }
for i = 2, #ARGV, 10 do
    if not legal[ARGV[i + 2]] then
        return redis.error_reply('ERR settle: no such state: ' .. ARGV[i + 2])
    end
    for n = 3, 7 do
        if not tonumber(ARGV[i + n]) then
            return redis.error_reply('ERR settle: not a number: ' ..
                ARGV[i + n])
        end
    end
end
local k = { tasks = KEYS[1], pending = KEYS[2], ranked = KEYS[3],
    active = KEYS[4], meta = KEYS[5], bell = KEYS[6], scheduled = KEYS[7],
    retry = KEYS[8], completed = KEYS[9], archived = KEYS[10],
    results = KEYS[11], dead = KEYS[12] }
redis.call('HLEN', k.tasks)
redis.call('LLEN', k.pending)
redis.call('ZCARD', k.ranked)
redis.call('HLEN', k.meta)
redis.call('LLEN', k.bell)
redis.call('ZCARD', k.completed)
redis.call('ZCARD', k.archived)
redis.call('HLEN', k.results)
redis.call('HLEN', k.dead)
local now = now_ms()
local before = next_due(k.scheduled, k.retry)
local earliest, wake, lost, done, failed = before, false, {}, 0, 0

local function delay(key, id, priority, ms)
    local due = now + ms
    redis.call('ZADD', key, due * 10 + priority, id)
    if earliest == 0 or due < earliest then earliest = due end
end

-- The oldest beyond the bound go, at most 500 at a time.
local function bound(count)
    local over = redis.call('ZCARD', k.archived) - count
    if over <= 0 then return end
    if over > 500 then over = 500 end
    local ids = redis.call('ZRANGE', k.archived, 0, over - 1)
    redis.call('ZREMRANGEBYRANK', k.archived, 0, over - 1)
    redis.call('HDEL', k.tasks, unpack(ids))
    redis.call('HDEL', k.results, unpack(ids))
end

local function move(i)
    local id, to = ARGV[i], tonumber(ARGV[i + 2])
    local priority, flags = tonumber(ARGV[i + 3]), tonumber(ARGV[i + 7])
    redis.call('HDEL', k.active, id)
    if flags % 2 == 1 and to ~= 0 then
        redis.call('HSET', k.tasks, id, ARGV[i + 8])
    end
    if to == 0 then
        redis.call('HDEL', k.tasks, id)
    elseif to == 1 then
        delay(k.scheduled, id, priority, tonumber(ARGV[i + 4]))
    elseif to == 2 then
        put_front(k, id, priority)
        wake = true
    elseif to == 4 then
        delay(k.retry, id, priority, tonumber(ARGV[i + 4]))
    elseif to == 8 then
        redis.call('ZADD', k.completed,
            expiry_score(now, tonumber(ARGV[i + 5]), priority), id)
        if flags % 4 >= 2 then
            redis.call('HSET', k.results, id, ARGV[i + 9])
        end
    else
        redis.call('ZADD', k.archived,
            expiry_score(now, tonumber(ARGV[i + 5]), priority), id)
        local count = tonumber(ARGV[i + 6])
        if count > 0 then bound(count) end
    end
    if flags % 8 >= 4 then done = done + 1 end
    if flags >= 8 then failed = failed + 1 end
end

local resent = ARGV[1] == '1'
for i = 2, #ARGV, 10 do
    local held = redis.call('HGET', k.active, ARGV[i])
    if held == ARGV[i + 1] then
        move(i)
    elseif held or not resent or
        state_of(k, ARGV[i]) ~= tonumber(ARGV[i + 2]) then
        lost[#lost + 1] = (i - 2) / 10
    end
end
if done > 0 then redis.call('HINCRBY', k.meta, 'done', done) end
if failed > 0 then redis.call('HINCRBY', k.meta, 'failed', failed) end
if wake or earliest ~= before then ring(k.bell) end
return lost
