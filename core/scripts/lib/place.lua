-- Where pending tasks stand. Priority 5 is a list of ids, every other priority
-- `ranked`.
--
-- A task taken from behind the first stays in the list as a stale copy: `dead`
-- counts the copies of an id, meta.dead all of them. Stale copies stand before
-- the live one, because ids are added at the back; an id put to the front
-- first loses its stale copies.
--@include lib/rank.lua
local function put_back(k, id, priority)
    if priority == 5 then
        redis.call('RPUSH', k.pending, id)
    else
        local order = redis.call('HINCRBY', k.meta, 'seq', 1)
        redis.call('ZADD', k.ranked,
            (9 - priority) * RANK + HALF + order, id)
    end
end

local function put_front(k, id, priority)
    if priority ~= 5 then
        local order = redis.call('HINCRBY', k.meta, 'front', 1)
        redis.call('ZADD', k.ranked,
            (9 - priority) * RANK + HALF - order, id)
        return
    end
    local stale = redis.call('HGET', k.dead, id)
    if stale then
        redis.call('LREM', k.pending, stale, id)
        redis.call('HDEL', k.dead, id)
        redis.call('HINCRBY', k.meta, 'dead', -stale)
    end
    redis.call('LPUSH', k.pending, id)
end

-- Takes a pending task out, wherever it stands.
local function take_out(k, id)
    if redis.call('ZREM', k.ranked, id) == 1 then return end
    if redis.call('LINDEX', k.pending, 0) == id and
        redis.call('HEXISTS', k.dead, id) == 0 then
        redis.call('LPOP', k.pending)
    else
        redis.call('HINCRBY', k.dead, id, 1)
        redis.call('HINCRBY', k.meta, 'dead', 1)
    end
end
