-- Earliest due time in the given sets, 0 = none.
local function next_due(scheduled, retry)
    local due = 0
    for _, key in ipairs({ scheduled, retry }) do
        local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
        if first[2] then
            local at = math.floor(first[2] / 10)
            if at <= 1e15 and (due == 0 or at < due) then due = at end
        end
    end
    return due
end
