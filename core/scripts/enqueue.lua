-- Stores tasks of default priority that may run at once and have no
-- idempotency key; every other batch takes enqueue_any.
--
-- KEYS 1 tasks, 2 pending, 3 bell
-- ARGV id, envelope for each task (at most 512 tasks)
-- Returns the indices (from 0) of the tasks whose id is taken; those are not
-- stored, the others are.
-- Moves: nothing → pending.
local call = redis.call
local tasks, count = KEYS[1], #ARGV
if count == 0 or count > 1024 or count % 2 ~= 0 then
    return redis.error_reply('ERR enqueue: bad number of arguments')
end
-- Refuses keys of another type before anything is written.
call('LLEN', KEYS[2])
local silent = call('LLEN', KEYS[3]) == 0
local ids, taken = {}, {}
local clean = count > 2
if clean then
    local seen = {}
    for i = 1, count, 2 do
        local id = ARGV[i]
        ids[#ids + 1] = id
        if seen[id] then clean = false end
        seen[id] = true
    end
end
if clean then
    -- Of ids that are new, as nearly all are, this brings no bodies.
    local bodies = call('HMGET', tasks, unpack(ids))
    for i = 1, #ids do
        if bodies[i] then clean = false end
    end
end
if clean then
    call('HSET', tasks, unpack(ARGV))
else
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
    call('RPUSH', KEYS[2], unpack(ids))
    if silent then call('RPUSH', KEYS[3], 1) end
end
return taken
