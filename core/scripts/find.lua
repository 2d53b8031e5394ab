-- One task, wherever it is.
--
-- KEYS 1 tasks, 2 ranked, 3 scheduled, 4 active, 5 retry, 6 completed,
--      7 archived, 8 claims, 9 results
-- ARGV 1 id
-- Returns nothing, or server time, state, body, score (as list returns it),
--      token, worker, lease_ms, result (false = none).
-- Moves: none.
--@include lib/now.lua
--@include lib/place.lua
--@include lib/state.lua
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
    local rest
    worker, lease_ms, rest = string.match(
        redis.call('HGET', KEYS[8], token) or '', '^(%S+) (%d+)( .+)$')
    for name, priority in string.gmatch(rest or '', '([^ |]+)|?(%d?)') do
        if name == id then score = tonumber(priority) or 5 end
    end
elseif state == 2 then
    score = score and rank_priority(tonumber(score)) or 5
elseif state == 8 then
    result = redis.call('HGET', KEYS[9], id)
end
return { now_ms(), state, redis.call('HGET', k.tasks, id), score, token,
    worker or '', lease_ms or 0, result }
