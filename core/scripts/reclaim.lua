-- Lists active tasks whose lease has lapsed, or those of one worker. Tokens
-- that have no live task left lose their lease: nobody else would drop it.
--
-- KEYS 1 active, 2 leases
-- ARGV 1 at most this many tasks (1 … 1000), 2 worker (empty = lapsed ones)
-- Returns server time, end of the next lease (0 = none), 1 when more would have
--      been listed; then 5 for each task: id, token, worker, lease_ms,
--      priority.
-- Moves: none.
--@include lib/now.lua
--@include lib/claim.lua
local max = tonumber(ARGV[1])
if not max or max < 1 or max > 1000 then
    return redis.error_reply('ERR reclaim: count must be 1 to 1000')
end
local now = now_ms()
local tokens, claims, fields = {}, {}, {}
if ARGV[2] == '' then
    tokens = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 500)
    for i, member in ipairs(tokens) do fields[i] = '~' .. member end
    claims = #fields > 0 and redis.call('HMGET', KEYS[1], unpack(fields)) or {}
else
    local prefix, first = ARGV[2] .. ' ', 0
    repeat
        local some = redis.call('ZRANGE', KEYS[2], first, first + 999)
        for i, member in ipairs(some) do fields[i] = '~' .. member end
        local texts = #some > 0 and
            redis.call('HMGET', KEYS[1], unpack(fields, 1, #some)) or {}
        for i, member in ipairs(some) do
            if string.sub(texts[i] or '', 1, #prefix) == prefix then
                tokens[#tokens + 1] = member
                claims[#tokens] = texts[i]
            end
        end
        first = first + 1000
    until #some < 1000
end

local out, full, gone, listed = { now, 0, 0 }, false, {}, 0
for t, member in ipairs(tokens) do
    local token = token_of(member)
    local worker, lease_ms, ids, priorities = claim_read(claims[t])
    local held = #ids > 0 and redis.call('HMGET', KEYS[1], unpack(ids)) or {}
    local live = false
    for i, id in ipairs(ids) do
        if held[i] == token then
            live = true
            if listed == max then
                full = true
                break
            end
            local n = #out
            out[n + 1], out[n + 2], out[n + 3] = id, token, worker
            out[n + 4], out[n + 5] = lease_ms, priorities[i]
            listed = listed + 1
        end
    end
    if not live then gone[#gone + 1] = member end
    if full then break end
end
for first = 1, #gone, 1000 do
    local last = math.min(first + 999, #gone)
    redis.call('ZREM', KEYS[2], unpack(gone, first, last))
    for i = first, last do gone[i] = '~' .. gone[i] end
    redis.call('HDEL', KEYS[1], unpack(gone, first, last))
end
local next_ = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. now, '(+inf',
    'WITHSCORES', 'LIMIT', 0, 1)
out[2] = tonumber(next_[2] or 0)
out[3] = full and 1 or 0
return out
