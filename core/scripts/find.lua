-- One task, wherever it is.
--
-- KEYS 1 tasks, 2 ranked, 3 scheduled, 4 active, 5 retry, 6 completed,
--      7 archived, 8 results
-- ARGV 1 id
-- Returns nothing, or server time, state, body, score (as list returns it),
--      token, worker, lease_ms, result (false = none).
-- Moves: none.
--@include lib/now.lua
--@include lib/rank.lua
--@include lib/state.lua
--@include lib/claim.lua
local id = ARGV[1]
local k = { tasks = KEYS[1], ranked = KEYS[2], scheduled = KEYS[3],
    active = KEYS[4], retry = KEYS[5], completed = KEYS[6],
    archived = KEYS[7] }
local state, score = state_of(k, id)
if state == 0 then return {} end
local token, worker, lease_ms, result = 0, '', 0, false
if state == 3 then
    token = score
    score = 5
    for _, member in ipairs({ token, token .. '+' }) do
        local holder, ms, ids, priorities =
            claim_read(redis.call('HGET', k.active, '~' .. member))
        for i, name in ipairs(ids) do
            if name == id then
                worker, lease_ms, score = holder, ms, priorities[i]
            end
        end
    end
elseif state == 2 then
    score = score and rank_priority(tonumber(score)) or 5
elseif state == 8 then
    result = redis.call('HGET', KEYS[8], id)
end
return { now_ms(), state, redis.call('HGET', k.tasks, id), score, token,
    worker, lease_ms, result }
