-- Runs one case of cases.lua in a request: "ok", or what went wrong with 500.
local cases = require "cases"

return function()
    local env = ngx.req.get_uri_args()
    local case = cases[env.case]
    local good, err = xpcall(case or function()
        error("no case " .. tostring(env.case))
    end, debug.traceback, env)
    ngx.status = good and 200 or 500
    ngx.say(good and "ok" or err)
end
