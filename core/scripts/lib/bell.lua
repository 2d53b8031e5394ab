-- The doorbell wakes one waiter; it holds at most one ring.
local function ring(bell)
    if redis.call('LLEN', bell) == 0 then
        redis.call('RPUSH', bell, 1)
    end
end
