-- Renews leases. One lease covers the tasks of one claim, so a token with a
-- live task among those named is renewed as a whole.
--
-- KEYS 1 active, 2 leases
-- ARGV 1 lease_ms; then for each token: token, number of ids, ids (at most 4000
--      arguments)
-- Returns server time, then the indices (from 0, over all tokens) of the ids
--      that are not ours any more.
-- Moves: active → active.
--@include lib/now.lua
local lease_ms = tonumber(ARGV[1])
if not lease_ms or #ARGV > 4000 then
    return redis.error_reply('ERR extend: bad arguments')
end
redis.call('ZCARD', KEYS[2])
local now = now_ms()
local out, scores = { now }, {}
local at, base = 2, 0
while at <= #ARGV do
    local token, count = ARGV[at], tonumber(ARGV[at + 1])
    local held = redis.call('HMGET', KEYS[1],
        unpack(ARGV, at + 2, at + 1 + count))
    local live = false
    for i = 1, count do
        if held[i] == token then
            live = true
        else
            out[#out + 1] = base + i - 1
        end
    end
    if live then
        scores[#scores + 1] = now + lease_ms
        scores[#scores + 1] = token
    end
    at, base = at + 2 + count, base + count
end
if #scores > 0 then redis.call('ZADD', KEYS[2], unpack(scores)) end
return out
