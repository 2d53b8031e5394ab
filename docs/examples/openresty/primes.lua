-- A handler that computes: it runs in a thread of the pool "cpu", with a Lua of
-- its own, while nginx goes on. Only strings, numbers and tables go in and out.
local core = require "reeve.core"

local _M = {}

function _M.run(body)
    local most = core.json_decode(body).below or 1000000
    local composite, count = {}, 0
    for i = 2, most - 1 do
        if not composite[i] then
            count = count + 1
            for multiple = i * i, most - 1, i do
                composite[multiple] = true
            end
        end
    end
    return { below = most, count = count }
end

return _M
