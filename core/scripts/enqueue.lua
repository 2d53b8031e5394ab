-- Stores tasks of default priority that may run at once and have no
-- idempotency key; every other batch takes enqueue_any.
--
-- KEYS 1 tasks, 2 pending, 3 bell
-- ARGV id, envelope for each task (at most 512 tasks)
-- Returns the indices (from 0) of the tasks whose id is taken; those are not
-- stored, the others are.
-- Moves: nothing → pending.
local call, try, ARGV = redis.call, redis.pcall, ARGV
local tasks, pending, bell, count = KEYS[1], KEYS[2], KEYS[3], #ARGV
if count == 0 or count > 1024 or count % 2 ~= 0 then
    return redis.error_reply('ERR enqueue: bad number of arguments')
end
local silent = call('LLEN', bell) == 0
local ids, taken, clean = {}, {}, false
if count > 2 then
    local n = 0
    clean = true
    for i = 1, count, 2 do
        n = n + 1
        ids[n] = ARGV[i]
    end
    -- Of ids that are new, as nearly all are, this brings no bodies.
    local bodies = call('HMGET', tasks, unpack(ids))
    for i = 1, n do
        if bodies[i] then clean = false end
    end
    if clean and call('HSET', tasks, unpack(ARGV)) < n then
        -- An id was named twice: its first task must win.
        call('HDEL', tasks, unpack(ids))
        clean = false
    end
end
if not clean then
    ids = {}
    for i = 1, count, 2 do
        if call('HSETNX', tasks, ARGV[i], ARGV[i + 1]) == 1 then
            ids[#ids + 1] = ARGV[i]
        else
            taken[#taken + 1] = (i - 1) / 2
        end
    end
end
if #ids > 0 then
    local length = try('RPUSH', pending, unpack(ids))
    if type(length) == 'table' then
        -- A key of another type: nothing stays stored.
        call('HDEL', tasks, unpack(ids))
        return length
    end
    if silent then call('RPUSH', bell, 1) end
end
return taken
