-- The numbers of one queue, seen at one moment.
--
-- KEYS 1 pending, 2 ranked, 3 active, 4 scheduled, 5 retry, 6 completed,
--      7 archived, 8 meta, 9 tasks, 10 leases
-- Returns server time; counts of pending, active, scheduled, retry, completed,
--      archived; done_total, failed_total, 1 when paused; the bodies of the
--      tasks that are next at each priority in use: the oldest is among them.
-- Moves: none.
--@include lib/now.lua
--@include lib/rank.lua
local set = redis.call('HMGET', KEYS[8], 'done', 'failed', 'paused', 'dead')
local ranked = redis.call('ZCARD', KEYS[2])
local pending = redis.call('LLEN', KEYS[1]) + ranked - tonumber(set[4] or 0)
-- Beside its tasks `active` has the claim of every lease, and both have one
-- member of padding.
local active = math.max(0,
    redis.call('HLEN', KEYS[3]) - redis.call('ZCARD', KEYS[10]))
local heads = redis.call('LRANGE', KEYS[1], 0, 0)
for level = 0, ranked > 0 and 9 or -1 do
    local low, high = level * RANK, (level + 1) * RANK
    heads[#heads + 1] = redis.call('ZRANGEBYSCORE', KEYS[2],
        string.format('%.0f', low), string.format('(%.0f', high),
        'LIMIT', 0, 1)[1]
end
local out = { now_ms(), pending, active, redis.call('ZCARD', KEYS[4]),
    redis.call('ZCARD', KEYS[5]), redis.call('ZCARD', KEYS[6]),
    redis.call('ZCARD', KEYS[7]), tonumber(set[1] or 0),
    tonumber(set[2] or 0), set[3] == '1' and 1 or 0 }
for _, id in ipairs(heads) do
    out[#out + 1] = redis.call('HGET', KEYS[9], id) or ''
end
return out
