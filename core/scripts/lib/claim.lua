-- A claim is written "worker lease_ms id id|priority …" in `active`, beside its
-- tasks, as "~<token>"; no id begins so. When only some of its tasks are renewed,
-- those go to the lease "<token>+" with a claim of its own; they know only the
-- token.
local function claim_read(text)
    local worker, lease_ms, rest =
        string.match(text or '', '^(%S+) (%d+) (.+)$')
    local ids, priorities = {}, {}
    for id, priority in string.gmatch(rest or '', '([^ |]+)|?(%d?)') do
        ids[#ids + 1] = id
        priorities[#ids] = tonumber(priority) or 5
    end
    return worker or '-', lease_ms or '0', ids, priorities
end

local function claim_text(worker, lease_ms, ids, priorities)
    local names = {}
    for i, id in ipairs(ids) do
        names[i] = priorities[i] == 5 and id or id .. '|' .. priorities[i]
    end
    return worker .. ' ' .. lease_ms .. ' ' .. table.concat(names, ' ')
end

local function token_of(member)
    return (string.gsub(member, '%+$', ''))
end
