-- Deletes finished tasks whose retention is over and repairs debris: an active
-- task or a claim that no lease covers gets one that has lapsed, so that reclaim
-- finds it.
--
-- KEYS 1 tasks, 2 completed, 3 archived, 4 results, 5 active, 6 leases, 7 meta
-- ARGV 1 at most this many (1 … 500)
-- Returns server time, number deleted.
-- Moves: completed → nothing, archived → nothing.
--@include lib/now.lua
--@include lib/finish.lua
local max = tonumber(ARGV[1])
if not max or max < 1 or max > 500 then
    return redis.error_reply('ERR sweep: count must be 1 to 500')
end
local k = { tasks = KEYS[1], results = KEYS[4] }
redis.call('HLEN', k.tasks)
redis.call('HLEN', k.results)
local now = now_ms()
local removed = 0
for _, key in ipairs({ KEYS[2], KEYS[3] }) do
    if removed < max then
        local ids = redis.call('ZRANGEBYSCORE', key, '-inf', now * 10 + 9,
            'LIMIT', 0, max - removed)
        if #ids > 0 then
            redis.call('ZREMRANGEBYRANK', key, 0, #ids - 1)
            forget(k, ids)
            removed = removed + #ids
        end
    end
end

-- A slice of active in each call, from where the last one ended.
local cursor = redis.call('HGET', KEYS[7], 'scan')
if not cursor or not string.match(cursor, '^%d+$') then cursor = '0' end
local slice = redis.call('HSCAN', KEYS[5], cursor, 'COUNT', 100)
local naked, tokens = {}, {}
for i = 1, #slice[2], 2 do
    local id, token = slice[2][i], slice[2][i + 1]
    local member = string.match(id, '^~(.+)$')
    if member then
        if not redis.call('ZSCORE', KEYS[6], member) then
            redis.call('ZADD', KEYS[6], now, member)
        end
    elseif id ~= '~' and not naked[token] and
        not redis.call('ZSCORE', KEYS[6], token) and
        not redis.call('ZSCORE', KEYS[6], token .. '+') then
        naked[token] = {}
        tokens[#tokens + 1] = token
    end
    if not member and naked[token] then
        table.insert(naked[token], id)
    end
end
for _, token in ipairs(tokens) do
    redis.call('ZADD', KEYS[6], now, token)
    local claim = redis.call('HGET', KEYS[5], '~' .. token)
    redis.call('HSET', KEYS[5], '~' .. token, (claim or '- 0') .. ' ' ..
        table.concat(naked[token], ' '))
end
if slice[1] ~= cursor then
    redis.call('HSET', KEYS[7], 'scan', slice[1])
end
return { now, removed }
