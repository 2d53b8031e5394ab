-- Moves what is due to the back of the queue, earliest first.
--
-- KEYS 1 pending, 2 ranked, 3 meta, 4 bell, 5 scheduled, 6 retry
-- ARGV 1 at most this many (1 … 500)
-- Returns server time, number moved, next due time (0 = none).
-- Moves: scheduled → pending, retry → pending.
--@include lib/now.lua
--@include lib/bell.lua
--@include lib/place.lua
--@include lib/due.lua
--@include lib/full.lua
local max = tonumber(ARGV[1])
if not max or max < 1 or max > 500 then
    return redis.error_reply('ERR promote: count must be 1 to 500')
end
local k = { pending = KEYS[1], ranked = KEYS[2], meta = KEYS[3] }
redis.call('LLEN', k.pending)
redis.call('ZCARD', k.ranked)
redis.call('HLEN', k.meta)
redis.call('LLEN', KEYS[4])
pass_when_full(KEYS[5])
local now = now_ms()

local function due_in(key)
    return redis.call('ZRANGEBYSCORE', key, '-inf', now * 10 + 9,
        'WITHSCORES', 'LIMIT', 0, max)
end

local a, b = due_in(KEYS[5]), due_in(KEYS[6])
local i, j, moved, list = 1, 1, 0, {}
while moved < max and (a[i] or b[j]) do
    local id, score
    if a[i] and (not b[j] or tonumber(a[i + 1]) <= tonumber(b[j + 1])) then
        id, score, i = a[i], tonumber(a[i + 1]), i + 2
    else
        id, score, j = b[j], tonumber(b[j + 1]), j + 2
    end
    -- A score that no script of ours wrote must not stop the others.
    local priority = math.floor(score % 10)
    if not (priority >= 0 and priority <= 9) then priority = 5 end
    if priority == 5 then
        list[#list + 1] = id
    else
        put_back(k, id, priority)
    end
    moved = moved + 1
end
if #list > 0 then redis.call('RPUSH', k.pending, unpack(list)) end
if i > 1 then redis.call('ZREMRANGEBYRANK', KEYS[5], 0, (i - 3) / 2) end
if j > 1 then redis.call('ZREMRANGEBYRANK', KEYS[6], 0, (j - 3) / 2) end
if moved > 0 then ring(KEYS[4]) end
return { now, moved, next_due(KEYS[5], KEYS[6]) }
