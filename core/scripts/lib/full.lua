-- A server that has reached maxmemory refuses a script whose first write may
-- take memory. What keeps leases or lets work drain goes on: a write that takes
-- none goes in front.
local function pass_when_full(zset)
    redis.call('ZREM', zset, '')
end
