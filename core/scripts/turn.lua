-- Settles plain ends (gone from active, deleted) and claims the next tasks.
--
-- KEYS 1 tasks, 2 pending, 3 ranked, 4 active, 5 leases, 6 claims, 7 meta,
--      8 bell, 9 scheduled, 10 retry, 11 dead
-- ARGV 1 worker, 2 claim at most (0 … 1000), 3 lease_ms, 4 bodies in the reply
--      (0 or 1), 5 sent again (0 or 1), 6 number of ids to end (at most 1000),
--      7 number of runs; the ids; then for each run of ids with one token:
--      token, number of ids (0 = none), flags (1 drop the lease: it was the
--      token's last, 2 count as done, 4 count as failed)
-- Returns server time, flags (1 work is left, 2 paused, 4 priorities follow),
--      next due time (0 = none or not asked), token, number of lost ids, number
--      of claimed ids; indices of lost ids (from 0); claimed
--      ids; then their priorities; then their bodies.
-- Moves: active → nothing, pending → active.
--@include lib/now.lua
--@include lib/bell.lua
--@include lib/place.lua
--@include lib/due.lua
local tasks, pending, ranked = KEYS[1], KEYS[2], KEYS[3]
local active, meta = KEYS[4], KEYS[7]
local want, count = tonumber(ARGV[2]), tonumber(ARGV[6])
if not want or not count or not tonumber(ARGV[3]) or want > 1000 or
    count > 1000 then
    return redis.error_reply('ERR turn: bad arguments')
end
redis.call('LLEN', KEYS[8])
local lost, drop, mine, done, failed = {}, {}, {}, 0, 0
local held, seen, at = {}, {}, 0
if count > 0 then
    held = redis.call('HMGET', active, unpack(ARGV, 8, 7 + count))
end
for run = 8 + count, #ARGV, 3 do
    local token, ids = ARGV[run], tonumber(ARGV[run + 1])
    local flags, before = tonumber(ARGV[run + 2]), #mine
    for i = at + 1, at + ids do
        local id = ARGV[7 + i]
        if held[i] == token and not seen[id] then
            seen[id] = true
            mine[#mine + 1] = id
        elseif held[i] or ARGV[5] ~= '1' or
            redis.call('HEXISTS', tasks, id) == 1 then
            lost[#lost + 1] = i - 1
        end
    end
    at = at + ids
    if flags % 2 == 1 then drop[#drop + 1] = token end
    if flags % 4 >= 2 then done = done + #mine - before end
    if flags >= 4 then failed = failed + #mine - before end
end
if #mine > 0 then
    redis.call('HDEL', active, unpack(mine))
    redis.call('HDEL', tasks, unpack(mine))
end
if #drop > 0 then
    redis.call('ZREM', KEYS[5], unpack(drop))
    redis.call('HDEL', KEYS[6], unpack(drop))
end
if done > 0 then redis.call('HINCRBY', meta, 'done', done) end
if failed > 0 then redis.call('HINCRBY', meta, 'failed', failed) end

-- Pops from the list, leaving out stale copies.
local function pop_live(ids, stale_left)
    for _ = 1, 64 do
        local popped = redis.call('LPOP', pending, want - #ids)
        if not popped then return stale_left end
        local stale = redis.call('HMGET', KEYS[11], unpack(popped))
        local met = {}
        for i, id in ipairs(popped) do
            local copies = tonumber(stale[i] or 0) - (met[id] or 0)
            if copies > 0 then
                met[id] = (met[id] or 0) + 1
                stale_left = stale_left - 1
            else
                ids[#ids + 1] = id
            end
        end
        for id, copies in pairs(met) do
            if redis.call('HINCRBY', KEYS[11], id, -copies) <= 0 then
                redis.call('HDEL', KEYS[11], id)
            end
            redis.call('HINCRBY', meta, 'dead', -copies)
        end
        if #ids >= want then return stale_left end
    end
    return stale_left
end

-- Pops from ranked while the priority is above 5, or to the end.
local function pop_ranked(ids, priorities, above)
    local found = redis.call('ZRANGE', ranked, 0, want - #ids - 1,
        'WITHSCORES')
    local count = 0
    for i = 1, #found, 2 do
        local priority = rank_priority(tonumber(found[i + 1]))
        if above and priority < 5 then break end
        count = count + 1
        ids[#ids + 1] = found[i]
        priorities[#ids] = priority
    end
    if count > 0 then
        redis.call('ZREMRANGEBYRANK', ranked, 0, count - 1)
    end
    return count
end

local now = now_ms()
local flags, due, token, ids, bodies = 0, 0, 0, {}, nil
local priorities
local set = redis.call('HMGET', meta, 'paused', 'dead')
if set[1] == '1' then flags = 2 end
if want > 0 then
    local stale_left = tonumber(set[2] or 0)
    local ranked_left = redis.call('ZCARD', ranked)
    if flags == 0 then
        if ranked_left > 0 then
            priorities = {}
            ranked_left = ranked_left - pop_ranked(ids, priorities, true)
        end
        if #ids < want then
            if stale_left > 0 then
                stale_left = pop_live(ids, stale_left)
            elseif #ids == 0 then
                ids = redis.call('LPOP', pending, want) or ids
            else
                local popped = redis.call('LPOP', pending, want - #ids)
                for _, id in ipairs(popped or {}) do
                    ids[#ids + 1] = id
                end
            end
        end
        if ranked_left > 0 and #ids < want then
            for i = 1, #ids do priorities[i] = priorities[i] or 5 end
            ranked_left = ranked_left - pop_ranked(ids, priorities, false)
        end
        if ranked_left > 0 or #ids == want or stale_left > 0 then
            local left = redis.call('LLEN', pending) - stale_left
            if left + ranked_left > 0 then
                flags = 1
                ring(KEYS[8])
            end
        end
    end
    if #ids < want then
        due = next_due(KEYS[9], KEYS[10])
        -- Nothing is left to ring for.
        if flags == 0 then redis.call('DEL', KEYS[8]) end
    end
end

local n = #ids
if n > 0 then
    token = redis.call('HINCRBY', meta, 'token', 1)
    local pairs_ = {}
    local text = tostring(token)
    for i = 1, n do
        pairs_[i * 2 - 1], pairs_[i * 2] = ids[i], text
    end
    if token == 1 then
        -- A value of more than 64 bytes keeps `active` a hash table: a list of
        -- up to 512 fields would be searched from end to end.
        redis.call('HSET', active, '~', string.rep('~', 65))
    end
    redis.call('HSET', active, unpack(pairs_))
    redis.call('ZADD', KEYS[5], now + ARGV[3], text)
    local named = ids
    if priorities then
        flags = flags + 4
        named = {}
        for i = 1, n do
            priorities[i] = priorities[i] or 5
            named[i] = ids[i]
            if priorities[i] ~= 5 then
                named[i] = ids[i] .. '|' .. priorities[i]
            end
        end
    end
    redis.call('HSET', KEYS[6], text, ARGV[1] .. ' ' .. ARGV[3] .. ' ' ..
        table.concat(named, ' '))
    if ARGV[4] == '1' then
        bodies = redis.call('HMGET', tasks, unpack(ids))
    end
end

local out = { now, flags, due, token, #lost, n }
local top = 6
for i = 1, #lost do out[top + i] = lost[i] end
top = top + #lost
for i = 1, n do out[top + i] = ids[i] end
top = top + n
if priorities and n > 0 then
    for i = 1, n do out[top + i] = priorities[i] end
    top = top + n
end
if bodies then
    for i = 1, n do out[top + i] = bodies[i] end
end
return out
