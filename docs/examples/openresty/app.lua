-- The application: one client for each nginx worker, and the handlers.
local reeve = require "resty.reeve"
local core = require "reeve.core"

local _M = { url = "redis://127.0.0.1:6379/0" }

local client = assert(reeve.new { url = _M.url, timeout = 2 })

local function say(status, value)
    ngx.status = status
    ngx.header["Content-Type"] = "application/json"
    ngx.say((assert(core.json_encode(value))))
end

-- Enqueues the body of the request, a JSON object, as the task's payload.
function _M.post(task_type, options)
    ngx.req.read_body()
    local payload, err = core.json_decode(ngx.req.get_body_data() or "{}")
    if payload == nil then
        return say(400, { error = err })
    end
    local info, message, code = client:enqueue(task_type, payload, options)
    if info then
        return say(202, { id = info.id, state = info.state })
    end
    local is_ours = code == "network" or code == "timeout" or code == "busy"
    ngx.log(ngx.ERR, message)
    say(is_ours and 503 or 400, { error = message, code = code })
end

function _M.status()
    say(200, require("resty.reeve.worker").status() or core.null)
end

-- A handler: waits as cosockets and ngx.sleep do, without holding nginx up.
function _M.send_email(task)
    local to = task.payload.to
    if not to then
        return task:skip_retry("the payload has no 'to'")
    end
    if to:find("flaky", 1, true) and task.attempt == 1 then
        return nil, "the mail server is busy" -- tried again after a while
    end
    ngx.sleep(0.05)
    ngx.log(ngx.NOTICE, "mail to ", to, " sent at attempt ", task.attempt)
end

return _M
