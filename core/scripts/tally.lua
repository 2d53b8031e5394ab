-- The numbers of one queue, seen at one moment.
--
-- KEYS 1 pending, 2 ranked, 3 active, 4 scheduled, 5 retry, 6 completed,
--      7 archived, 8 meta, 9 tasks
-- Returns server time; counts of pending, active, scheduled, retry, completed,
--      archived; done_total, failed_total, 1 when paused; id and body of the
--      task at the head of the list, or of `ranked` when the list is empty.
-- Moves: none.
--@include lib/now.lua
local set = redis.call('HMGET', KEYS[8], 'done', 'failed', 'paused', 'dead')
local pending = redis.call('LLEN', KEYS[1]) + redis.call('ZCARD', KEYS[2]) -
    tonumber(set[4] or 0)
local active = redis.call('HLEN', KEYS[3]) -
    redis.call('HEXISTS', KEYS[3], '~')
local head = redis.call('LINDEX', KEYS[1], 0) or
    redis.call('ZRANGE', KEYS[2], 0, 0)[1]
local body = head and redis.call('HGET', KEYS[9], head)
return { now_ms(), pending, active, redis.call('ZCARD', KEYS[4]),
    redis.call('ZCARD', KEYS[5]), redis.call('ZCARD', KEYS[6]),
    redis.call('ZCARD', KEYS[7]), tonumber(set[1] or 0),
    tonumber(set[2] or 0), set[3] == '1' and 1 or 0, head or '', body or '' }
