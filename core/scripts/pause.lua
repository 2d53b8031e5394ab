-- Pauses or resumes a queue; resuming rings for what waits.
--
-- KEYS 1 meta, 2 bell, 3 pending, 4 ranked
-- ARGV 1 paused (0 or 1)
-- Returns 1.
-- Moves: none.
--@include lib/bell.lua
--@include lib/full.lua
pass_when_full(KEYS[4])
if ARGV[1] == '1' then
    redis.call('HSET', KEYS[1], 'paused', '1')
else
    redis.call('HDEL', KEYS[1], 'paused')
    if redis.call('LLEN', KEYS[3]) + redis.call('ZCARD', KEYS[4]) > 0 then
        ring(KEYS[2])
    end
end
return 1
