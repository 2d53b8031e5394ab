-- A handler that runs in a thread of nginx's pool: it computes and returns.
local core = require "reeve.core"

return {
    run = function(body)
        local payload = core.json_decode(body)
        local sum = 0
        for i = 1, payload.n do
            sum = sum + i
        end
        return { sum = sum }
    end,
}
