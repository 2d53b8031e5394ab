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
local call = redis.call
local tasks, pending, ranked, active = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local leases, claims, meta, bell = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local want, count = tonumber(ARGV[2]), tonumber(ARGV[6])
if not want or not count or not tonumber(ARGV[3]) or want > 1000 or
    count > 1000 then
    return redis.error_reply('ERR turn: bad arguments')
end
local silent = call('LLEN', bell) == 0
local set = call('HMGET', meta, 'paused', 'dead', 'token', 'done', 'failed')
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local flags, lost, drop, done, failed = 0, {}, {}, 0, 0

-- Ends what is ours: one look, two variadic deletions.
local clean, held = true, nil
if count > 0 then
    held = call('HMGET', active, unpack(ARGV, 8, 7 + count))
end
local at = 0
for run = 8 + count, #ARGV, 3 do
    local token, ids = ARGV[run], tonumber(ARGV[run + 1])
    local mark = tonumber(ARGV[run + 2])
    for i = at + 1, at + ids do
        if held[i] ~= token then clean = false end
    end
    at = at + ids
    if mark % 2 == 1 then drop[#drop + 1] = token end
    if mark % 4 >= 2 then done = done + ids end
    if mark >= 4 then failed = failed + ids end
end
if count > 0 and clean then
    clean = call('HDEL', active, unpack(ARGV, 8, 7 + count)) == count
    call('HDEL', tasks, unpack(ARGV, 8, 7 + count))
end
if not clean then
    -- Some are not ours, or one was named twice: once more, one by one.
    local met = {}
    at, done, failed = 0, 0, 0
    for run = 8 + count, #ARGV, 3 do
        local token, ids = ARGV[run], tonumber(ARGV[run + 1])
        local mark, ended = tonumber(ARGV[run + 2]), 0
        for i = at + 1, at + ids do
            local id = ARGV[7 + i]
            if held[i] == token and not met[id] then
                met[id] = true
                ended = ended + 1
                call('HDEL', active, id)
                call('HDEL', tasks, id)
            elseif held[i] or ARGV[5] ~= '1' or
                call('HEXISTS', tasks, id) == 1 then
                lost[#lost + 1] = i - 1
            end
        end
        at = at + ids
        if mark % 4 >= 2 then done = done + ended end
        if mark >= 4 then failed = failed + ended end
    end
end
if #drop > 0 then
    call('ZREM', leases, unpack(drop))
    call('HDEL', claims, unpack(drop))
end

-- Claims.
local due, token, ids, n, priorities = 0, 0, {}, 0, nil
local text, scores, limbo = nil, {}, {}

local function pop()
    local stale = tonumber(set[2] or 0)
    if stale == 0 and call('ZCARD', ranked) == 0 then
        ids = call('LPOP', pending, want) or {}
        n = #ids
        if n == want and call('LLEN', pending) > 0 then flags = 1 end
    else
        --@include lib/rank.lua
        priorities = {}

        local function pop_ranked(above)
            if n == want then return end
            local found = call('ZRANGE', ranked, 0, want - n - 1, 'WITHSCORES')
            local taken = 0
            for i = 1, #found, 2 do
                local priority = rank_priority(tonumber(found[i + 1]))
                if above and priority < 5 then break end
                taken, n = taken + 1, n + 1
                ids[n], priorities[n], scores[n] = found[i], priority,
                    found[i + 1]
            end
            if taken > 0 then
                call('ZREMRANGEBYRANK', ranked, 0, taken - 1)
            end
        end

        -- Leaves out stale copies (lib/place.lua); true when there may be more.
        local function pop_list()
            limbo = n < want and call('LPOP', pending, want - n) or {}
            if #limbo == 0 then return false end
            local copies = call('HMGET', KEYS[11], unpack(limbo))
            local met = {}
            for i, id in ipairs(limbo) do
                if tonumber(copies[i] or 0) > (met[id] or 0) then
                    met[id] = (met[id] or 0) + 1
                    stale = stale - 1
                    call('HINCRBY', meta, 'dead', -1)
                    if call('HINCRBY', KEYS[11], id, -1) <= 0 then
                        call('HDEL', KEYS[11], id)
                    end
                else
                    n = n + 1
                    ids[n], priorities[n] = id, 5
                end
            end
            limbo = {}
            return n < want
        end

        pop_ranked(true)
        for _ = 1, 64 do
            if not pop_list() then break end
        end
        pop_ranked(false)
        if call('LLEN', pending) - stale + call('ZCARD', ranked) > 0 then
            flags = 1
        end
    end
end

local function claim()
    if flags == 0 then pop() end
    if n < want then
        --@include lib/due.lua
        due = next_due(KEYS[9], KEYS[10])
    end
    if n == 0 then return end
    token = tonumber(set[3] or 0) + 1
    -- From here on numbers are no longer exact.
    if token > 9007199254740991 then error('no token is left') end
    text = string.format('%.0f', token)
    local named, entries = ids, {}
    for i = 1, n do
        entries[i * 2 - 1], entries[i * 2] = ids[i], text
    end
    if token == 1 then
        -- More than 64 bytes keep these from being lists, which would be
        -- searched from end to end.
        local long = string.rep('~', 65)
        call('HSET', active, '~', long)
        call('ZADD', leases, '+inf', long)
    end
    call('HSET', active, unpack(entries))
    call('ZADD', leases, now + ARGV[3], text)
    if priorities then
        named = {}
        for i = 1, n do
            named[i] = priorities[i] == 5 and ids[i] or
                ids[i] .. '|' .. priorities[i]
        end
    end
    call('HSET', claims, text, ARGV[1] .. ' ' .. ARGV[3] .. ' ' ..
        table.concat(named, ' '))
end

-- A claim that fails, by a key of another type or a number that is none, gives
-- back what it took.
local function unclaim()
    local try = redis.pcall
    if n > 0 then try('HDEL', active, unpack(ids)) end
    if text then
        try('ZREM', leases, text)
        try('HDEL', claims, text)
    end
    for i = #limbo, 1, -1 do try('LPUSH', pending, limbo[i]) end
    for i = n, 1, -1 do
        if scores[i] then
            try('ZADD', ranked, scores[i], ids[i])
        else
            try('LPUSH', pending, ids[i])
        end
    end
end

if set[1] == '1' then flags = 2 end
if want > 0 then
    local good, why = pcall(claim)
    if not good then
        unclaim()
        -- An error reply's own words, which begin with its code, or Lua's.
        why = type(why) == 'table' and why.err or tostring(why)
        return redis.error_reply(string.match(why, '%u%u%u+ .*') or
            'ERR turn: ' .. why)
    end
end
if flags == 1 and silent then
    call('RPUSH', bell, 1)
elseif flags == 0 and n < want and not silent then
    -- Nothing is left to ring for.
    call('DEL', bell)
end

local fields = {}
if n > 0 then
    if priorities then flags = flags + 4 end
    fields = { 'token', text }
end
if done > 0 then
    fields[#fields + 1] = 'done'
    fields[#fields + 1] = (tonumber(set[4]) or 0) + done
end
if failed > 0 then
    fields[#fields + 1] = 'failed'
    fields[#fields + 1] = (tonumber(set[5]) or 0) + failed
end
if #fields > 0 then call('HSET', meta, unpack(fields)) end

local out = { now, flags, due, token, #lost, n, unpack(lost) }
if n > 0 then
    local top = #out
    for i = 1, n do out[top + i] = ids[i] end
    top = top + n
    if priorities then
        for i = 1, n do out[top + i] = priorities[i] end
        top = top + n
    end
    if ARGV[4] == '1' then
        local bodies = call('HMGET', tasks, unpack(ids))
        for i = 1, n do out[top + i] = bodies[i] end
    end
end
return out
