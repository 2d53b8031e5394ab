-- Forgets a queue that has no task in any state. Its idempotency keys stay
-- until they expire.
--
-- KEYS 1 tasks; 2 the directory of queues, 3 the weights: these stand outside
--      the queue's hash tag; 4 … every other key of the queue
-- ARGV 1 the queue's name
-- Returns 0 = forgotten, 1 = no such queue, 2 = it has tasks.
-- Moves: none.
redis.call('HLEN', KEYS[3])
local known = redis.call('SISMEMBER', KEYS[2], ARGV[1])
if redis.call('HLEN', KEYS[1]) > 0 then return 2 end
for i = 4, #KEYS do
    known = known + redis.call('DEL', KEYS[i])
end
redis.call('SREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
return known > 0 and 0 or 1
