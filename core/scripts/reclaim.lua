-- Lists active tasks whose lease has lapsed, or those of one worker. Tokens
-- that have no live task left lose their lease: nobody else would drop it.
--
-- KEYS 1 active, 2 leases, 3 claims
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
local tokens, claims
if ARGV[2] == '' then
    tokens = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 500)
    claims = #tokens > 0 and redis.call('HMGET', KEYS[3], unpack(tokens)) or {}
else
    local all = redis.call('HGETALL', KEYS[3])
    local prefix = ARGV[2] .. ' '
    tokens, claims = {}, {}
    for i = 1, #all, 2 do
        if string.sub(all[i + 1], 1, #prefix) == prefix then
            tokens[#tokens + 1] = all[i]
            claims[#claims + 1] = all[i + 1]
        end
    end
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
    redis.call('HDEL', KEYS[3], unpack(gone, first, last))
end
local next_ = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. now, '(+inf',
    'WITHSCORES', 'LIMIT', 0, 1)
out[2] = tonumber(next_[2] or 0)
out[3] = full and 1 or 0
return out
