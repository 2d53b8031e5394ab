-- Stores tasks of default priority that may run at once and have no
-- idempotency key; every other batch takes enqueue_any.
--
-- KEYS 1 tasks, 2 pending, 3 bell
-- ARGV id, envelope for each task (at most 512 tasks)
-- Returns the indices (from 0) of the tasks whose id is taken; those are not
-- stored, the others are.
-- Moves: nothing → pending.
--@include lib/bell.lua
if #ARGV == 0 or #ARGV > 1024 or #ARGV % 2 ~= 0 then
    return redis.error_reply('ERR enqueue: bad number of arguments')
end
-- Refuses keys of another type before anything is written.
redis.call('LLEN', KEYS[2])
redis.call('LLEN', KEYS[3])
local tasks, ids, taken = KEYS[1], {}, {}
for i = 1, #ARGV, 2 do
    if redis.call('HSETNX', tasks, ARGV[i], ARGV[i + 1]) == 1 then
        ids[#ids + 1] = ARGV[i]
    else
        taken[#taken + 1] = (i - 1) / 2
    end
end
if #ids > 0 then
    redis.call('RPUSH', KEYS[2], unpack(ids))
    ring(KEYS[3])
end
return taken
