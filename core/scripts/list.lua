-- A page of tasks in one state, in the order they would run; finished ones by
-- the time they expire.
--
-- KEYS 1 tasks, 2 pending, 3 ranked, 4 scheduled, 5 meta, 6 dead, 7 active,
--      8 retry, 9 completed, 10 archived, 11 leases, 12 results
-- ARGV 1 state, 2 offset, 3 at most this many (1 … 1000)
-- Returns server time, next offset (0 = end); then 7 for each task: id, body,
--      score (due or expiry * 10 + priority; 0 when active) or priority when
--      pending, token, worker, lease_ms, result (false = none).
-- Moves: none.
--@include lib/now.lua
--@include lib/rank.lua
--@include lib/claim.lua
--@include lib/state.lua
local state = ARGV[1]
local offset, max = tonumber(ARGV[2]), tonumber(ARGV[3])
if not offset or not max or offset < 0 or max < 1 or max > 1000 then
    return redis.error_reply('ERR list: bad page')
end
local ids, scores, tokens, workers, leases = {}, {}, {}, {}, {}
local more = false

local function from_zset(key)
    local found = redis.call('ZRANGE', key, offset, offset + max - 1,
        'WITHSCORES')
    for i = 1, #found, 2 do
        ids[#ids + 1] = found[i]
        scores[#ids] = found[i + 1]
    end
    more = offset + #ids < redis.call('ZCARD', key)
    offset = offset + #ids
end

local k = { tasks = KEYS[1], ranked = KEYS[3], scheduled = KEYS[4],
    active = KEYS[7], retry = KEYS[8], completed = KEYS[9],
    archived = KEYS[10] }

-- Stale copies stand before the live one; most have none.
local function is_live(id, position)
    local copies = tonumber(redis.call('HGET', KEYS[6], id) or 0)
    if copies == 0 then return true end
    local at_state, score = state_of(k, id)
    if at_state ~= 2 or score then return false end
    local at = redis.call('LPOS', KEYS[2], id, 'RANK', copies + 1)
    return at == position
end

local function from_pending()
    local split = 4 * RANK
    local high = redis.call('ZCOUNT', KEYS[3], '-inf', '(' ..
        string.format('%.0f', split))
    local all = redis.call('ZCARD', KEYS[3])
    local length = redis.call('LLEN', KEYS[2])
    local stale = tonumber(redis.call('HGET', KEYS[5], 'dead') or 0)
    local total, seen = all + length, 0
    local function ranked(first, last)
        local found = redis.call('ZRANGE', KEYS[3], first, last, 'WITHSCORES')
        for i = 1, #found, 2 do
            ids[#ids + 1] = found[i]
            scores[#ids] = rank_priority(tonumber(found[i + 1]))
            offset = offset + 1
        end
    end
    if offset < high then
        ranked(offset, math.min(high, offset + max) - 1)
    end
    while #ids < max and offset >= high and offset < high + length and
        seen < 5000 do
        local first = offset - high
        local found = redis.call('LRANGE', KEYS[2], first,
            first + max - #ids - 1)
        for i, id in ipairs(found) do
            if stale == 0 or is_live(id, first + i - 1) then
                ids[#ids + 1] = id
                scores[#ids] = 5
            end
        end
        seen = seen + #found
        offset = offset + #found
    end
    if #ids < max and offset >= high + length then
        ranked(offset - length, offset - length + max - #ids - 1)
    end
    more = offset < total
end

local function from_active()
    local skip = offset
    local order = redis.call('ZRANGE', KEYS[11], 0, -1)
    for _, member in ipairs(order) do
        local token = token_of(member)
        local worker, lease_ms, named, priorities =
            claim_read(redis.call('HGET', KEYS[7], '~' .. member))
        for i, id in ipairs(named) do
            if redis.call('HGET', KEYS[7], id) == token then
                if skip > 0 then
                    skip = skip - 1
                elseif #ids == max then
                    more = true
                    offset = offset + max
                    return
                else
                    ids[#ids + 1] = id
                    local n = #ids
                    scores[n] = priorities[i]
                    tokens[n], workers[n], leases[n] = token, worker, lease_ms
                end
            end
        end
    end
end

local sets = { ['1'] = KEYS[4], ['4'] = KEYS[8], ['8'] = KEYS[9],
    ['9'] = KEYS[10] }
if state == '2' then
    from_pending()
elseif state == '3' then
    from_active()
elseif sets[state] then
    from_zset(sets[state])
end
local out = { now_ms(), more and offset or 0 }
if #ids > 0 then
    local bodies = redis.call('HMGET', KEYS[1], unpack(ids))
    local results = state == '8' and
        redis.call('HMGET', KEYS[12], unpack(ids)) or {}
    for i = 1, #ids do
        local n = #out
        out[n + 1], out[n + 2], out[n + 3] = ids[i], bodies[i], scores[i]
        out[n + 4], out[n + 5] = tokens[i] or 0, workers[i] or ''
        out[n + 6], out[n + 7] = leases[i] or 0, results[i] or false
    end
end
return out
