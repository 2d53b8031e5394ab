-- Takes back tasks whose enqueueing was refused half-way, by a key of another
-- type. Those that a worker has claimed meanwhile stay.
--
-- KEYS 1 tasks, 2 pending
-- ARGV ids (at most 256)
-- Returns how many were taken back.
-- Moves: pending → nothing.
local try, tasks, pending = redis.pcall, KEYS[1], KEYS[2]
local gone = 0
for i = 1, #ARGV do
    -- The last ones of the list; an error when it is none: then nobody claims.
    if try('LREM', pending, -1, ARGV[i]) ~= 0 then
        try('HDEL', tasks, ARGV[i])
        gone = gone + 1
    end
end
return gone
