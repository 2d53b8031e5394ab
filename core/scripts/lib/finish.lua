-- Forgets finished tasks whose place is already gone: bodies and results.
local function forget(k, ids)
    for first = 1, #ids, 1000 do
        local last = math.min(first + 999, #ids)
        redis.call('HDEL', k.tasks, unpack(ids, first, last))
        redis.call('HDEL', k.results, unpack(ids, first, last))
    end
end
