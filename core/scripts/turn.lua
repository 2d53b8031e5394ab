-- Settles plain ends (gone from active, deleted) and claims the next tasks. A
-- usual turn runs straight through, with as few calls and new Lua objects as
-- can be; functions are made only where something is out of the ordinary.
--
-- KEYS 1 tasks, 2 pending, 3 ranked, 4 active, 5 leases, 6 meta, 7 bell,
--      8 scheduled, 9 retry, 10 dead
-- ARGV 1 worker, 2 claim at most (0 … 1000), 3 lease_ms, 4 flags (1 bodies of up
--      to 4 tasks in the reply, 2 sent again), 5 number of ids to end (at most 1000); the
--      ids; then for each run of ids with one token: token, 8 × number of ids
--      (0 = none) + flags (1 drop the lease: it was the token's last, 2 count
--      as done, 4 count as failed)
-- Returns server time, flags (1 work is left, 2 paused, 4 priorities follow,
--      8 lost ids follow, 16 bodies follow), next due time (0 = none or not asked), token; with
--      flag 8 number of lost ids and their indices (from 0); claimed ids; then
--      their priorities; then their bodies.
-- Moves: active → nothing, pending → active.
local call, try, ARGV = redis.call, redis.pcall, ARGV
local tasks, pending, ranked, active = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local leases, meta, bell = KEYS[5], KEYS[6], KEYS[7]
local want, lease_ms = tonumber(ARGV[2]), tonumber(ARGV[3])
local mode, count = tonumber(ARGV[4]), tonumber(ARGV[5])
if not want or not lease_ms or not mode or not count or want > 1000 or
    count > 1000 then
    return redis.error_reply('ERR turn: bad arguments')
end
local set = call('HMGET', meta, 'token', 'done', 'paused', 'dead')
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
-- A new queue's tokens begin at the clock, in 4 µs since 2026: none is claimed
-- from as often, so they are above those of a queue that was dropped.
local token, stale = tonumber(set[1] or math.max(0,
    (clock[1] - 1767225600) * 250000 + math.floor(clock[2] / 4))),
    tonumber(set[4] or 0)
local flags, lost, drop, done, failed = 0, nil, nil, 0, 0

-- Ends what is ours: one look, two variadic deletions.
if #ARGV > 5 then
    local last, at, clean, held = 5 + count, 0, true, nil
    if count == 1 then
        held = { call('HGET', active, ARGV[6]) }
    elseif count > 0 then
        held = call('HMGET', active, unpack(ARGV, 6, last))
    end
    for run = last + 1, #ARGV, 2 do
        local owner, mark = ARGV[run], tonumber(ARGV[run + 1])
        local bits = mark % 8
        local ids = (mark - bits) / 8
        for i = at + 1, at + ids do
            if held[i] ~= owner then clean = false end
        end
        at = at + ids
        if bits % 2 == 1 then
            if drop then drop[#drop + 1] = owner else drop = { owner } end
        end
        if bits % 4 >= 2 then done = done + ids end
        if bits >= 4 then failed = failed + ids end
    end
    if clean and drop and not drop[2] and count > 0 then
        -- The claim goes with its tasks.
        clean = call('HDEL', active, '~' .. drop[1],
            unpack(ARGV, 6, last)) == count + 1
        call('HDEL', tasks, unpack(ARGV, 6, last))
        call('ZREM', leases, drop[1])
        drop = nil
    elseif clean and count > 0 then
        clean = call('HDEL', active, unpack(ARGV, 6, last)) == count
        call('HDEL', tasks, unpack(ARGV, 6, last))
    end
    if not clean then
        -- Some are not ours, or one was named twice: once more, one by one.
        local met = {}
        at, done, failed = 0, 0, 0
        for run = last + 1, #ARGV, 2 do
            local owner, mark = ARGV[run], tonumber(ARGV[run + 1])
            local bits, ended = mark % 8, 0
            local ids = (mark - bits) / 8
            for i = at + 1, at + ids do
                local id = ARGV[5 + i]
                if held[i] == owner and not met[id] then
                    met[id] = true
                    ended = ended + 1
                    call('HDEL', active, id)
                    call('HDEL', tasks, id)
                elseif held[i] or mode < 2 or
                    call('HEXISTS', tasks, id) == 1 then
                    lost = lost or {}
                    lost[#lost + 1] = i - 1
                end
            end
            at = at + ids
            if bits % 4 >= 2 then done = done + ended end
            if bits >= 4 then failed = failed + ended end
        end
    end
    if drop then
        call('ZREM', leases, unpack(drop))
        for i, owner in ipairs(drop) do drop[i] = '~' .. owner end
        call('HDEL', active, unpack(drop))
    end
end

-- Claims. What fails after tasks were taken, by a key of another type or a
-- number that is none, is a fault and gives them back.
local due, n, ids, priorities, scores = 0, 0, nil, nil, nil
local limbo, seen = nil, 1 -- taken from the list; before seen they are dealt with
local text, fault = nil, nil
if want > 0 and not (token and stale and token < 9007199254740991) then
    -- From 2^53 on numbers are no longer exact.
    fault = 'ERR turn: meta has no number for the next token'
elseif set[3] == '1' then
    flags = 2
elseif want > 0 and stale == 0 and call('ZCARD', ranked) == 0 then
    ids = call('LPOP', pending, want)
    if ids then n = #ids end
    if n == want and call('LLEN', pending) > 0 then flags = 1 end
elseif want > 0 then
    --@include lib/rank.lua
    ids, priorities, scores = {}, {}, {}

    local function pop_ranked(above)
        if n == want then return end
        local found = call('ZRANGE', ranked, 0, want - n - 1, 'WITHSCORES')
        local taken = 0
        for i = 1, #found, 2 do
            local priority = rank_priority(tonumber(found[i + 1]))
            if above and priority < 5 then break end
            taken, n = taken + 1, n + 1
            ids[n], priorities[n], scores[n] = found[i], priority, found[i + 1]
        end
        if taken > 0 then call('ZREMRANGEBYRANK', ranked, 0, taken - 1) end
    end

    -- Leaves out stale copies (lib/place.lua); true when there may be more.
    local function pop_list()
        limbo = n < want and call('LPOP', pending, want - n) or {}
        if #limbo == 0 then return false end
        seen = 1
        local copies = call('HMGET', KEYS[10], unpack(limbo))
        local met = {}
        for i, id in ipairs(limbo) do
            seen = i
            if tonumber(copies[i] or 0) > (met[id] or 0) then
                met[id] = (met[id] or 0) + 1
                stale = stale - 1
                if call('HINCRBY', KEYS[10], id, -1) <= 0 then
                    call('HDEL', KEYS[10], id)
                end
                call('HINCRBY', meta, 'dead', -1)
            else
                n = n + 1
                ids[n], priorities[n] = id, 5
            end
        end
        limbo = nil
        return n < want
    end

    local good, why = pcall(function()
        pop_ranked(true)
        for _ = 1, 64 do
            if not pop_list() then break end
        end
        pop_ranked(false)
        if call('LLEN', pending) - stale + call('ZCARD', ranked) > 0 then
            flags = 1
        end
    end)
    if not good then fault = why end
end
if fault then
    flags = 0
elseif flags == 1 then
    local rings = try('LLEN', bell)
    if rings == 0 then
        call('RPUSH', bell, 1)
    elseif type(rings) == 'table' then
        fault = rings
    end
elseif n < want then
    --@include lib/due.lua
    local good, at = pcall(next_due, KEYS[8], KEYS[9])
    if good then due = at else fault = at end
    -- Nothing is left to ring for.
    if flags == 0 then call('DEL', bell) end
end
if n > 0 and not fault then
    token = token + 1
    text = string.format('%.0f', token)
    local head, held = ARGV[1] .. ' ' .. ARGV[3], nil
    if not set[1] then
        -- More than 64 bytes keep these from being lists, which would be
        -- searched from end to end.
        local long = string.rep('~', 65)
        try('HSET', active, '~', long)
        try('ZADD', leases, '+inf', long)
    end
    if n == 1 and not priorities then
        held = try('HSET', active, '~' .. text, head .. ' ' .. ids[1],
            ids[1], text)
    else
        local names, top = ids, 2
        if priorities then
            names = {}
            for i = 1, n do
                names[i] = priorities[i] == 5 and ids[i] or
                    ids[i] .. '|' .. priorities[i]
            end
        end
        names[0] = head
        local entries = { '~' .. text, table.concat(names, ' ', 0, n) }
        for i = 1, n do
            entries[top + 1], entries[top + 2] = ids[i], text
            top = top + 2
        end
        held = try('HSET', active, unpack(entries))
    end
    local leased = try('ZADD', leases, now + lease_ms, text)
    fault = type(held) == 'table' and held or type(leased) == 'table' and leased
end
if fault then
    if text then
        try('HDEL', active, '~' .. text, unpack(ids))
        try('ZREM', leases, text)
    end
    for i = limbo and #limbo or 0, seen, -1 do
        try('LPUSH', pending, limbo[i])
    end
    for i = n, 1, -1 do
        if scores and scores[i] then
            try('ZADD', ranked, scores[i], ids[i])
        else
            try('LPUSH', pending, ids[i])
        end
    end
    -- An error reply's own words, which begin with its code, or Lua's.
    local why = type(fault) == 'table' and fault.err or tostring(fault)
    return redis.error_reply(string.match(why, '%u%u%u+ .*') or
        'ERR turn: ' .. why)
end

-- A number in meta that is none counts from 0 again.
if done > 0 then
    done = (tonumber(set[2]) or 0) + done
    if text then
        call('HSET', meta, 'token', text, 'done', done)
    else
        call('HSET', meta, 'done', done)
    end
elseif text then
    call('HSET', meta, 'token', text)
end
if failed > 0 then
    call('HSET', meta, 'failed',
        (tonumber(call('HGET', meta, 'failed')) or 0) + failed)
end

local out
if lost then
    out = { now, flags + 8, due, token or 0, #lost, unpack(lost) }
else
    out = { now, flags, due, token or 0 }
end
local bodied = mode % 2 == 1 and n < 5 and n > 0
if bodied then out[2] = out[2] + 16 end
if n == 1 and not priorities and bodied then
    local top = #out
    out[top + 1] = ids[1]
    out[top + 2] = call('HGET', tasks, ids[1])
elseif n > 0 then
    local top = #out
    for i = 1, n do out[top + i] = ids[i] end
    if priorities then
        out[2] = out[2] + 4
        top = top + n
        for i = 1, n do out[top + i] = priorities[i] end
    end
    if bodied then
        top = top + n
        local bodies = call('HMGET', tasks, unpack(ids))
        for i = 1, n do out[top + i] = bodies[i] end
    end
end
return out
