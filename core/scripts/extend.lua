-- Renews leases. One lease covers the tasks of one claim. When not all live
-- tasks of a token are named, the named ones go to a lease of their own; the
-- others keep theirs and lapse together at the latest end any of them was
-- granted.
--
-- KEYS 1 active, 2 leases
-- ARGV 1 lease_ms; then for each token: token, number of ids, ids (at most 4000
--      arguments)
-- Returns server time, then the indices (from 0, over all tokens) of the ids
--      that are not ours any more.
-- Moves: active → active.
--@include lib/now.lua
--@include lib/claim.lua
--@include lib/full.lua
local lease_ms = tonumber(ARGV[1])
if not lease_ms or #ARGV > 4000 then
    return redis.error_reply('ERR extend: bad arguments')
end
redis.call('HLEN', KEYS[1])
redis.call('ZCARD', KEYS[2])
pass_when_full(KEYS[2])
local now = now_ms()
local out, base = { now }, 0

-- Sorts the live tasks of one lease into named and others.
local function sort_out(member, token, named, mine, others)
    local text = redis.call('HGET', KEYS[1], '~' .. member)
    if not text then return end
    local worker, _, ids, priorities = claim_read(text)
    local held = #ids > 0 and redis.call('HMGET', KEYS[1], unpack(ids)) or {}
    mine.worker, others.worker = worker, worker
    for i, id in ipairs(ids) do
        if held[i] == token then
            local to = named[id] and mine or others
            local n = #to.ids + 1
            to.ids[n], to.priorities[n] = id, priorities[i]
            to.met[id] = true
            if to == others then
                local ends = redis.call('ZSCORE', KEYS[2], member)
                others.ends = math.max(others.ends, tonumber(ends or 0))
            end
        end
    end
end

local function store(member, lease, ms, ends)
    redis.call('HSET', KEYS[1], '~' .. member, claim_text(lease.worker,
        string.format('%.0f', ms), lease.ids, lease.priorities))
    redis.call('ZADD', KEYS[2], ends, member)
end

local function extend(token, named, ids)
    local mine = { worker = '-', ids = {}, priorities = {}, met = {} }
    local others = { worker = '-', ids = {}, priorities = {}, met = {},
        ends = 0 }
    sort_out(token, token, named, mine, others)
    sort_out(token .. '+', token, named, mine, others)
    for _, id in ipairs(ids) do
        -- Active, but its claim was lost.
        if not mine.met[id] then
            local n = #mine.ids + 1
            mine.ids[n], mine.priorities[n] = id, 5
        end
    end
    if #others.ids == 0 then
        store(token, mine, lease_ms, now + lease_ms)
        redis.call('ZREM', KEYS[2], token .. '+')
        redis.call('HDEL', KEYS[1], '~' .. token .. '+')
    else
        store(token, others, lease_ms, others.ends)
        store(token .. '+', mine, lease_ms, now + lease_ms)
    end
end

local at = 2
while at <= #ARGV do
    local token, count = ARGV[at], tonumber(ARGV[at + 1])
    local held = redis.call('HMGET', KEYS[1],
        unpack(ARGV, at + 2, at + 1 + count))
    local named, ids = {}, {}
    for i = 1, count do
        local id = ARGV[at + 1 + i]
        if held[i] ~= token then
            out[#out + 1] = base + i - 1
        elseif not named[id] then
            named[id] = true
            ids[#ids + 1] = id
        end
    end
    if #ids > 0 then extend(token, named, ids) end
    at, base = at + 2 + count, base + count
end
return out
