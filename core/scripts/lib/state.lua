-- Where a task is: number of its state (enum reeve_state) and its score there
-- or, when active, its token. A body that is nowhere else is in the list.
local function state_of(k, id)
    local token = redis.call('HGET', k.active, id)
    if token then return 3, token end
    local score = redis.call('ZSCORE', k.scheduled, id)
    if score then return 1, score end
    score = redis.call('ZSCORE', k.retry, id)
    if score then return 4, score end
    score = redis.call('ZSCORE', k.completed, id)
    if score then return 8, score end
    score = redis.call('ZSCORE', k.archived, id)
    if score then return 9, score end
    score = redis.call('ZSCORE', k.ranked, id)
    if score then return 2, score end
    if redis.call('HEXISTS', k.tasks, id) == 1 then return 2, false end
    return 0, false
end
